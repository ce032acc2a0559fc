"""What a unit tells of itself: commands, task management, defects, blocks in use. SPC-4, SBC-3."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError

LBA_DESCRIPTORS_MAX: Final = 256  # of one answer to GET LBA STATUS: the host asks on from there


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a command takes: seconds, usually and at most (SPC-4 table 205)."""

    nominal_s: int
    recommended_s: int

    LAYOUT: ClassVar[Struct] = Struct(">HxxII")

    def encode(self) -> bytes:
        """Return the command timeouts descriptor, 12 bytes."""
        return self.LAYOUT.pack(self.LAYOUT.size - 2, self.nominal_s, self.recommended_s)


@dataclass(frozen=True, slots=True)
class CommandDescriptor:
    """One supported command, among all (SPC-4 table 202)."""

    opcode: int
    service_action: int | None
    cdb_bytes: int
    timeouts: Timeouts | None = None

    LAYOUT: ClassVar[Struct] = Struct(">BxHxBH")

    def encode(self) -> bytes:
        """Return 8 bytes, or 20 with timeouts."""
        flags = (self.service_action is not None) | 2 * (self.timeouts is not None)
        action = self.service_action or 0
        head = self.LAYOUT.pack(self.opcode, action, flags, self.cdb_bytes)
        return head if self.timeouts is None else head + self.timeouts.encode()


def encode_all_commands(descriptors: Sequence[CommandDescriptor]) -> bytes:
    """Return the data for all commands (SPC-4 table 201)."""
    body = b"".join(each.encode() for each in descriptors)
    return len(body).to_bytes(4, "big") + body


def encode_one_command(usage: bytes | None, timeouts: Timeouts | None = None) -> bytes:
    """Return the data for one command, by its usage data; None: there is none (table 204)."""
    if usage is None:
        return bytes((0, 1, 0, 0))
    head = bytes((0, 0x80 * (timeouts is not None) | 3)) + len(usage).to_bytes(2, "big")
    return head + usage + (b"" if timeouts is None else timeouts.encode())


# Abort task and task set, clear task set, unit reset, query task; query asynchronous event, query
# task set, nexus reset (SPC-4 table 208).
TASK_FUNCTIONS: Final = bytes((0xDC, 0x07, 0, 0))


def encode_task_functions(is_extended: bool) -> bytes:
    """Return 4 bytes, or 16 with no time limit stated (SPC-4 6.36)."""
    return TASK_FUNCTIONS[:3] + b"\x0c" + bytes(12) if is_extended else TASK_FUNCTIONS


def encode_defects(size: int, wanted: int) -> bytes:
    """Return the head of an empty defect list; `wanted` is which lists, and the format."""
    if size == 10:
        return bytes((0, wanted, 0, 0))
    return bytes((0, wanted, *bytes(6)))


class Provisioning(IntEnum):
    """Whether blocks hold anything (SBC-3 table 63)."""

    MAPPED = 0
    DEALLOCATED = 1


@dataclass(frozen=True, slots=True)
class LbaStatus:
    """Blocks in a row of one status."""

    lba: int
    block_count: int
    status: Provisioning

    LAYOUT: ClassVar[Struct] = Struct(">QIB3x")

    def encode(self) -> bytes:
        """Return the descriptor, 16 bytes (SBC-3 table 62)."""
        return self.LAYOUT.pack(self.lba, self.block_count, self.status)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the descriptor in `data`; raise DecodeError on another length or status."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"an LBA status descriptor has 16 bytes, this one {len(data)}")
        lba, count, status = cls.LAYOUT.unpack(data)
        if status not in list(Provisioning):
            raise DecodeError(f"there is no provisioning status {status}")
        return cls(lba, count, Provisioning(status))


def encode_lba_statuses(statuses: Sequence[LbaStatus]) -> bytes:
    """Return the data of GET LBA STATUS (SBC-3 table 61)."""
    body = b"".join(each.encode() for each in statuses)
    return (4 + len(body)).to_bytes(4, "big") + bytes(4) + body


def decode_lba_statuses(data: bytes) -> tuple[LbaStatus, ...]:
    """Return the descriptors in `data`, those that are whole; raise DecodeError without a head."""
    if len(data) < 8:
        raise DecodeError(f"LBA status data has at least 8 bytes, not {len(data)}")
    size = LbaStatus.LAYOUT.size
    length = min(int.from_bytes(data[:4], "big") - 4, len(data) - 8)
    count = max(length, 0) // size
    return tuple(LbaStatus.decode(data[8 + at * size : 8 + (at + 1) * size]) for at in range(count))
