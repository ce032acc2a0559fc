"""NAND flash: pages programmed once and in order, erased by the block.

Stricter than the part: an order the datasheet forbids is an error here, not corrupted data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.supply import Supply

ERASED = b"\xff"


class NandError(AssertionError):
    """The firmware broke a rule of the part: a bug of ours, never of a host's making."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of the array."""

    block_count: int
    pages_per_block: int = 64
    page_bytes: int = 4096
    spare_bytes: int = 64

    @property
    def page_count(self) -> int:
        return self.block_count * self.pages_per_block


class Cells(Protocol):
    """Where the bits stand: a page is absent when erased, else its data and spare bytes.

    Both may be shorter than the page: what was not programmed reads as FFh.
    """

    def get(self, page: int) -> tuple[bytes, bytes] | None: ...

    def put(self, page: int, data: bytes, spare: bytes) -> None: ...

    def clear(self, first: int, count: int) -> None: ...

    def programmed(self) -> Iterator[int]: ...


class MemoryCells:
    """Cells in a dict."""

    def __init__(self, pages: dict[int, tuple[bytes, bytes]] | None = None) -> None:
        self._pages = pages if pages is not None else {}

    def get(self, page: int) -> tuple[bytes, bytes] | None:
        return self._pages.get(page)

    def put(self, page: int, data: bytes, spare: bytes) -> None:
        self._pages[page] = (data, spare)

    def clear(self, first: int, count: int) -> None:
        for page in range(first, first + count):
            self._pages.pop(page, None)

    def programmed(self) -> Iterator[int]:
        return iter(self._pages)

    def copy(self) -> "MemoryCells":
        return MemoryCells(self._pages.copy())


class Nand:
    """The part: what the controller can do to it."""

    def __init__(
        self, geometry: Geometry, cells: Cells, supply: Supply, clock: Clock, timing: Timing
    ) -> None:
        self.geometry = geometry
        self.cells = cells
        self._supply = supply
        self._clock = clock
        self._timing = timing
        self._next: dict[int, int] = {}  # by block: the page in it that may be programmed next
        for page in cells.programmed():
            block, index = divmod(page, geometry.pages_per_block)
            self._next[block] = max(self._next.get(block, 0), index + 1)

    def read(self, page: int) -> bytes:
        """Return the whole data area of a page; an erased one is all FFh."""
        self._clock.charge(self._timing.page_read_us)
        found = self.cells.get(self._checked(page))
        return (found[0] if found else b"").ljust(self.geometry.page_bytes, ERASED)

    def read_spare(self, page: int) -> bytes:
        """Return the spare area of a page."""
        self._clock.charge(self._timing.page_read_us)
        found = self.cells.get(self._checked(page))
        return (found[1] if found else b"").ljust(self.geometry.spare_bytes, ERASED)

    def program(self, page: int, data: bytes, spare: bytes, purpose: str) -> None:
        """Program an erased page, the next of its block: one durable step."""
        geometry = self.geometry
        block, index = divmod(self._checked(page), geometry.pages_per_block)
        if index != self._next.get(block, 0):
            raise NandError(f"page {page}: block {block} is programmed in order, and once")
        if len(data) > geometry.page_bytes or len(spare) > geometry.spare_bytes:
            raise NandError(f"{len(data)} and {len(spare)} bytes do not fit a page and its spare")
        self._supply.step(f"program {purpose}")
        self._clock.charge(self._timing.page_program_us)
        self.cells.put(page, data, spare)
        self._next[block] = index + 1

    def erase(self, block: int, purpose: str) -> None:
        """Erase a block: one durable step."""
        if not 0 <= block < self.geometry.block_count:
            raise NandError(f"there is no block {block}")
        self._supply.step(f"erase {purpose}")
        self._clock.charge(self._timing.block_erase_us)
        pages = self.geometry.pages_per_block
        self.cells.clear(block * pages, pages)
        self._next.pop(block, None)

    def programmed_in(self, block: int) -> int:
        """Return how many pages of a block are programmed."""
        return self._next.get(block, 0)

    def dump(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Give page number, data and spare of every programmed page, as a chip reader would."""
        for page in sorted(self.cells.programmed()):
            found = self.cells.get(page)
            if found is not None:
                yield page, *found

    def _checked(self, page: int) -> int:
        if not 0 <= page < self.geometry.page_count:
            raise NandError(f"there is no page {page}")
        return page

    def on(self, cells: Cells, supply: Supply, clock: Clock) -> "Nand":
        """Return the same part with these cells, on another board."""
        other = Nand.__new__(Nand)
        other.geometry = self.geometry
        other.cells = cells
        other._supply = supply
        other._clock = clock
        other._timing = self._timing
        other._next = self._next.copy()
        return other
