"""The translation layer when bits flip: what moves in time, what is lost, what that costs."""

import pytest

from firmware_model.firmware.medium import Unreadable, WornOut
from firmware_model.firmware.translation import Translation
from firmware_model.hardware.faults import flip_data, flip_record
from firmware_model.hardware.nand import Geometry
from hil_tests.logical_pages import (
    ALL,
    BLOCK_PAGES,
    PAGE_BYTES,
    PAGES,
    SHAPE,
    Flash,
    held,
    number_at,
    page,
)


def test_page_near_the_limit_of_its_ecc_moves_before_it_is_lost() -> None:
    flash = Flash()
    translation = flash.mounted()
    for number in range(8):
        translation.write(number, page(number), ALL)
    flash.nand.flip(2, range(7))
    assert number_at(translation, 2) == 2
    flash.nand.flip(2, range(100, 107))  # where it stood, it would be lost now

    assert flash.nand.read(2) is None
    assert number_at(translation, 2) == 2
    assert number_at(flash.mounted(), 2) == 2


def test_lost_page_is_an_error_and_not_old_or_no_data_even_after_it_moved() -> None:
    flash = Flash()
    translation = flash.mounted()
    for number in range(8):
        translation.write(number, page(number), ALL)
    flash.nand.flip(2, range(0, 60, 3))
    with pytest.raises(Unreadable):
        translation.read(2, 1)
    for number in range(8, 200):
        translation.write(3 + number % 20, page(number), ALL)

    with pytest.raises(Unreadable):
        flash.mounted().read(0, 4)
    translation.write(2, page(999), ALL)
    assert number_at(flash.mounted(), 2) == 999


def test_lost_record_costs_nothing_as_the_next_one_tells_of_its_page() -> None:
    for lost in range(2 * BLOCK_PAGES):  # in the middle of a block and at its end
        flash = Flash()
        translation = flash.mounted()
        translation.write(0, b"".join(map(page, range(4))), ALL)
        translation.trim(1, 1, 1)
        translation.write(2, b"".join(map(page, range(20, 24))), ALL)
        flip_record(flash.nand, lost, 9)

        again = flash.mounted()
        assert [number_at(again, lp) for lp in range(7)] == [0, None, 20, 21, 22, 23, None]
        again.write(3, page(33), ALL)
        assert number_at(flash.mounted(), 3) == 33


def test_page_of_which_nothing_can_be_read_is_an_error_and_not_its_older_copy() -> None:
    for gone in range(1, 2 * BLOCK_PAGES):
        flash = Flash()
        translation = flash.mounted()
        translation.write(0, page(0), ALL)
        translation.write(0, b"".join(map(page, range(1, 9))), ALL)
        flip_record(flash.nand, gone, 9)
        flip_data(flash.nand, gone, 30)

        again = flash.mounted()
        with pytest.raises(Unreadable):
            again.read(gone - 1, 1)
        assert [number_at(again, lp) for lp in range(8) if lp != gone - 1] == [
            lp + 1 for lp in range(8) if lp != gone - 1
        ]


def test_record_that_no_other_tells_of_lets_no_older_copy_be_answered() -> None:
    flash = Flash()
    translation = flash.mounted()
    for logical_page, number in ((1, 1), (2, 2), (2, 3), (4, 4)):
        translation.write(logical_page, page(number), ALL)
    for lost in (1, 2):  # the second would have told of the first
        flip_record(flash.nand, lost, 9)

    again = flash.mounted()
    for doubtful in (1, 5):  # any of them may have been in the first
        with pytest.raises(Unreadable):
            again.read(doubtful, 1)
    assert [number_at(again, lp) for lp in (2, 4)] == [3, 4]
    with pytest.raises(WornOut):
        again.write(4, page(9), ALL)
    with pytest.raises(WornOut):
        again.trim(4, 1, 1)


def test_records_of_a_block_that_are_all_lost_let_nothing_be_answered() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(3))), ALL)
    for number in range(3):
        flip_record(flash.nand, number, 9)

    with pytest.raises(Unreadable):
        flash.mounted().read(0, 1)


def test_discarded_medium_is_in_no_doubt() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(3))), ALL)
    for number in range(3):
        flip_record(flash.nand, number, 9)
    translation = flash.mounted()
    translation.discard(1)
    translation.write(5, page(5), ALL)

    again = Translation(flash.nand, 0, SHAPE.block_count, PAGES, 1)
    assert held(again) == {lp: 5 if lp == 5 else None for lp in range(PAGES)}


def test_block_that_can_neither_be_read_nor_erased_is_out_of_use_after_a_discard() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, page(0), ALL)
    flip_record(flash.nand, 0, 9)
    flash.nand.fail_next(0)
    flash.mounted().discard(1)

    again = Translation(flash.nand, 0, SHAPE.block_count, PAGES, 1)
    again.write(0, page(5), ALL)
    assert flash.nand.is_bad(0)
    assert number_at(again, 0) == 5


def test_lost_page_of_the_map_brings_nothing_back_that_was_trimmed() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(2))), ALL)
    translation.trim(1, 1, 1)
    flip_data(flash.nand, 2, 9)

    for again in (flash.mounted(), flash.mounted()):
        for covered in (0, 1):
            with pytest.raises(Unreadable):
                again.read(covered, 1)


def test_lost_page_of_the_map_costs_what_it_covers_until_that_is_written_again() -> None:
    flash = Flash(shape=Geometry(40, BLOCK_PAGES, PAGE_BYTES, 64))
    covered, beyond = PAGE_BYTES // 8 - 1, PAGE_BYTES // 8

    def mounted() -> Translation:
        return Translation(flash.nand, 0, 40, 2 * beyond, 0)

    translation = mounted()
    translation.write(covered - 1, b"".join(map(page, range(3))), ALL)
    translation.trim(covered, 1, 1)
    flip_data(flash.nand, 3, 9)
    assert number_at(mounted(), beyond) == 2
    mounted().write(covered, page(7), ALL)

    for number in range(200):  # until all has moved
        mounted().write(2 * beyond - 1, page(number), ALL)
    again = mounted()
    assert [number_at(again, lp) for lp in (covered, beyond)] == [7, 2]
    with pytest.raises(Unreadable):
        again.read(covered - 1, 1)


def test_page_of_the_map_moves_before_it_is_lost() -> None:
    flash = Flash()
    flash.mounted().write(0, b"".join(map(page, range(4))), ALL)
    flash.mounted().trim(1, 1, 1)
    flash.nand.flip(BLOCK_PAGES, range(7))  # where the page of the map stands
    assert number_at(flash.mounted(), 0) == 0
    flash.nand.flip(BLOCK_PAGES, range(100, 107))  # where it stood, it would be lost now

    assert flash.nand.read(BLOCK_PAGES) is None
    assert [number_at(flash.mounted(), lp) for lp in range(3)] == [0, None, 2]
