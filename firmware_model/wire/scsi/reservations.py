"""PERSISTENT RESERVE IN and OUT: commands and what they carry. Source: SPC-4 6.15, 6.16."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi.transfer import Allocated, Listed, number
from firmware_model.wire.sense import Sense, invalid_field


class ReserveIn(IntEnum):
    """Service actions of PERSISTENT RESERVE IN (table 217)."""

    READ_KEYS = 0x00
    READ_RESERVATION = 0x01
    REPORT_CAPABILITIES = 0x02
    READ_FULL_STATUS = 0x03


class ReserveOut(IntEnum):
    """Service actions of PERSISTENT RESERVE OUT (table 231) that a unit of one port has."""

    REGISTER = 0x00
    RESERVE = 0x01
    RELEASE = 0x02
    CLEAR = 0x03
    PREEMPT = 0x04
    PREEMPT_AND_ABORT = 0x05
    REGISTER_AND_IGNORE_EXISTING_KEY = 0x06


class ReservationType(IntEnum):
    """TYPE, in the low half of its byte; the other half is the scope, the unit (table 221)."""

    WRITE_EXCLUSIVE = 0x1
    EXCLUSIVE_ACCESS = 0x3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 0x5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 0x6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 0x7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 0x8

    @property
    def is_of_all_registrants(self) -> bool:
        """Whether every registered nexus holds the reservation."""
        return self >= ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS


# What names a type, where it is of no use to the service action.
_TYPED: Final = (
    ReserveOut.RESERVE,
    ReserveOut.RELEASE,
    ReserveOut.PREEMPT,
    ReserveOut.PREEMPT_AND_ABORT,
)


@dataclass(frozen=True, slots=True)
class PersistentReserveIn(Allocated):
    """SPC-4 6.15."""

    action: ReserveIn
    allocation_length: int = 8192

    def encode(self) -> bytes:
        head = bytes((0x5E, self.action, *bytes(5)))
        return head + self.allocation_length.to_bytes(2, "big") + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(ReserveIn(cdb[1]), number(cdb, 7, 2))


@dataclass(frozen=True, slots=True)
class PersistentReserveOut(Listed):
    """SPC-4 6.16; `kind` is None where the service action has no use for one."""

    action: ReserveOut
    kind: ReservationType | None = None
    list_length: int = 24

    def encode(self) -> bytes:
        head = bytes((0x5F, self.action, self.kind or 0, 0, 0))
        return head + self.list_length.to_bytes(4, "big") + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        action, length = ReserveOut(cdb[1]), number(cdb, 5, 4)
        if action not in _TYPED:
            return cls(action, None, length)
        if cdb[2] & 0xF0:
            return invalid_field(2, 7)
        if cdb[2] not in list(ReservationType):
            return invalid_field(2, 3)
        return cls(action, ReservationType(cdb[2]), length)


@dataclass(frozen=True, slots=True)
class ReserveParameters:
    """The parameter list of PERSISTENT RESERVE OUT, 24 bytes (table 232)."""

    key: int = 0
    action_key: int = 0
    specifies_initiators: bool = False  # SPEC_I_PT
    is_for_all_ports: bool = False  # ALL_TG_PT
    persists: bool = False  # APTPL

    LAYOUT: ClassVar[Struct] = Struct(">QQ4xB3x")

    def encode(self) -> bytes:
        """Return the 24 bytes."""
        flags = 8 * self.specifies_initiators | 4 * self.is_for_all_ports | self.persists
        return self.LAYOUT.pack(self.key, self.action_key, flags)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the parameters in `data`; raise DecodeError on another length."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"parameters of a reservation have 24 bytes, these {len(data)}")
        key, action_key, flags = cls.LAYOUT.unpack(data)
        return cls(key, action_key, bool(flags & 8), bool(flags & 4), bool(flags & 1))


def encode_keys(generation: int, keys: Sequence[int]) -> bytes:
    """Return the data of READ KEYS (table 218)."""
    body = b"".join(key.to_bytes(8, "big") for key in keys)
    return generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def encode_reservation(generation: int, key: int, kind: ReservationType | None) -> bytes:
    """Return the data of READ RESERVATION; without a kind there is none (tables 219, 220)."""
    body = b"" if kind is None else key.to_bytes(8, "big") + bytes((0, 0, 0, 0, 0, kind, 0, 0))
    return generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def encode_capabilities(can_persist: bool, persists: bool) -> bytes:
    """Return the data of REPORT CAPABILITIES: all types, and whether power loss may be survived."""
    # TMV; the mask of types is in the order of table 225, the last in a byte of its own.
    return bytes((0, 8, can_persist, 0x80 | persists, 0xEA, 0x01, 0, 0))


def encode_full_status(
    generation: int, key: int | None, kind: ReservationType | None, transport_id: bytes
) -> bytes:
    """Return the data of READ FULL STATUS for the one nexus that may be registered (table 226)."""
    if key is None:
        return generation.to_bytes(4, "big") + bytes(4)
    held = bytes((kind is not None, kind or 0))
    head = key.to_bytes(8, "big") + bytes(4) + held + bytes(4) + b"\0\x01"
    body = head + len(transport_id).to_bytes(4, "big") + transport_id
    return generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body
