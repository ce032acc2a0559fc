"""One command by UAS from the drive's side: its data, its status, its unit, its medium."""

import pytest

from firmware_model.usb.bulk_only import MAX_DATA_BYTES
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.scsi import SecurityProtocolOut
from firmware_model.wire.sense import (
    DATA_PHASE_ERROR,
    INVALID_FIELD_IN_CDB,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    LOCKED,
    LOGICAL_UNIT_NOT_SUPPORTED,
    NO_SENSE,
    Sense,
)
from firmware_model.wire.uas import CommandIu, ReadyIu, SenseIu
from firmware_model.wire.usb import SetupPacket, Speed
from hil_tests.ram_disk import (
    INQUIRY,
    REQUEST_SENSE,
    TEST_UNIT_READY,
    UNKNOWN,
    VENDOR,
    read10,
    write10,
)
from hil_tests.uas.bench import BLOCK, CHECK, GOOD, Bench, finish
from hil_tests.uas.host import COMMAND, DATA_IN, DATA_OUT, STATUS, Ended, UasHost


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


# --- units and pipes -----------------------------------------------------------------------------


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
