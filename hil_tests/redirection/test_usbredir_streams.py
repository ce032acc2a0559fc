"""UAS on streams to a guest at SuperSpeed, as QEMU and Linux use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_model.usb.descriptors import PIPES, STREAM_COUNT
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.uas import (
    CommandIu,
    PipeId,
    ResponseCode,
    ResponseIu,
    SenseIu,
    TaskFunction,
    TaskManagementIu,
)
from firmware_model.wire.usbredir import PacketType, Status, endpoint_index
from firmware_model.wire.usbredir_device import (
    AltSettingStatus,
    EpInfo,
    InterfaceInfo,
    RedirSpeed,
    SetAltSetting,
)
from firmware_model.wire.usbredir_transfers import (
    AllocBulkStreams,
    BulkStreamsStatus,
    FreeBulkStreams,
)
from hil_tests.ram_disk import BLOCK_BYTES, RamDrive, read10, write10
from hil_tests.redirection.fuzz import STREAMED, at_superspeed
from hil_tests.redirection.guest import Guest, Redirecting, redirecting, works

COMMAND, STATUS = PIPES[PipeId.COMMAND], PIPES[PipeId.STATUS]
DATA_IN, DATA_OUT = PIPES[PipeId.DATA_IN], PIPES[PipeId.DATA_OUT]
SENSE_BYTES = 112  # what Linux reads of the status pipe
BLOCK = bytes(range(256)) * 2


@pytest.fixture
def served(drive: RamDrive, tmp_path: Path) -> Iterator[Redirecting]:
    with redirecting(drive, tmp_path / "socket", at_superspeed) as found:
        yield found


@pytest.fixture
def guest(served: Redirecting) -> Iterator[Guest]:
    """A guest that has selected UAS and has its streams."""
    with served.using() as found:
        select_uas(found)
        found.send(AllocBulkStreams(STREAMED, STREAM_COUNT))
        answer = found.hear(BulkStreamsStatus)
        assert answer == BulkStreamsStatus(STREAMED, STREAM_COUNT, Status.SUCCESS)
        yield found


def select_uas(guest: Guest) -> EpInfo:
    """Select the second setting, and return what endpoints it has."""
    guest.send(SetAltSetting(0, 1))
    endpoints = guest.hear(EpInfo)
    assert [each.interface_protocol for each in guest.hear(InterfaceInfo).interfaces] == [0x62]
    assert guest.hear(AltSettingStatus) == AltSettingStatus(Status.SUCCESS, 0, 1)
    return endpoints


def ended(data: bytes | int) -> SenseIu:
    assert isinstance(data, bytes)
    return SenseIu.decode(data)


def test_drive_is_there_at_superspeed_with_a_stream_for_each_command(served: Redirecting) -> None:
    with served.guest() as guest:
        guest.greet()
        speed = guest.device().speed
        guest.configure()
        endpoints = select_uas(guest).endpoints
    streams = [endpoints[endpoint_index(each)].max_streams for each in PIPES.values()]

    assert speed == RedirSpeed.SUPER
    assert streams == [0, STREAM_COUNT, STREAM_COUNT, STREAM_COUNT]


def test_written_data_is_read_back_on_the_stream_of_the_command(guest: Guest) -> None:
    statuses = [guest.read(SENSE_BYTES, tag, STATUS) for tag in (3, 5)]
    write = guest.write(BLOCK, 3, DATA_OUT)
    sent = guest.write(CommandIu(3, write10(7, 1)).encode(), endpoint=COMMAND)
    first = [guest.moved() for _ in range(3)]
    read = guest.read(BLOCK_BYTES, 5, DATA_IN)
    sent_too = guest.write(CommandIu(5, read10(7, 1)).encode(), endpoint=COMMAND)
    second = [guest.moved() for _ in range(3)]

    assert [number for number, _, _ in first] == [sent, write, statuses[0]]
    assert [number for number, _, _ in second] == [sent_too, read, statuses[1]]
    assert all(status is Status.SUCCESS for _, status, _ in first + second)
    assert ended(first[2][2]) == SenseIu(3, ScsiStatus.GOOD)
    assert second[1][2] == BLOCK
    assert ended(second[2][2]) == SenseIu(5, ScsiStatus.GOOD)


def test_queued_commands_end_on_their_streams_in_the_order_of_the_queue(guest: Guest) -> None:
    tags = range(1, STREAM_COUNT + 1)
    kinds = {}
    for tag in tags:
        kinds[guest.read(SENSE_BYTES, tag, STATUS)] = ("status", tag)
        kinds[guest.read(BLOCK_BYTES, tag, DATA_IN)] = ("data", tag)
        kinds[guest.write(CommandIu(tag, read10(tag, 1)).encode(), endpoint=COMMAND)] = ("", tag)
    heard = [kinds[guest.moved()[0]] for _ in kinds]

    assert [tag for kind, tag in heard if kind == "data"] == list(tags)
    assert [tag for kind, tag in heard if kind == "status"] == list(tags)


def test_withdrawn_transfer_leaves_the_other_streams_alone(guest: Guest) -> None:
    withdrawn = guest.read(SENSE_BYTES, 1, STATUS)
    kept = guest.read(SENSE_BYTES, 2, STATUS)
    guest.signal(PacketType.CANCEL_DATA_PACKET, withdrawn)
    cancelled = guest.moved()
    guest.write(CommandIu(2, bytes(6)).encode(), endpoint=COMMAND)
    guest.moved()
    number, status, data = guest.moved()

    assert cancelled == (withdrawn, Status.CANCELLED, b"")
    assert (number, status) == (kept, Status.SUCCESS)
    assert ended(data).tag == 2


def test_aborted_command_is_answered_by_the_function_alone(guest: Guest) -> None:
    waiting = guest.read(SENSE_BYTES, 1, STATUS)
    guest.write(CommandIu(1, write10(0, 1)).encode(), endpoint=COMMAND)
    guest.moved()
    answer = guest.read(SENSE_BYTES, 9, STATUS)
    abort = TaskManagementIu(9, TaskFunction.ABORT_TASK, 1)
    guest.write(abort.encode(), endpoint=COMMAND)
    guest.moved()
    number, _, data = guest.moved()
    guest.signal(PacketType.CANCEL_DATA_PACKET, waiting)

    assert isinstance(data, bytes)
    assert (number, ResponseIu.decode(data)) == (
        answer,
        ResponseIu(9, ResponseCode.FUNCTION_COMPLETE),
    )
    assert guest.moved() == (waiting, Status.CANCELLED, b"")


def test_freed_streams_take_what_waits_on_them_along(guest: Guest) -> None:
    waiting = guest.read(SENSE_BYTES, 1, STATUS)
    guest.send(FreeBulkStreams(STREAMED))
    cancelled = guest.moved()
    freed = guest.hear(BulkStreamsStatus)
    guest.read(SENSE_BYTES, 1, STATUS)

    assert cancelled == (waiting, Status.CANCELLED, b"")
    assert freed == BulkStreamsStatus(STREAMED, 0, Status.SUCCESS)
    assert guest.moved()[1] is Status.INVAL


def test_next_guest_finds_bulk_only_selected(served: Redirecting, guest: Guest) -> None:
    guest.send(SetAltSetting(0, 0))
    guest.hear(EpInfo)
    guest.hear(InterfaceInfo)
    guest.hear(AltSettingStatus)

    assert works(guest)
