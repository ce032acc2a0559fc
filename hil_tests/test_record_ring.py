"""A ring of records in flash: order, bad blocks, and cuts of every kind."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.medium import WornOut
from firmware_model.firmware.record_ring import RecordRing, RingEntry
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import PowerCut, Supply, Torn

KIND = 0x55
BLOCKS, BLOCK_PAGES = 4, 4
SHAPE = Geometry(BLOCKS + 1, BLOCK_PAGES, 512, 64)


class Flash:
    """A part on its own, which can be switched on again."""

    def __init__(self) -> None:
        self.supply = Supply()
        self.nand = Nand(SHAPE, MemoryCells(SHAPE.page_bytes), self.supply, Clock(), Timing())

    def mounted(self) -> tuple[RecordRing, list[RingEntry]]:
        ring = RecordRing(self.nand, 1, BLOCKS, KIND)
        return ring, ring.mount()


def append(ring: RecordRing, number: int) -> int:
    return ring.append(KIND, number, number.to_bytes(4, "big"), "record", "ring block")


def test_records_come_back_in_the_order_they_were_appended() -> None:
    flash = Flash()
    for number in (3, 1, 2):
        ring, _ = flash.mounted()
        append(ring, number)

    assert [entry.number for entry in flash.mounted()[1]] == [3, 1, 2]


def test_ring_goes_round_over_its_oldest_block() -> None:
    flash = Flash()
    ring, _ = flash.mounted()
    for number in range(100):
        append(ring, number)

    assert [entry.number for entry in flash.mounted()[1]] == list(range(84, 100))
    assert flash.nand.programmed_in(0) == 0


def test_torn_record_holds_nothing_when_others_follow_it_in_its_block() -> None:
    flash = Flash()
    append(flash.mounted()[0], 1)
    for number, torn in ((2, Torn.WEAK), (3, Torn.HALF)):
        flash.supply.cut_at(1, torn)
        with pytest.raises(PowerCut):
            append(flash.mounted()[0], number)
        flash.supply.power_on()
    append(flash.mounted()[0], 4)

    assert [entry.number for entry in flash.mounted()[1]] == [1, 4]
    assert flash.nand.programmed_in(1) == BLOCK_PAGES


def test_block_that_fails_is_passed_over_and_keeps_what_it_has() -> None:
    flash = Flash()
    ring, _ = flash.mounted()
    for number in range(6):
        append(ring, number)
    flash.nand.fail_next(2)
    for number in range(6, 10):
        append(ring, number)

    assert flash.nand.is_bad(2)
    assert [entry.number for entry in flash.mounted()[1]] == list(range(10))


def test_ring_of_bad_blocks_says_that_it_is_worn_out() -> None:
    flash = Flash()
    ring, _ = flash.mounted()
    for number in range(BLOCK_PAGES):
        append(ring, number)
    for block in (2, 3, 4):
        flash.nand.fail_next(block)

    with pytest.raises(WornOut):
        append(ring, 9)
    assert [entry.number for entry in flash.mounted()[1]] == [0, 1, 2, 3]


def test_wiped_ring_is_blank_but_for_bad_blocks() -> None:
    flash = Flash()
    ring, _ = flash.mounted()
    for number in range(9):
        append(ring, number)
    ring.wipe("ring block")

    assert ring.is_blank
    assert flash.mounted()[1] == []
    append(ring, 10)
    assert [entry.number for entry in flash.mounted()[1]] == [10]


@pytest.mark.parametrize("torn", [None, *Torn])
def test_cut_anywhere_twice_loses_no_record_of_the_last_blocks(torn: Torn | None) -> None:
    for first in range(1, 30):
        for second in range(1, 12):
            flash, answered, number = Flash(), [], 0
            for cut in (first, second):
                ring, _ = flash.mounted()
                flash.supply.cut_at(cut, torn)
                with contextlib.suppress(PowerCut):
                    while True:
                        number += 1
                        append(ring, number)
                        answered.append(number)
                flash.supply.power_on()
            found = [entry.number for entry in flash.mounted()[1]]

            kept = answered[-(BLOCKS - 2) * BLOCK_PAGES + 2 :]
            assert [each for each in found if each in kept] == kept, (first, second)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=512))
def test_any_record_mounts_and_appending_goes_on(record: bytes, data: bytes) -> None:
    flash = Flash()
    ring, _ = flash.mounted()
    append(ring, 7)
    flash.nand.program(BLOCK_PAGES + 1, data, record, "forgery")
    ring, _ = flash.mounted()
    append(ring, 8)

    numbers = [entry.number for entry in flash.mounted()[1]]
    assert {7, 8} <= set(numbers)
