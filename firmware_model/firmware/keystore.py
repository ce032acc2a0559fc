"""Wrapped keys in flash: a ring of a few blocks, each record in two pages of the newest.

A record is useless by itself: its KEK needs the slot's secret of the same generation, which the
secure element holds or has destroyed.
"""

import zlib
from collections import Counter
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final, Protocol, Self

from firmware_model.firmware.medium import REFRESH_AT
from firmware_model.firmware.record_ring import SPARE_BLOCKS, RecordRing
from firmware_model.hardware.element_state import Slot
from firmware_model.hardware.nand import Nand

BLOCKS: Final = 2 + SPARE_BLOCKS
COPIES: Final = 2  # so that a page which can't be corrected locks nobody out
_KIND: Final = 0xC1


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
        if len(page) < cls.HEAD.size:
            return None
        magic, slot, generation, epoch, salt, length = cls.HEAD.unpack_from(page)
        end = cls.HEAD.size + length
        is_whole = zlib.crc32(page[:end]).to_bytes(4, "big") == page[end : end + 4]
        if magic != cls.MAGIC or slot >= len(Slot) or not is_whole:
            return None
        return cls(Slot(slot), generation, epoch, salt, page[cls.HEAD.size : end])


class KeyArea(Protocol):
    """The blocks of the wrapped keys, as the part that fills them may use them."""

    def append(self, data: bytes, spare: bytes | None = None) -> None:
        """Program the next page: a record or, with `spare`, its 32 bytes beside any data."""
        ...

    def wipe(self) -> None:
        """Erase every good block."""
        ...


class KeyStoring(Protocol):
    """What a wrapped key leaves in flash, and what an erase leaves of it."""

    def store(self, area: KeyArea, record: bytes) -> None: ...

    def wipe(self, area: KeyArea) -> None: ...


class KeyStore:
    """The records of this epoch, each in two pages; all of them stand in the open block."""

    def __init__(self, nand: Nand, first_block: int, epoch: int, storing: KeyStoring) -> None:
        self._nand = nand
        self._storing = storing
        self._ring = RecordRing(nand, first_block, BLOCKS, _KIND)
        self._epoch = epoch
        self._records: dict[tuple[Slot, int], KeyRecord] = {}
        self._copies: Counter[tuple[Slot, int]] = Counter()  # of each, in the open block
        self._well: Counter[tuple[Slot, int]] = Counter()  # of each, anywhere, as good as new
        self._is_tired = False  # the open block: bits of it need much correction, or more
        for entry in self._ring.mount():
            self._take_in(entry.page)

    @property
    def is_blank(self) -> bool:
        """Whether nothing of any epoch stands in a good block."""
        return self._ring.is_blank

    def find(self, slot: Slot, generation: int) -> KeyRecord | None:
        """Return the record that a slot's secret of that generation opens."""
        return self._records.get((slot, generation))

    def write(self, record: KeyRecord, keep: frozenset[tuple[Slot, int]]) -> None:
        """Store a record; those not in `keep` may go. Raises WornOut."""
        key = (record.slot, record.generation)
        self._keep(keep)
        self._records[key] = record
        self._copies[key] = 0
        self._complete()

    def refresh(self, keep: frozenset[tuple[Slot, int]]) -> None:
        """Move the records in `keep` to another block before they can't be read. Raises WornOut."""
        if all(self._well[key] >= COPIES for key in keep & self._records.keys()):
            return
        self._keep(keep)
        if self._is_tired:
            self._ring.leave()
            self._copies.clear()
        self._complete()

    def _keep(self, keep: frozenset[tuple[Slot, int]]) -> None:
        self._records = {each: old for each, old in self._records.items() if each in keep}

    def _complete(self) -> None:
        """Store records until there are two copies of each in the open block."""
        while (lacking := self._lacking()) is not None:
            before = self._ring.open_block
            data = self._records[lacking].encode()
            self._storing.store(_Area(self._ring, lacking[1]), data)
            if self._ring.open_block != before:
                self._copies.clear()
            self._copies[lacking] += 1

    def wipe(self, epoch: int) -> None:
        """Leave nothing in good blocks and begin another epoch."""
        self._records = {}
        self._copies.clear()
        self._epoch = epoch
        self._storing.wipe(_Area(self._ring, epoch))

    def _lacking(self) -> tuple[Slot, int] | None:
        """Return what has not two copies in the open block, the last one begun."""
        return next((key for key in self._records if self._copies[key] < COPIES), None)

    def _take_in(self, page: int) -> None:
        data = self._nand.read(page)
        is_in_open = self._ring.block_of(page) == self._ring.open_block
        is_well = data is not None and self._nand.corrected < REFRESH_AT
        self._is_tired |= is_in_open and not is_well
        record = KeyRecord.decode(data or b"")
        if record is not None and record.epoch == self._epoch:
            key = (record.slot, record.generation)
            self._records[key] = record
            self._copies[key] += is_in_open
            self._well[key] += is_well


class _Area:
    """The ring as the storing part sees it (KeyArea), for one record."""

    def __init__(self, ring: RecordRing, number: int) -> None:
        self._ring = ring
        self._number = number

    def append(self, data: bytes, spare: bytes | None = None) -> None:
        self._ring.append(_KIND, self._number, data, "wrapped key", "key block", spare)

    def wipe(self) -> None:
        self._ring.wipe("key block")
