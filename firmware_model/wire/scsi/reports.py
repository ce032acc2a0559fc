"""Commands that ask for capacity, blocks in use, defects, commands. Source: SBC-3, SPC-4."""

from dataclasses import dataclass
from typing import Self

from firmware_model.wire.scsi.opcodes import MaintenanceIn, Opcode, ServiceActionIn
from firmware_model.wire.scsi.transfer import Allocated, Direction, Transfer, number
from firmware_model.wire.sense import Sense, invalid_field

CAPACITY_10_BYTES = 8


@dataclass(frozen=True, slots=True)
class ReadCapacity:
    """SBC-3 5.15 and 5.16, by `size` 10 or 16."""

    size: int = 10
    allocation_length: int = 32  # of the 16-byte command

    @property
    def transfer(self) -> Transfer:
        length = CAPACITY_10_BYTES if self.size == 10 else self.allocation_length
        return Transfer(Direction.IN, length)

    def encode(self) -> bytes:
        if self.size == 10:
            return b"\x25" + bytes(9)
        length = self.allocation_length.to_bytes(4, "big")
        return bytes((0x9E, ServiceActionIn.READ_CAPACITY_16)) + bytes(8) + length + bytes(2)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls() if len(cdb) == 10 else cls(16, number(cdb, 10, 4))


@dataclass(frozen=True, slots=True)
class ReadFormatCapacities(Allocated):
    """MMC-6 6.23."""

    allocation_length: int = 252

    def encode(self) -> bytes:
        return b"\x23" + bytes(6) + self.allocation_length.to_bytes(2, "big") + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(number(cdb, 7, 2))


@dataclass(frozen=True, slots=True)
class GetLbaStatus(Allocated):
    """SBC-3 5.4: which blocks from `lba` on hold anything."""

    lba: int
    allocation_length: int = 24

    def encode(self) -> bytes:
        place = self.lba.to_bytes(8, "big") + self.allocation_length.to_bytes(4, "big")
        return bytes((0x9E, ServiceActionIn.GET_LBA_STATUS)) + place + bytes(2)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(number(cdb, 2, 8), number(cdb, 10, 4))


@dataclass(frozen=True, slots=True)
class ReadDefectData(Allocated):
    """SBC-3 5.17 and 5.18, by `size` 10 or 12; the lists wanted, in a format of 0 to 7."""

    wants_primary: bool = False
    wants_grown: bool = False
    list_format: int = 0
    allocation_length: int = 255
    size: int = 10

    def encode(self) -> bytes:
        wanted = 0x10 * self.wants_primary | 0x08 * self.wants_grown | self.list_format
        if self.size == 10:
            length = self.allocation_length.to_bytes(2, "big")
            return bytes((Opcode.READ_DEFECT_DATA_10, 0, wanted, *bytes(4))) + length + b"\0"
        length = self.allocation_length.to_bytes(4, "big")
        return bytes((Opcode.READ_DEFECT_DATA_12, wanted, *bytes(4))) + length + bytes(2)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        is_short = len(cdb) == 10
        wanted = cdb[2] if is_short else cdb[1]
        length = number(cdb, 7, 2) if is_short else number(cdb, 6, 4)
        return cls(bool(wanted & 0x10), bool(wanted & 0x08), wanted & 7, length, len(cdb))


@dataclass(frozen=True, slots=True)
class ReportSupportedOpcodes(Allocated):
    """SPC-4 6.34: of all commands, or of one."""

    options: int = 0  # 0 all, 1 one opcode, 2 one service action, 3 one of either
    opcode: int = 0
    service_action: int = 0
    wants_timeouts: bool = False
    allocation_length: int = 65_536

    def encode(self) -> bytes:
        action = MaintenanceIn.REPORT_SUPPORTED_OPERATION_CODES
        head = bytes((0xA3, action, 0x80 * self.wants_timeouts | self.options, self.opcode))
        length = self.allocation_length.to_bytes(4, "big")
        return head + self.service_action.to_bytes(2, "big") + length + bytes(2)

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        options = cdb[2] & 7
        if options > 3:
            return invalid_field(2, 2)
        action, length = number(cdb, 4, 2), number(cdb, 6, 4)
        return cls(options, cdb[3], action, bool(cdb[2] & 0x80), length)


@dataclass(frozen=True, slots=True)
class ReportTaskFunctions(Allocated):
    """SPC-4 6.36, REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS."""

    allocation_length: int = 16
    is_extended: bool = False

    def encode(self) -> bytes:
        action = MaintenanceIn.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS
        head = bytes((0xA3, action, 0x80 * self.is_extended, 0, 0, 0))
        return head + self.allocation_length.to_bytes(4, "big") + bytes(2)

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        length = number(cdb, 6, 4)
        return cls(length, bool(cdb[2])) if length >= 4 else invalid_field(6)
