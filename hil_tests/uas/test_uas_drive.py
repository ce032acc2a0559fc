"""A whole drive by UAS: all that Bulk-Only gives, locks in the middle, cuts, updates."""

from collections.abc import Callable

import pytest

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.wire import scsi
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.native import State
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import LOCKED, NEXUS_LOSS, POWER_ON_RESET, UNIT_RESET, Sense
from firmware_model.wire.uas import CommandIu, TaskFunction
from firmware_model.wire.usb import SetupPacket, Speed
from hil_tests.uas.host import COMMAND, DATA_IN, STATUS, UasHost
from hil_tests.uas.ways import (
    BLOCK,
    BULK_ONLY,
    PIN,
    SPEEDS,
    WAYS,
    Queued,
    host_of,
    made,
    provisioned,
    queueing,
)
from host_driver.uas import UasTransport

# --- speed ---------------------------------------------------------------------------------------


def test_drive_comes_back_at_the_speed_of_the_port() -> None:
    drive = provisioned("native").fork()
    drive.power_on()
    get_device = SetupPacket(0x80, 6, 0x0100, 0, 18)
    versions = []

    def look() -> None:
        answer = drive.control(get_device)
        assert isinstance(answer, bytes)
        versions.append(answer[3])

    drive.bus(BusEvent.ATTACH, Speed.SUPER)
    look()
    drive.power_off()
    drive.power_on()
    look()
    drive.unplug()
    drive.plug()
    look()
    drive.bus(BusEvent.RESET)
    look()
    drive.bus(BusEvent.ATTACH)
    look()

    assert versions == [3, 3, 3, 3, 2]


# --- locks in the middle -------------------------------------------------------------------------

LOCKS: dict[str, Callable[[EmulatedDrive], None]] = {
    "suspend": lambda drive: drive.bus(BusEvent.SUSPEND),
    "time passes": lambda drive: drive.advance(601_000_000),
}


def read_half(speed: Speed) -> tuple[EmulatedDrive, UasHost, int]:
    """Return an open drive of whose read, under tag 1, the host has fetched a half."""
    drive, queue, _ = queueing(speed)
    stream = 1 if queue.has_streams else 0
    drive.transfer_out(COMMAND, CommandIu(1, scsi.Read(0, 8).encode()).encode())
    if not stream:
        drive.transfer_in(STATUS, 112)
    assert drive.transfer_in(DATA_IN, 2048, stream) == BLOCK * 4
    return drive, queue, stream


@pytest.mark.parametrize("how", LOCKS)
@pytest.mark.parametrize("speed", SPEEDS)
def test_lock_takes_away_what_the_host_had_not_fetched_yet(speed: Speed, how: str) -> None:
    drive, _, stream = read_half(speed)
    LOCKS[how](drive)
    rest = drive.transfer_in(DATA_IN, 2048, stream)
    unit = drive.transfer_in(STATUS, 112, stream)

    assert rest == b""
    assert isinstance(unit, bytes)
    assert (unit[6], Sense.decode(unit[16:])) == (ScsiStatus.CHECK_CONDITION, LOCKED)


@pytest.mark.parametrize("how", LOCKS)
@pytest.mark.parametrize("speed", SPEEDS)
def test_commands_that_wait_find_the_drive_locked(speed: Speed, how: str) -> None:
    drive, queue, stream = read_half(speed)
    queue.queue(2, scsi.Read(0, 8).encode(), in_length=4096)
    queue.queue(3, scsi.Write(0, 1).encode(), data_out=BLOCK)
    LOCKS[how](drive)
    drive.transfer_in(DATA_IN, 2048, stream)
    queue.queue(4, scsi.Inquiry().encode(), in_length=36)  # whereupon the host looks again

    refused = [queue.take(tag) for tag in (2, 3)]
    assert [(one.status, one.sense, one.data) for one in refused] == [
        (ScsiStatus.CHECK_CONDITION, LOCKED, b"")
    ] * 2


def test_lock_calls_no_host_into_a_drive_that_is_half_closed() -> None:
    drive, _, _ = read_half(Speed.HIGH)
    woken: list[int] = []
    drive.on_ready(lambda: woken.append(1))
    assert drive.transfer_in(STATUS, 112) is Handshake.NAK
    drive.advance(601_000_000)

    assert woken == []
    assert drive.transfer_in(STATUS, 112) is Handshake.NAK  # the data that it awaits comes first


@pytest.mark.parametrize("event", [BusEvent.RESET, BusEvent.DETACH])
def test_reset_and_unplugging_lose_every_command_and_all_data(event: BusEvent) -> None:
    drive, _, _ = read_half(Speed.HIGH)
    drive.bus(event)
    again = Queued(UasHost(drive))

    assert again.host.function.transfer_in(DATA_IN, 2048) is Handshake.NAK
    assert again.execute(bytes(6)).sense == POWER_ON_RESET
    assert again.execute(bytes(6)).sense == LOCKED


# --- task management -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "attention"),
    [
        (TaskFunction.LOGICAL_UNIT_RESET, UNIT_RESET),
        (TaskFunction.I_T_NEXUS_RESET, NEXUS_LOSS),
    ],
)
def test_reset_of_the_unit_is_told_and_locks_nothing(
    function: TaskFunction, attention: Sense
) -> None:
    drive, host = made(WAYS["uas"])
    transport = host.disk.transport
    assert isinstance(transport, UasTransport)
    host.read(0, 1)
    transport.manage(function)

    assert transport.execute(bytes(6)).sense == attention
    assert host.read(0, 1) == BLOCK
    assert drive.firmware is not None and drive.firmware.state is State.UNLOCKED


def test_aborted_write_changes_nothing() -> None:
    _, queue, host = queueing(Speed.SUPER)
    queue.queue(1, scsi.Write(0, 1).encode(), data_out=bytes(512), keeps_data=True)
    queue.queue(2, scsi.Write(1, 1).encode(), data_out=bytes(512))
    queue.manage(TaskFunction.ABORT_TASK, 2)
    queue.give_data(1)

    assert queue.take(1).status is ScsiStatus.GOOD
    assert queue.take(2).status is None
    assert host.read(0, 2) == bytes(512) + BLOCK


# --- power cuts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", SPEEDS)
def test_write_that_was_answered_outlives_a_cut_among_queued_ones(speed: Speed) -> None:
    cuts = 0
    for cut in range(1, 40):
        drive, queue, _ = queueing(speed)
        drive.cut_at(cut)
        for tag in (1, 2, 3):
            queue.queue(tag, scsi.Write(tag, 1).encode(), data_out=bytes((tag,)) * 512)
        answered = [tag for tag in (1, 2, 3) if queue.take(tag).status is ScsiStatus.GOOD]
        if drive.is_on:
            break
        cuts += 1
        assert drive.transfer_in(STATUS, 112, 1 if queue.has_streams else 0) is Handshake.DETACHED
        drive.cut_at(None)
        drive.power_on()
        again = host_of(drive, BULK_ONLY(drive))
        again.unlock(PIN)
        for tag in (1, 2, 3):
            stored = again.read(tag, 1)
            assert stored == bytes((tag,)) * 512 or (stored == BLOCK and tag not in answered)

    assert cuts >= 3
    assert answered == [1, 2, 3]


def test_nothing_of_a_read_survives_a_cut() -> None:
    drive, queue, _ = read_half(Speed.HIGH)
    drive.power_off()

    assert drive.transfer_in(DATA_IN, 2048) is Handshake.DETACHED
    drive.power_on()
    again = Queued(UasHost(drive))
    assert again.host.function.transfer_in(DATA_IN, 2048) is Handshake.NAK
    assert again.execute(bytes(6)).sense == POWER_ON_RESET
    assert queue.units  # of the life before
