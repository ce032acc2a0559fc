"""The translation layer on a medium that fails: torn, worn, flipped, trimmed; held to a dict."""

import contextlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.firmware.block_use import WEAR_SPREAD
from firmware_model.firmware.medium import Unreadable, WornOut
from firmware_model.firmware.page_map import PAGE_SHIFT
from firmware_model.firmware.translation import Translation, blocks_needed
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.endurance import Endurance
from firmware_model.hardware.faults import flip_data, flip_record
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import PowerCut, Supply, Torn

PAGES = 24
BLOCK_PAGES = 4
PAGE_BYTES = 512
SHAPE = Geometry(blocks_needed(PAGES, BLOCK_PAGES, 7), BLOCK_PAGES, PAGE_BYTES, 64)
ALL = 1  # a page of one sector
STEADY = Endurance(cycles=10_000_000)


class Flash:
    """A part on its own, which can be switched on again."""

    def __init__(self, endurance: Endurance = STEADY, shape: Geometry = SHAPE) -> None:
        self.supply, self.clock, self.shape = Supply(), Clock(), shape
        self.nand = Nand(
            shape, MemoryCells(shape.page_bytes), self.supply, self.clock, Timing(), endurance
        )

    def mounted(self) -> Translation:
        return Translation(self.nand, 0, self.shape.block_count, PAGES, 0)


def page(number: int) -> bytes:
    return number.to_bytes(4, "big") * (PAGE_BYTES // 4)


def number_at(translation: Translation, logical_page: int) -> int | None:
    """Return the number whose content a page holds, or None for one that holds nothing."""
    stored = translation.read(logical_page, 1)
    number = int.from_bytes(stored.data[:4], "big")
    assert stored.valid in ([0], [ALL])
    assert not stored.valid[0] or stored.data == page(number)
    return number if stored.valid[0] else None


def held(translation: Translation) -> dict[int, int | None]:
    return {lp: number_at(translation, lp) for lp in range(PAGES)}


TORN = st.sampled_from((None, *Torn))
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, PAGES - 1), st.integers(1, 6)),
        st.tuples(st.just("trim"), st.integers(0, PAGES - 1), st.integers(1, PAGES)),
        st.tuples(st.just("cut"), st.integers(1, 12), TORN),
        st.tuples(st.just("fail"), st.integers(0, SHAPE.block_count - 1), st.none()),
        st.tuples(st.just("mount"), st.none(), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(OPERATIONS)
def test_what_was_answered_is_there_whatever_is_cut_torn_or_failing(
    operations: list[tuple[str, int, int]],
) -> None:
    flash, counter, failing = Flash(), 0, 0
    translation = flash.mounted()
    allowed: dict[int, set[int | None]] = {lp: {None} for lp in range(PAGES)}
    for kind, first, second in operations:
        if kind == "mount":
            translation = flash.mounted()
        elif kind == "cut":
            flash.supply.cut_at(first, second)  # type: ignore[arg-type]
        elif kind == "fail":
            if failing < 2 and not flash.nand.is_bad(first):
                flash.nand.fail_next(first)
                failing += 1
        else:
            count = min(second, PAGES - first)
            numbers: list[int | None] = [None] * count
            if kind == "write":
                numbers = list(range(counter, counter + count))
                counter += count
            pages = range(first, first + count)
            try:
                if kind == "write":
                    data = b"".join(page(number or 0) for number in numbers)
                    translation.write(first, data, ALL)
                else:
                    translation.trim(first, count, 1)
                allowed |= {lp: {n} for lp, n in zip(pages, numbers, strict=True)}
            except PowerCut:
                flash.supply.power_on()
                translation = flash.mounted()
                for lp, number in zip(pages, numbers, strict=True):
                    allowed[lp] = {number_at(translation, lp)} & (allowed[lp] | {number})
    flash.supply.cut_at(None)

    for seen in (held(translation), held(flash.mounted()), held(flash.mounted())):
        assert all(seen[lp] in allowed[lp] for lp in range(PAGES)), (seen, allowed)


@pytest.mark.parametrize("torn", [None, *Torn])
def test_cut_torn_anywhere_and_again_at_recovery_loses_no_answered_page(torn: Torn | None) -> None:
    for cut in range(1, 40):
        for again in (1, 2, 3, 5):
            flash = Flash()
            translation = flash.mounted()
            answered = {}
            for number in range(2 * PAGES):
                translation.write(number * 5 % PAGES, page(number), ALL)
                answered[number * 5 % PAGES] = number
            writing = {}
            for when in (cut, again):
                flash.supply.cut_at(when, torn)
                with contextlib.suppress(PowerCut):
                    for number in range(100 * when, 100 * when + 30):
                        lp = number * 7 % PAGES
                        writing = {lp: number}
                        translation.write(lp, page(number), ALL)
                        answered[lp] = number
                flash.supply.power_on()
                flash.supply.cut_at(None)
                translation = flash.mounted()
                for lp, number in writing.items():
                    answered[lp] = number_at(translation, lp) or 0
                    assert answered[lp] in (number, answered[lp])

            assert held(translation) == answered


@pytest.mark.parametrize("torn", [None, *Torn])
def test_cuts_in_one_collection_after_another_leave_room_to_write(torn: Torn | None) -> None:
    chance, flash = random.Random(0), Flash()
    for block in (3, 7):  # as many as a drive of this size is made to lose
        flash.nand.mark_bad(block)
    translation = flash.mounted()
    for number in range(10 * PAGES):
        translation.write(number % PAGES, page(number), ALL)
    for number in range(200):
        flash.supply.cut_at(chance.randrange(1, 9), torn)
        with pytest.raises(PowerCut):
            while True:
                translation.write(chance.randrange(PAGES), page(number), ALL)
        flash.supply.power_on()
        translation = flash.mounted()
    for number in range(PAGES):
        translation.write(number, page(number), ALL)

    assert held(flash.mounted()) == {lp: lp for lp in range(PAGES)}


def test_block_that_cuts_fell_into_is_filled_further_and_torn_pages_in_it_hold_nothing() -> None:
    flash = Flash()
    flash.mounted().write(3, page(3), ALL)
    for torn in (Torn.WEAK, Torn.HALF):
        flash.supply.cut_at(1, torn)
        with pytest.raises(PowerCut):
            flash.mounted().write(3, page(4), ALL)
        flash.supply.power_on()
    again = flash.mounted()
    again.write(5, page(5), ALL)

    assert number_at(again, 3) == 3
    assert number_at(flash.mounted(), 3) == 3
    assert flash.nand.programmed_in(0) == BLOCK_PAGES


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


@pytest.mark.parametrize("cut", [1, 2])
def test_cut_trim_brings_back_no_older_copy_of_what_it_was_about_to_discard(cut: int) -> None:
    flash = Flash()
    for block in range(2, SHAPE.block_count):  # the first two are the least worn, and used first
        for _ in range(5):
            flash.nand.erase(block, "test")
    translation = flash.mounted()
    for number, logical_page in enumerate((3, 0, 1, 2, 3, 4, 5, 6)):
        translation.write(logical_page, page(number), ALL)
    flash.supply.cut_at(cut)
    with pytest.raises(PowerCut):  # the trim empties the second block, and makes room for itself
        translation.trim(3, 4, 1)
    flash.supply.power_on()

    assert number_at(flash.mounted(), 3) == 4


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

    assert flash.supply.names == []


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
