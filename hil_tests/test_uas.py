"""The host's side of UAS, through pyusb: good drives, faulty ones, and the way back."""

from collections.abc import Callable

import pytest
import usb.core

from firmware_model.usb.descriptors import PIPES
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import INVALID_OPCODE, LBA_OUT_OF_RANGE, LOCKED
from firmware_model.wire.uas import (
    CommandIu,
    PipeId,
    ReadyIu,
    ResponseCode,
    ResponseIu,
    SenseIu,
    TaskFunction,
)
from firmware_model.wire.usb import DescriptorType, SetupPacket, Speed
from hil_tests.ram_disk import INQUIRY, TEST_UNIT_READY, UNKNOWN, RamDrive, read10, write10
from host_driver.attachment import TransportKind
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.errors import (
    BadIu,
    Disconnected,
    DriveError,
    NotFound,
    Stalled,
    Timeout,
    TransportError,
    WrongTag,
)
from host_driver.uas import UasTransport
from host_driver.usb_transport import open_transport

BLOCK = bytes(range(256)) * 2
STATUS, DATA_IN, DATA_OUT = PIPES[PipeId.STATUS], PIPES[PipeId.DATA_IN], PIPES[PipeId.DATA_OUT]
STALL = Handshake.STALL


def found(drive: RamDrive, speed: Speed = Speed.HIGH) -> usb.core.Device:
    device = usb.core.find(backend=InProcess([drive], speed=speed))
    assert device is not None
    return device


def opened(drive: RamDrive) -> UasTransport:
    return UasTransport(found(drive))


def test_what_was_written_is_read_back() -> None:
    transport = opened(RamDrive())
    written = transport.execute(write10(3, 2), data_out=BLOCK * 2)
    read = transport.execute(read10(3, 2), data_in_length=1024)

    assert written.status is read.status is ScsiStatus.GOOD
    assert (read.data, read.residue, written.residue) == (BLOCK * 2, 0, 0)


def test_refusal_comes_with_its_sense() -> None:
    drive = RamDrive()
    drive.disk.is_locked = True
    transport = opened(drive)
    read = transport.execute(read10(0, 1), data_in_length=512)
    written = transport.execute(write10(16, 1), data_out=BLOCK)
    unknown = transport.execute(UNKNOWN)

    assert (read.status, read.sense) == (ScsiStatus.CHECK_CONDITION, LOCKED)
    assert (read.data, read.residue) == (b"", 512)
    assert (written.sense, written.residue) == (LOCKED, 512)
    assert unknown.sense == INVALID_OPCODE


def test_write_refused_after_its_data_has_processed_nothing() -> None:
    completion = opened(RamDrive()).execute(write10(16, 1), data_out=BLOCK)

    assert (completion.sense, completion.residue) == (LBA_OUT_OF_RANGE, 512)


def test_short_answer_is_given_as_short_as_it_came() -> None:
    completion = opened(RamDrive()).execute(INQUIRY, data_in_length=255)

    assert (len(completion.data), completion.residue) == (36, 219)


def test_command_moves_data_one_way_only() -> None:
    with pytest.raises(ValueError, match="one way"):
        opened(RamDrive()).execute(INQUIRY, data_out=b"x", data_in_length=1)


def test_status_other_than_a_refusal_is_told_as_it_is() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.next_unit(lambda unit: SenseIu(tag(unit), ScsiStatus.TASK_SET_FULL).encode())
    completion = transport.execute(TEST_UNIT_READY)

    assert (completion.status, completion.sense) == (ScsiStatus.TASK_SET_FULL, None)


def test_tags_begin_anew_after_the_last() -> None:
    transport = opened(RamDrive())
    transport._tag = 0xFFFF

    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD
    assert transport._tag == 1


@pytest.mark.parametrize("kind", TransportKind)
def test_transport_that_was_asked_for_is_used(kind: TransportKind) -> None:
    device = found(RamDrive())
    transport = open_transport(device, kind)

    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD
    selected = device.ctrl_transfer(0x81, 10, 0, 0, 1).tobytes()
    assert selected == bytes((kind is TransportKind.UAS,))


def test_each_transport_follows_the_other() -> None:
    drive = RamDrive()
    bus = InProcess([drive])
    for kind in (UasTransport, BulkOnlyTransport, UasTransport, BulkOnlyTransport):
        transport = kind(usb.core.find(backend=bus))
        assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD
        transport.close()


def test_superspeed_is_refused_since_it_takes_streams() -> None:
    with pytest.raises(TransportError, match="use --transport bulk-only"):
        UasTransport(found(RamDrive(), Speed.SUPER))


def test_bulk_only_works_at_superspeed() -> None:
    transport = BulkOnlyTransport(found(RamDrive(), Speed.SUPER))
    transport.execute(write10(0, 3), data_out=BLOCK * 3)

    assert transport.execute(read10(0, 3), data_in_length=1536).data == BLOCK * 3


class OtherDescriptors(RamDrive):
    """A drive whose configuration is another."""

    def __init__(self, old: bytes, new: bytes) -> None:
        super().__init__()
        self.old, self.new = old, new

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        answer = super().control(setup, data)
        is_asked = setup.request == 6 and setup.value >> 8 == DescriptorType.CONFIGURATION
        if is_asked and isinstance(answer, bytes):
            return answer.replace(self.old, self.new)
        return answer


def test_drive_without_uas_is_told_so() -> None:
    with pytest.raises(NotFound, match="no UAS mass-storage interface"):
        opened(OtherDescriptors(b"\x08\x06\x62", b"\x08\x06\x63"))


@pytest.mark.parametrize("usage", ["04240100", "04240900", "04250200"])
def test_drive_without_one_of_the_pipes_is_told_so(usage: str) -> None:
    with pytest.raises(NotFound, match="no pipe for STATUS"):
        opened(OtherDescriptors(bytes.fromhex("04240200"), bytes.fromhex(usage)))


# --- faulty drives -------------------------------------------------------------------------------


def tag(unit: bytes) -> int:
    return int.from_bytes(unit[2:4], "big")


class FaultyDrive(RamDrive):
    """A drive on whose status pipe a test may lay a hand."""

    def __init__(self) -> None:
        super().__init__()
        self.hands: list[Callable[[bytes], bytes | Handshake]] = []
        self.controls: list[SetupPacket] = []
        self.mutter: bytes | Handshake | None = None  # by the status pipe, till UAS is selected
        self.stalls: set[int] = set()  # data pipes that stall when the data has gone

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        if endpoint == STATUS and self.mutter is not None:
            return self.mutter
        answer = super().transfer_in(endpoint, length, stream)
        if endpoint == STATUS and isinstance(answer, bytes) and self.hands:
            return self.hands.pop(0)(answer)
        return STALL if endpoint in self.stalls else answer

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        answer = super().transfer_out(endpoint, data, stream)
        return STALL if endpoint in self.stalls else answer

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        self.controls.append(setup)
        if setup.request == 11:
            self.mutter = None
        return super().control(setup, data)

    def next_unit(self, *hands: Callable[[bytes], bytes | Handshake]) -> None:
        """Replace the next units of the status pipe."""
        self.hands += hands

    @property
    def selections(self) -> int:
        return sum(setup.request == 11 for setup in self.controls)


BAD_UNITS: dict[str, tuple[Callable[[bytes], bytes | Handshake], type[DriveError]]] = {
    "another tag": (lambda unit: SenseIu(tag(unit) + 1, ScsiStatus.GOOD).encode(), WrongTag),
    "no unit": (lambda unit: b"\x09" + unit[1:], BadIu),
    "a short unit": (lambda unit: unit[:3], BadIu),
    "nothing at all": (lambda unit: b"", BadIu),
    "a refusal": (
        lambda unit: ResponseIu(tag(unit), ResponseCode.OVERLAPPED_TAG).encode(),
        BadIu,
    ),
    "ready to write": (lambda unit: ReadyIu(tag(unit), is_write=True).encode(), BadIu),
    "a command": (lambda unit: CommandIu(tag(unit), bytes(16)).encode(), BadIu),
    "silence": (lambda unit: Handshake.NAK, Timeout),
    "a stall": (lambda unit: STALL, Stalled),
}


@pytest.mark.parametrize("name", BAD_UNITS)
def test_bad_unit_is_an_error_and_the_command_is_aborted(name: str) -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    alter, error = BAD_UNITS[name]
    drive.next_unit(alter)
    with pytest.raises(error):
        transport.execute(read10(0, 1), data_in_length=512)

    assert drive.selections == 1  # when it was opened
    assert transport.execute(read10(0, 1), data_in_length=512).status is ScsiStatus.GOOD


def test_drive_that_says_twice_that_it_is_ready_is_an_error() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.next_unit(lambda unit: unit, lambda unit: ReadyIu(tag(unit), is_write=False).encode())
    with pytest.raises(BadIu, match="ready for data"):
        transport.execute(read10(0, 1), data_in_length=512)


def test_drive_that_does_not_even_answer_an_abort_is_selected_anew() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.mutter = Handshake.NAK
    with pytest.raises(Timeout):
        transport.execute(TEST_UNIT_READY)

    assert drive.selections == 2
    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


@pytest.mark.parametrize(
    "answer", [ResponseCode.FUNCTION_FAILED, ResponseCode.FUNCTION_NOT_SUPPORTED]
)
def test_drive_that_does_not_abort_is_selected_anew(answer: ResponseCode) -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.next_unit(
        lambda unit: Handshake.NAK,
        lambda unit: ResponseIu(tag(unit), answer).encode(),
    )
    with pytest.raises(Timeout):
        transport.execute(TEST_UNIT_READY)

    assert drive.selections == 2


def test_drive_that_chatters_instead_of_aborting_is_selected_anew() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.mutter = SenseIu(9, ScsiStatus.GOOD).encode()
    with pytest.raises(WrongTag):
        transport.execute(TEST_UNIT_READY)

    assert drive.selections == 2
    assert transport.execute(TEST_UNIT_READY).status is ScsiStatus.GOOD


@pytest.mark.parametrize("endpoint", [DATA_IN, DATA_OUT])
def test_halted_data_pipe_is_cleared_and_the_status_read(endpoint: int) -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.stalls.add(endpoint)
    if endpoint == DATA_IN:
        completion = transport.execute(read10(0, 1), data_in_length=512)
    else:
        completion = transport.execute(write10(0, 1), data_out=BLOCK)

    assert (completion.status, completion.data) == (ScsiStatus.GOOD, b"")
    assert [setup.index for setup in drive.controls if setup.request == 1] == [endpoint]


def test_unplugged_drive_is_gone() -> None:
    drive = RamDrive()
    transport = opened(drive)
    drive.bus(BusEvent.DETACH)

    with pytest.raises(Disconnected, match="the drive is gone"):
        transport.execute(TEST_UNIT_READY)


def test_drive_unplugged_during_recovery_is_gone() -> None:
    drive = FaultyDrive()
    transport = opened(drive)

    def pull(unit: bytes) -> Handshake:
        drive.bus(BusEvent.DETACH)
        return Handshake.NAK

    drive.next_unit(pull)
    with pytest.raises(Disconnected):
        transport.execute(TEST_UNIT_READY)


def test_task_management_is_answered() -> None:
    transport = opened(RamDrive())

    assert transport.manage(TaskFunction.QUERY_TASK, 5) is ResponseCode.FUNCTION_COMPLETE
    assert transport.manage(TaskFunction.CLEAR_ACA) is ResponseCode.FUNCTION_NOT_SUPPORTED


def test_task_management_without_an_answer_is_an_error() -> None:
    drive = FaultyDrive()
    transport = opened(drive)
    drive.mutter = Handshake.NAK

    with pytest.raises(Timeout, match="QUERY_TASK"):
        transport.manage(TaskFunction.QUERY_TASK, 5)
