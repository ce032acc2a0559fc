"""The translation layer under power cuts, torn and again and again; held to a dict."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.firmware.translation import blocks_needed
from firmware_model.hardware.nand import Geometry
from firmware_model.hardware.supply import PowerCut, Torn
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


def tight(pages: int, block_pages: int) -> Flash:
    """Return a part that has as many blocks as it needs after two went bad."""
    shape = Geometry(blocks_needed(pages, block_pages, 7), block_pages, PAGE_BYTES, 64)
    flash = Flash(shape=shape, pages=pages)
    for block in (3, 11):
        flash.nand.mark_bad(block)
    return flash


@pytest.mark.parametrize("seed", range(16))
def test_full_medium_takes_hundreds_of_cuts_and_loses_nothing_that_was_answered(seed: int) -> None:
    chance = random.Random(seed)
    flash = tight(pages=chance.choice((64, 130, 150)), block_pages=chance.choice((4, 8, 16)))
    translation = flash.mounted()
    translation.write(0, b"".join(map(page, range(flash.pages))), ALL)
    allowed: dict[int, set[int | None]] = {lp: {lp} for lp in range(flash.pages)}
    for number in range(1000, 1200):
        first = chance.randrange(flash.pages)
        count = min(chance.choice((1, 1, 2, 5, 20, 150)), flash.pages - first)
        is_trim = not chance.randrange(8)
        change: dict[int, set[int | None]] = {
            lp: {None if is_trim else number} for lp in range(first, first + count)
        }
        if chance.randrange(3):
            flash.supply.cut_at(chance.randrange(1, 40), chance.choice((None, *Torn)))
        try:
            if is_trim:
                translation.trim(first, count, 1)
            else:
                translation.write(first, page(number) * count, ALL)
            allowed |= change
        except PowerCut:
            flash.supply.power_on()
            translation = flash.mounted()
            seen = held(translation)
            for lp, possible in change.items():
                allowed[lp] |= possible
            assert all(seen[lp] in allowed[lp] for lp in seen)
            allowed = {lp: {each} for lp, each in seen.items()}

    flash.supply.cut_at(None)
    assert [{each} for each in held(flash.mounted()).values()] == list(allowed.values())
