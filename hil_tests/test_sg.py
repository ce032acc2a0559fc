"""SG_IO: what a command looks like to the kernel, what its answers stand for, and the way in."""

import ctypes
import errno
from contextlib import closing
from pathlib import Path

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire.sense import INVALID_OPCODE, LOCKED
from hil_tests.actions import PINS
from hil_tests.linux_machine import NODE, QUEUE_BYTES, SERIAL, Kernel, make_tree
from hil_tests.ram_disk import INQUIRY, TEST_UNIT_READY, UNKNOWN, RamDrive, read10, write10
from hil_tests.runs import Target
from host_driver.attachment import Attachment, OpenOptions
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.drive import Drive
from host_driver.errors import (
    AccessDenied,
    CommandRefused,
    Disconnected,
    DriveError,
    DriveInUse,
    Locked,
    NoBackend,
    NotFound,
    ProtocolError,
    Timeout,
    TransportError,
)
from host_driver.known_drives import IdentityCheck, KnownDrives
from host_driver.sg import HostStatus, SgIoHeader, attach, completion
from host_driver.transport import ScsiStatus

CAREFUL = OpenOptions()
LEAVE = OpenOptions(destroys_data=True, serial=SERIAL)
BLOCK = bytes(range(256)) * 2
PIN = PINS[0]


class Machine:
    """A Linux with a drive in it."""

    def __init__(self, root: Path, drive: RamDrive) -> None:
        make_tree(root)
        device = usb.core.find(backend=InProcess([drive]))
        assert device is not None
        self.root, self.drive = root, drive
        self.kernel = Kernel(root, BulkOnlyTransport(device))

    def attach(self, options: OpenOptions = CAREFUL) -> Attachment:
        return attach(str(NODE), options, self.kernel, self.root)

    def mount(self, node: str, point: str = "/media/stick") -> None:
        with (self.root / "proc/self/mounts").open("a") as mounts:
            mounts.write(f"{node} {point} vfat rw 0 0\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, RamDrive())


# --- commands and how they end ---------------------------------------------------------------


def test_header_has_the_size_of_the_kernel_s() -> None:
    assert ctypes.sizeof(SgIoHeader) == (88 if ctypes.sizeof(ctypes.c_void_p) == 8 else 64)
    assert SgIoHeader.status.offset == (64 if ctypes.sizeof(ctypes.c_void_p) == 8 else 44)


def test_what_was_written_is_read_back(machine: Machine) -> None:
    with closing(machine.attach(LEAVE)) as attachment:
        written = attachment.transport.execute(write10(3, 2), data_out=BLOCK * 2)
        read = attachment.transport.execute(read10(3, 2), data_in_length=1024)

    assert written.status is read.status is ScsiStatus.GOOD
    assert (read.data, read.residue) == (BLOCK * 2, 0)


def test_short_answer_is_given_as_short_as_it_came(machine: Machine) -> None:
    with closing(machine.attach()) as attachment:
        answer = attachment.transport.execute(INQUIRY, data_in_length=96)

    assert (answer.data, answer.residue) == (machine.drive.disk.inquiry_data, 60)


def test_refusal_comes_with_its_sense(machine: Machine) -> None:
    machine.drive.disk.is_locked = True
    with closing(machine.attach()) as attachment:
        refused = attachment.transport.execute(read10(0, 1), data_in_length=512)

    assert (refused.status, refused.sense) == (ScsiStatus.CHECK_CONDITION, LOCKED)
    assert (refused.data, refused.residue) == (b"", 512)


def test_command_moves_data_one_way_only(machine: Machine) -> None:
    with closing(machine.attach()) as attachment, pytest.raises(ValueError, match="one way"):
        attachment.transport.execute(INQUIRY, data_out=b"x", data_in_length=1)


ENDS: dict[str, tuple[dict[str, int], type[DriveError], str]] = {
    "its time is over": ({"host_status": HostStatus.TIME_OUT}, Timeout, "no answer in time"),
    "usb-storage gave it up": ({"host_status": HostStatus.ABORT}, Timeout, "no answer in time"),
    "an older kernel's timeout": ({"driver_status": 0x06}, Timeout, "no answer in time"),
    "the drive was pulled": ({"host_status": HostStatus.NO_CONNECT}, Disconnected, "is gone"),
    "the link broke": ({"host_status": HostStatus.TRANSPORT_DISRUPTED}, Disconnected, "is gone"),
    "the adapter failed": ({"host_status": HostStatus.ERROR}, TransportError, "tells ERROR"),
    "an error nobody knows": ({"host_status": 0x77}, TransportError, "tells 77h"),
    "a driver's error": ({"driver_status": 0x07}, TransportError, "driver status 07h"),
    "more moved than there is": ({"resid": -1}, ProtocolError, "residue -1 of 36"),
    "less than nothing": ({"resid": 37}, ProtocolError, "residue 37 of 36"),
    "a status that is none": ({"status": 0x22}, ProtocolError, "22h is no SCSI status"),
}


@pytest.mark.parametrize("name", ENDS)
def test_command_that_gets_no_end_is_an_error(machine: Machine, name: str) -> None:
    fields, error, said = ENDS[name]
    with closing(machine.attach()) as attachment:
        machine.kernel.wrong = fields
        with pytest.raises(error, match=said) as raised:
            attachment.transport.execute(INQUIRY, data_in_length=36)

    assert type(raised.value) is error
    assert str(raised.value).startswith("INQUIRY through /dev/null: ")


REFUSED: dict[int, tuple[type[DriveError], str]] = {
    errno.EPERM: (AccessDenied, "INQUIRY through /dev/null is for root: sg:/dev/sg1 takes it"),
    errno.ENODEV: (Disconnected, "INQUIRY through /dev/null: the drive is gone"),
    errno.ENXIO: (Disconnected, "INQUIRY through /dev/null: the drive is gone"),
    errno.EBUSY: (DriveInUse, "INQUIRY through /dev/null: the drive is in use"),
    errno.ENOTTY: (NotFound, "/dev/null is no SCSI device"),
    errno.ETIMEDOUT: (Timeout, "no answer in time"),
    errno.ENOMEM: (TransportError, "Cannot allocate memory"),
}


@pytest.mark.parametrize("number", REFUSED)
def test_ioctl_that_the_kernel_refuses_is_an_error(machine: Machine, number: int) -> None:
    error, said = REFUSED[number]
    with closing(machine.attach()) as attachment:
        machine.kernel.error = number
        with pytest.raises(error, match=said):
            attachment.transport.execute(INQUIRY, data_in_length=36)


def test_closed_transport_sends_nothing_into_another_file(machine: Machine) -> None:
    attachment = machine.attach()
    attachment.close()
    attachment.close()

    with pytest.raises(Disconnected, match="is closed"):
        attachment.transport.execute(INQUIRY, data_in_length=36)
    assert machine.kernel.seen == []


@given(
    st.fixed_dictionaries(
        {
            "host_status": st.sampled_from((0, 0, 0, 1, 3, 7)) | st.integers(0, 0xFFFF),
            "driver_status": st.sampled_from((0, 0, 8)) | st.integers(0, 0xFFFF),
            "status": st.sampled_from((0, 2)) | st.integers(0, 0xFF),
            "sb_len_wr": st.integers(0, 0xFF),
            "resid": st.integers(0, 64) | st.integers(-(2**31), 2**31 - 1),
            "dxfer_len": st.integers(0, 64),
        }
    ),
    st.binary(max_size=252),
)
def test_any_end_is_a_completion_or_an_error(fields: dict[str, int], sense: bytes) -> None:
    header = SgIoHeader(**fields)
    try:
        ended = completion("INQUIRY", header, sense, b"")
    except DriveError:
        return

    assert 0 <= ended.residue <= header.dxfer_len
    assert ended.sense is None or ended.status is ScsiStatus.CHECK_CONDITION


# --- opening ---------------------------------------------------------------------------------


def test_drive_is_neither_trusted_nor_anybody_s_own(machine: Machine) -> None:
    with closing(machine.attach()) as attachment:
        assert attachment.serial == SERIAL
        assert (attachment.is_trusted, attachment.operator) == (False, None)
        assert attachment.holder is not None
        assert attachment.holder.node == "/dev/sdb"


def test_command_moves_what_the_kernel_says_the_bus_takes(machine: Machine) -> None:
    with closing(machine.attach()) as attachment:
        disk = drive_of(attachment).disk
        machine.kernel.seen.clear()
        with pytest.raises(CommandRefused):  # the disk has sixteen blocks
            disk.read(0, 256)

    assert attachment.transfer_bytes == QUEUE_BYTES
    assert machine.kernel.seen == [read10(0, QUEUE_BYTES // 512)]


def drive_of(attachment: Attachment) -> Drive:
    """Return a drive whose identity nobody doubts."""
    check = IdentityCheck(attachment.serial, KnownDrives(Path("none")), is_trusted=True)
    return Drive(attachment, check, lambda count: bytes(range(7, 7 + count)))


def test_link_to_a_node_is_followed(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to(NODE)

    attachment = attach(str(tmp_path / "by-id"), CAREFUL, machine.kernel, tmp_path)
    attachment.close()

    assert attachment.serial == SERIAL


def test_node_that_is_not_there_is_not_found(machine: Machine) -> None:
    with pytest.raises(NotFound, match="/dev/sg99: No such file or directory"):
        attach("/dev/sg99", CAREFUL, machine.kernel, machine.root)


def test_file_is_no_drive(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NotFound, match="is no device: sg:/dev/sgN and sg:/dev/sdX are"):
        attach(str(tmp_path / "file"), CAREFUL, machine.kernel, tmp_path)


def test_device_that_is_not_scsi_is_refused(machine: Machine) -> None:
    with pytest.raises(NotFound, match="/dev/zero is no SCSI device of this kernel"):
        attach("/dev/zero", CAREFUL, machine.kernel, machine.root)


def test_driver_of_an_older_interface_is_refused(machine: Machine) -> None:
    machine.kernel.version = 20_000

    with pytest.raises(NotFound, match="takes no SG_IO of version 3"):
        machine.attach()


def test_device_that_is_no_disk_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path, kind=5)

    with pytest.raises(NotFound, match="/dev/null is no disk, but a SCSI device of type 05h"):
        attach(str(NODE), CAREFUL, lambda fd, request, argument: 0, tmp_path)


def test_partition_is_refused_with_the_name_of_its_drive(tmp_path: Path) -> None:
    make_tree(tmp_path)
    entry = next((tmp_path / "sys/dev/char").iterdir())
    entry.unlink()
    entry.symlink_to((tmp_path / "sys/class/block/sdb1").resolve())

    with pytest.raises(NotFound, match="/dev/null is a partition: the drive is sg:/dev/sdb"):
        attach(str(NODE), CAREFUL, lambda fd, request, argument: 0, tmp_path)


def test_other_systems_are_told_what_to_use() -> None:
    with pytest.raises(NoBackend, match=r"^sg: is for Linux; here, use usb:VID:PID$"):
        attach("/dev/disk2", CAREFUL, platform="darwin")


def test_no_name_and_no_bus_are_wrong_usage(machine: Machine) -> None:
    with pytest.raises(ValueError, match="sg: is not sg:/dev/sgN"):
        attach("", CAREFUL)
    with pytest.raises(ValueError, match="no bus to trace"):
        machine.attach(OpenOptions(trace=Path("t.pcap")))


def test_exchanges_are_told(machine: Machine) -> None:
    lines: list[str] = []
    with closing(machine.attach(OpenOptions(on_exchange=lines.append))) as attachment:
        attachment.transport.execute(INQUIRY, data_in_length=36)

    assert lines == ["INQUIRY 120000002400 allocation_length=36: in 36 of 36, GOOD"]


# --- the interlock ---------------------------------------------------------------------------


def test_nothing_is_written_without_leave(machine: Machine) -> None:
    with closing(machine.attach()) as attachment, pytest.raises(CommandRefused, match="not sent"):
        attachment.transport.execute(write10(0, 1), data_out=BLOCK)

    assert not attachment.destroys_data
    assert machine.kernel.seen == []


def test_drive_with_a_file_system_is_refused_even_with_leave(machine: Machine) -> None:
    machine.drive.disk.blocks[510:512] = b"\x55\xaa"
    refused = pytest.raises(CommandRefused, match="the drive holds a boot sector")
    with closing(machine.attach(LEAVE)) as attachment, refused:
        attachment.transport.execute(write10(0, 1), data_out=BLOCK)


@pytest.mark.parametrize("cdb", [write10(0, 1), bytes.fromhex("1b0000000200")])
@pytest.mark.parametrize("node", ["/dev/sdb", "/dev/sdb1"])
def test_mounted_drive_is_neither_written_nor_ejected(
    machine: Machine, cdb: bytes, node: str
) -> None:
    machine.mount(node)
    with closing(machine.attach(LEAVE)) as attachment:
        with pytest.raises(DriveInUse, match="not sent: the drive is mounted on /media/stick"):
            attachment.transport.execute(cdb, BLOCK if cdb[0] == 0x2A else b"")
        asked = attachment.transport.execute(TEST_UNIT_READY)

    assert asked.status is ScsiStatus.GOOD


# --- a drive that locks ----------------------------------------------------------------------


@pytest.fixture
def held(tmp_path: Path) -> tuple[Path, Kernel]:
    """A native drive with a PIN, locked, that a kernel holds."""
    bench = Target("model:native+capacity=4MiB").bench()
    bench.host().set_pin(PIN)
    make_tree(tmp_path, bench.drive.serial)
    return tmp_path, Kernel(tmp_path, bench.link())


def opened(held: tuple[Path, Kernel], options: OpenOptions | None = None) -> Drive:
    root, kernel = held
    careful = attach(str(NODE), CAREFUL, kernel, root)
    careful.close()
    leave = OpenOptions(destroys_data=True, serial=careful.serial)
    return drive_of(attach(str(NODE), options or leave, kernel, root))


def test_kernel_sees_the_medium_once_it_is_unlocked_and_no_longer_when_it_locks(
    held: tuple[Path, Kernel],
) -> None:
    with opened(held) as drive:
        assert drive.holder is not None
        before = drive.holder.block_count
        drive.unlock(PIN)
        unlocked = drive.holder.block_count
        drive.lock()
        locked = drive.holder.block_count

    assert (before, unlocked, locked) == (0, 8192, 0)


def test_drive_stays_open_for_who_mounts_it(held: tuple[Path, Kernel]) -> None:
    with opened(held) as drive:
        drive.unlock(PIN)
        drive.write(8, BLOCK)

    with opened(held, CAREFUL) as drive:
        assert drive.read(8, 1) == BLOCK


def test_drive_that_holds_a_file_system_by_now_is_locked_and_not_written(
    held: tuple[Path, Kernel],
) -> None:
    with opened(held) as drive:
        drive.unlock(PIN)
        drive.write(0, bytes(510) + b"\x55\xaa")
    with opened(held) as drive, pytest.raises(CommandRefused, match="holds a boot sector"):
        drive.write(0, BLOCK)
    with opened(held, CAREFUL) as drive:
        drive.lock()
        with pytest.raises(Locked):
            drive.read(0, 1)


def test_mounted_drive_is_not_locked(held: tuple[Path, Kernel]) -> None:
    root, _ = held
    with opened(held) as drive:
        drive.unlock(PIN)
        with (root / "proc/self/mounts").open("a") as mounts:
            mounts.write("/dev/sdb /media/stick vfat rw 0 0\n")
        with pytest.raises(DriveInUse, match="mounted on /media/stick"):
            drive.lock()
        assert drive.block_count == 8192


def test_pin_is_not_sent_without_leave(held: tuple[Path, Kernel]) -> None:
    with opened(held, CAREFUL) as drive, pytest.raises(CommandRefused, match="--destroys-data"):
        drive.unlock(PIN)


def test_unknown_command_is_refused_by_the_drive_through_the_kernel(machine: Machine) -> None:
    with closing(machine.attach(LEAVE)) as attachment:
        assert attachment.transport.execute(UNKNOWN).sense == INVALID_OPCODE
