"""Supply, clock and NAND."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.board import Board
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.hardware.nand import Geometry, Nand, NandError
from firmware_model.hardware.supply import NAMED, PowerCut, Supply
from hil_tests.flash_part import program, programmed

SMALL = Geometry(block_count=3, pages_per_block=4, page_bytes=16, spare_bytes=64)
ELEMENT = ElementState.fresh((3, 3, 3), b"i" * 32, b"c" * 32)


def small_board() -> Board:
    board = Board.in_memory(SMALL, ELEMENT, SeededNoise(b"board"), Timing())
    board.entropy.power_on()
    return board


@pytest.fixture
def board() -> Board:
    return small_board()


@pytest.fixture
def nand(board: Board) -> Nand:
    return board.nand


# Supply


@pytest.mark.parametrize("number", [1, 2, 5])
def test_cut_at_a_step_lets_exactly_the_steps_before_it_happen(number: int) -> None:
    supply = Supply()
    supply.cut_at(number)
    for _ in range(number - 1):
        supply.step("effect")

    with pytest.raises(PowerCut) as cut:
        supply.step("last")
    assert (cut.value.number, cut.value.name) == (number, "last")
    assert supply.count == number - 1
    assert not supply.is_on


def test_effect_that_a_cut_prevented_is_named_until_counting_begins_anew() -> None:
    supply = Supply()
    supply.cut_at(2)
    supply.announce("page", 3)
    assert supply.cut_name == "page"

    supply.begin()

    assert supply.cut_name is None


def test_nothing_happens_without_power() -> None:
    supply = Supply()
    supply.power_off()

    for _ in range(2):
        with pytest.raises(PowerCut):
            supply.step("effect")
    assert supply.count == 0


def test_power_returns_and_the_cut_is_not_repeated() -> None:
    supply = Supply()
    supply.cut_at(1)
    with pytest.raises(PowerCut):
        supply.step("effect")
    supply.power_on()
    supply.step("effect")

    assert supply.count == 1


def test_cut_is_counted_from_where_it_was_ordered() -> None:
    supply = Supply()
    supply.step("before")
    supply.cut_at(2)
    supply.step("first")

    with pytest.raises(PowerCut):
        supply.step("second")


def test_planned_cut_can_be_taken_back() -> None:
    supply = Supply()
    supply.cut_at(1)
    supply.cut_at(None)
    supply.step("effect")

    assert supply.count == 1


def test_cut_at_step_zero_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        Supply().cut_at(0)


def test_record_of_steps_begins_anew() -> None:
    supply = Supply()
    supply.step("one")
    supply.begin()
    supply.step("two")

    assert supply.names == ["two"]


def test_steps_are_named_only_where_somebody_has_begun_and_only_so_many() -> None:
    supply = Supply()
    supply.step("one")
    with pytest.raises(ValueError, match="named from `begin` on"):
        _ = supply.names

    supply.begin()
    supply.announce("many", NAMED)
    assert supply.names == ["many"] * NAMED

    supply.step("one more")
    with pytest.raises(ValueError, match=f"up to {NAMED}"):
        _ = supply.names
    assert supply.count == NAMED + 1


def test_firmware_that_catches_exceptions_does_not_catch_a_cut() -> None:
    assert not issubclass(PowerCut, Exception)


# Clock


def test_clock_moves_by_charges_alone_and_never_back() -> None:
    clock = Clock(100)
    clock.charge(20)
    clock.charge_until(50)
    first = clock.now_us
    clock.charge_until(500)

    assert (first, clock.now_us) == (120, 500)


# NAND


def test_erased_page_reads_as_ones(nand: Nand) -> None:
    assert nand.read(5) == b"\xff" * 16
    assert len(nand.records(1)) == 0


def test_programmed_page_reads_back_filled_up_with_ones(nand: Nand) -> None:
    program(nand, 0, b"data", b"s")

    assert nand.read(0) == b"data".ljust(16, b"\xff")
    assert nand.records(0).tobytes() == b"s".ljust(32, b"\xff")


def test_page_is_programmed_once(nand: Nand) -> None:
    program(nand, 0, b"data")

    with pytest.raises(NandError, match="page 0: block 0 is programmed in order, and once"):
        program(nand, 0, b"data")


@pytest.mark.parametrize("page", [1, 3, 6])
def test_pages_of_a_block_are_programmed_in_order(nand: Nand, page: int) -> None:
    with pytest.raises(NandError, match="in order"):
        program(nand, page, b"")


def test_blocks_are_programmed_in_any_order(nand: Nand) -> None:
    for page in (8, 0, 4, 9, 1):
        program(nand, page, b"")

    assert programmed(nand) == [0, 1, 4, 8, 9]
    assert [nand.programmed_in(block) for block in range(3)] == [2, 1, 2]


def test_block_is_erased_whole_and_its_neighbours_are_not(nand: Nand) -> None:
    for page in range(12):
        program(nand, page, bytes((page,)))
    nand.erase(1, "block")

    assert programmed(nand) == [0, 1, 2, 3, 8, 9, 10, 11]
    program(nand, 4, b"again")


@pytest.mark.parametrize(
    "use",
    [
        lambda nand: nand.read(12),
        lambda nand: nand.read(-1),
        lambda nand: nand.read(2, 3),
        lambda nand: program(nand, 12, b""),
        lambda nand: nand.erase(3, "block"),
        lambda nand: nand.erase(-1, "block"),
        lambda nand: program(nand, 0, bytes(17)),
        lambda nand: program(nand, 0, b"", bytes(33)),
    ],
)
def test_place_or_length_that_the_part_lacks_is_an_error(
    nand: Nand, use: Callable[[Nand], object]
) -> None:
    with pytest.raises(NandError):
        use(nand)
    assert programmed(nand) == []


def test_programming_and_erasing_are_steps_with_a_purpose(board: Board) -> None:
    board.supply.begin()
    program(board.nand, 0, b"", b"", "key record")
    board.nand.erase(0, "old keys")
    board.nand.read(0)

    assert board.supply.names == ["program key record", "erase old keys"]


def test_cut_program_leaves_the_page_erased_and_the_order_as_it_was(board: Board) -> None:
    board.supply.cut_at(1)
    with pytest.raises(PowerCut):
        program(board.nand, 0, b"data")
    board.supply.power_on()

    assert programmed(board.nand) == []
    program(board.nand, 0, b"data")


def test_cut_erase_leaves_the_block_as_it_was(board: Board) -> None:
    program(board.nand, 0, b"data")
    board.supply.cut_at(1)

    with pytest.raises(PowerCut):
        board.nand.erase(0, "block")
    assert (board.nand.read(0) or b"").startswith(b"data")


def test_operations_take_the_time_of_the_part(board: Board) -> None:
    timing = board.timing
    program(board.nand, 0, b"")
    board.nand.read(0)
    board.nand.records(0)
    board.nand.erase(0, "block")

    expected = timing.page_program_us + 2 * timing.page_read_us + timing.block_erase_us
    assert board.clock.now_us == expected


def test_part_with_pages_in_it_knows_where_programming_goes_on() -> None:
    cells = MemoryCells(SMALL.page_bytes)
    cells.append(0, b"a".ljust(SMALL.page_bytes) + b"b", bytes(64))
    cells.append(1, b"c", bytes(32))
    nand = Nand(SMALL, cells, Supply(), Clock(), Timing())

    assert [nand.programmed_in(block) for block in range(3)] == [2, 1, 0]
    program(nand, 2, b"")


NAND_STEPS = st.lists(
    st.tuples(st.just("program"), st.integers(0, 2), st.binary(max_size=16))
    | st.tuples(st.just("erase"), st.integers(0, 2), st.just(b"")),
    max_size=30,
)


@given(NAND_STEPS, st.integers(1, 31))
def test_flash_holds_what_was_programmed_and_not_erased_up_to_the_cut(
    steps: list[tuple[str, int, bytes]], cut: int
) -> None:
    board, expected = small_board(), dict[int, list[bytes]]()
    board.supply.cut_at(cut)
    try:
        for kind, block, data in steps:
            written = expected.setdefault(block, [])
            if kind == "erase":
                board.nand.erase(block, "block")
                written.clear()
            elif len(written) < SMALL.pages_per_block:
                program(board.nand, 4 * block + len(written), data)
                written.append(data)
    except PowerCut as reason:
        assert reason.number == cut

    found = {page: data for page, data, _ in board.nand.contents()}
    assert found == {
        4 * block + index: data.ljust(SMALL.page_bytes, b"\xff")
        for block, written in expected.items()
        for index, data in enumerate(written)
    }
