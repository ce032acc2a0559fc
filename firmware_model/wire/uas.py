"""Information units of USB Attached SCSI. Source: UAS (ISO/IEC 14776-251) section 6.2.

All are big-endian and begin with what they are and the tag of a command or a task management
function. Reserved bytes are sent as zero and not looked at; a reserved value is refused.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final, Self, TypeVar

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.setup import DescriptorType, check_header, split_descriptors

HEADER_BYTES: Final = 4
CDB_BYTES: Final = 16  # of a command unit without additional ones
CDB_BYTES_MAX: Final = CDB_BYTES + 252
SENSE_BYTES_MAX: Final = 252  # SPC-4 4.5.1
TAG_MAX: Final = 0xFFFF

E = TypeVar("E", bound=IntEnum)


class PipeId(IntEnum):
    """What a pipe is for (UAS table 8)."""

    COMMAND = 1
    STATUS = 2
    DATA_IN = 3
    DATA_OUT = 4


class IuId(IntEnum):
    """What an information unit is (UAS table 9)."""

    COMMAND = 0x01
    SENSE = 0x03
    RESPONSE = 0x04
    TASK_MANAGEMENT = 0x05
    READ_READY = 0x06
    WRITE_READY = 0x07


class TaskAttribute(IntEnum):
    """Where a command belongs among those that wait (UAS table 12; SAM-5 8.6)."""

    SIMPLE = 0
    HEAD_OF_QUEUE = 1
    ORDERED = 2
    ACA = 4


class TaskFunction(IntEnum):
    """Task management functions (UAS table 19; SAM-5 7.1)."""

    ABORT_TASK = 0x01
    ABORT_TASK_SET = 0x02
    CLEAR_TASK_SET = 0x04
    LOGICAL_UNIT_RESET = 0x08
    I_T_NEXUS_RESET = 0x10
    CLEAR_ACA = 0x40
    QUERY_TASK = 0x80
    QUERY_TASK_SET = 0x81
    QUERY_ASYNCHRONOUS_EVENT = 0x82


class ResponseCode(IntEnum):
    """How a task management function ended, or what is wrong with a unit (UAS table 17)."""

    FUNCTION_COMPLETE = 0x00
    INVALID_INFORMATION_UNIT = 0x02
    FUNCTION_NOT_SUPPORTED = 0x04
    FUNCTION_FAILED = 0x05
    FUNCTION_SUCCEEDED = 0x08
    INCORRECT_LOGICAL_UNIT_NUMBER = 0x09
    OVERLAPPED_TAG = 0x0A


@dataclass(frozen=True, slots=True)
class PipeUsage:
    """What follows each endpoint of UAS and says which pipe it is, 4 bytes (UAS 5.2.3.5)."""

    pipe: PipeId

    LAYOUT: ClassVar[Struct] = Struct("BBBx")

    def encode(self) -> bytes:
        """Return the 4 bytes."""
        return self.LAYOUT.pack(self.LAYOUT.size, DescriptorType.PIPE_USAGE, self.pipe)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the descriptor in `data`; raise DecodeError on another, or a reserved pipe."""
        check_header(data, DescriptorType.PIPE_USAGE, cls.LAYOUT.size)
        return cls(_named(PipeId, data[2], "pipe"))

    @classmethod
    def among(cls, extra: bytes) -> Self | None:
        """Return the descriptor in what follows an endpoint, None where there is none.

        Raises DecodeError on bytes that are no descriptors.
        """
        for each in split_descriptors(extra):
            if each[1] == DescriptorType.PIPE_USAGE:
                return cls.decode(each)
        return None


def _named(kind: type[E], value: int, what: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise DecodeError(f"{what} {value:#04x} is reserved") from None


def _check_tag(tag: int) -> None:
    if not 0 <= tag <= TAG_MAX:
        raise ValueError(f"a tag is 0 to {TAG_MAX}, not {tag}")


def _check_head(data: bytes, kind: IuId, length: int) -> None:
    if len(data) != length or data[0] != kind:
        raise DecodeError(f"no {kind.name} unit of {length} bytes: {data[:16].hex() or 'nothing'}")


@dataclass(frozen=True, slots=True)
class CommandIu:
    """A command, 32 bytes and as many more as its CDB has beyond 16 (UAS 6.2.2)."""

    tag: int  # 1 to 65535, and no more than there are streams where those are used
    cdb: bytes  # 16 to 268 bytes in units of 4; a shorter one is given as it is, and filled up
    lun: int = 0  # all 8 bytes of the address (SAM-5 4.7)
    attribute: TaskAttribute = TaskAttribute.SIMPLE
    priority: int = 0  # 0 to 15

    LAYOUT: ClassVar[Struct] = Struct(">BxHBxBxQ16s")

    def __post_init__(self) -> None:
        _check_tag(self.tag)
        if not 1 <= len(self.cdb) <= CDB_BYTES_MAX:
            raise ValueError(f"a CDB has 1 to {CDB_BYTES_MAX} bytes, this one {len(self.cdb)}")

    def encode(self) -> bytes:
        """Return the unit; raise struct.error when a field exceeds its width."""
        rest = self.cdb[CDB_BYTES:]
        rest += bytes(-len(rest) % 4)
        head = self.LAYOUT.pack(
            IuId.COMMAND,
            self.tag,
            self.priority << 3 | self.attribute,
            len(rest),  # in units of 4 bytes from bit 2 on, which is the same in bytes
            self.lun,
            self.cdb[:CDB_BYTES],
        )
        return head + rest

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the command in `data`, its CDB filled up; raise DecodeError on a wrong length."""
        size = cls.LAYOUT.size
        if len(data) < size or data[0] != IuId.COMMAND:
            raise DecodeError(f"no COMMAND unit: {data[:size].hex() or 'nothing'}")
        _, tag, attributes, extra, lun, cdb = cls.LAYOUT.unpack_from(data)
        extra &= 0xFC
        if len(data) != size + extra:
            raise DecodeError(f"COMMAND unit has {len(data)} bytes and announces {size + extra}")
        attribute = _named(TaskAttribute, attributes & 0x07, "task attribute")
        return cls(tag, cdb + data[size:], lun, attribute, attributes >> 3 & 0x0F)


@dataclass(frozen=True, slots=True)
class SenseIu:
    """How a command ended, 16 bytes and the sense data (UAS 6.2.5)."""

    tag: int
    status: ScsiStatus
    sense: bytes = b""  # at most 252 bytes
    qualifier: int = 0

    LAYOUT: ClassVar[Struct] = Struct(">BxHHB7xH")

    def __post_init__(self) -> None:
        _check_tag(self.tag)
        if len(self.sense) > SENSE_BYTES_MAX:
            raise ValueError(f"sense data has at most {SENSE_BYTES_MAX} bytes")

    def encode(self) -> bytes:
        """Return the unit; raise struct.error when a field exceeds its width."""
        return (
            self.LAYOUT.pack(IuId.SENSE, self.tag, self.qualifier, self.status, len(self.sense))
            + self.sense
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the unit in `data`; raise DecodeError on a wrong length or a reserved status."""
        size = cls.LAYOUT.size
        if len(data) < size or data[0] != IuId.SENSE:
            raise DecodeError(f"no SENSE unit: {data[:size].hex() or 'nothing'}")
        _, tag, qualifier, status, length = cls.LAYOUT.unpack_from(data)
        sense = data[size:]
        if length != len(sense) or length > SENSE_BYTES_MAX:
            raise DecodeError(f"SENSE unit announces {length} bytes of {len(sense)}, 252 at most")
        return cls(tag, _named(ScsiStatus, status, "status"), sense, qualifier)


@dataclass(frozen=True, slots=True)
class ResponseIu:
    """How a task management function ended, or what a unit lacked, 8 bytes (UAS 6.2.6)."""

    tag: int
    code: ResponseCode
    information: int = 0  # 24 bits, which a function may define

    LAYOUT: ClassVar[Struct] = Struct(">BxHI")

    def __post_init__(self) -> None:
        _check_tag(self.tag)

    def encode(self) -> bytes:
        """Return the 8 bytes; raise struct.error when the information exceeds its width."""
        return self.LAYOUT.pack(IuId.RESPONSE, self.tag, self.information << 8 | self.code)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the unit in `data`; raise DecodeError on a wrong length or a reserved code."""
        _check_head(data, IuId.RESPONSE, cls.LAYOUT.size)
        _, tag, word = cls.LAYOUT.unpack(data)
        return cls(tag, _named(ResponseCode, word & 0xFF, "response code"), word >> 8)


@dataclass(frozen=True, slots=True)
class TaskManagementIu:
    """A task management function, 16 bytes (UAS 6.2.7)."""

    tag: int
    function: int  # a TaskFunction, or a reserved one, which is answered as not supported
    managed_tag: int = 0  # of the task that ABORT TASK and QUERY TASK are about
    lun: int = 0

    LAYOUT: ClassVar[Struct] = Struct(">BxHBxHQ")

    def __post_init__(self) -> None:
        _check_tag(self.tag)
        _check_tag(self.managed_tag)

    def encode(self) -> bytes:
        """Return the 16 bytes; raise struct.error when a field exceeds its width."""
        return self.LAYOUT.pack(
            IuId.TASK_MANAGEMENT, self.tag, self.function, self.managed_tag, self.lun
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the unit in `data`; raise DecodeError on a wrong length."""
        _check_head(data, IuId.TASK_MANAGEMENT, cls.LAYOUT.size)
        return cls(*cls.LAYOUT.unpack(data)[1:])


@dataclass(frozen=True, slots=True)
class ReadyIu:
    """READ READY or WRITE READY, 4 bytes (UAS 6.2.3, 6.2.4): the data of that tag is next.

    Sent only where there are no streams to tell the data of one command from another's.
    """

    tag: int
    is_write: bool

    LAYOUT: ClassVar[Struct] = Struct(">BxH")

    def __post_init__(self) -> None:
        _check_tag(self.tag)

    def encode(self) -> bytes:
        """Return the 4 bytes."""
        return self.LAYOUT.pack(IuId.WRITE_READY if self.is_write else IuId.READ_READY, self.tag)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the unit in `data`; raise DecodeError on a wrong length."""
        kind = IuId.WRITE_READY if data[:1] == bytes((IuId.WRITE_READY,)) else IuId.READ_READY
        _check_head(data, kind, cls.LAYOUT.size)
        return cls(cls.LAYOUT.unpack(data)[1], kind is IuId.WRITE_READY)


ToDrive = CommandIu | TaskManagementIu
FromDrive = SenseIu | ResponseIu | ReadyIu


def tag_of(data: bytes) -> int | None:
    """Return the tag of any unit, also of one that is none; None where there is no room for it."""
    return int.from_bytes(data[2:4], "big") if len(data) >= HEADER_BYTES else None


def decode_to_drive(data: bytes) -> ToDrive:
    """Return what came by the command pipe; raise DecodeError where it is nothing."""
    if data and data[0] == IuId.TASK_MANAGEMENT:
        return TaskManagementIu.decode(data)
    return CommandIu.decode(data)


def decode_from_drive(data: bytes) -> FromDrive:
    """Return what came by the status pipe; raise DecodeError where it is nothing."""
    match data[0] if data else None:
        case IuId.RESPONSE:
            return ResponseIu.decode(data)
        case IuId.READ_READY | IuId.WRITE_READY:
            return ReadyIu.decode(data)
    return SenseIu.decode(data)
