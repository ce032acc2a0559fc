"""A small disk without any lock, for tests of what carries commands to a disk."""

from dataclasses import dataclass

from firmware_model.firmware.absent_unit import AbsentUnit
from firmware_model.firmware.parts import Transport
from firmware_model.usb.bulk_only import BulkOnly
from firmware_model.usb.descriptors import Descriptors
from firmware_model.usb.device import MassStorageDevice
from firmware_model.usb.uas import UsbAttachedScsi
from firmware_model.wire.function import BusEvent
from firmware_model.wire.scsi import Direction, ScsiStatus, Transfer
from firmware_model.wire.sense import (
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    LOCKED,
    NEXUS_LOSS,
    NO_SENSE,
    POWER_ON_RESET,
    Sense,
)

BLOCK_BYTES = 512
BLOCK_COUNT = 16
INQUIRY_DATA = bytes.fromhex("0080060220000000") + b"SEDLAB  RAM DISK        0001"
TEST_UNIT_READY = bytes(6)
REQUEST_SENSE = bytes.fromhex("030000001200")
INQUIRY = bytes.fromhex("120000002400")
UNKNOWN = bytes.fromhex("1f0000000000")
VENDOR = bytes.fromhex("c00000000000")


def read10(lba: int, block_count: int) -> bytes:
    """Return the CDB of READ(10)."""
    return b"\x28\x00" + lba.to_bytes(4, "big") + b"\x00" + block_count.to_bytes(2, "big") + b"\x00"


def write10(lba: int, block_count: int) -> bytes:
    """Return the CDB of WRITE(10)."""
    return b"\x2a" + read10(lba, block_count)[1:]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    data: bytes = b""
    sense: Sense | None = None

    @property
    def status(self) -> ScsiStatus:
        """GOOD, or CHECK CONDITION."""
        return ScsiStatus.GOOD if self.sense is None else ScsiStatus.CHECK_CONDITION


class RamDisk:
    """A logical unit that remembers what it was asked."""

    def __init__(self, block_count: int = BLOCK_COUNT) -> None:
        self.blocks = bytearray(BLOCK_BYTES * block_count)
        self.executed: list[tuple[bytes, bytes]] = []
        self.is_locked = False
        self.attentions = 0  # commands that will be answered UNIT ATTENTION
        self.inquiry_data = INQUIRY_DATA
        self.resets: list[Sense] = []
        self.lengths: dict[int, int] = {}  # data-out of further commands, by operation code
        self._sense = NO_SENSE

    def transfer(self, cdb: bytes) -> Transfer:
        """Return what the command moves."""
        cdb = cdb.ljust(16, b"\0")
        if cdb[0] >= 0xC0:
            return Transfer(None, None)
        if cdb[0] in (0x03, 0x12):
            return Transfer(Direction.IN, cdb[4])
        if cdb[0] == 0x25:
            return Transfer(Direction.IN, 8)
        if cdb[0] in (0x28, 0x2A):
            direction = Direction.IN if cdb[0] == 0x28 else Direction.OUT
            return Transfer(direction, int.from_bytes(cdb[7:9], "big") * BLOCK_BYTES)
        if cdb[0] in self.lengths:
            return Transfer(Direction.OUT, self.lengths[cdb[0]])
        return Transfer(None, 0)

    def execute(self, cdb: bytes, data_out: bytes) -> Answer:
        """Run the command, and keep its refusal for REQUEST SENSE."""
        self.executed.append((cdb, data_out))
        cdb = cdb.ljust(16, b"\0")
        if cdb[0] == 0x03:
            return Answer(self._sense.encode_fixed()[: cdb[4]])
        answer = self._answer(cdb, data_out)
        if answer.sense is not None:
            self._sense = answer.sense
        return answer

    def sense_data(self, sense: Sense) -> bytes:
        """Return what goes with the status."""
        self._sense = NO_SENSE
        return sense.encode_fixed()

    def use_statuses(self, has_conflicts: bool) -> None:
        """Nothing is reserved here."""

    def refuse_late(self, sense: Sense) -> None:
        """Remember another end of the last command."""
        self._sense = sense

    def reset(self, attention: Sense) -> None:
        """Remember that there was a reset."""
        self.resets.append(attention)

    def lose_nexus(self) -> None:
        """Remember that the host was lost."""
        self.resets.append(NEXUS_LOSS)

    @property
    def pending_attentions(self) -> list[Sense]:
        """Return as many as there are to come."""
        return [POWER_ON_RESET] * self.attentions

    def _answer(self, cdb: bytes, data_out: bytes) -> Answer:
        if self.attentions and cdb[0] != 0x12:
            self.attentions -= 1
            return Answer(sense=POWER_ON_RESET)
        match cdb[0]:
            case 0x12:
                return Answer(self.inquiry_data[: cdb[4]])
            case 0xC0 | 0xB5:
                return Answer()
            case 0x00 | 0x25 | 0x28 | 0x2A if self.is_locked:
                return Answer(sense=LOCKED)
            case 0x00:
                return Answer()
            case 0x25:
                lba_last = len(self.blocks) // BLOCK_BYTES - 1
                return Answer(lba_last.to_bytes(4, "big") + BLOCK_BYTES.to_bytes(4, "big"))
            case 0x28 | 0x2A:
                first = int.from_bytes(cdb[2:6], "big") * BLOCK_BYTES
                last = first + int.from_bytes(cdb[7:9], "big") * BLOCK_BYTES
                if last > len(self.blocks):
                    return Answer(sense=LBA_OUT_OF_RANGE)
                if cdb[0] == 0x28:
                    return Answer(bytes(self.blocks[first:last]))
                self.blocks[first:last] = data_out
                return Answer()
        return Answer(sense=INVALID_OPCODE)


class RamDrive(MassStorageDevice):
    """The disk behind both transports on a bus, remembering the events it hears of."""

    def __init__(
        self,
        serial: str = "0123456789AB",
        block_count: int = BLOCK_COUNT,
        rules: Transport | None = None,
    ) -> None:
        self.disk = RamDisk(block_count)
        self.bulk_only = BulkOnly(self.disk, rules)
        self.uas = UsbAttachedScsi(self.disk, AbsentUnit())
        self.heard: list[tuple[BusEvent, bool]] = []
        super().__init__(
            Descriptors(0x1209, 0x5ED0, "sedlab", "RAM disk", serial),
            (self.bulk_only, self.uas),
            lambda event, is_configured: self.heard.append((event, is_configured)),
        )
