"""The keypad, and the board: copies, and flash that is put back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.board import Board
from firmware_model.hardware.keypad import Key, Keypad, Leds, Light, keys
from hil_tests.flash_part import program
from hil_tests.test_hardware import small_board

# Keypad


def test_keys_are_written_as_words_and_runs_of_digits() -> None:
    expected = (Key.SET, Key.DIGIT_1, Key.DIGIT_0, Key.UNLOCK)

    assert keys("SET 10 UNLOCK") == keys("  set 1 0 unlock\n") == expected


@pytest.mark.parametrize("key", Key)
def test_every_key_can_be_written(key: Key) -> None:
    assert keys(key.value) == (key,)


@pytest.mark.parametrize("text", ["OPEN", "12a", "-1", "٣", "²"])
def test_key_that_is_not_there_is_named_with_those_that_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"no key .*; there are 0 to 9 and UNLOCK LOCK SET"):
        keys(text)


@given(st.text(max_size=20))
def test_any_text_is_keys_or_a_refusal(text: str) -> None:
    try:
        pressed = keys(text)
    except ValueError:
        return

    assert keys(" ".join(key.value for key in pressed)) == pressed


def test_keys_are_heard_by_the_listener_alone_and_in_order() -> None:
    keypad, heard = Keypad(), list[Key]()
    keypad.press(Key.LOCK)
    keypad.listen(heard.append)
    for key in keys("12"):
        keypad.press(key)
    keypad.listen(None)
    keypad.press(Key.LOCK)

    assert heard == [Key.DIGIT_1, Key.DIGIT_2]


def test_lights_are_off_on_a_new_keypad() -> None:
    assert Keypad().leds == Leds(Light.OFF, Light.OFF, Light.OFF)


# Board


def condition(board: Board) -> tuple[object, ...]:
    """Return everything that a board could tell apart from another."""
    return (
        board.flash_image(),
        board.embedded.memory,
        board.clock.now_us,
        board.supply.is_on,
        board.entropy.copy().draw(64),
    )


def change_everything(board: Board) -> None:
    program(board.nand, 1, b"new")
    board.nand.erase(1, "block")
    board.element.extend(0, b"h" * 32)
    board.element.external.write(b"beside")
    board.entropy.draw(40)
    board.supply.power_off()


@pytest.fixture
def used() -> Board:
    board = small_board()
    for page in (0, 4):
        program(board.nand, page, b"old")
    board.element.extend(0, b"g" * 32)
    board.element.external.write(b"outside")
    board.entropy.draw(10)
    return board


def test_copy_of_a_board_is_in_the_same_condition(used: Board) -> None:
    assert condition(used.copy()) == condition(used)


def test_what_happens_to_a_copy_spares_the_board(used: Board) -> None:
    before = condition(used)
    change_everything(used.copy())

    assert condition(used) == before


def test_what_happens_to_a_board_spares_the_copy(used: Board) -> None:
    copy = used.copy()
    before = condition(copy)
    change_everything(used)

    assert condition(copy) == before


def test_copy_and_board_do_the_same_from_there_on(used: Board) -> None:
    copy = used.copy()
    change_everything(used)
    change_everything(copy)

    assert condition(copy) == condition(used)


def test_board_without_power_is_copied_without_power(used: Board) -> None:
    used.supply.power_off()

    assert not used.copy().supply.is_on


def test_cut_planned_for_a_board_is_not_planned_for_its_copy(used: Board) -> None:
    used.supply.cut_at(1)
    copy = used.copy()
    copy.element.extend(0, bytes(32))

    assert copy.supply.is_on


def test_flash_put_back_is_read_again_and_the_element_does_not_go_back(used: Board) -> None:
    image = used.flash_image()
    change_everything(used)
    rolled_back = used.with_flash(image)

    assert rolled_back.flash_image() == image
    assert rolled_back.embedded.memory == used.embedded.memory
    assert [rolled_back.nand.programmed_in(block) for block in range(3)] == [1, 1, 0]


def test_flash_put_back_spares_the_image(used: Board) -> None:
    image = used.flash_image()
    before = list(image.raw_pages())
    used.with_flash(image).nand.erase(0, "block")

    assert list(image.raw_pages()) == before
