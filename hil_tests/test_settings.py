"""What a host has the drive remember: newest first, by epoch, whole or not at all."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.settings import BLOCKS, Settings, SettingsStore
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import PowerCut, Supply, Torn

SHAPE = Geometry(BLOCKS + 1, 4, 512, 64)
BOTH = Settings(b"pages", b"key")


class Flash:
    """A part on its own, which can be switched on again."""

    def __init__(self) -> None:
        self.supply = Supply()
        self.nand = Nand(SHAPE, MemoryCells(SHAPE.page_bytes), self.supply, Clock(), Timing())

    def store(self, epoch: int = 7) -> SettingsStore:
        """Return what a power-up finds."""
        self.supply.power_on()
        return SettingsStore(self.nand, 1, lambda: epoch)


def test_settings_are_the_newest_ones_however_often_they_change() -> None:
    flash = Flash()
    kept = flash.store()
    for number in range(40):
        kept.save(Settings(bytes((number,)), b"registration"))
        assert flash.store().value == kept.value == Settings(bytes((number,)), b"registration")


def test_settings_of_another_epoch_are_none() -> None:
    flash = Flash()
    kept = flash.store()
    kept.save(Settings(b"pages"))

    assert flash.store(epoch=8).value == Settings()
    assert flash.store().value == Settings(b"pages")


def test_settings_that_do_not_change_cost_no_page() -> None:
    flash = Flash()
    kept = flash.store()
    kept.save(replace(kept.value, mode_pages=b"pages"))
    written = flash.nand.programmed_in(2)
    kept.save(Settings(b"pages"))

    assert flash.nand.programmed_in(2) == written


@pytest.mark.parametrize("cut", range(0, 28))
def test_record_that_is_cut_short_or_altered_is_none(cut: int) -> None:
    whole = Settings(b"pages", b"key").encode(7)
    altered = whole[:cut] + bytes((whole[cut % len(whole)] ^ 1,)) + whole[cut + 1 :]

    assert Settings.decode(whole, 7) == Settings(b"pages", b"key")
    assert cut >= len(whole) or Settings.decode(whole[:cut], 7) is None
    assert cut >= len(whole) or Settings.decode(altered, 7) is None


@pytest.mark.parametrize("torn", [None, *Torn])
@pytest.mark.parametrize("saved", [3, 4, 5])  # a block has room for four: the next is begun
def test_cut_leaves_the_settings_of_before_or_of_after(torn: Torn | None, saved: int) -> None:
    steps = 0
    while True:
        steps += 1
        flash = Flash()
        kept = flash.store()
        for number in range(saved):
            kept.save(Settings(bytes((number,))))
        before = kept.value
        flash.supply.cut_at(steps, torn)
        with contextlib.suppress(PowerCut):
            kept.save(BOTH)
        if flash.supply.cut_name is None:
            break

        assert flash.store().value in (before, BOTH)
    assert steps > 1


@given(st.binary(max_size=80), st.integers(0, 2**32 - 1))
def test_any_page_holds_settings_or_none(page: bytes, epoch: int) -> None:
    found = Settings.decode(page, epoch)

    assert found is None or found.encode(epoch) == page[: len(found.encode(epoch))]
