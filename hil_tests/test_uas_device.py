"""UAS from the drive's side: a disk in memory, and a host that queues commands as Linux does."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.absent_unit import AbsentUnit
from firmware_model.usb.bulk_only import MAX_DATA_BYTES
from firmware_model.usb.uas import TASKS_MAX, UNITS_MAX, UsbAttachedScsi
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.scsi import ScsiStatus, SecurityProtocolOut
from firmware_model.wire.sense import (
    DATA_PHASE_ERROR,
    INVALID_FIELD_IN_CDB,
    INVALID_MESSAGE,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    LOCKED,
    LOGICAL_UNIT_NOT_SUPPORTED,
    NEXUS_LOSS,
    NO_SENSE,
    UNIT_RESET,
    Sense,
)
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
    REQUEST_SENSE,
    TEST_UNIT_READY,
    UNKNOWN,
    VENDOR,
    Answer,
    RamDisk,
    RamDrive,
    read10,
    write10,
)
from hil_tests.uas_host import COMMAND, DATA_IN, DATA_OUT, STATUS, Ended, UasHost

BLOCK = bytes(range(256)) * 2
GOOD, CHECK = ScsiStatus.GOOD, ScsiStatus.CHECK_CONDITION
SPEEDS = (Speed.HIGH, Speed.SUPER)
COMPLETE, SUCCEEDED = ResponseCode.FUNCTION_COMPLETE, ResponseCode.FUNCTION_SUCCEEDED


class Bench:
    """A disk and a host at one speed."""

    def __init__(self, speed: Speed) -> None:
        self.drive = RamDrive()
        self.disk = self.drive.disk
        self.host = UasHost(self.drive, speed)


@pytest.fixture(params=SPEEDS, ids=lambda speed: speed.name.lower())
def on(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    assert bench.host.failed == []
    assert bench.host.posted == 0  # nothing is left waiting that the host did not give up


# --- one command ---------------------------------------------------------------------------------


def test_what_was_written_is_read_back(on: Bench) -> None:
    written = on.host.execute(write10(3, 2), data_out=BLOCK * 2)
    read = on.host.execute(read10(3, 2), in_length=1024)

    assert written == Ended(GOOD)
    assert read == Ended(GOOD, data=BLOCK * 2)


def test_command_without_data_ends_in_its_status_alone(on: Bench) -> None:
    assert on.host.execute(TEST_UNIT_READY) == Ended(GOOD)
    assert on.host.units == [SenseIu(1, GOOD)]


def test_refusal_comes_with_its_sense_and_request_sense_has_none_left(on: Bench) -> None:
    on.disk.is_locked = True
    read = on.host.execute(read10(0, 1), in_length=512)
    asked = on.host.execute(REQUEST_SENSE, in_length=18)

    assert read == Ended(CHECK, LOCKED)
    assert Sense.decode(asked.data) == NO_SENSE


def test_refused_write_comes_with_its_sense(on: Bench) -> None:
    assert on.host.execute(write10(16, 1), data_out=BLOCK) == Ended(CHECK, LBA_OUT_OF_RANGE)
    assert on.host.execute(UNKNOWN, data_out=BLOCK) == Ended(CHECK, INVALID_OPCODE)


def test_data_shorter_than_the_host_has_room_for_ends_the_transfer(on: Bench) -> None:
    assert on.host.execute(read10(0, 1), in_length=4096) == Ended(GOOD, data=bytes(512))
    assert on.host.execute(INQUIRY, in_length=255).data == on.disk.inquiry_data


@pytest.mark.parametrize(("data_out", "in_length"), [(b"", 512), (BLOCK, 0)])
@pytest.mark.parametrize("cdb", [TEST_UNIT_READY, UNKNOWN])
def test_host_that_waits_for_data_that_there_is_not_is_not_left_waiting(
    on: Bench, cdb: bytes, data_out: bytes, in_length: int
) -> None:
    on.host.queue(1, cdb, data_out, in_length)
    still_posted = on.host.posted

    assert on.host.take(1).status is (GOOD if cdb is TEST_UNIT_READY else CHECK)
    assert still_posted == 0


def test_transfer_that_the_host_withdrew_is_not_waited_for() -> None:
    bench = Bench(Speed.SUPER)
    assert bench.drive.transfer_in(DATA_IN, 512, 1) is Handshake.NAK
    assert bench.drive.transfer_out(DATA_OUT, BLOCK, 1) is Handshake.NAK
    for endpoint in (DATA_IN, DATA_OUT):
        bench.drive.cancel(endpoint, 1)

    assert bench.host.execute(TEST_UNIT_READY) == Ended(GOOD)


def test_surplus_of_data_out_is_dropped(on: Bench) -> None:
    on.host.execute(write10(0, 1), data_out=BLOCK * 3)

    assert on.disk.executed == [(write10(0, 1).ljust(16, b"\0"), BLOCK)]


def test_data_out_that_ends_early_is_refused_and_writes_nothing(on: Bench) -> None:
    assert on.host.execute(write10(0, 2), data_out=BLOCK[:100]) == Ended(CHECK, DATA_PHASE_ERROR)
    assert on.disk.executed == []


def test_data_may_go_in_several_transfers() -> None:
    bench = Bench(Speed.HIGH)
    drive = bench.drive
    drive.transfer_out(COMMAND, CommandIu(1, write10(0, 2)).encode())
    assert drive.transfer_in(STATUS, 16) == ReadyIu(1, is_write=True).encode()
    taken = [drive.transfer_out(DATA_OUT, BLOCK), drive.transfer_in(STATUS, 16)]
    taken += [drive.transfer_out(DATA_OUT, BLOCK), drive.transfer_in(STATUS, 16)]

    assert taken == [512, Handshake.NAK, 512, SenseIu(1, GOOD).encode()]
    drive.transfer_out(COMMAND, CommandIu(2, read10(0, 2)).encode())
    assert drive.transfer_in(STATUS, 16) == ReadyIu(2, is_write=False).encode()
    assert drive.transfer_in(DATA_IN, 512) == BLOCK
    assert drive.transfer_in(STATUS, 16) is Handshake.NAK
    assert drive.transfer_in(DATA_IN, 512) == BLOCK
    assert drive.transfer_in(STATUS, 16) == SenseIu(2, GOOD).encode()


def test_packet_that_is_short_at_superspeed_only_ends_the_data() -> None:
    bench = Bench(Speed.SUPER)
    drive = bench.drive
    drive.transfer_out(COMMAND, CommandIu(1, write10(0, 2)).encode())
    drive.transfer_out(DATA_OUT, BLOCK, 1)
    unit = drive.transfer_in(STATUS, 64, 1)

    assert isinstance(unit, bytes)
    assert Sense.decode(SenseIu.decode(unit).sense) == DATA_PHASE_ERROR


def test_vendor_command_takes_no_data(on: Bench) -> None:
    on.host.execute(VENDOR)

    assert on.disk.executed == [(VENDOR.ljust(16, b"\0"), b"")]


def test_data_out_beyond_what_any_drive_buffers_is_refused(on: Bench) -> None:
    cdb = SecurityProtocolOut(1, 0, MAX_DATA_BYTES + 1).encode()
    on.disk.lengths[0xB5] = MAX_DATA_BYTES + 1

    assert on.host.execute(cdb, data_out=BLOCK) == Ended(CHECK, INVALID_FIELD_IN_CDB)
    assert on.disk.executed == []


def test_long_cdb_reaches_the_unit_whole(on: Bench) -> None:
    cdb = b"\x7f" + bytes(range(1, 32))
    on.host.execute(cdb)

    assert on.disk.executed == [(cdb, b"")]


def test_without_streams_the_drive_says_whose_data_is_next_and_with_them_it_does_not() -> None:
    def told(speed: Speed) -> list[object]:
        host = Bench(speed).host
        host.execute(write10(0, 1), data_out=BLOCK)
        host.execute(read10(0, 1), in_length=512)
        return list(host.units)

    ended = SenseIu(1, GOOD)
    assert told(Speed.HIGH) == [ReadyIu(1, True), ended, ReadyIu(1, False), ended]
    assert told(Speed.SUPER) == [ended, ended]


# --- several commands ----------------------------------------------------------------------------


def held(bench: Bench, tag: int = 32) -> None:
    """Have a command hold the drive: its data-out does not come."""
    bench.host.queue(tag, write10(0, 1), data_out=BLOCK, keeps_data=True)


def order(bench: Bench) -> list[int]:
    """Return which blocks were read, in what order."""
    return [cdb[5] for cdb, _ in bench.disk.executed if cdb[0] == 0x28]


def test_queued_commands_are_answered_by_tag(on: Bench) -> None:
    for block in range(16):
        on.disk.blocks[block * 512] = block
    held(on)
    for tag in range(1, 11):
        on.host.queue(tag, read10(tag, 1), in_length=512)
    before = order(on)
    on.host.give_data(32)

    assert before == []
    assert [on.host.take(tag).data[0] for tag in range(1, 11)] == list(range(1, 11))
    assert on.host.take(32) == Ended(GOOD)
    assert order(on) == list(range(1, 11))


@pytest.fixture
def waiting(on: Bench) -> Bench:
    """Commands that wait behind one whose data does not come."""
    held(on)
    for tag, attribute in enumerate(
        (TaskAttribute.SIMPLE, TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE), 1
    ):
        on.host.queue(tag, read10(tag, 1), in_length=512, attribute=attribute)
    return on


def finish(on: Bench) -> list[Ended]:
    """Let what waits be obeyed, and return how the commands ended, but for the one that held."""
    on.host.give_data(32)
    on.host.take(32)
    return [on.host.take(tag) for tag in (1, 2, 3)]


def test_command_for_the_head_of_the_queue_overtakes(waiting: Bench) -> None:
    ended = finish(waiting)

    assert order(waiting) == [3, 1, 2]
    assert [one.status for one in ended] == [GOOD] * 3


def test_attribute_of_a_condition_that_there_is_not_is_refused(on: Bench) -> None:
    on.host.queue(1, read10(0, 1), in_length=512, attribute=TaskAttribute.ACA)

    assert on.host.take(1) == Ended(CHECK, INVALID_MESSAGE)
    assert on.disk.executed == []


def test_aborted_command_is_not_obeyed_and_not_answered(waiting: Bench) -> None:
    code = waiting.host.manage(TaskFunction.ABORT_TASK, 1, tag=31)
    first, second, third = finish(waiting)

    assert code is COMPLETE
    assert (first, second.status, third.status) == (Ended(), GOOD, GOOD)
    assert order(waiting) == [3, 2]


def test_aborting_the_command_whose_data_is_awaited_lets_the_next_go_on(waiting: Bench) -> None:
    code = waiting.host.manage(TaskFunction.ABORT_TASK, 32, tag=31)

    assert code is COMPLETE
    assert [waiting.host.take(tag).status for tag in (32, 1, 2, 3)] == [None, GOOD, GOOD, GOOD]
    assert [cdb for cdb, _ in waiting.disk.executed if cdb[0] == 0x2A] == []


def test_nothing_is_heard_of_an_aborted_command_that_had_begun() -> None:
    drive = Bench(Speed.HIGH).drive
    drive.transfer_out(COMMAND, CommandIu(1, TEST_UNIT_READY).encode())
    drive.transfer_out(COMMAND, CommandIu(2, write10(0, 1)).encode())
    for tag in (1, 2):
        drive.transfer_out(COMMAND, TaskManagementIu(9, TaskFunction.ABORT_TASK, tag).encode())
    units = [drive.transfer_in(STATUS, 112) for _ in range(3)]

    assert units == [ResponseIu(9, COMPLETE).encode()] * 2 + [Handshake.NAK]


def test_aborting_what_there_is_not_is_no_error(on: Bench) -> None:
    assert on.host.manage(TaskFunction.ABORT_TASK, 9) is COMPLETE


ALL_ABORTED = {
    TaskFunction.ABORT_TASK_SET: [],
    TaskFunction.CLEAR_TASK_SET: [],
    TaskFunction.LOGICAL_UNIT_RESET: [UNIT_RESET],
    TaskFunction.I_T_NEXUS_RESET: [NEXUS_LOSS],
}


@pytest.mark.parametrize("function", ALL_ABORTED)
def test_all_commands_end_unanswered_and_the_unit_is_reset_where_that_is_meant(
    waiting: Bench, function: TaskFunction
) -> None:
    code = waiting.host.manage(function, tag=31)
    after = waiting.host.execute(TEST_UNIT_READY)

    assert code is COMPLETE
    assert [waiting.host.take(tag) for tag in (1, 2, 3, 32)] == [Ended()] * 4
    assert (after, order(waiting)) == (Ended(GOOD), [])
    assert waiting.disk.resets == ALL_ABORTED[function]


def test_query_tells_whether_a_command_is_there(waiting: Bench) -> None:
    host = waiting.host
    during = [host.manage(TaskFunction.QUERY_TASK, tag, tag=31) for tag in (1, 9, 32)]
    during.append(host.manage(TaskFunction.QUERY_TASK_SET, tag=31))
    finish(waiting)
    after = [host.manage(TaskFunction.QUERY_TASK, 1), host.manage(TaskFunction.QUERY_TASK_SET)]

    assert during == [SUCCEEDED, COMPLETE, SUCCEEDED, SUCCEEDED]
    assert after == [COMPLETE, COMPLETE]


def test_command_is_there_until_its_status_was_fetched() -> None:
    bench = Bench(Speed.SUPER)
    bench.drive.transfer_out(COMMAND, CommandIu(7, TEST_UNIT_READY).encode())
    before = bench.host.manage(TaskFunction.QUERY_TASK, 7)
    bench.drive.transfer_in(STATUS, 16, 7)

    assert before is SUCCEEDED
    assert bench.host.manage(TaskFunction.QUERY_TASK, 7) is COMPLETE


@pytest.mark.parametrize(
    "function", [0x00, TaskFunction.CLEAR_ACA, TaskFunction.QUERY_ASYNCHRONOUS_EVENT, 0xFF]
)
def test_function_that_there_is_not_is_not_supported(on: Bench, function: int) -> None:
    assert on.host.manage(function) is ResponseCode.FUNCTION_NOT_SUPPORTED


def test_function_for_another_unit_is_refused(on: Bench) -> None:
    code = on.host.manage(TaskFunction.LOGICAL_UNIT_RESET, lun=1 << 48)

    assert code is ResponseCode.INCORRECT_LOGICAL_UNIT_NUMBER
    assert on.disk.resets == []


# --- tags ----------------------------------------------------------------------------------------


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


# --- units, endpoints, resets --------------------------------------------------------------------


@pytest.mark.parametrize("lun", [1, 1 << 48, 0xC101 << 48])
def test_unit_that_there_is_not_answers_as_the_standard_says(on: Bench, lun: int) -> None:
    answers = []
    for cdb, in_length in ((INQUIRY, 36), (REQUEST_SENSE, 18), (TEST_UNIT_READY, 0)):
        on.host.queue(1, cdb, in_length=in_length, lun=lun)
        answers.append(on.host.take(1))
    inquiry, sense, ready = answers

    assert (inquiry.status, inquiry.data[0], len(inquiry.data)) == (GOOD, 0x7F, 36)
    assert Sense.decode(sense.data) == LOGICAL_UNIT_NOT_SUPPORTED
    assert ready == Ended(CHECK, LOGICAL_UNIT_NOT_SUPPORTED)
    assert on.disk.executed == []


@pytest.mark.parametrize(
    ("speed", "stream"), [(Speed.HIGH, 1), (Speed.SUPER, 0)], ids=["stream", "no stream"]
)
def test_transfer_is_on_a_stream_where_there_are_streams_and_nowhere_else(
    speed: Speed, stream: int
) -> None:
    drive = Bench(speed).drive

    assert drive.transfer_in(STATUS, 112, stream) is Handshake.STALL
    assert drive.transfer_in(DATA_IN, 512, stream) is Handshake.STALL
    assert drive.transfer_out(DATA_OUT, BLOCK, stream) is Handshake.STALL
    assert drive.transfer_out(COMMAND, bytes(32), 1) is Handshake.STALL
    assert drive.transfer_in(COMMAND | 0x80, 512) is Handshake.STALL


@pytest.mark.parametrize("endpoint", [COMMAND, STATUS, DATA_IN, DATA_OUT])
def test_halted_pipe_stalls_until_it_is_cleared(endpoint: int) -> None:
    bench = Bench(Speed.HIGH)
    drive = bench.drive
    drive.control(SetupPacket(0x02, 3, 0, endpoint, 0))
    is_in = endpoint & 0x80
    during = drive.transfer_in(endpoint, 512) if is_in else drive.transfer_out(endpoint, BLOCK)
    drive.control(SetupPacket(0x02, 1, 0, endpoint, 0))

    assert during is Handshake.STALL
    assert bench.host.execute(write10(0, 1), data_out=BLOCK) == Ended(GOOD)


@pytest.mark.parametrize(
    "event", [SetupPacket(0x01, 11, 1, 0, 0), SetupPacket(0x00, 9, 1, 0, 0), BusEvent.RESET]
)
def test_reset_forgets_every_command(waiting: Bench, event: SetupPacket | BusEvent) -> None:
    drive = waiting.drive
    if isinstance(event, SetupPacket):
        assert drive.control(event) == 0
    else:
        drive.bus(event)
    again = UasHost(drive, Speed.SUPER if waiting.host.has_streams else Speed.HIGH)

    assert again.execute(TEST_UNIT_READY) == Ended(GOOD)
    assert waiting.disk.executed == [(TEST_UNIT_READY.ljust(16, b"\0"), b"")]
    for tag in (1, 2, 3, 32):
        waiting.host.take(tag)


def test_bulk_only_is_as_it_was_after_uas() -> None:
    bench = Bench(Speed.HIGH)
    bench.host.execute(TEST_UNIT_READY)
    bench.drive.control(SetupPacket(0x01, 11, 0, 0, 0))

    assert bench.drive.transfer_in(STATUS, 16) is Handshake.STALL
    assert bench.drive.control(SetupPacket(0xA1, 0xFE, 0, 0, 1)) == b"\0"


# --- a medium that closes ------------------------------------------------------------------------


def test_data_that_waits_is_dropped_when_the_medium_closes(on: Bench) -> None:
    on.disk.blocks[:1024] = b"\xa5" * 1024
    stream = 1 if on.host.has_streams else 0
    on.drive.transfer_out(COMMAND, CommandIu(1, read10(0, 2)).encode())
    if not stream:
        on.drive.transfer_in(STATUS, 16)
    first = on.drive.transfer_in(DATA_IN, 512, stream)
    on.drive.drop_data(LOCKED)
    rest = on.drive.transfer_in(DATA_IN, 512, stream)
    unit = on.drive.transfer_in(STATUS, 112, stream)

    assert (first, rest) == (b"\xa5" * 512, b"")
    assert isinstance(unit, bytes)
    assert Sense.decode(SenseIu.decode(unit).sense) == LOCKED


def test_data_on_its_way_in_is_dropped_when_the_medium_closes(on: Bench) -> None:
    stream = 1 if on.host.has_streams else 0
    on.drive.transfer_out(COMMAND, CommandIu(1, write10(0, 4)).encode())
    if not stream:
        on.drive.transfer_in(STATUS, 16)
    on.drive.transfer_out(DATA_OUT, BLOCK * 2, stream)
    on.drive.drop_data(LOCKED)
    on.drive.transfer_out(DATA_OUT, BLOCK * 2, stream)
    unit = on.drive.transfer_in(STATUS, 112, stream)

    assert isinstance(unit, bytes)
    assert Sense.decode(SenseIu.decode(unit).sense) == LOCKED
    assert on.disk.executed == []


def test_commands_that_wait_are_obeyed_by_what_the_medium_is_then(waiting: Bench) -> None:
    waiting.disk.is_locked = True
    waiting.drive.drop_data(LOCKED)
    ended = finish(waiting)

    assert ended == [Ended(CHECK, LOCKED)] * 3


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
