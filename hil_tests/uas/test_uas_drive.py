"""A whole drive by UAS: all that Bulk-Only gives, locks in the middle, cuts, updates."""

from collections.abc import Callable
from functools import cache

import pytest
import usb.core
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire import scsi
from firmware_model.wire.cdb import decode_cdb
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.native import State
from firmware_model.wire.scsi import Direction, ScsiStatus
from firmware_model.wire.sense import LOCKED, NEXUS_LOSS, POWER_ON_RESET, UNIT_RESET, Sense
from firmware_model.wire.uas import CommandIu, TaskFunction
from firmware_model.wire.usb import SetupPacket, Speed
from hil_tests.actions import PINS
from hil_tests.uas.host import COMMAND, DATA_IN, STATUS, UasHost
from hil_tests.updated_drives import GOOD as IMAGE
from host_driver.attachment import Attachment
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.drive import Drive
from host_driver.known_drives import IdentityCheck, KnownDrives, default_path
from host_driver.transport import DEFAULT_TIMEOUT_MS, CommandTransport, Completion
from host_driver.uas import UasTransport

PIN = PINS[0]
BLOCK = bytes(range(256)) * 2
SPEEDS = (Speed.HIGH, Speed.SUPER)


class Queued:
    """A command transport over a host that could queue."""

    def __init__(self, host: UasHost) -> None:
        self.host = host

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run one command."""
        ended = self.host.execute(cdb, data_out, data_in_length)
        assert ended.status is not None
        residue = data_in_length - len(ended.data)
        return Completion(ended.status, ended.sense, ended.data, residue)

    def close(self) -> None:
        """There is nothing to let go of."""


Way = Callable[[EmulatedDrive], CommandTransport]


def by_pyusb(kind: type[BulkOnlyTransport] | type[UasTransport], speed: Speed) -> Way:
    def way(drive: EmulatedDrive) -> CommandTransport:
        return kind(usb.core.find(backend=InProcess([drive], speed=speed)))

    return way


def by_queue(speed: Speed) -> Way:
    return lambda drive: Queued(UasHost(drive, speed))


BULK_ONLY = by_pyusb(BulkOnlyTransport, Speed.HIGH)
WAYS: dict[str, Way] = {
    "bulk-only at SuperSpeed": by_pyusb(BulkOnlyTransport, Speed.SUPER),
    "uas": by_pyusb(UasTransport, Speed.HIGH),
    "uas, queued": by_queue(Speed.HIGH),
    "uas, on streams": by_queue(Speed.SUPER),
}


def host_of(drive: EmulatedDrive, transport: CommandTransport) -> Drive:
    """Return the driver over a transport."""
    check = IdentityCheck(drive.serial, KnownDrives(default_path()), is_trusted=True)
    attachment = Attachment(transport, drive, True, drive.serial, True, lambda: None)
    return Drive(attachment, check, lambda count: bytes(count))


@cache
def provisioned(profile: str) -> EmulatedDrive:
    """Return a drive that has a PIN and something stored, without power."""
    drive = EmulatedDrive.new(profiles.load(profile), SeededNoise(b"uas"), kdf_iterations=1)
    drive.power_on()
    host = host_of(drive, BULK_ONLY(drive))
    if profile != "plain":
        host.set_pin(PIN)
        host.unlock(PIN)
    host.write(0, BLOCK * 64)
    drive.power_off()
    return drive


def made(way: Way, profile: str = "native", is_open: bool = True) -> tuple[EmulatedDrive, Drive]:
    """Return a copy of the provisioned drive, and the driver over one way to it."""
    drive = provisioned(profile).fork()
    drive.power_on()
    host = host_of(drive, way(drive))
    if is_open and profile != "plain":
        host.unlock(PIN)
    return drive, host


def queueing(speed: Speed) -> tuple[EmulatedDrive, UasHost, Drive]:
    """Return an open drive that has no more to say of that, and a host that queues."""
    drive, host = made(by_queue(speed))
    assert isinstance(host.disk.transport, Queued)
    host.read(0, 1)
    return drive, host.disk.transport.host, host


# --- the same by every way -----------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("profile", ["native", "keypad", "plain"])
def test_drive_is_opened_written_read_and_closed(profile: str, name: str) -> None:
    drive, host = made(WAYS[name], profile)
    host.write(5, b"new" + BLOCK[3:])
    host.trim(6, 1)

    assert host.read(4, 3) == BLOCK + b"new" + BLOCK[3:] + bytes(512)
    if profile != "plain":
        host.lock()
        assert drive.firmware is not None and drive.firmware.state is State.LOCKED
        assert host.disk.transport.execute(bytes(6)).sense == LOCKED


@pytest.mark.parametrize("name", WAYS)
def test_large_data_goes_both_ways(name: str) -> None:
    _, host = made(WAYS[name])
    data = bytes(i * 31 >> 3 & 0xFF for i in range(1 << 20))
    host.write(100, data)

    assert host.read(100, 2048) == data


@pytest.mark.parametrize("name", WAYS)
def test_update_is_told_its_end_before_the_drive_leaves(name: str) -> None:
    drive, host = made(WAYS[name])
    host.update(IMAGE)
    after = host_of(drive, BULK_ONLY(drive)).status()

    assert after is not None
    assert str(after.version) == "1.1.0"


def read(size: int) -> st.SearchStrategy[bytes]:
    lba, count = st.integers(0, 70), st.integers(0, 4)
    return st.builds(lambda at, n: scsi.Read(at, n, size).encode(), lba, count)


def write(size: int) -> st.SearchStrategy[bytes]:
    lba, count = st.integers(0, 70), st.integers(0, 4)
    return st.builds(lambda at, n: scsi.Write(at, n, size).encode(), lba, count)


CDBS = st.one_of(
    read(10),
    read(16),
    write(10),
    write(16),
    st.sampled_from(
        [
            bytes(6),  # TEST UNIT READY
            bytes.fromhex("030000001200"),  # REQUEST SENSE
            bytes.fromhex("030100001200"),
            bytes.fromhex("120000002400"),  # INQUIRY
            bytes.fromhex("120100006000"),
            bytes.fromhex("120183006000"),
            bytes.fromhex("1201b200ff00"),
            bytes.fromhex("1201ee006000"),
            bytes.fromhex("1a003f00c000"),  # MODE SENSE
            bytes.fromhex("5a003f000000000000ff00"),
            bytes.fromhex("25000000000000000000"),  # READ CAPACITY
            bytes.fromhex("9e10000000000000000000000020" + "0000"),
            bytes.fromhex("a00000000000000000400000"),  # REPORT LUNS
            bytes.fromhex("a20000000000000002000000"),  # SECURITY PROTOCOL IN
            bytes.fromhex("a2f00000000000000200" + "0000"),
            bytes.fromhex("b5f00001000000000020" + "0000"),  # and OUT
            bytes.fromhex("35000000000000000000"),  # SYNCHRONIZE CACHE
            bytes.fromhex("2f000000000000000400"),  # VERIFY
            bytes.fromhex("42000000000000001800"),  # UNMAP
            bytes.fromhex("1e0000000100"),  # PREVENT ALLOW
            bytes.fromhex("1b0000000200"),  # START STOP UNIT
            bytes.fromhex("1b0000000100"),
        ]
    ),
    # A shorter one that is cut off is another command by UAS, which fills up what it carries. And
    # by Bulk-Only there are no persistent reservations, nor are they among what is supported.
    st.binary(min_size=16, max_size=16).filter(
        lambda cdb: cdb[0] < 0xC0 and cdb[0] not in (0x5E, 0x5F, 0xA3)
    ),
)


def data_of(cdb: bytes, filling: int) -> tuple[bytes, int]:
    """Return data-out and room for data-in, as a host would announce for a command it knows."""
    command = decode_cdb(cdb)
    if isinstance(command, Sense):
        return b"", 0
    transfer = command.transfer
    length = min(transfer.length or 0, 1 << 20)
    if transfer.direction is Direction.OUT:
        return bytes((filling,)) * length, 0
    return b"", length if transfer.direction is Direction.IN else 0


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(st.tuples(CDBS, st.integers(0, 0xFF)), min_size=1, max_size=12))
def test_same_commands_get_the_same_answers_by_every_way(
    is_open: bool, commands: list[tuple[bytes, int]]
) -> None:
    def answers(way: Way) -> list[tuple[ScsiStatus, Sense | None, bytes]]:
        _, host = made(way, is_open=is_open)
        transport = host.disk.transport
        found = []
        for cdb, filling in commands:
            data_out, in_length = data_of(cdb, filling)
            ended = transport.execute(cdb, data_out, in_length)
            # A REQUEST SENSE that failed has none by Bulk-Only: nobody asks about it.
            sense = None if cdb[0] == scsi.Opcode.REQUEST_SENSE else ended.sense
            found.append((ended.status, sense, ended.data))
        return found

    expected = answers(BULK_ONLY)
    for name, way in WAYS.items():
        assert answers(way) == expected, name


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
