"""Records in a ring of flash blocks, one a page: what the wrapped keys and the log stand in.

A record is there as a whole or not at all, and says how many pages before it a cut has torn: so a
block that a cut fell into is filled further, and others keep what they have. A block is erased when
it is begun; one that fails is marked and passed over, and what already stood in it is still read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from firmware_model.firmware.medium import WornOut
from firmware_model.hardware.cells import RECORD_BYTES
from firmware_model.hardware.nand import Nand

SPARE_BLOCKS: Final = 2  # of a ring, for those that go bad
_RECORD: Final = Struct(">BQQH")  # kind, sequence of the page, number of the record, not torn
_NONE_TORN: Final = 0xFFFF  # and less by the number of torn pages: erased flash says none
_SEQUENCE_END: Final = 1 << 62  # from here on a record is forged: there is no going on


@dataclass(frozen=True, slots=True)
class RingEntry:
    """A record that was found."""

    sequence: int
    kind: int
    number: int
    page: int


class RecordRing:
    """The ring in the blocks from `first_block` on; `kinds` are those of its records."""

    def __init__(self, nand: Nand, first_block: int, block_count: int, *kinds: int) -> None:
        self._nand = nand
        self._kinds = kinds
        self._blocks = range(first_block, first_block + block_count)
        self._block_pages = nand.geometry.block_pages
        self._sequence = 0
        self._left = 0  # pages of the open block that can still be programmed
        self._torn = 0  # pages before the next that hold nothing
        self.open_block = self._blocks[-1]  # the first is begun next

    def mount(self) -> list[RingEntry]:
        """Return the records in the order they were appended, and go on after the last."""
        found: list[RingEntry] = []
        for block in self._nand.scan(self._blocks[0], len(self._blocks)):
            found += self._entries(block)
        found.sort(key=lambda entry: entry.sequence)
        if found:
            self._sequence = found[-1].sequence
            self.open_block, index = divmod(found[-1].page, self._block_pages)
            programmed = self._nand.programmed_in(self.open_block)
            if not self._nand.is_bad(self.open_block):
                self._left = self._block_pages - programmed
                self._torn = programmed - index - 1
        return found

    def append(
        self,
        kind: int,
        number: int,
        data: bytes,
        purpose: str,
        erased: str,
        spare: bytes | None = None,
    ) -> int:
        """Program a record, and return its page; `erased` names the block that makes room.

        With `spare`, 32 bytes of the caller's, the page is no record. Raises WornOut where no good
        block is left.
        """
        while True:
            if not self._left:
                self._begin(erased)
            self._sequence += 1
            record = _RECORD.pack(kind, self._sequence, number, _NONE_TORN - self._torn)
            page = (self.open_block + 1) * self._block_pages - self._left
            record = spare or record.ljust(RECORD_BYTES, b"\xff")
            if self._nand.program(page, data, record, purpose):
                self._left -= 1
                self._torn = self._torn + 1 if spare and self._torn else 0
                return page
            self._left = 0
            self._nand.mark_bad(self.open_block)

    def block_of(self, page: int) -> int:
        """Return the block a page is in."""
        return page // self._block_pages

    @property
    def is_blank(self) -> bool:
        """Whether every good block is erased."""
        return not any(self._nand.programmed_in(block) for block in self._good())

    @property
    def erased_next(self) -> range:
        """The pages of the block that is erased when the open one is full."""
        block = next(self._after(), self.open_block)
        return range(block * self._block_pages, (block + 1) * self._block_pages)

    def leave(self) -> None:
        """Have the next record begin another block."""
        self._left = 0

    def wipe(self, purpose: str) -> None:
        """Erase every good block."""
        for block in self._good():
            if self._nand.programmed_in(block) and not self._nand.erase(block, purpose):
                self._nand.mark_bad(block)
        self._left = 0

    def _good(self) -> list[int]:
        return [block for block in self._blocks if not self._nand.is_bad(block)]

    def _after(self) -> Iterator[int]:
        """Give the good blocks behind the open one, in the order of the ring."""
        place = self._blocks.index(self.open_block)
        for block in (*self._blocks[place + 1 :], *self._blocks[:place]):
            if not self._nand.is_bad(block):
                yield block

    def _begin(self, purpose: str) -> None:
        """Erase the next good block of the ring."""
        for block in self._after():
            if self._nand.erase(block, purpose):
                self.open_block, self._left, self._torn = block, self._block_pages, 0
                return
            self._nand.mark_bad(block)
        raise WornOut(f"no good block of {len(self._blocks)} is left")

    def _entries(self, block: int) -> list[RingEntry]:
        """Return the records of a block, without those that a cut left weak."""
        first, entries = block * self._block_pages, list[RingEntry]()
        records = self._nand.records(block)
        for page, row in enumerate(records, first):
            kind, sequence, number, not_torn = _RECORD.unpack_from(row.tobytes())
            if kind in self._kinds and sequence < _SEQUENCE_END:
                while entries and entries[-1].page >= page - (_NONE_TORN - not_torn):
                    entries.pop()
                entries.append(RingEntry(sequence, kind, number, page))
        # Of the last ones no other record tells yet. A cut fell into them: nobody knows they exist.
        while entries and not self._nand.is_stable(entries[-1].page):
            entries.pop()
        return entries
