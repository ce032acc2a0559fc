"""Sense data: why a command was refused. Source: SPC-4 4.5 and tables D.1, 27, 28."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from firmware_model.wire.codec import DecodeError

FIXED_BYTES: Final = 18


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
class Sense:
    """Key and code of one condition."""

    key: SenseKey
    asc: int
    ascq: int
    information: int | None = None  # the LBA, where the standard wants one
    is_deferred: bool = False  # it is about an earlier command

    def __str__(self) -> str:
        return f"{self.key.name} {self.asc:02X}h/{self.ascq:02X}h"

    def encode_fixed(self) -> bytes:
        """Return fixed format, 18 bytes (4.5.3); information beyond 32 bits is left out."""
        fits = self.information is not None and self.information <= 0xFFFFFFFF
        information = (self.information or 0) if fits else 0
        return (
            bytes((0x80 * fits | 0x70 | self.is_deferred, 0, self.key))
            + information.to_bytes(4, "big")
            + bytes((FIXED_BYTES - 8, 0, 0, 0, 0, self.asc, self.ascq, 0, 0, 0, 0))
        )

    def encode_descriptor(self) -> bytes:
        """Return descriptor format, 8 bytes or 20 with an information descriptor (4.5.2)."""
        rest = b""
        if self.information is not None:
            rest = bytes((0x00, 0x0A, 0x80, 0)) + self.information.to_bytes(8, "big")
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
            return cls(SenseKey(fixed[2] & 0xF), fixed[12], fixed[13], information, code == 0x71)
        if code in (0x72, 0x73) and len(data) >= 4:
            information = _information(data[8 : 8 + data[7]]) if len(data) >= 8 else None
            return cls(SenseKey(data[1] & 0xF), data[2], data[3], information, code == 0x73)
        raise DecodeError(f"no sense data: {data[:FIXED_BYTES].hex() or 'nothing'}")


def _information(descriptors: bytes) -> int | None:
    """Return what an information descriptor says (4.5.2.2), if there is one."""
    while len(descriptors) >= 2:
        length = 2 + descriptors[1]
        if descriptors[0] == 0x00 and len(descriptors) >= 12 and descriptors[2] & 0x80:
            return int.from_bytes(descriptors[4:12], "big")
        descriptors = descriptors[length:]
    return None


NO_SENSE: Final = Sense(SenseKey.NO_SENSE, 0x00, 0x00)
LOCKED: Final = Sense(SenseKey.NOT_READY, 0x3A, 0x00)  # medium not present
WRITE_ERROR: Final = Sense(SenseKey.MEDIUM_ERROR, 0x0C, 0x00)
UNRECOVERED_READ: Final = Sense(SenseKey.MEDIUM_ERROR, 0x11, 0x00)
SELF_TEST_FAILED: Final = Sense(SenseKey.HARDWARE_ERROR, 0x3E, 0x03)
INTERNAL_TARGET_FAILURE: Final = Sense(SenseKey.HARDWARE_ERROR, 0x44, 0x00)
PARAMETER_LIST_LENGTH_ERROR: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x1A, 0x00)
INVALID_OPCODE: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x20, 0x00)
LBA_OUT_OF_RANGE: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x21, 0x00)
INVALID_FIELD_IN_CDB: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x24, 0x00)
INVALID_FIELD_IN_PARAMETERS: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x00)
COMMAND_SEQUENCE_ERROR: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x2C, 0x00)
LOGICAL_UNIT_NOT_SUPPORTED: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x25, 0x00)
SAVING_NOT_SUPPORTED: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x39, 0x00)
INVALID_MESSAGE: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x49, 0x00)
REMOVAL_PREVENTED: Final = Sense(SenseKey.ILLEGAL_REQUEST, 0x53, 0x02)
MEDIUM_CHANGED: Final = Sense(SenseKey.UNIT_ATTENTION, 0x28, 0x00)
POWER_ON_RESET: Final = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0x00)
UNIT_RESET: Final = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0x03)  # by a task management function
NEXUS_LOSS: Final = Sense(SenseKey.UNIT_ATTENTION, 0x29, 0x07)
DATA_PHASE_ERROR: Final = Sense(SenseKey.ABORTED_COMMAND, 0x4B, 0x00)
ACCESS_NOT_AUTHORIZED: Final = Sense(SenseKey.DATA_PROTECT, 0x74, 0x71)  # a locked range
WRITE_PROTECTED: Final = Sense(SenseKey.DATA_PROTECT, 0x27, 0x00)
MISCOMPARE: Final = Sense(SenseKey.MISCOMPARE, 0x1D, 0x00)
