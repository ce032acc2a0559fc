"""The two areas of firmware in flash: blocks that fail, bits that flip, flash that was forged."""

import pytest

from firmware_model.firmware.firmware_slots import SLOTS, FirmwareSlots, blocks_needed
from firmware_model.firmware.medium import WornOut
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import PowerCut, Supply, Torn
from firmware_model.image_signing import signed_image
from firmware_model.wire.firmware_image import IMAGE_BYTES_MAX, Version

A, B = FirmwareSlot.A, FirmwareSlot.B
PAGES, PAGE_BYTES = 4, 2048
FIRST = 3  # some block of the part: what is before it is not ours
NEEDED = blocks_needed(PAGES * PAGE_BYTES)
FILLER = bytes(i * 13 & 0xFF for i in range(30_000))  # fifteen pages: four blocks
IMAGE = signed_image("native", Version(1, 1, 0), 2, filler=FILLER)


class Slots:
    """The areas on a part of their own."""

    def __init__(self) -> None:
        self.supply = Supply()
        geometry = Geometry(FIRST + NEEDED, PAGES, PAGE_BYTES)
        self.nand = Nand(geometry, MemoryCells(geometry.page_bytes), self.supply, Clock(), Timing())
        self.slots = FirmwareSlots(self.nand, FIRST)

    def fill(self, slot: FirmwareSlot, data: bytes = IMAGE, size: int = 2 * PAGE_BYTES) -> None:
        for offset in range(0, len(data), size):
            self.slots.program(slot, offset, data[offset : offset + size])


@pytest.fixture
def on() -> Slots:
    return Slots()


@pytest.mark.parametrize("size", [PAGE_BYTES, 3 * PAGE_BYTES, 1 << 17])
def test_image_is_read_as_it_was_stored(on: Slots, size: int) -> None:
    on.fill(A, size=size)
    on.fill(B, IMAGE[:-1] + b"\0", size=size)

    assert on.slots.read(A) == IMAGE
    assert on.slots.read(B) == IMAGE[:-1] + b"\0"


def test_longest_image_fits_with_blocks_to_spare(on: Slots) -> None:
    rest = IMAGE_BYTES_MAX - 128
    longest = signed_image("native", Version(1, 1, 0), 2, filler=bytes(rest))
    assert len(longest) == IMAGE_BYTES_MAX
    for block in on.slots.good_blocks(A)[:2]:
        on.nand.mark_bad(block)

    on.fill(A, longest)

    assert on.slots.read(A) == longest


def test_new_image_takes_the_place_of_the_old_one(on: Slots) -> None:
    on.fill(A)
    short = signed_image("native", Version(1, 2, 0), 2)

    on.fill(A, short)

    assert on.slots.read(A) == short


@pytest.mark.parametrize("slot", SLOTS)
def test_empty_slot_holds_no_image(on: Slots, slot: FirmwareSlot) -> None:
    assert on.slots.read(slot) is None


def test_image_that_was_not_stored_to_its_end_reads_as_something_else(on: Slots) -> None:
    on.slots.program(A, 0, IMAGE[: 4 * PAGE_BYTES])

    assert on.slots.read(A) not in (None, IMAGE)


@pytest.mark.parametrize("failing", range(5))
def test_block_that_fails_is_passed_over(on: Slots, failing: int) -> None:
    on.nand.fail_next(on.slots.good_blocks(A)[failing])

    on.fill(A)

    assert on.slots.read(A) == IMAGE


@pytest.mark.parametrize("page", range(1, 15))
def test_what_stood_in_a_block_that_fails_is_copied(on: Slots, page: int) -> None:
    on.slots.program(A, 0, IMAGE[: page * PAGE_BYTES])
    block = on.slots.good_blocks(A)[page // PAGES]
    on.nand.fail_next(block)

    for offset in range(page * PAGE_BYTES, len(IMAGE), PAGE_BYTES):
        on.slots.program(A, offset, IMAGE[offset : offset + PAGE_BYTES])

    assert on.nand.is_bad(block)
    assert on.slots.read(A) == IMAGE


def test_area_without_good_blocks_is_worn_out_and_holds_nothing(on: Slots) -> None:
    on.fill(A)
    for block in on.slots.good_blocks(A):
        on.nand.mark_bad(block)

    assert on.slots.read(A) is None
    with pytest.raises(WornOut, match="no good block of firmware slot A"):
        on.fill(A)
    on.fill(B)
    assert on.slots.read(B) == IMAGE


def test_piece_without_those_before_it_is_not_stored(on: Slots) -> None:
    with pytest.raises(WornOut):
        on.slots.program(A, PAGE_BYTES, IMAGE[PAGE_BYTES : 2 * PAGE_BYTES])


def test_page_with_more_flipped_bits_than_the_ecc_corrects_makes_no_image(on: Slots) -> None:
    on.fill(A)
    page = on.slots.good_blocks(A)[1] * PAGES
    on.nand.flip(page, [5])
    assert on.slots.read(A) == IMAGE

    on.nand.flip(page, range(0, 8 * PAGE_BYTES, 50))

    assert on.slots.read(A) is None


@pytest.mark.parametrize("torn", Torn)
def test_area_whose_erase_was_cut_is_erased_again(on: Slots, torn: Torn) -> None:
    on.fill(A)
    on.supply.cut_at(1, torn)
    with pytest.raises(PowerCut):
        on.fill(A)
    on.supply.power_on()

    on.fill(A)

    for _ in range(4):  # what was programmed too weakly reads right a few times
        assert on.slots.read(A) == IMAGE


@pytest.mark.parametrize("marked", range(6))
def test_forged_mark_of_a_bad_block_is_an_image_damaged_and_no_more(on: Slots, marked: int) -> None:
    on.fill(A)

    on.nand.mark_bad(on.slots.good_blocks(A)[marked])

    assert (on.slots.read(A) == IMAGE) == (marked >= 4)
