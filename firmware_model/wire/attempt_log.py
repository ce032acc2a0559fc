"""The attempt log as it stands in flash and is read by its owner.

Records form a hash chain whose head the secure element keeps: `head = SHA-256(head || record)`.
Whoever knows an earlier head can check every record since. Integers are big-endian.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import Version

KINDS: Final = 32
HEAD_BYTES: Final = 32
NO_ROLE: Final = 0xFF


class Event(IntEnum):
    """What a record says happened."""

    BOOT = 0
    ATTEMPT_USER = 1
    ATTEMPT_ADMIN = 2
    ATTEMPT_RECOVERY = 3
    UNLOCK = 4
    LOCK = 5
    PIN_SET = 6
    PIN_CHANGED = 7
    RECOVERY_MADE = 8
    RECOVERED = 9
    DURESS_SET = 10
    ERASE_COMMAND = 11
    ERASE_LIMIT = 12
    ERASE_DURESS = 13
    ERASE_SANITIZE = 14
    FIRST_READ = 15
    FIRST_WRITE = 16
    TOTALS = 17
    READ_ONLY_SET = 18
    TRIES_RESTORED = 19
    UPDATED = 20
    FELL_BACK = 21  # to firmware in another slot than the one that was to be begun with


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One act, 40 bytes."""

    number: int  # 0 is the first of the drive's life
    time_us: int  # of the drive's own clock
    event: Event
    role: int = NO_ROLE  # a wire.native.Role
    # LOCK, TOTALS, ERASE_*: MiB read (upper half) and written since the unlock.
    # UPDATED, FELL_BACK: number of the version (upper half) and security version.
    detail: int = 0

    LAYOUT: ClassVar[Struct] = Struct(">QQBB6xQ8x")

    def encode(self) -> bytes:
        """Return the 40 bytes."""
        return self.LAYOUT.pack(self.number, self.time_us, self.event, self.role, self.detail)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the record in `data`; raise DecodeError for any other bytes than its encoding."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"a log record has {cls.LAYOUT.size} bytes, this one {len(data)}")
        number, time_us, event, role, detail = cls.LAYOUT.unpack(data)
        try:
            record = cls(number, time_us, Event(event), role, detail)
        except ValueError:
            raise DecodeError(f"{event} is no kind of log record") from None
        if record.encode() != data:
            raise DecodeError("a log record has bytes outside its fields")
        return record

    @property
    def megabytes(self) -> tuple[int, int]:
        """MiB read and written, of a record that tells them; none of any other."""
        if self.firmware is not None:
            return 0, 0
        return self.detail >> 32, self.detail & 0xFFFFFFFF

    @property
    def firmware(self) -> tuple[Version, int] | None:
        """Version and security version, of an UPDATED or FELL_BACK record; None of any other."""
        if self.event not in (Event.UPDATED, Event.FELL_BACK):
            return None
        return Version.numbered(self.detail >> 32), self.detail & 0xFFFFFFFF


def next_head(head: bytes, record: bytes) -> bytes:
    """Return the head after one more record."""
    return hashlib.sha256(head + record).digest()


def head_after(head: bytes, records: Iterable[LogRecord]) -> bytes:
    """Return the head after all of `records`."""
    for record in records:
        head = next_head(head, record.encode())
    return head


def _pack_counts(counts: tuple[int, ...]) -> bytes:
    return b"".join(count.to_bytes(4, "big") for count in counts)


def _unpack_counts(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was folded away: all records before `base`, counted by kind and signed, 232 bytes."""

    base: int  # number of the first record that still stands
    base_head: bytes  # the chain's head before that record
    counts: tuple[int, ...]  # of the folded records, by kind
    signature: bytes  # Ed25519 by the drive's identity

    SIZE: ClassVar[int] = 8 + HEAD_BYTES + 4 * KINDS + 64
    LABEL: ClassVar[bytes] = b"sedlab log checkpoint 1"

    def signed_bytes(self) -> bytes:
        """Return what the signature is over."""
        return self.LABEL + self.encode()[:-64]

    def encode(self) -> bytes:
        """Return the 232 bytes."""
        body = self.base.to_bytes(8, "big") + self.base_head + _pack_counts(self.counts)
        return body + self.signature.ljust(64, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the checkpoint in `data`; raise DecodeError on another length."""
        if len(data) != cls.SIZE:
            raise DecodeError(f"a checkpoint has {cls.SIZE} bytes, this one {len(data)}")
        return cls(
            int.from_bytes(data[:8], "big"), data[8:40], _unpack_counts(data[40:168]), data[168:]
        )


@dataclass(frozen=True, slots=True)
class LogPage:
    """A run of records as READ_LOG gives it: at most five, beside the checkpoint."""

    first: int  # number of the first record that still stands
    end: int  # one more than the last record's number
    checkpoint: Checkpoint | None
    records: tuple[LogRecord, ...]

    RECORDS_MAX: ClassVar[int] = 5

    def encode(self) -> bytes:
        """Return at most 449 bytes."""
        folded = b"" if self.checkpoint is None else self.checkpoint.encode()
        head = self.first.to_bytes(8, "big") + self.end.to_bytes(8, "big") + bytes((bool(folded),))
        return head + folded + b"".join(record.encode() for record in self.records)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the page in `data`; raise DecodeError where it is none."""
        if len(data) < 17 or data[16] > 1:
            raise DecodeError(f"{len(data)} bytes are no page of the log")
        rest = data[17:]
        checkpoint = None
        if data[16]:
            checkpoint = Checkpoint.decode(rest[: Checkpoint.SIZE])
            rest = rest[Checkpoint.SIZE :]
        size = LogRecord.LAYOUT.size
        records = tuple(LogRecord.decode(rest[at : at + size]) for at in range(0, len(rest), size))
        first, end = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:16], "big")
        return cls(first, end, checkpoint, records)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the drive signs for whoever asks: how often what happened, 296 bytes."""

    nonce: bytes  # the asker's own, 32 bytes
    head: bytes
    count: int  # records in the drive's life
    counts: tuple[int, ...]  # by kind of event
    identity: bytes
    signature: bytes

    SIZE: ClassVar[int] = 32 + HEAD_BYTES + 8 + 4 * KINDS + 32 + 64
    LABEL: ClassVar[bytes] = b"sedlab evidence 1"

    def signed_bytes(self) -> bytes:
        """Return what the signature is over."""
        return self.LABEL + self.encode()[:-64]

    def encode(self) -> bytes:
        """Return the 296 bytes."""
        return (
            self.nonce
            + self.head
            + self.count.to_bytes(8, "big")
            + _pack_counts(self.counts)
            + self.identity
            + self.signature.ljust(64, b"\0")
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the evidence in `data`; raise DecodeError on another length."""
        if len(data) != cls.SIZE:
            raise DecodeError(f"evidence has {cls.SIZE} bytes, this one {len(data)}")
        return cls(
            data[:32],
            data[32:64],
            int.from_bytes(data[64:72], "big"),
            _unpack_counts(data[72:200]),
            data[200:232],
            data[232:],
        )
