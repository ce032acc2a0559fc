"""WRITE BUFFER and READ BUFFER, as far as firmware goes over them. Source: SPC-4 5.4, 6.18, 6.49.

An image comes in pieces, in order, that begin at multiples of the offset boundary (mode 0Dh). With
its last piece it is saved, and active from the next power on, or at once on request (mode 0Fh).
Mode 0Dh it is, because 0Eh would have START STOP UNIT and FORMAT UNIT activate too (6.49.11).
"""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi.transfer import Allocated, Direction, NoData, Transfer, number
from firmware_model.wire.sense import Sense, invalid_field

BUFFER_ID: Final = 0  # the only one
DESCRIPTOR_MODE: Final = 0x03  # of READ BUFFER
DOWNLOAD_MODE: Final = 0x0D  # with offsets, select activation events, save, and defer activate
ACTIVATE_MODE: Final = 0x0F  # deferred microcode
PO_ACT: Final = 0x80  # MODE SPECIFIC of 0Dh, and beside it the mode: a power on activates


@dataclass(frozen=True, slots=True)
class DownloadMicrocode:
    """WRITE BUFFER, mode 0Dh: a piece of an image (SPC-4 6.49.10)."""

    offset: int
    length: int

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.OUT, self.length)

    def encode(self) -> bytes:
        place = self.offset.to_bytes(3, "big") + self.length.to_bytes(3, "big")
        return bytes((0x3B, PO_ACT | DOWNLOAD_MODE, BUFFER_ID)) + place + b"\0"


@dataclass(frozen=True, slots=True)
class ActivateMicrocode(NoData):
    """WRITE BUFFER, mode 0Fh: begin with what was saved (SPC-4 6.49.12)."""

    def encode(self) -> bytes:
        return bytes((0x3B, ACTIVATE_MODE)) + bytes(8)


@dataclass(frozen=True, slots=True)
class ReadBufferDescriptor(Allocated):
    """READ BUFFER, mode 03h: how images are to be cut (SPC-4 6.18.5)."""

    allocation_length: int = 4

    def encode(self) -> bytes:
        length = self.allocation_length.to_bytes(3, "big")
        return bytes((0x3C, DESCRIPTOR_MODE, BUFFER_ID, 0, 0, 0)) + length + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        if cdb[1] != DESCRIPTOR_MODE:
            return invalid_field(1, 4)
        if cdb[2] != BUFFER_ID:
            return invalid_field(2)
        return invalid_field(3) if any(cdb[3:6]) else cls(number(cdb, 6, 3))


def write_buffer(cdb: bytes) -> DownloadMicrocode | ActivateMicrocode | Sense:
    """Return what WRITE BUFFER asks: download in the one way that is offered, or activate.

    Activating ignores every other field (6.49.12).
    """
    if cdb[1] & 0x1F == ACTIVATE_MODE:
        return ActivateMicrocode()
    if cdb[1] & 0x1F != DOWNLOAD_MODE:
        return invalid_field(1, 4)
    if cdb[1] & 0xE0 != PO_ACT:
        return invalid_field(1, 7)
    if cdb[2] != BUFFER_ID:
        return invalid_field(2)
    return DownloadMicrocode(number(cdb, 3, 3), number(cdb, 6, 3))


@dataclass(frozen=True, slots=True)
class BufferDescriptor:
    """What READ BUFFER tells of the buffer for images, 4 bytes (SPC-4 table 228)."""

    boundary: int  # offsets are multiples of 2 to the power of this
    capacity: int  # bytes

    LAYOUT: ClassVar[Struct] = Struct(">I")

    def encode(self) -> bytes:
        """Return the 4 bytes."""
        return self.LAYOUT.pack(self.boundary << 24 | self.capacity)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the descriptor in `data`; raise DecodeError on another length."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"a buffer descriptor has 4 bytes, this one {len(data)}")
        (word,) = cls.LAYOUT.unpack(data)
        return cls(word >> 24, word & 0xFFFFFF)
