"""What a host may have the drive remember: saved mode pages, and reservations that persist.

Nothing of it is secret, and nothing of it decides who may read or write. It belongs to an epoch,
as the data does: an erased drive has none.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.firmware.record_ring import SPARE_BLOCKS, RecordRing
from firmware_model.hardware.nand import Nand

BLOCKS: Final = 2 + SPARE_BLOCKS
_KIND: Final = 0xC5


@dataclass(frozen=True, slots=True)
class Settings:
    """What is remembered, each part as its owner encodes it; at most 255 bytes."""

    mode_pages: bytes = b""
    registration: bytes = b""  # of persistent reservations

    HEAD: ClassVar[Struct] = Struct(">4sIBB")
    MAGIC: ClassVar[bytes] = b"SETS"

    def encode(self, epoch: int) -> bytes:
        """Return the record with its checksum."""
        head = self.HEAD.pack(self.MAGIC, epoch, len(self.mode_pages), len(self.registration))
        body = head + self.mode_pages + self.registration
        return body + zlib.crc32(body).to_bytes(4, "big")

    @classmethod
    def decode(cls, page: bytes, epoch: int) -> Self | None:
        """Return the settings a page begins with; None for another epoch's, or for none."""
        if len(page) < cls.HEAD.size:
            return None
        magic, its_epoch, pages, registration = cls.HEAD.unpack_from(page)
        middle = cls.HEAD.size + pages
        end = middle + registration
        is_whole = zlib.crc32(page[:end]).to_bytes(4, "big") == page[end : end + 4]
        if magic != cls.MAGIC or its_epoch != epoch or not is_whole:
            return None
        return cls(page[cls.HEAD.size : middle], page[middle:end])


class SettingsStore:
    """The newest record of a ring of a few blocks."""

    def __init__(self, nand: Nand, first_block: int, epoch: Callable[[], int]) -> None:
        self._epoch = epoch
        self._ring = RecordRing(nand, first_block, BLOCKS, _KIND)
        self._value, self._value_epoch = Settings(), epoch()
        for entry in self._ring.mount():
            found = Settings.decode(nand.read(entry.page) or b"", self._value_epoch)
            if found is not None:
                self._value = found

    @property
    def value(self) -> Settings:
        """What is remembered."""
        return self._value if self._value_epoch == self._epoch() else Settings()

    def save(self, value: Settings) -> None:
        """Remember from now on; durable when it returns. Raises WornOut."""
        if value == self.value:
            return
        epoch = self._epoch()
        self._ring.append(_KIND, 0, value.encode(epoch), "settings", "settings block")
        self._value, self._value_epoch = value, epoch
