"""A translation layer on a flash part of its own, for tests: numbers in its logical pages."""

from firmware_model.firmware.translation import Translation, blocks_needed
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.endurance import Endurance
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import Supply

PAGES = 24
BLOCK_PAGES = 4
PAGE_BYTES = 512
SHAPE = Geometry(blocks_needed(PAGES, BLOCK_PAGES, 7), BLOCK_PAGES, PAGE_BYTES, 64)
ALL = 1  # a page of one sector
STEADY = Endurance(cycles=10_000_000)


class Flash:
    """A part on its own, which can be switched on again."""

    def __init__(
        self, endurance: Endurance = STEADY, shape: Geometry = SHAPE, pages: int = PAGES
    ) -> None:
        self.supply, self.clock, self.shape, self.pages = Supply(), Clock(), shape, pages
        self.nand = Nand(
            shape, MemoryCells(shape.page_bytes), self.supply, self.clock, Timing(), endurance
        )

    def mounted(self) -> Translation:
        return Translation(self.nand, 0, self.shape.block_count, self.pages, 0)


def page(number: int) -> bytes:
    """Return the content that stands for a number."""
    return number.to_bytes(4, "big") * (PAGE_BYTES // 4)


def number_at(translation: Translation, logical_page: int) -> int | None:
    """Return the number whose content a page holds, or None for one that holds nothing."""
    stored = translation.read(logical_page, 1)
    number = int.from_bytes(stored.data[:4], "big")
    assert stored.valid in ([0], [ALL])
    assert not stored.valid[0] or stored.data == page(number)
    return number if stored.valid[0] else None


def held(translation: Translation) -> dict[int, int | None]:
    """Return what every logical page holds."""
    return {lp: number_at(translation, lp) for lp in range(translation.logical_pages)}
