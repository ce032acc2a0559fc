"""Sense data: why a command was refused. Source: SPC-4 4.5 and tables D.1, 27, 28."""

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final, Self

from firmware_model.wire.codec import DecodeError

FIXED_BYTES: Final = 18
DESCRIPTOR_BYTES_MAX: Final = 28  # with information and what is specific to the key


class SenseKey(IntEnum):
    """Sense key codes (SPC-4 table 53)."""

    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    BLANK_CHECK = 0x8
    VENDOR_SPECIFIC = 0x9
    COPY_ABORTED = 0xA
    ABORTED_COMMAND = 0xB
    RESERVED = 0xC
    VOLUME_OVERFLOW = 0xD
    MISCOMPARE = 0xE
    COMPLETED = 0xF


@dataclass(frozen=True, slots=True)
class FieldPointer:
    """Which field was refused, as sense-key specific data (SPC-4 4.5.2.4.2)."""

    byte: int  # of the CDB or of the parameter list, the first of the field
    bit: int | None = None  # the leftmost of the field, where that is not the whole byte
    is_in_cdb: bool = True

    def encode(self) -> bytes:
        """Return the 3 bytes."""
        bit = 0 if self.bit is None else 0x08 | self.bit
        return bytes((0x80 | 0x40 * self.is_in_cdb | bit,)) + self.byte.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a long operation is done, as sense-key specific data (SPC-4 4.5.2.4.4)."""

    done: int  # of 65536

    def encode(self) -> bytes:
        """Return the 3 bytes."""
        return b"\x80" + self.done.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Sense:
    """Key and code of one condition; where exactly it was met makes no other condition of it."""

    key: SenseKey
    asc: int
    ascq: int
    # The LBA, or the offset of the first byte that differs.
    information: int | None = field(default=None, compare=False)
    is_deferred: bool = False  # it is about an earlier command
    specific: FieldPointer | Progress | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.key.name} {self.asc:02X}h/{self.ascq:02X}h"

    def encode_fixed(self) -> bytes:
        """Return fixed format, 18 bytes (4.5.3); information beyond 32 bits is left out."""
        fits = self.information is not None and self.information <= 0xFFFFFFFF
        information = (self.information or 0) if fits else 0
        specific = bytes(3) if self.specific is None else self.specific.encode()
        return (
            bytes((0x80 * fits | 0x70 | self.is_deferred, 0, self.key))
            + information.to_bytes(4, "big")
            + bytes((FIXED_BYTES - 8, 0, 0, 0, 0, self.asc, self.ascq, 0))
            + specific
        )

    def encode_descriptor(self) -> bytes:
        """Return descriptor format, 8 bytes and what else there is to say (4.5.2)."""
        rest = b""
        if self.information is not None:
            rest = bytes((0x00, 0x0A, 0x80, 0)) + self.information.to_bytes(8, "big")
        if self.specific is not None:
            rest += bytes((0x02, 0x06, 0, 0)) + self.specific.encode() + b"\0"
        code = 0x72 | self.is_deferred
        return bytes((code, self.key, self.asc, self.ascq, 0, 0, 0, len(rest))) + rest

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the condition in `data`, of either format; raise DecodeError for neither.

        A fixed answer that ends early counts as zero-filled, as hosts have to read it.
        """
        code = data[0] & 0x7F if data else 0
        if code in (0x70, 0x71) and len(data) >= 3:
            fixed = data[:FIXED_BYTES].ljust(FIXED_BYTES, b"\0")
            is_valid = bool(fixed[0] & 0x80)
            information = int.from_bytes(fixed[3:7], "big") if is_valid else None
            key = SenseKey(fixed[2] & 0xF)
            specific = _specific(key, fixed[15:18])
            return cls(key, fixed[12], fixed[13], information, code == 0x71, specific)
        if code in (0x72, 0x73) and len(data) >= 4:
            found = _descriptors(data[8 : 8 + data[7]]) if len(data) >= 8 else {}
            key, stored = SenseKey(data[1] & 0xF), found.get(0x00, b"")
            is_valid = len(stored) >= 10 and bool(stored[0] & 0x80)
            information = int.from_bytes(stored[2:10], "big") if is_valid else None
            specific = _specific(key, found.get(0x02, b"")[2:5])
            return cls(key, data[2], data[3], information, code == 0x73, specific)
        raise DecodeError(f"no sense data: {data[:FIXED_BYTES].hex() or 'nothing'}")


def _descriptors(data: bytes) -> dict[int, bytes]:
    """Return what follows type and length of each descriptor, by type (4.5.2)."""
    found: dict[int, bytes] = {}
    while len(data) >= 2:
        end = 2 + data[1]
        found.setdefault(data[0], data[2:end])
        data = data[end:]
    return found


def _specific(key: SenseKey, data: bytes) -> FieldPointer | Progress | None:
    """Return what the sense-key specific bytes say, where this key gives them a meaning here."""
    if len(data) < 3 or not data[0] & 0x80:
        return None
    number = int.from_bytes(data[1:3], "big")
    match key:
        case SenseKey.ILLEGAL_REQUEST:
            bit = data[0] & 0x07 if data[0] & 0x08 else None
            return FieldPointer(number, bit, bool(data[0] & 0x40))
        case SenseKey.NO_SENSE | SenseKey.NOT_READY:
            return Progress(number)
    return None


def invalid_field(byte: int, bit: int | None = None) -> Sense:
    """Return the refusal of a CDB for a field: its first byte, and its leftmost bit."""
    return replace(INVALID_FIELD_IN_CDB, specific=FieldPointer(byte, bit))


def invalid_parameter(byte: int, bit: int | None = None) -> Sense:
    """Return the refusal of a parameter list for a field: its first byte, and its leftmost bit."""
    return replace(INVALID_FIELD_IN_PARAMETERS, specific=FieldPointer(byte, bit, False))


NO_SENSE: Final = Sense(SenseKey.NO_SENSE, 0x00, 0x00)
START_REQUIRED: Final = Sense(SenseKey.NOT_READY, 0x04, 0x02)  # initializing command required
LOCKED: Final = Sense(SenseKey.NOT_READY, 0x3A, 0x00)  # medium not present
WRITE_ERROR: Final = Sense(SenseKey.MEDIUM_ERROR, 0x0C, 0x00)
UNRECOVERED_READ: Final = Sense(SenseKey.MEDIUM_ERROR, 0x11, 0x00)
SANITIZE_FAILED: Final = Sense(SenseKey.MEDIUM_ERROR, 0x31, 0x03)
SELF_TEST_FAILED: Final = Sense(SenseKey.HARDWARE_ERROR, 0x3E, 0x03)
INTERNAL_TARGET_FAILURE: Final = Sense(SenseKey.HARDWARE_ERROR, 0x44, 0x00)
PARAMETER_LIST_LENGTH_ERROR: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x1A, 0x00)
INVALID_OPCODE: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x20, 0x00)
LBA_OUT_OF_RANGE: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x21, 0x00)
INVALID_FIELD_IN_CDB: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x24, 0x00)
INVALID_FIELD_IN_PARAMETERS: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x00)
INVALID_RELEASE: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x04)  # of a reservation
COMMAND_SEQUENCE_ERROR: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x2C, 0x00)
LOGICAL_UNIT_NOT_SUPPORTED: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x25, 0x00)
INVALID_MESSAGE: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x49, 0x00)
REMOVAL_PREVENTED: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x53, 0x02)
MEDIUM_CHANGED: Final = Sense(SenseKey.UNIT_ATTENTION, 0x28, 0x00)
POWER_ON_RESET: Final = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0x00)
UNIT_RESET: Final = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0x03)  # by a task management function
NEXUS_LOSS: Final = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0x07)
DATA_PHASE_ERROR: Final = Sense(SenseKey.ABORTED_COMMAND, 0x4B, 0x00)
ACCESS_NOT_AUTHORIZED: Final = Sense(SenseKey.DATA_PROTECT, 0x74, 0x71)  # a locked range
WRITE_PROTECTED: Final = Sense(SenseKey.DATA_PROTECT, 0x27, 0x00)
SOFTWARE_WRITE_PROTECTED: Final = Sense(SenseKey.DATA_PROTECT, 0x27, 0x02)  # the SWP bit
MISCOMPARE: Final = Sense(SenseKey.MISCOMPARE, 0x1D, 0x00)
