"""Wrapped keys in flash: two blocks in turn, the newest record of a slot and generation wins.

A record is useless by itself: its KEK needs the slot's secret of the same generation, which the
secure element holds or has destroyed.
"""

import zlib
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.hardware.element_state import Slot
from firmware_model.hardware.nand import Nand

BLOCKS: Final = 2


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The media key wrapped for one slot."""

    slot: Slot
    generation: int  # of the slot's secret that opens it
    epoch: int
    salt: bytes  # 16 bytes
    wrapped: bytes  # at most 255 bytes

    HEAD: ClassVar[Struct] = Struct(">4sBII16sB")
    MAGIC: ClassVar[bytes] = b"KEYS"

    def encode(self) -> bytes:
        """Return the record with its checksum."""
        head = self.HEAD.pack(
            self.MAGIC, self.slot, self.generation, self.epoch, self.salt, len(self.wrapped)
        )
        body = head + self.wrapped
        return body + zlib.crc32(body).to_bytes(4, "big")

    @classmethod
    def decode(cls, page: bytes) -> Self | None:
        """Return the record a page begins with, or None: flash that was tampered with has none."""
        magic, slot, generation, epoch, salt, length = cls.HEAD.unpack_from(page)
        end = cls.HEAD.size + length
        is_whole = zlib.crc32(page[:end]).to_bytes(4, "big") == page[end : end + 4]
        if magic != cls.MAGIC or slot >= len(Slot) or not is_whole:
            return None
        return cls(Slot(slot), generation, epoch, salt, page[cls.HEAD.size : end])


class KeyStore:
    """The records of this epoch, and the two blocks they stand in."""

    def __init__(self, nand: Nand, first_block: int, epoch: int) -> None:
        self._nand = nand
        self._blocks = range(first_block, first_block + BLOCKS)
        self._pages_per_block = nand.geometry.pages_per_block
        self._epoch = epoch
        self.is_blank = True  # nothing of any epoch stands in flash
        self._records: dict[tuple[Slot, int], KeyRecord] = {}
        used = [nand.programmed_in(block) for block in self._blocks]
        # While records move, both blocks hold some. The first one filled is then the full one.
        self._open = self._blocks[0] if used[0] and used[0] < self._pages_per_block else None
        if self._open is None and (used[1] or used[0]):
            self._open = self._blocks[1] if used[1] else self._blocks[0]
        order = sorted(self._blocks, key=lambda block: block == self._open)
        for block in order:
            for page in range(nand.programmed_in(block)):
                self._take_in(nand.read(block * self._pages_per_block + page))

    def find(self, slot: Slot, generation: int) -> KeyRecord | None:
        """Return the record that a slot's secret of that generation opens."""
        return self._records.get((slot, generation))

    def write(self, record: KeyRecord, keep: frozenset[tuple[Slot, int]]) -> None:
        """Store a record; those not in `keep` may go."""
        self._records = {key: old for key, old in self._records.items() if key in keep}
        if self._open is None:
            self._open = self._blocks[0]
            self._erase_other(self._open)
        if self._nand.programmed_in(self._open) == self._pages_per_block:
            self._move()
        self._program(record)
        self._records[record.slot, record.generation] = record

    def wipe(self, epoch: int) -> None:
        """Erase both blocks and begin another epoch."""
        self._records = {}
        self._epoch = epoch
        self._open = None
        for block in self._blocks:
            if self._nand.programmed_in(block):
                self._nand.erase(block, "key block")
        self.is_blank = True

    def _take_in(self, page: bytes) -> None:
        self.is_blank = False
        record = KeyRecord.decode(page)
        if record is not None and record.epoch == self._epoch:
            self._records[record.slot, record.generation] = record

    def _move(self) -> None:
        """Copy what counts to the other block, then erase the full one."""
        full = self._open
        other = self._blocks[0] if full == self._blocks[1] else self._blocks[1]
        if self._nand.programmed_in(other):
            self._nand.erase(other, "key block")
        self._open = other
        for record in self._records.values():
            self._program(record)
        self._erase_other(other)

    def _erase_other(self, kept: int) -> None:
        for block in self._blocks:
            if block != kept and self._nand.programmed_in(block):
                self._nand.erase(block, "old key block")

    def _program(self, record: KeyRecord) -> None:
        block = self._blocks[0] if self._open is None else self._open
        page = block * self._pages_per_block + self._nand.programmed_in(block)
        self._nand.program(page, record.encode(), b"", "wrapped key")
        self.is_blank = False
