"""Command descriptor blocks, as values. Source: SPC-4 section 6, SBC-3 section 5.

Only what hosts send to a flash drive at enumeration and in use is here. Fields that ask for what a
drive without protection information, caches to bypass or link does not offer are refused when they
are set, so that no command is half obeyed.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from firmware_model.wire.buffer import ActivateMicrocode, DownloadMicrocode, ReadBufferDescriptor

BLOCK_BYTES: Final = 512
TRANSFER_BLOCKS_MAX: Final = 32_768  # of one command, as the Block Limits page says: 16 MiB


class Opcode(IntEnum):
    """Operation codes (SPC-4 table E.2)."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    FORMAT_UNIT = 0x04
    READ_6 = 0x08
    WRITE_6 = 0x0A
    INQUIRY = 0x12
    MODE_SELECT_6 = 0x15
    MODE_SENSE_6 = 0x1A
    START_STOP_UNIT = 0x1B
    SEND_DIAGNOSTIC = 0x1D
    PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1E
    READ_FORMAT_CAPACITIES = 0x23  # MMC-6 6.23
    READ_CAPACITY_10 = 0x25
    READ_10 = 0x28
    WRITE_10 = 0x2A
    VERIFY_10 = 0x2F
    SYNCHRONIZE_CACHE_10 = 0x35
    WRITE_BUFFER = 0x3B
    READ_BUFFER = 0x3C
    UNMAP = 0x42
    SANITIZE = 0x48
    MODE_SELECT_10 = 0x55
    MODE_SENSE_10 = 0x5A
    READ_16 = 0x88
    WRITE_16 = 0x8A
    VERIFY_16 = 0x8F
    SYNCHRONIZE_CACHE_16 = 0x91
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0
    SECURITY_PROTOCOL_IN = 0xA2
    MAINTENANCE_IN = 0xA3
    READ_12 = 0xA8
    WRITE_12 = 0xAA
    SECURITY_PROTOCOL_OUT = 0xB5


SERVICE_READ_CAPACITY_16: Final = 0x10
SANITIZE_CRYPTO_ERASE: Final = 0x03


class ScsiStatus(IntEnum):
    """Status codes (SAM-5 table 33)."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


class Direction(Enum):
    """Which way a data phase goes."""

    IN = auto()
    OUT = auto()


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a command moves: bytes, or None for all that the host announces."""

    direction: Direction | None
    length: int | None


NOTHING: Final = Transfer(None, 0)


@dataclass(frozen=True, slots=True)
class TestUnitReady:
    """SPC-4 6.47."""

    def encode(self) -> bytes:
        return bytes(6)


@dataclass(frozen=True, slots=True)
class RequestSense:
    """SPC-4 6.39."""

    allocation_length: int = 18
    wants_descriptor: bool = False

    def encode(self) -> bytes:
        return bytes((0x03, self.wants_descriptor, 0, 0, self.allocation_length, 0))


@dataclass(frozen=True, slots=True)
class Inquiry:
    """SPC-4 6.6; `page` names a VPD page, None asks for standard data."""

    allocation_length: int = 36
    page: int | None = None

    def encode(self) -> bytes:
        head = bytes((0x12, self.page is not None, self.page or 0))
        return head + self.allocation_length.to_bytes(2, "big") + b"\0"


@dataclass(frozen=True, slots=True)
class ModeSense:
    """SPC-4 6.11 and 6.12, by `size` 6 or 10."""

    page: int
    allocation_length: int = 192
    size: int = 6
    control: int = 0  # PC: 0 current, 1 changeable, 2 default, 3 saved
    subpage: int = 0
    no_block_descriptors: bool = False

    def encode(self) -> bytes:
        fields = bytes((0x08 * self.no_block_descriptors, self.control << 6 | self.page))
        if self.size == 6:
            return b"\x1a" + fields + bytes((self.subpage, self.allocation_length, 0))
        length = self.allocation_length.to_bytes(2, "big")
        return b"\x5a" + fields + bytes((self.subpage, 0, 0, 0)) + length + b"\0"


@dataclass(frozen=True, slots=True)
class ModeSelect:
    """SPC-4 6.9 and 6.10, by `size` 6 or 10."""

    list_length: int
    size: int = 6
    saves: bool = False

    def encode(self) -> bytes:
        if self.size == 6:
            return bytes((0x15, 0x10 | self.saves, 0, 0, self.list_length, 0))
        length = self.list_length.to_bytes(2, "big")
        return bytes((0x55, 0x10 | self.saves, 0, 0, 0, 0, 0)) + length + b"\0"


@dataclass(frozen=True, slots=True)
class StartStopUnit:
    """SBC-3 5.25."""

    starts: bool
    loads_or_ejects: bool = False

    def encode(self) -> bytes:
        return bytes((0x1B, 0, 0, 0, self.loads_or_ejects << 1 | self.starts, 0))


@dataclass(frozen=True, slots=True)
class PreventAllow:
    """SPC-3 6.13."""

    prevents: bool

    def encode(self) -> bytes:
        return bytes((0x1E, 0, 0, 0, self.prevents, 0))


@dataclass(frozen=True, slots=True)
class SendDiagnostic:
    """SPC-4 6.42, the default self-test."""

    def encode(self) -> bytes:
        return bytes((0x1D, 0x04, 0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class ReadFormatCapacities:
    """MMC-6 6.23."""

    allocation_length: int = 252

    def encode(self) -> bytes:
        return b"\x23" + bytes(6) + self.allocation_length.to_bytes(2, "big") + b"\0"


@dataclass(frozen=True, slots=True)
class ReadCapacity:
    """SBC-3 5.15 and 5.16, by `size` 10 or 16."""

    size: int = 10
    allocation_length: int = 32  # of the 16-byte command

    def encode(self) -> bytes:
        if self.size == 10:
            return b"\x25" + bytes(9)
        length = self.allocation_length.to_bytes(4, "big")
        return bytes((0x9E, SERVICE_READ_CAPACITY_16)) + bytes(8) + length + bytes(2)


_READS: Final = {6: 0x08, 10: 0x28, 12: 0xA8, 16: 0x88}
_WRITES: Final = {6: 0x0A, 10: 0x2A, 12: 0xAA, 16: 0x8A}


def _block_cdb(opcode: int, size: int, flags: int, lba: int, count: int) -> bytes:
    """Return the CDB of a command on blocks; raise OverflowError where a field is too small."""
    if size == 6:
        if count == 256:
            count = 0
        return bytes((opcode,)) + lba.to_bytes(3, "big") + bytes((count, 0))
    if size == 10:
        tail = lba.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big") + b"\0"
    elif size == 12:
        tail = lba.to_bytes(4, "big") + count.to_bytes(4, "big") + bytes(2)
    else:
        tail = lba.to_bytes(8, "big") + count.to_bytes(4, "big") + bytes(2)
    return bytes((opcode, flags)) + tail


@dataclass(frozen=True, slots=True)
class Read:
    """SBC-3 5.11 to 5.14, by `size` 6, 10, 12 or 16."""

    lba: int
    block_count: int
    size: int = 10

    def encode(self) -> bytes:
        return _block_cdb(_READS[self.size], self.size, 0, self.lba, self.block_count)


@dataclass(frozen=True, slots=True)
class Write:
    """SBC-3 5.32 to 5.35, by `size` 6, 10, 12 or 16."""

    lba: int
    block_count: int
    size: int = 10

    def encode(self) -> bytes:
        return _block_cdb(_WRITES[self.size], self.size, 0, self.lba, self.block_count)


@dataclass(frozen=True, slots=True)
class Unmap:
    """SBC-3 5.28; which blocks is in the parameter list (`wire.unmap`)."""

    list_length: int

    def encode(self) -> bytes:
        return bytes((Opcode.UNMAP, *bytes(6))) + self.list_length.to_bytes(2, "big") + b"\0"


@dataclass(frozen=True, slots=True)
class Verify:
    """SBC-3 5.29 and 5.31, by `size` 10 or 16; `compares` has the host send the blocks."""

    lba: int
    block_count: int
    size: int = 10
    compares: bool = False

    def encode(self) -> bytes:
        opcode = 0x2F if self.size == 10 else 0x8F
        return _block_cdb(opcode, self.size, 2 * self.compares, self.lba, self.block_count)


@dataclass(frozen=True, slots=True)
class SynchronizeCache:
    """SBC-3 5.22 and 5.23, by `size` 10 or 16; 0 blocks reach to the end."""

    lba: int = 0
    block_count: int = 0
    size: int = 10

    def encode(self) -> bytes:
        opcode = 0x35 if self.size == 10 else 0x91
        return _block_cdb(opcode, self.size, 0, self.lba, self.block_count)


@dataclass(frozen=True, slots=True)
class ReportLuns:
    """SPC-4 6.33; `select` 1 asks for well-known units alone."""

    allocation_length: int = 16
    select: int = 0

    def encode(self) -> bytes:
        head = bytes((0xA0, 0, self.select, 0, 0, 0))
        return head + self.allocation_length.to_bytes(4, "big") + bytes(2)


@dataclass(frozen=True, slots=True)
class FormatUnit:
    """SBC-3 5.2, without a parameter list."""

    def encode(self) -> bytes:
        return b"\x04" + bytes(5)


@dataclass(frozen=True, slots=True)
class Sanitize:
    """SBC-3 5.20, cryptographic erase."""

    def encode(self) -> bytes:
        return bytes((0x48, SANITIZE_CRYPTO_ERASE)) + bytes(8)


def _security_cdb(opcode: int, protocol: int, specific: int, inc_512: bool, length: int) -> bytes:
    count = length // 512 if inc_512 else length
    head = bytes((opcode, protocol)) + specific.to_bytes(2, "big") + bytes((0x80 * inc_512, 0))
    return head + count.to_bytes(4, "big") + bytes(2)


@dataclass(frozen=True, slots=True)
class SecurityProtocolIn:
    """SPC-4 6.40; the length is in bytes, whatever unit the CDB counts in."""

    protocol: int
    specific: int
    length: int
    inc_512: bool = False

    def encode(self) -> bytes:
        return _security_cdb(0xA2, self.protocol, self.specific, self.inc_512, self.length)


@dataclass(frozen=True, slots=True)
class SecurityProtocolOut:
    """SPC-4 6.41; the length is in bytes, whatever unit the CDB counts in."""

    protocol: int
    specific: int
    length: int
    inc_512: bool = False

    def encode(self) -> bytes:
        return _security_cdb(0xB5, self.protocol, self.specific, self.inc_512, self.length)


Command = (
    TestUnitReady
    | RequestSense
    | Inquiry
    | ModeSense
    | ModeSelect
    | StartStopUnit
    | PreventAllow
    | SendDiagnostic
    | ReadFormatCapacities
    | ReadCapacity
    | Read
    | Write
    | Unmap
    | Verify
    | SynchronizeCache
    | ReportLuns
    | FormatUnit
    | Sanitize
    | SecurityProtocolIn
    | SecurityProtocolOut
    | DownloadMicrocode
    | ActivateMicrocode
    | ReadBufferDescriptor
)
