"""Wrapped keys in flash: a ring of blocks, whole records only."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.keystore import BLOCKS, KeyRecord, KeyStore
from firmware_model.firmware.reference import RecordsAlone
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import Slot
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import PowerCut, Supply, Torn
from hil_tests.flash_part import program, programmed

SHAPE = Geometry(BLOCKS, pages_per_block=8)


class Flash:
    """A few blocks, which can be switched on again."""

    def __init__(self, shape: Geometry = SHAPE) -> None:
        self.supply, self.clock = Supply(), Clock()
        self.nand = Nand(shape, MemoryCells(shape.page_bytes), self.supply, self.clock, Timing())

    def age(self, share: float) -> None:
        """Let a share of the time pass for which flash keeps what is in it."""
        days = self.nand.endurance.retention_days
        self.clock.charge(int(share * days * 24 * 3600 * 1_000_000))

    def mounted(self, epoch: int = 0) -> KeyStore:
        return KeyStore(self.nand, 0, epoch, RecordsAlone())


def record(slot: Slot, generation: int, epoch: int = 0) -> KeyRecord:
    return KeyRecord(slot, generation, epoch, b"s" * 16, bytes((slot, generation)) * 36)


USER, ADMIN = Slot.USER, Slot.ADMIN


def test_record_is_found_by_slot_and_generation_after_a_power_cycle() -> None:
    flash = Flash()
    flash.mounted().write(record(USER, 1), frozenset({(USER, 1)}))

    assert flash.mounted().find(USER, 1) == record(USER, 1)
    assert flash.mounted().find(USER, 2) is None
    assert flash.mounted().find(ADMIN, 1) is None
    assert flash.mounted(epoch=1).find(USER, 1) is None


def test_what_counts_moves_on_when_a_block_is_full() -> None:
    flash = Flash()
    store = flash.mounted()
    store.write(record(ADMIN, 1), frozenset({(ADMIN, 1)}))
    for generation in range(1, 30):
        keep = frozenset({(ADMIN, 1), (USER, generation), (USER, generation - 1)})
        store.write(record(USER, generation), keep)

    again = flash.mounted()
    assert again.find(USER, 29) == record(USER, 29)
    assert again.find(ADMIN, 1) == record(ADMIN, 1)


@pytest.mark.parametrize("torn", Torn)
@pytest.mark.parametrize("step", range(1, 6))
def test_changes_torn_one_after_another_lose_no_record_that_counts(step: int, torn: Torn) -> None:
    flash, keep = Flash(), frozenset({(ADMIN, 1), (USER, 1)})
    for slot in (ADMIN, USER):
        flash.mounted().write(record(slot, 1), keep)
    for generation in range(2, 20):
        flash.supply.cut_at(step, torn)
        with contextlib.suppress(PowerCut):
            flash.mounted().write(record(USER, generation), keep | {(USER, generation)})
        flash.supply.power_on()
        flash.supply.cut_at(None)

        assert flash.mounted().find(ADMIN, 1) == record(ADMIN, 1)
        assert flash.mounted().find(USER, 1) == record(USER, 1)


def test_cut_at_any_step_loses_no_record_that_counts() -> None:
    for cut in range(1, 25):
        flash = Flash()
        store = flash.mounted()
        store.write(record(ADMIN, 1), frozenset({(ADMIN, 1)}))
        flash.supply.cut_at(cut)
        generation = 0
        try:
            for generation in range(1, 12):
                keep = frozenset({(ADMIN, 1), (USER, generation), (USER, generation - 1)})
                store.write(record(USER, generation), keep)
        except PowerCut:
            flash.supply.power_on()
        flash.supply.cut_at(None)
        again = flash.mounted()

        assert again.find(ADMIN, 1) == record(ADMIN, 1)
        known = {again.find(USER, generation), again.find(USER, generation - 1)}
        assert known & {record(USER, generation), record(USER, generation - 1)} or generation == 1
        again.write(record(USER, 50), frozenset({(ADMIN, 1), (USER, 50)}))
        assert flash.mounted().find(USER, 50) == record(USER, 50)


def test_second_cut_loses_no_record_that_a_first_one_left_behind() -> None:
    others = (ADMIN, Slot.RECOVERY_1, Slot.RECOVERY_2)
    for first in range(1, 16):
        for second in range(1, 14):
            flash = Flash(Geometry(BLOCKS, pages_per_block=16))
            for block in range(2, BLOCKS):
                flash.nand.mark_bad(block)  # two are left, which is as few as can be
            generation = 0
            for cut in (first, second, None):
                store = flash.mounted()
                for slot in others if not generation else ():
                    store.write(record(slot, 1), frozenset((other, 1) for other in others))
                flash.supply.cut_at(cut)
                with contextlib.suppress(PowerCut):
                    for _ in range(14):
                        newer = generation + 1
                        keep = {(USER, generation), (USER, newer), *((slot, 1) for slot in others)}
                        store.write(record(USER, newer), frozenset(keep))
                        generation = newer
                flash.supply.power_on()

            again = flash.mounted()
            assert [again.find(slot, 1) for slot in others] == [record(s, 1) for s in others]
            assert again.find(USER, generation) == record(USER, generation)


def test_wiped_store_holds_nothing_of_any_epoch() -> None:
    flash = Flash()
    store = flash.mounted()
    store.write(record(USER, 1), frozenset({(USER, 1)}))
    store.wipe(1)

    assert programmed(flash.nand) == []
    assert flash.mounted().is_blank
    store.write(record(USER, 2, epoch=1), frozenset({(USER, 2)}))
    assert flash.mounted(epoch=1).find(USER, 2) == record(USER, 2, epoch=1)


@given(st.binary(max_size=300))
def test_any_bytes_in_a_page_are_a_record_or_none(data: bytes) -> None:
    flash = Flash()
    program(flash.nand, 0, data)

    store = flash.mounted()

    assert store.find(USER, 0) is None or data.startswith(b"KEYS")
    store.write(record(USER, 1), frozenset({(USER, 1)}))
    assert flash.mounted().find(USER, 1) == record(USER, 1)


@given(st.sampled_from(Slot), st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=255))
def test_record_reads_back_and_no_flip_of_a_bit_passes(
    slot: Slot, generation: int, wrapped: bytes
) -> None:
    whole = KeyRecord(slot, generation, 7, b"0123456789abcdef", wrapped)
    page = whole.encode().ljust(4096, b"\xff")

    assert KeyRecord.decode(page) == whole
    for at in range(len(whole.encode())):
        assert KeyRecord.decode(page[:at] + bytes((page[at] ^ 1,)) + page[at + 1 :]) != whole


def test_records_are_written_anew_before_they_are_forgotten() -> None:
    flash, keep = Flash(), frozenset({(ADMIN, 1), (USER, 1)})
    for slot in (ADMIN, USER):
        flash.mounted().write(record(slot, 1), keep)
    for _ in range(5):
        flash.age(0.8)
        flash.mounted().refresh(keep)

    assert flash.mounted().find(ADMIN, 1) == record(ADMIN, 1)
    assert flash.mounted().find(USER, 1) == record(USER, 1)


def test_records_as_good_as_new_are_not_written_anew() -> None:
    flash, keep = Flash(), frozenset({(USER, 1)})
    flash.mounted().write(record(USER, 1), keep)
    flash.age(0.5)
    before = flash.supply.count
    flash.mounted().refresh(keep)

    assert flash.supply.count == before


@pytest.mark.parametrize("torn", [None, *Torn])
def test_refresh_cut_again_and_again_loses_no_record(torn: Torn | None) -> None:
    for step in range(1, 6):
        flash, keep = Flash(), frozenset({(ADMIN, 1), (USER, 1)})
        for slot in (ADMIN, USER):
            flash.mounted().write(record(slot, 1), keep)
        flash.age(0.8)
        for _ in range(10):
            flash.supply.cut_at(step, torn)
            with contextlib.suppress(PowerCut):
                flash.mounted().refresh(keep)
            flash.supply.power_on()
        flash.supply.cut_at(None)
        flash.mounted().refresh(keep)
        flash.age(0.8)

        assert flash.mounted().find(ADMIN, 1) == record(ADMIN, 1)
        assert flash.mounted().find(USER, 1) == record(USER, 1)
