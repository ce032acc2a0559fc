"""Bulk-Only as the driver speaks it, to drives that do not always keep to it: BOT 1.0."""

from collections.abc import Callable

import pytest
import usb.core

from firmware_model.wire.bot import Csw, CswStatus
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.sense import INVALID_OPCODE, LBA_OUT_OF_RANGE, LOCKED
from firmware_model.wire.usb import SetupPacket
from hil_tests.ram_disk import (
    INQUIRY,
    TEST_UNIT_READY,
    UNKNOWN,
    RamDrive,
    read10,
    write10,
)
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.errors import BadCsw, Disconnected, DriveError, Stalled, Timeout, WrongTag
from host_driver.transport import ScsiStatus

BLOCK = bytes(range(256)) * 2
PASSED, FAILED, PHASE = CswStatus.PASSED, CswStatus.FAILED, CswStatus.PHASE_ERROR


class FaultyDrive(RamDrive):
    """A drive on whose transfers a test may lay a hand."""

    def __init__(self) -> None:
        super().__init__()
        self.on_in: Callable[[bytes | Handshake], bytes | Handshake] = lambda answer: answer
        self.controls: list[SetupPacket] = []
        self.stalls_left = 0  # how many transfers from the drive will stall

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        if self.stalls_left:
            self.stalls_left -= 1
            return Handshake.STALL
        return self.on_in(super().transfer_in(endpoint, length, stream))

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        self.controls.append(setup)
        return super().control(setup, data)

    def next_status(self, alter: Callable[[Csw], bytes | Handshake]) -> None:
        """Replace the next CSW."""

        def hand(answer: bytes | Handshake) -> bytes | Handshake:
            if isinstance(answer, bytes) and answer[:4] == b"USBS":
                self.on_in = lambda later: later
                return alter(Csw.decode(answer))
            return answer

        self.on_in = hand

    @property
    def resets(self) -> int:
        return sum(setup.request_type == 0x21 for setup in self.controls)


def opened(drive: RamDrive) -> BulkOnlyTransport:
    device = usb.core.find(backend=InProcess([drive]))
    assert device is not None
    return BulkOnlyTransport(device)


def test_what_was_written_is_read_back() -> None:
    transport = opened(RamDrive())
    written = transport.execute(write10(3, 2), data_out=BLOCK * 2)
    read = transport.execute(read10(3, 2), data_in_length=1024)

    assert written.status is read.status is ScsiStatus.GOOD
    assert (read.data, read.residue) == (BLOCK * 2, 0)


def test_refused_read_comes_with_its_sense() -> None:
    drive = RamDrive()
    drive.disk.is_locked = True
    completion = opened(drive).execute(read10(0, 1), data_in_length=512)

    assert completion.status is ScsiStatus.CHECK_CONDITION
    assert completion.sense == LOCKED
    assert (completion.data, completion.residue) == (b"", 512)


def test_refused_write_comes_with_its_sense() -> None:
    completion = opened(RamDrive()).execute(write10(16, 1), data_out=BLOCK)

    assert completion.sense == LBA_OUT_OF_RANGE


def test_refusal_without_data_comes_with_its_sense() -> None:
    transport = opened(RamDrive())

    assert transport.execute(UNKNOWN).sense == INVALID_OPCODE
    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


def test_write_whose_data_the_drive_stalls_still_gets_its_status() -> None:
    completion = opened(RamDrive()).execute(UNKNOWN, data_out=BLOCK)

    assert (completion.sense, completion.residue) == (INVALID_OPCODE, 512)


def test_residue_is_taken_off_padded_data() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.next_status(lambda csw: Csw(csw.tag, 10, PASSED).encode())
    completion = transport.execute(INQUIRY, data_in_length=36)

    assert completion.data == drive.disk.inquiry_data[:26]


def test_short_answer_is_given_as_short_as_it_came() -> None:
    drive = RamDrive()
    drive.disk.inquiry_data = drive.disk.inquiry_data[:5]
    completion = opened(drive).execute(INQUIRY, data_in_length=36)

    assert (len(completion.data), completion.residue) == (5, 31)


BAD_STATUS: dict[str, tuple[Callable[[Csw], bytes | Handshake], type[DriveError]]] = {
    "another tag": (lambda csw: Csw(csw.tag + 1, 0, PASSED).encode(), WrongTag),
    "a phase error": (lambda csw: Csw(csw.tag, 0, PHASE).encode(), BadCsw),
    "a short CSW": (lambda csw: csw.encode()[:12], BadCsw),
    "a wrong signature": (lambda csw: b"USBC" + csw.encode()[4:], BadCsw),
    "too large a residue": (lambda csw: Csw(csw.tag, 513, PASSED).encode(), BadCsw),
    "nothing": (lambda csw: Handshake.NAK, Timeout),
}


@pytest.mark.parametrize("name", BAD_STATUS)
def test_bad_status_is_an_error_after_reset_recovery(name: str) -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    alter, error = BAD_STATUS[name]
    drive.next_status(alter)
    with pytest.raises(error):
        transport.execute(read10(0, 1), data_in_length=512)

    assert drive.resets == 1
    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


def test_status_halted_twice_is_an_error_after_reset_recovery() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.stalls_left = 2
    with pytest.raises(Stalled, match="command 00h: the drive stalled"):
        transport.execute(TEST_UNIT_READY)

    assert drive.resets == 1


def test_status_halted_once_is_read_again() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.stalls_left = 1

    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


def test_unplugged_drive_is_gone() -> None:
    drive = RamDrive()
    transport = opened(drive)
    drive.bus(BusEvent.DETACH)

    with pytest.raises(Disconnected, match="the drive is gone"):
        transport.execute(TEST_UNIT_READY)


class SingleUnit(RamDrive):
    """A drive that has one logical unit and does not answer how many."""

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        return Handshake.STALL if setup.request == 0xFE else super().control(setup, data)


@pytest.mark.parametrize("kind", [RamDrive, SingleUnit])
def test_drive_with_one_unit_may_stall_get_max_lun(kind: type[RamDrive]) -> None:
    assert opened(kind()).get_max_lun() == 0


def test_command_moves_data_one_way_only() -> None:
    with pytest.raises(ValueError, match="one way"):
        opened(RamDrive()).execute(INQUIRY, data_out=b"x", data_in_length=1)
