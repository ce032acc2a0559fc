"""Commands about the logical unit and its medium as a whole. Source: SPC-4 section 6, SBC-3."""

from dataclasses import dataclass
from typing import Self

from firmware_model.wire.scsi.opcodes import Opcode
from firmware_model.wire.scsi.transfer import Allocated, Direction, NoData, Transfer, number
from firmware_model.wire.sense import (
    DESCRIPTOR_BYTES_MAX,
    FIXED_BYTES,
    Sense,
    invalid_field,
)

REPORT_LUNS_LEAST = 16  # bytes of allocation length (SPC-4 6.33)


@dataclass(frozen=True, slots=True)
class TestUnitReady(NoData):
    """SPC-4 6.47."""

    def encode(self) -> bytes:
        return bytes(6)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls()


@dataclass(frozen=True, slots=True)
class RequestSense:
    """SPC-4 6.39."""

    allocation_length: int = FIXED_BYTES
    wants_descriptor: bool = False

    @property
    def transfer(self) -> Transfer:
        longest = DESCRIPTOR_BYTES_MAX if self.wants_descriptor else FIXED_BYTES
        return Transfer(Direction.IN, min(self.allocation_length, longest))

    def encode(self) -> bytes:
        return bytes((0x03, self.wants_descriptor, 0, 0, self.allocation_length, 0))

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(cdb[4], bool(cdb[1]))


@dataclass(frozen=True, slots=True)
class Inquiry(Allocated):
    """SPC-4 6.6; `page` names a VPD page, None asks for standard data."""

    allocation_length: int = 36
    page: int | None = None

    def encode(self) -> bytes:
        head = bytes((0x12, self.page is not None, self.page or 0))
        return head + self.allocation_length.to_bytes(2, "big") + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        if cdb[2] and not cdb[1]:
            return invalid_field(2)
        return cls(number(cdb, 3, 2), cdb[2] if cdb[1] else None)


@dataclass(frozen=True, slots=True)
class ReportLuns(Allocated):
    """SPC-4 6.33; `select` 1 asks for well-known units alone."""

    allocation_length: int = REPORT_LUNS_LEAST
    select: int = 0

    def encode(self) -> bytes:
        head = bytes((0xA0, 0, self.select, 0, 0, 0))
        return head + self.allocation_length.to_bytes(4, "big") + bytes(2)

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        if cdb[2] > 2:
            return invalid_field(2)
        length = number(cdb, 6, 4)
        return cls(length, cdb[2]) if length >= REPORT_LUNS_LEAST else invalid_field(6)


@dataclass(frozen=True, slots=True)
class StartStopUnit(NoData):
    """SBC-3 5.25; with a power condition, START and LOEJ mean nothing."""

    starts: bool
    loads_or_ejects: bool = False
    power_condition: int = 0

    def encode(self) -> bytes:
        action = self.power_condition << 4 | self.loads_or_ejects << 1 | self.starts
        return bytes((Opcode.START_STOP_UNIT, 0, 0, 0, action, 0))

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(bool(cdb[4] & 1), bool(cdb[4] & 2), cdb[4] >> 4)


@dataclass(frozen=True, slots=True)
class PreventAllow(NoData):
    """SPC-3 6.13."""

    prevents: bool

    def encode(self) -> bytes:
        return bytes((0x1E, 0, 0, 0, self.prevents, 0))

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        return invalid_field(4, 1) if cdb[4] > 1 else cls(bool(cdb[4]))


@dataclass(frozen=True, slots=True)
class SendDiagnostic(NoData):
    """SPC-4 6.42: the default self-test, or nothing, as there are no parameters to send."""

    tests_itself: bool = True

    def encode(self) -> bytes:
        return bytes((0x1D, 0x04 * self.tests_itself, 0, 0, 0, 0))

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(bool(cdb[1] & 0x04))


@dataclass(frozen=True, slots=True)
class Reserve(NoData):
    """SPC-2 7.21 and 7.22, by `size` 6 or 10: the whole unit, for who asks."""

    size: int = 6

    def encode(self) -> bytes:
        return bytes((0x16 if self.size == 6 else 0x56, *bytes(self.size - 1)))

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(len(cdb))


@dataclass(frozen=True, slots=True)
class Release(NoData):
    """SPC-2 7.16 and 7.17, by `size` 6 or 10."""

    size: int = 6

    def encode(self) -> bytes:
        return bytes((0x17 if self.size == 6 else 0x57, *bytes(self.size - 1)))

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(len(cdb))


@dataclass(frozen=True, slots=True)
class FormatUnit(NoData):
    """SBC-3 5.2, without a parameter list."""

    def encode(self) -> bytes:
        return b"\x04" + bytes(5)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls()


@dataclass(frozen=True, slots=True)
class Sanitize(NoData):
    """SBC-3 5.20, cryptographic erase; `is_immediate` wants no answer to wait for its end.

    `is_unrestricted` (AUSE) would let a failed one be left without another.
    """

    is_immediate: bool = False
    is_unrestricted: bool = False

    def encode(self) -> bytes:
        return bytes((0x48, 0x80 * self.is_immediate | 0x20 * self.is_unrestricted | 3, *bytes(8)))

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(bool(cdb[1] & 0x80), bool(cdb[1] & 0x20))


@dataclass(frozen=True, slots=True)
class ExitFailureMode(NoData):
    """SBC-3 5.20: leave the state in which a failed SANITIZE left the unit."""

    def encode(self) -> bytes:
        return bytes((0x48, 0x1F, *bytes(8)))

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls()
