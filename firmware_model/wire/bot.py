"""Bulk-Only Transport wrappers. Source: USB Mass Storage Class, Bulk-Only Transport 1.0."""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Self

from firmware_model.wire.codec import DecodeError


class BulkOnlyRequest(IntEnum):
    """Class requests of the interface (BOT 3.1, 3.2)."""

    GET_MAX_LUN = 0xFE
    RESET = 0xFF


class CswStatus(IntEnum):
    """bCSWStatus (BOT table 5.3)."""

    PASSED = 0x00
    FAILED = 0x01
    PHASE_ERROR = 0x02


class Case(IntEnum):
    """The thirteen cases (BOT 6.7): what host (H) and device (D) expect of a data phase.

    N, I and O stand for none, in and out.
    """

    HN_EQ_DN = 1
    HN_LT_DI = 2
    HN_LT_DO = 3
    HI_GT_DN = 4
    HI_GT_DI = 5
    HI_EQ_DI = 6
    HI_LT_DI = 7
    HI_NE_DO = 8
    HO_GT_DN = 9
    HO_NE_DI = 10
    HO_GT_DO = 11
    HO_EQ_DO = 12
    HO_LT_DO = 13


@dataclass(frozen=True, slots=True)
class Cbw:
    """Command Block Wrapper, 31 bytes, little-endian (BOT 5.1)."""

    tag: int
    data_length: int  # bytes the host expects to move in the data phase
    is_in: bool  # ignored by the device when data_length is 0
    lun: int
    cdb: bytes  # 1 to 16 bytes

    LAYOUT: ClassVar[Struct] = Struct("<4sIIBBB16s")
    SIGNATURE: ClassVar[bytes] = b"USBC"

    def __post_init__(self) -> None:
        if not 1 <= len(self.cdb) <= 16:
            raise ValueError(f"a CDB has 1 to 16 bytes, this one {len(self.cdb)}")
        if not 0 <= self.lun <= 15:
            raise ValueError(f"a LUN is 0 to 15, this one {self.lun}")

    def encode(self) -> bytes:
        """Return the 31 bytes; raise struct.error when tag or data_length exceeds 32 bits."""
        flags = 0x80 if self.is_in else 0x00
        return self.LAYOUT.pack(
            self.SIGNATURE, self.tag, self.data_length, flags, self.lun, len(self.cdb), self.cdb
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the CBW in `data`; raise DecodeError if not valid or not meaningful (BOT 6.2)."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"CBW has {len(data)} bytes, expected {cls.LAYOUT.size}")
        signature, tag, data_length, flags, lun, cdb_length, cdb = cls.LAYOUT.unpack(data)
        if signature != cls.SIGNATURE:
            raise DecodeError(f"CBW begins {signature!r}, expected {cls.SIGNATURE!r}")
        if flags & 0x7F or lun & 0xF0 or cdb_length & 0xE0:
            raise DecodeError("CBW has a reserved bit set")
        if not 1 <= cdb_length <= 16:
            raise DecodeError(f"CBW announces a CDB of {cdb_length} bytes, expected 1 to 16")
        return cls(tag, data_length, bool(flags), lun, cdb[:cdb_length])


@dataclass(frozen=True, slots=True)
class Csw:
    """Command Status Wrapper, 13 bytes, little-endian (BOT 5.2)."""

    tag: int  # echoes the CBW; matching it is the caller's part
    residue: int  # bytes announced in the CBW and not processed
    status: CswStatus

    LAYOUT: ClassVar[Struct] = Struct("<4sIIB")
    SIGNATURE: ClassVar[bytes] = b"USBS"

    def encode(self) -> bytes:
        """Return the 13 bytes; raise struct.error when tag or residue exceeds 32 bits."""
        return self.LAYOUT.pack(self.SIGNATURE, self.tag, self.residue, self.status)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the CSW in `data`; raise DecodeError on a wrong length, signature or status."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"CSW has {len(data)} bytes, expected {cls.LAYOUT.size}")
        signature, tag, residue, status = cls.LAYOUT.unpack(data)
        if signature != cls.SIGNATURE:
            raise DecodeError(f"CSW begins {signature!r}, expected {cls.SIGNATURE!r}")
        if status > CswStatus.PHASE_ERROR:
            raise DecodeError(f"CSW status {status:#04x} is reserved")
        return cls(tag, residue, CswStatus(status))
