"""What comes by the command pipe and should not, and any traffic at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.absent_unit import AbsentUnit
from firmware_model.usb.uas import TASKS_MAX, UNITS_MAX, UsbAttachedScsi
from firmware_model.wire.function import Handshake
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import LOCKED
from firmware_model.wire.uas import (
    CommandIu,
    ReadyIu,
    ResponseCode,
    ResponseIu,
    SenseIu,
    TaskAttribute,
    TaskFunction,
    TaskManagementIu,
)
from firmware_model.wire.usb import SetupPacket, Speed
from hil_tests.ram_disk import (
    INQUIRY,
    TEST_UNIT_READY,
    UNKNOWN,
    VENDOR,
    Answer,
    RamDisk,
    read10,
    write10,
)
from hil_tests.uas.bench import BLOCK, CHECK, GOOD, SPEEDS, Bench, held
from hil_tests.uas.host import COMMAND, DATA_IN, DATA_OUT, STATUS, Ended, UasHost


def test_command_under_a_tag_in_use_ends_all_commands(waiting: Bench) -> None:
    waiting.host.send(CommandIu(2, TEST_UNIT_READY).encode(), 2)
    response = next(one for one in waiting.host.units if isinstance(one, ResponseIu))
    ended = [waiting.host.take(tag) for tag in (1, 2, 3, 32)]

    assert response == ResponseIu(2, ResponseCode.OVERLAPPED_TAG)
    assert [one.status for one in ended] == [None] * 4
    assert waiting.disk.executed == []
    assert waiting.host.execute(TEST_UNIT_READY) == Ended(GOOD)


def test_function_under_a_tag_in_use_is_refused_and_ends_nothing() -> None:
    bench = Bench(Speed.HIGH)
    drive = bench.drive
    drive.transfer_out(COMMAND, CommandIu(5, write10(0, 1)).encode())
    drive.transfer_out(COMMAND, TaskManagementIu(5, TaskFunction.ABORT_TASK_SET).encode())
    drive.transfer_out(DATA_OUT, BLOCK)
    units = [drive.transfer_in(STATUS, 16) for _ in range(3)]

    assert units == [
        ReadyIu(5, is_write=True).encode(),
        ResponseIu(5, ResponseCode.OVERLAPPED_TAG).encode(),
        SenseIu(5, GOOD).encode(),
    ]


def test_more_commands_than_the_drive_keeps_are_told_so() -> None:
    bench = Bench(Speed.HIGH)
    held(bench, tag=1000)
    for tag in range(1, TASKS_MAX + 1):
        bench.host.queue(tag, TEST_UNIT_READY)
    refused = bench.host.ended(TASKS_MAX)
    bench.host.give_data(1000)

    assert refused == Ended(ScsiStatus.TASK_SET_FULL)
    assert [bench.host.ended(tag).status for tag in range(1, TASKS_MAX)] == [GOOD] * 31


@pytest.mark.parametrize("tag", [0, 33, 0xFFFF])
def test_tag_without_a_stream_halts_the_command_pipe(tag: int) -> None:
    bench = Bench(Speed.SUPER)
    bench.host.send(CommandIu(tag, TEST_UNIT_READY).encode())
    halted = bench.drive.transfer_out(COMMAND, CommandIu(1, TEST_UNIT_READY).encode())
    bench.drive.control(SetupPacket(0x02, 1, 0, COMMAND, 0))

    assert bench.host.failed == [(COMMAND, Handshake.STALL)]
    assert halted is Handshake.STALL
    assert bench.host.execute(TEST_UNIT_READY) == Ended(GOOD)


def test_unit_too_short_for_a_tag_halts_the_command_pipe() -> None:
    bench = Bench(Speed.HIGH)
    bench.host.send(b"\x01\0\0")

    assert bench.host.failed == [(COMMAND, Handshake.STALL)]
    assert bench.drive.control(SetupPacket(0x82, 0, 0, COMMAND, 2)) == b"\1\0"


NONSENSE = {
    "of another kind": b"\x02\0\0\x07" + bytes(28),
    "of the drive's": SenseIu(7, GOOD).encode(),
    "cut short": CommandIu(7, bytes(16)).encode()[:31],
    "longer than it says": CommandIu(7, bytes(16)).encode() + b"\0",
    "of a reserved attribute": b"\x01\0\0\x07\x03" + bytes(27),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_unit_that_is_none_is_answered_by_its_tag(on: Bench, what: str) -> None:
    on.host.queue(7, TEST_UNIT_READY)
    on.host.take(7)
    on.drive.transfer_out(COMMAND, NONSENSE[what])
    answer = on.drive.transfer_in(STATUS, 112, 7 if on.host.has_streams else 0)

    assert answer == ResponseIu(7, ResponseCode.INVALID_INFORMATION_UNIT).encode()


def test_tag_that_means_no_command_is_refused() -> None:
    drive = Bench(Speed.HIGH).drive
    for unit in (CommandIu(0, TEST_UNIT_READY), TaskManagementIu(0, TaskFunction.QUERY_TASK)):
        drive.transfer_out(COMMAND, unit.encode())
        refused = ResponseIu(0, ResponseCode.INVALID_INFORMATION_UNIT).encode()
        assert drive.transfer_in(STATUS, 112) == refused
    assert drive.disk.executed == []


class Lenient(RamDisk):
    """A unit whose status does not tell what its sense data does."""

    def execute(self, cdb: bytes, data_out: bytes) -> Answer:
        answer = super().execute(cdb, data_out)
        return Contradicting(answer.data, answer.sense)


class Contradicting(Answer):
    """An answer that was refused and says GOOD."""

    @property
    def status(self) -> ScsiStatus:
        return GOOD


def test_no_single_verdict_turns_a_refusal() -> None:
    transport = UsbAttachedScsi(Lenient(), AbsentUnit())
    transport.transfer_out(COMMAND, CommandIu(1, UNKNOWN).encode(), 0)
    unit = transport.transfer_in(STATUS, 112, 0)

    assert isinstance(unit, bytes)
    assert SenseIu.decode(unit).status is CHECK


def test_host_that_fetches_no_status_can_send_no_more() -> None:
    bench = Bench(Speed.HIGH)
    sent = 0
    while bench.drive.transfer_out(COMMAND, NONSENSE["of another kind"]) is not Handshake.NAK:
        sent += 1
    bench.drive.transfer_in(STATUS, 112)

    assert sent == UNITS_MAX
    assert bench.drive.transfer_out(COMMAND, NONSENSE["of another kind"]) == 32


# --- any traffic ---------------------------------------------------------------------------------


TAGS = st.integers(0, 4) | st.integers(0, 40) | st.integers(0, 0xFFFF)
CDBS = st.sampled_from([read10(0, 1), write10(0, 2), TEST_UNIT_READY, INQUIRY, VENDOR, UNKNOWN])
UNITS = st.one_of(
    st.builds(
        lambda tag, cdb, lun, attribute: CommandIu(tag, cdb, lun, attribute).encode(),
        TAGS,
        CDBS | st.binary(min_size=1, max_size=32),
        st.sampled_from([0, 0, 0, 1 << 48]),
        st.sampled_from(TaskAttribute),
    ),
    st.builds(
        lambda tag, function, managed: TaskManagementIu(tag, function, managed).encode(),
        TAGS,
        st.sampled_from(TaskFunction) | st.integers(0, 0xFF),
        TAGS,
    ),
    st.binary(max_size=40),
)
STREAMS = st.integers(0, 4) | st.integers(0, 0xFFFF)
STEPS = st.one_of(
    st.tuples(st.just("command"), UNITS, STREAMS.map(lambda stream: 0)),
    st.tuples(st.just("out"), st.binary(max_size=8) | st.sampled_from([BLOCK, BLOCK * 2]), STREAMS),
    st.tuples(st.just("in"), st.integers(0, 2048), STREAMS),
    st.tuples(st.just("status"), st.integers(0, 512), STREAMS),
    st.tuples(st.just("cancel"), st.sampled_from([STATUS, DATA_IN, DATA_OUT]), STREAMS),
    st.tuples(st.just("clear"), st.sampled_from([COMMAND, STATUS, DATA_IN, DATA_OUT]), STREAMS),
    st.tuples(st.just("drop"), st.just(0), STREAMS),
)


@given(st.sampled_from(SPEEDS), st.lists(STEPS, max_size=40))
def test_any_traffic_leaves_a_drive_that_selecting_uas_brings_back(
    speed: Speed, steps: list[tuple[str, bytes | int, int]]
) -> None:
    bench = Bench(speed)
    drive = bench.drive
    for kind, value, stream in steps:
        stream = stream if speed is Speed.SUPER else 0
        if isinstance(value, bytes):
            endpoint = COMMAND if kind == "command" else DATA_OUT
            taken = drive.transfer_out(endpoint, value, stream)
            assert isinstance(taken, Handshake) or taken == len(value)
        elif kind in ("in", "status"):
            endpoint = STATUS if kind == "status" else DATA_IN
            given_back = drive.transfer_in(endpoint, value, stream)
            assert isinstance(given_back, Handshake) or len(given_back) <= value
        elif kind == "cancel":
            drive.cancel(value, stream)
        elif kind == "clear":
            drive.control(SetupPacket(0x02, 1, 0, value, 0))
        else:
            drive.drop_data(LOCKED)
    again = UasHost(drive, speed)

    assert again.execute(write10(1, 1), data_out=BLOCK) == Ended(GOOD)
    assert again.execute(read10(1, 1), in_length=512) == Ended(GOOD, data=BLOCK)
