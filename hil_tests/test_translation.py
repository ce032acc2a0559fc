"""The flash translation layer and the volume, held to a dict and to cuts at every step."""

import contextlib
import hashlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.firmware.sector_cipher import XtsSectors
from firmware_model.firmware.translation import Translation, blocks_needed
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import PowerCut, Supply
from hil_tests.flash_part import program

PAGES = 20
SHAPE = Geometry(blocks_needed(PAGES, 4, 7) + 1, pages_per_block=4)
FIRST, COUNT = 1, SHAPE.block_count - 1
MEK = hashlib.sha512(b"a key").digest()


class Flash:
    """A part on its own, which can be switched on again."""

    def __init__(self) -> None:
        self.supply, self.clock = Supply(), Clock()
        self.nand = Nand(SHAPE, MemoryCells(SHAPE.page_bytes), self.supply, self.clock, Timing())

    def mounted(self, epoch: int = 0) -> Translation:
        return Translation(self.nand, FIRST, COUNT, PAGES, epoch)


def page(number: int) -> bytes:
    return hashlib.shake_128(number.to_bytes(4, "big")).digest(4096)


def held(translation: Translation) -> dict[int, bytes]:
    stored = {lp: translation.read(lp, 1) for lp in range(PAGES)}
    return {lp: bytes(found.data) for lp, found in stored.items() if found.valid != [0]}


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, PAGES - 1), st.booleans()), max_size=150))
def test_pages_are_those_last_written_across_collection_and_mounts(
    writes: list[tuple[int, bool]],
) -> None:
    flash, expected = Flash(), {}
    translation = flash.mounted()
    for number, (logical_page, remounts) in enumerate(writes):
        translation.write(logical_page, page(number), 0xFF)
        expected[logical_page] = page(number)
        if remounts:
            translation = flash.mounted()

    assert held(translation) == expected
    assert held(flash.mounted()) == expected


def test_full_volume_is_overwritten_many_times_without_an_end() -> None:
    flash = Flash()
    translation = flash.mounted()
    for number in range(PAGES * 30):
        translation.write(number % PAGES, page(number), 0xFF)

    last = {number % PAGES: page(number) for number in range(PAGES * 29, PAGES * 30)}
    assert held(flash.mounted()) == last


def test_cut_at_any_step_of_collection_keeps_every_answered_page() -> None:
    for cut in range(1, 60):
        flash, answered = Flash(), {}
        translation = flash.mounted()
        for number in range(PAGES * 2):
            translation.write(number % PAGES, page(number), 0xFF)
            answered[number % PAGES] = page(number)
        flash.supply.cut_at(cut)
        writing = -1
        try:
            for number in range(1000, 1060):
                writing = number % PAGES
                translation.write(writing, page(number), 0xFF)
                answered[writing] = page(number)
        except PowerCut:
            flash.supply.power_on()
        found = held(flash.mounted())

        assert {lp: data for lp, data in found.items() if lp != writing} == {
            lp: data for lp, data in answered.items() if lp != writing
        }
        assert found[writing] in (answered[writing], page(number))


def test_writes_go_on_after_a_collection_was_cut_at_any_step() -> None:
    chance = random.Random(0)
    for cut in range(1, 100):
        flash, answered = Flash(), {}
        translation = flash.mounted()
        for number in range(PAGES * 2):
            translation.write(number % PAGES, page(number), 0xFF)
        flash.supply.cut_at(cut)
        with contextlib.suppress(PowerCut):
            for number in range(1000, 1100):
                translation.write(chance.randrange(PAGES), page(number), 0xFF)
        flash.supply.power_on()
        flash.supply.cut_at(None)
        translation = flash.mounted()
        for number in range(2000, 2060):
            logical_page = chance.randrange(PAGES)
            translation.write(logical_page, page(number), 0xFF)
            answered[logical_page] = page(number)

        found = held(flash.mounted())
        assert {lp: found[lp] for lp in answered} == answered


def test_pages_of_an_older_epoch_are_never_read_again() -> None:
    flash = Flash()
    flash.mounted(epoch=1).write(3, page(1), 0xFF)

    assert held(flash.mounted(epoch=2)) == {}
    assert held(flash.mounted(epoch=1)) == {3: page(1)}


@given(st.binary(max_size=32), st.binary(max_size=200))
def test_any_bytes_in_a_page_mount(spare: bytes, data: bytes) -> None:
    flash = Flash()
    program(flash.nand, FIRST * SHAPE.pages_per_block, data, spare)

    translation = flash.mounted()
    translation.write(0, page(1), 0xFF)

    assert held(translation)[0] == page(1)


def test_page_that_claims_the_last_sequence_number_stops_no_write() -> None:
    flash = Flash()
    record = struct.pack(">BIIIQ", 0xD1, 0xFF, 0, 0, 2**64 - 1)
    program(flash.nand, FIRST * SHAPE.pages_per_block, page(0), record)

    translation = flash.mounted()
    translation.write(0, page(1), 0xFF)

    assert held(flash.mounted()) == {0: page(1)}


def test_page_outside_the_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="no logical page"):
        Flash().mounted().write(PAGES, page(0), 0xFF)


# --- the volume ---------------------------------------------------------------------------------


def volume(flash: Flash) -> Volume:
    return Volume(flash.mounted(), XtsSectors(MEK), SHAPE.page_bytes)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, PAGES * 8 - 1), st.integers(1, 20)), max_size=25),
    st.integers(0, PAGES * 8 - 1),
    st.integers(1, 40),
)
def test_blocks_read_back_and_what_was_never_written_is_zero(
    writes: list[tuple[int, int]], lba: int, count: int
) -> None:
    flash, expected = Flash(), bytearray(PAGES * 4096)
    writer = volume(flash)
    for number, (first, blocks) in enumerate(writes):
        blocks = min(blocks, PAGES * 8 - first)
        data = hashlib.shake_128(bytes((number,))).digest(blocks * 512)
        writer.write(first, data)
        expected[first * 512 : (first + blocks) * 512] = data
    count = min(count, PAGES * 8 - lba)

    assert volume(flash).read(lba, count) == expected[lba * 512 : (lba + count) * 512]


def test_flash_holds_ciphertext_of_the_blocks_address() -> None:
    flash = Flash()
    data = bytes(range(256)) * 16
    volume(flash).write(8, data)

    stored = flash.mounted().read(1, 1)

    assert stored.data == XtsSectors(MEK).encrypt(8, data)
