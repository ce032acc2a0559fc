"""The flash translation layer: logical pages on NAND, page-mapped, safe under power cuts.

Every program says in the spare area which logical page it is, with a number that only grows; the
highest number wins at the next power-up. So one program is one change, which a cut leaves done or
not done, and there is no map in flash that could disagree with the pages.

Pages belong to an epoch. An erase of the drive begins a new one, and what an older epoch left is
never read again.
"""

import zlib
from dataclasses import dataclass
from struct import Struct
from typing import Final

from firmware_model.hardware.nand import Nand

_SPARE: Final = Struct(">BIQIB")  # kind, logical page, sequence, epoch, valid sectors
_KIND: Final = 0xD1
FREE_BLOCKS: Final = 2  # kept for collection


@dataclass(frozen=True, slots=True)
class Stored:
    """What a logical page holds: ciphertext, and which of its eight sectors were ever written."""

    data: bytes
    valid: int


@dataclass(frozen=True, slots=True)
class _Place:
    page: int
    sequence: int
    valid: int


def blocks_needed(logical_pages: int, pages_per_block: int) -> int:
    """Return how many blocks hold that many pages, with 7 percent to spare and room to collect."""
    filled = -(-logical_pages // pages_per_block)
    return filled + max(filled * 7 // 100, 1) + FREE_BLOCKS


class Translation:
    """Logical pages on the blocks from `first_block` on."""

    def __init__(
        self, nand: Nand, first_block: int, block_count: int, logical_pages: int, epoch: int
    ) -> None:
        self._nand = nand
        self._first_block = first_block
        self._pages_per_block = nand.geometry.pages_per_block
        self.logical_pages = logical_pages
        self._epoch = epoch
        self._sequence = 0
        self._map: dict[int, _Place] = {}
        self._valid_in = dict.fromkeys(range(first_block, first_block + block_count), 0)
        self._free: list[int] = []
        self._open = -1  # the block that is being filled
        self._mount()

    def read(self, logical_page: int) -> Stored | None:
        """Return a page, or None when it was never written or was discarded."""
        place = self._map.get(logical_page)
        return None if place is None else Stored(self._nand.read(place.page), place.valid)

    def write(self, logical_page: int, data: bytes, valid: int, purpose: str = "data") -> None:
        """Replace a page as a whole: it is durable when this returns."""
        if not 0 <= logical_page < self.logical_pages:
            raise ValueError(f"there is no logical page {logical_page}")
        self._make_room()
        self._program(logical_page, data, valid, purpose)

    def discard(self, epoch: int) -> None:
        """Forget every page, because the epoch that wrote them is over."""
        self._epoch = epoch
        self._map.clear()
        self._valid_in = dict.fromkeys(self._valid_in, 0)

    def _mount(self) -> None:
        """Find the newest copy of each logical page from the spare areas."""
        for block in self._valid_in:
            used = self._nand.programmed_in(block)
            if not used:
                self._free.append(block)
                continue
            for page in range(block * self._pages_per_block, block * self._pages_per_block + used):
                self._take_in(page)
            if used < self._pages_per_block and self._open < 0:
                self._open = block
        self._free.reverse()
        for place in self._map.values():
            self._valid_in[place.page // self._pages_per_block] += 1

    def _take_in(self, page: int) -> None:
        spare = self._nand.read_spare(page)
        body = spare[: _SPARE.size]
        if zlib.crc32(body).to_bytes(4, "big") != spare[_SPARE.size : _SPARE.size + 4]:
            return
        kind, logical_page, sequence, epoch, valid = _SPARE.unpack(body)
        if kind != _KIND or logical_page >= self.logical_pages:
            return
        self._sequence = max(self._sequence, sequence)
        known = self._map.get(logical_page)
        if epoch == self._epoch and (known is None or known.sequence < sequence):
            self._map[logical_page] = _Place(page, sequence, valid)

    def _program(self, logical_page: int, data: bytes, valid: int, purpose: str) -> None:
        block = self._open
        page = block * self._pages_per_block + self._nand.programmed_in(block)
        self._sequence += 1
        body = _SPARE.pack(_KIND, logical_page, self._sequence, self._epoch, valid)
        spare = body + zlib.crc32(body).to_bytes(4, "big")
        self._nand.program(page, data, spare, purpose)
        old = self._map.get(logical_page)
        if old is not None:
            self._valid_in[old.page // self._pages_per_block] -= 1
        self._map[logical_page] = _Place(page, self._sequence, valid)
        self._valid_in[block] += 1

    def _is_full(self) -> bool:
        return self._open < 0 or self._nand.programmed_in(self._open) == self._pages_per_block

    def _make_room(self) -> None:
        """Have an open block with an erased page, collecting blocks while few are free."""
        while self._is_full() and len(self._free) < FREE_BLOCKS:
            self._collect()
        if self._is_full():
            self._open = self._free.pop()

    def _collect(self) -> None:
        """Move what is valid out of the block with the least of it, then erase that block."""
        free = set(self._free)
        used = (block for block in self._valid_in if block not in free and block != self._open)
        victim = min(used, key=lambda block: self._valid_in[block])
        first = victim * self._pages_per_block
        within = range(first, first + self._pages_per_block)
        if self._valid_in[victim]:
            moved = [(lp, at) for lp, at in self._map.items() if at.page in within]
            for logical_page, place in sorted(moved, key=lambda each: each[1].page):
                if self._is_full():
                    self._open = self._free.pop()
                self._program(logical_page, self._nand.read(place.page), place.valid, "moved data")
        self._nand.erase(victim, "collected block")
        self._free.insert(0, victim)
