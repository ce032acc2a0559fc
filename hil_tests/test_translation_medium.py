"""The translation layer on a medium that is trimmed, worn and failing; held to a dict."""

import contextlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.firmware.block_use import WEAR_SPREAD
from firmware_model.firmware.medium import WornOut
from firmware_model.firmware.page_map import PAGE_SHIFT
from firmware_model.hardware.endurance import Endurance
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


def test_trimmed_pages_stay_away_through_mounts_and_collection() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(PAGES))), ALL)
    translation.trim(3, 6, 1)
    for number in range(100, 300):
        translation.write(12 + number % 12, page(number), ALL)
        if number % 20 == 0:
            translation = flash.mounted()

    seen = held(flash.mounted())
    assert [seen[lp] for lp in range(3, 9)] == [None] * 6
    assert [seen[lp] for lp in (0, 1, 2, 9, 10, 11)] == [0, 1, 2, 9, 10, 11]


def test_page_of_the_map_that_a_later_one_replaced_may_be_lost() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(PAGES))), ALL)
    translation.trim(0, 2, 1)
    translation.trim(4, 2, 1)
    flash.nand.flip(PAGES, range(0, 60, 3))  # where the first of the two stands

    assert flash.nand.read(PAGES) is None
    translation = flash.mounted()
    translation.write(0, page(50), ALL)
    assert [number_at(translation, lp) for lp in range(7)] == [50, None, 2, 3, None, None, 6]


def test_page_written_after_a_trim_is_there_and_its_neighbours_are_not() -> None:
    flash = Flash()
    flash.mounted().write(0, b"".join(map(page, range(PAGES))), ALL)
    flash.mounted().trim(0, PAGES, 1)
    flash.mounted().write(5, page(77), ALL)

    assert held(flash.mounted()) == {lp: 77 if lp == 5 else None for lp in range(PAGES)}


def test_sectors_of_a_page_are_trimmed_one_by_one() -> None:
    flash = Flash(shape=Geometry(SHAPE.block_count, BLOCK_PAGES, 2048, 128))
    flash.mounted().write(0, bytes(3 * 2048), 0b1111)
    flash.mounted().trim(3, 3, 4)

    assert flash.mounted().read(0, 3).valid == [0b0111, 0b1100, 0b1111]
    flash.mounted().trim(6, 2, 4)
    assert flash.mounted().read(0, 3).valid == [0b0111, 0, 0b1111]


def test_trim_of_what_holds_nothing_changes_no_flash() -> None:
    flash = Flash()
    flash.mounted().trim(0, PAGES, 1)

    assert flash.supply.count == 0


def test_failing_block_is_emptied_marked_and_passed_over() -> None:
    flash = Flash()
    translation = flash.mounted()
    for number in range(6):
        translation.write(number, page(number), ALL)
    flash.nand.fail_next(1)
    for number in range(6, 40):
        translation.write(number % PAGES, page(number), ALL)

    assert flash.nand.is_bad(1)
    seen = held(flash.mounted())
    assert seen == {lp: lp + PAGES if lp + PAGES < 40 else lp for lp in range(PAGES)}


@pytest.mark.parametrize("first", range(120, 130))
def test_block_that_fails_soon_after_another_leaves_room_to_write(first: int) -> None:
    for second in range(first + 1, first + 5):
        chance, flash, failed = random.Random(first), Flash(), 0
        translation = flash.mounted()
        translation.write(0, b"".join(map(page, range(PAGES))), ALL)
        for number in range(200):
            translation.write(chance.randrange(PAGES), page(number), ALL)
            if number in (first, second):  # the one that is filled, then the one erased next
                following = translation._use.least_worn_free()
                flash.nand.fail_next(following if failed else translation._open)
                failed += 1

        assert sum(map(flash.nand.is_bad, range(SHAPE.block_count))) == 2


@pytest.mark.parametrize("seed", range(60, 70))
def test_block_that_fails_as_a_tired_one_is_emptied_loses_no_page(seed: int) -> None:
    chance, flash, expected = random.Random(seed), Flash(), dict[int, int | None]()
    for block in range(2):
        flash.nand.mark_bad(block)
    translation = flash.mounted()
    for number in range(90):
        logical_page = chance.randrange(PAGES)
        translation.write(logical_page, page(number), ALL)
        expected[logical_page] = number
    with contextlib.suppress(WornOut):  # after too many failures
        for number in range(90, 102):
            trimmed, written, read = chance.sample(sorted(expected), 3)
            translation.trim(trimmed, 1, 1)
            expected[trimmed] = None
            place = int(translation._map.get(read, 1)[0] >> PAGE_SHIFT) - 1
            block, index = divmod(place, BLOCK_PAGES)
            if block >= 0 and index not in flash.nand.cells.raw(block):
                flash.nand.flip(place, range(7))
                if not chance.randrange(6):
                    flash.nand.fail_next(translation._open)
            assert number_at(translation, read) == expected[read]
            translation.write(written, page(number), ALL)
            expected[written] = number

    assert {lp: number_at(translation, lp) for lp in expected} == expected


def test_drive_without_good_blocks_says_so_and_keeps_what_it_has() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(PAGES))), ALL)
    with pytest.raises(WornOut):
        for number in range(1000):
            for block in range(SHAPE.block_count):
                if not flash.nand.is_bad(block):
                    flash.nand.fail_next(block)
            translation.write(number % PAGES, page(100 + number), ALL)

    assert all(number is not None for number in held(flash.mounted()).values())


def test_wear_is_levelled_though_half_of_the_pages_never_change() -> None:
    flash = Flash()
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(PAGES))), ALL)
    for number in range(40_000):
        translation.write(number % 4, page(number), ALL)

    erases = flash.nand.erase_counts(0, SHAPE.block_count)
    assert erases.min() > 0
    assert erases.max() - erases.min() < 2 * WEAR_SPREAD
    assert held(flash.mounted())[20] == 20


def test_read_disturb_is_outrun() -> None:
    flash = Flash(Endurance(cycles=10_000_000, reads=200))
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(PAGES))), ALL)
    for _ in range(2000):
        assert number_at(translation, 5) == 5

    assert held(flash.mounted()) == {lp: lp for lp in range(PAGES)}


@settings(max_examples=60)
@given(st.integers(0, SHAPE.page_count - 1), st.binary(min_size=32, max_size=32), st.binary())
def test_any_record_in_a_page_mounts_and_writes_go_on(
    place: int, record: bytes, data: bytes
) -> None:
    flash = Flash()
    translation = flash.mounted()
    for number in range(30):
        translation.write(number % PAGES, page(number), ALL)
    block = place // BLOCK_PAGES
    if flash.nand.programmed_in(block) < BLOCK_PAGES:
        free = block * BLOCK_PAGES + flash.nand.programmed_in(block)
        flash.nand.program(free, data[:PAGE_BYTES], record, "forgery")
    translation = flash.mounted()
    for number in range(100, 150):
        translation.write(number % PAGES, page(number), ALL)

    again = flash.mounted()
    assert {lp: number_at(again, lp) for lp in range(PAGES)} == {
        lp: max(n for n in range(100, 150) if n % PAGES == lp) for lp in range(PAGES)
    }


def test_mount_reads_the_same_map_that_was_in_use() -> None:
    flash = Flash()
    translation = flash.mounted()
    for number in range(500):
        translation.write(number * number % PAGES, page(number), ALL)
        if number % 31 == 0:
            translation.trim(number % PAGES, 3, 1)
    before = translation._map.get(0, PAGES).copy()

    assert np.array_equal(before, flash.mounted()._map.get(0, PAGES))
