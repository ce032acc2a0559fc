"""The way to real hardware, on buses that misbehave as real ones do; and its interlock."""

import errno
from pathlib import Path
from typing import Any

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st
from usb.backend import IBackend

from firmware_model.wire.function import BusEvent
from hil_tests.ram_disk import INQUIRY, TEST_UNIT_READY, VENDOR, RamDrive, read10, write10
from host_driver.attachment import Attachment, OpenOptions
from host_driver.backends.in_process import InProcess
from host_driver.backends.libusb import UsbName, attach, find_backend, udev_rule
from host_driver.errors import (
    AccessDenied,
    CommandRefused,
    Disconnected,
    DriveInUse,
    NoBackend,
    NotFound,
)
from host_driver.interlock import PROVISIONED_MARK, Interlocked, file_system, is_harmless
from host_driver.transport import Completion, ScsiStatus

NAME = "1209:5ED0"
SERIAL = "0123456789AB"
CAREFUL = OpenOptions()
LEAVE = OpenOptions(destroys_data=True, serial=SERIAL)
WRITE = write10(0, 1)
BLOCK = bytes(512)
NO_SYSTEM = Path("/nonexistent")


class LinuxBus(InProcess):
    """A bus on which a kernel holds the drives, and perhaps keeps them."""

    def __init__(self, drive: RamDrive, opening: int = 0, claiming: int = 0) -> None:
        super().__init__([drive])
        self.opening, self.claiming = opening, claiming  # errno, 0 for none
        self.kernel_has_it = True

    def open_device(self, dev: Any) -> Any:
        if self.opening:
            raise usb.core.USBError("refused", -3, self.opening)
        return super().open_device(dev)

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        if self.claiming or self.kernel_has_it:
            raise usb.core.USBError("refused", -6, self.claiming or errno.EBUSY)
        super().claim_interface(dev_handle, intf)

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return self.kernel_has_it

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernel_has_it = False

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernel_has_it = True


def reach(name: str, options: OpenOptions, bus: IBackend, root: Path = NO_SYSTEM) -> Attachment:
    """Attach without looking at what this machine has mounted."""
    return attach(name, options, bus, root)


# --- finding and opening ---------------------------------------------------------------------


def test_first_libusb_that_loads_is_used() -> None:
    bus = InProcess([])

    assert find_backend([lambda: None, lambda: bus]) is bus


def test_missing_libusb_comes_with_its_remedy() -> None:
    with pytest.raises(NoBackend, match="pip install libusb-package"):
        find_backend([lambda: None])


def test_drive_is_taken_from_the_kernel_and_given_back(tmp_path: Path) -> None:
    bus = LinuxBus(RamDrive())
    attachment = reach(NAME, CAREFUL, bus, tmp_path)
    during = bus.kernel_has_it
    answered = attachment.transport.execute(INQUIRY, data_in_length=36)
    attachment.close()

    assert (answered.status, during, bus.kernel_has_it) == (ScsiStatus.GOOD, False, True)


def test_drive_of_real_hardware_is_not_trusted_and_has_no_operator() -> None:
    attachment = reach(NAME, CAREFUL, InProcess([RamDrive()]))

    assert attachment.serial == SERIAL
    assert (attachment.is_trusted, attachment.operator) == (False, None)


def test_drive_that_vanished_before_it_was_given_back_is_no_trouble(tmp_path: Path) -> None:
    drive = RamDrive()
    attachment = reach(NAME, CAREFUL, LinuxBus(drive), tmp_path)
    drive.bus(BusEvent.DETACH)
    with pytest.raises(Disconnected):
        attachment.transport.execute(TEST_UNIT_READY)

    attachment.close()


def test_two_drives_of_one_kind_are_told_apart_by_serial() -> None:
    bus = InProcess([RamDrive("A" * 12), RamDrive("B" * 12)])
    with pytest.raises(NotFound, match=r"2 drives are 1209:5ed0; add a serial number: A+, B+$"):
        reach(NAME, CAREFUL, bus)

    assert reach(f"{NAME}:{'B' * 12}", CAREFUL, bus).serial == "B" * 12


@pytest.mark.parametrize("name", ["1209:5ED1", f"{NAME}:NOBODY"])
def test_drive_that_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(NotFound, match="no drive 1209:5ed"):
        reach(name, CAREFUL, InProcess([RamDrive()]))


def test_denied_access_comes_with_the_rule_that_grants_it() -> None:
    with pytest.raises(AccessDenied) as refused:
        reach(NAME, CAREFUL, LinuxBus(RamDrive(), opening=errno.EACCES))

    rule = 'SUBSYSTEM=="usb", ATTR{idVendor}=="1209", ATTR{idProduct}=="5ed0", TAG+="uaccess"'
    assert udev_rule(UsbName(0x1209, 0x5ED0, None)) == rule
    assert str(refused.value).endswith(rule)


def test_drive_held_by_another_process_is_in_use(tmp_path: Path) -> None:
    bus = LinuxBus(RamDrive(), claiming=errno.EBUSY)
    with pytest.raises(DriveInUse, match="in use by another process"):
        reach(NAME, CAREFUL, bus, tmp_path)

    assert bus.kernel_has_it


def test_mounted_drive_is_not_torn_off(tmp_path: Path) -> None:
    device = tmp_path / "sys/devices/usb1/1-1/1-1:1.0/host0/block/sdb/sdb1"
    device.mkdir(parents=True)
    (tmp_path / "sys/class/block").mkdir(parents=True)
    (tmp_path / "sys/class/block/sdb1").symlink_to(device)
    (tmp_path / "proc/self").mkdir(parents=True)
    mounts = "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /media/stick vfat rw 0 0\n"
    (tmp_path / "proc/self/mounts").write_text(mounts)
    bus = LinuxBus(RamDrive())
    with pytest.raises(DriveInUse, match="1209:5ed0 is mounted on /media/stick: unmount it"):
        reach(NAME, CAREFUL, bus, tmp_path)

    assert bus.kernel_has_it


@pytest.mark.parametrize("name", ["", "1209", "1209:", "x:y", "1209:5ED0:", "12090:1", "-1:1"])
def test_malformed_name_is_wrong_usage(name: str) -> None:
    with pytest.raises(ValueError, match="is not usb:VID:PID"):
        UsbName.parse(name)


@given(st.text(max_size=20))
def test_any_text_is_a_name_that_reads_back_or_a_refusal(text: str) -> None:
    try:
        name = UsbName.parse(text)
    except ValueError:
        return

    assert UsbName.parse(str(name)) == name


def test_trace_and_lines_are_written_as_asked(tmp_path: Path) -> None:
    lines: list[str] = []
    options = OpenOptions(trace=tmp_path / "drive.pcap", on_exchange=lines.append)
    attachment = reach(NAME, options, InProcess([RamDrive()]))
    attachment.transport.execute(TEST_UNIT_READY)
    attachment.close()

    assert lines == ["TEST_UNIT_READY 000000000000: no data, GOOD"]
    assert (tmp_path / "drive.pcap").read_bytes()[20:24] == b"\xdc\x00\x00\x00"


def test_trace_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        reach(NAME, OpenOptions(trace=tmp_path), InProcess([RamDrive()]))


# --- the interlock ---------------------------------------------------------------------------

NO_LEAVE: dict[str, tuple[str, OpenOptions]] = {
    "nothing was said": (NAME, CAREFUL),
    "only the serial number was said": (f"{NAME}:{SERIAL}", OpenOptions(serial=SERIAL)),
    "only --destroys-data was said": (NAME, OpenOptions(destroys_data=True)),
    "another serial number was said": (NAME, OpenOptions(destroys_data=True, serial="0" * 12)),
    "two serial numbers were said": (
        f"{NAME}:{SERIAL}",
        OpenOptions(destroys_data=True, serial="0" * 12),
    ),
}


@pytest.mark.parametrize("said", NO_LEAVE)
def test_nothing_is_written_without_leave(said: str) -> None:
    drive = RamDrive()
    name, options = NO_LEAVE[said]
    attachment = reach(name, options, InProcess([drive]))
    with pytest.raises(CommandRefused, match=r"^WRITE_10 not sent: .*serial number"):
        attachment.transport.execute(WRITE, data_out=BLOCK)

    assert not attachment.destroys_data
    assert drive.disk.executed == []


def test_drive_without_serial_number_is_never_written() -> None:
    options = OpenOptions(destroys_data=True, serial="")
    attachment = reach(NAME, options, InProcess([RamDrive("")]))

    with pytest.raises(CommandRefused, match="has no serial number"):
        attachment.transport.execute(WRITE, data_out=BLOCK)


@pytest.mark.parametrize(("name", "options"), [
    (NAME, LEAVE), (f"{NAME}:{SERIAL}", OpenOptions(destroys_data=True)),
])  # fmt: skip
def test_blank_drive_is_written_with_leave(name: str, options: OpenOptions) -> None:
    attachment = reach(name, options, InProcess([RamDrive()]))

    assert attachment.destroys_data
    assert attachment.transport.execute(WRITE, data_out=BLOCK).status is ScsiStatus.GOOD


@pytest.mark.parametrize("cdb", [WRITE, VENDOR, bytes.fromhex("b5f0000200000000020000000000")])
def test_drive_with_a_file_system_is_refused_even_with_leave(cdb: bytes) -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    attachment = reach(NAME, LEAVE, InProcess([drive]))

    with pytest.raises(CommandRefused, match="the drive holds a boot sector"):
        attachment.transport.execute(cdb, data_out=BLOCK)


def test_drive_prepared_by_sedlab_may_hold_a_file_system() -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    drive.disk.blocks[: len(PROVISIONED_MARK)] = PROVISIONED_MARK
    attachment = reach(NAME, LEAVE, InProcess([drive]))

    assert attachment.transport.execute(WRITE, data_out=BLOCK).status is ScsiStatus.GOOD


def test_locked_drive_is_looked_at_again_once_it_is_open() -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    drive.disk.is_locked = True
    attachment = reach(NAME, LEAVE, InProcess([drive]))
    while_locked = attachment.transport.execute(VENDOR)
    drive.disk.is_locked = False
    with pytest.raises(CommandRefused, match="holds a boot sector"):
        attachment.transport.execute(WRITE, data_out=BLOCK)

    assert while_locked.status is ScsiStatus.GOOD


def test_attention_does_not_hide_the_file_system() -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    drive.disk.attentions = 1
    attachment = reach(NAME, LEAVE, InProcess([drive]))

    with pytest.raises(CommandRefused, match="holds a boot sector"):
        attachment.transport.execute(WRITE, data_out=BLOCK)


class Unreadable:
    """A transport to a drive whose every command fails without saying why."""

    def execute(
        self, cdb: bytes, data_out: bytes = b"", data_in_length: int = 0, timeout_ms: int = 0
    ) -> Completion:
        return Completion(ScsiStatus.CHECK_CONDITION, None, b"", 0)

    def close(self) -> None:
        """Nothing to close."""


def test_drive_that_cannot_be_read_is_not_written() -> None:
    with pytest.raises(CommandRefused, match="could not be read"):
        Interlocked(Unreadable(), refusal=None).execute(WRITE, data_out=BLOCK)


HARMLESS = [
    TEST_UNIT_READY,
    INQUIRY,
    read10(0, 1),
    bytes.fromhex("b5f0000100000000020000000000"),
    bytes.fromhex("3c030000000000000400"),
]
HARMFUL = {
    "WRITE(16)": b"\x8a" + bytes(15),
    "UNMAP": b"\x42" + bytes(9),
    "FORMAT UNIT": b"\x04" + bytes(5),
    "SANITIZE": b"\x48" + bytes(9),
    "MODE SELECT": b"\x15" + bytes(5),
    "WRITE BUFFER": b"\x3b\x8d" + bytes(8),
    "READ BUFFER of another mode": b"\x3c\x1c" + bytes(8),
    "ATA PASS-THROUGH": b"\x85" + bytes(15),
    "a PIN message": bytes.fromhex("b5f0000200000000020000000000"),
    "SECURITY PROTOCOL OUT to Opal": bytes.fromhex("b501000100000000020000000000"),
    "VERIFY with data": bytes.fromhex("2f020000000000000100"),
    "SERVICE ACTION IN of another kind": b"\x9e\x12" + bytes(14),
    "a truncated SECURITY PROTOCOL OUT": b"\xb5",
}


@pytest.mark.parametrize("cdb", HARMLESS)
def test_command_that_only_asks_passes(cdb: bytes) -> None:
    assert is_harmless(cdb)


@pytest.mark.parametrize("name", HARMFUL)
def test_command_that_may_change_something_does_not_pass(name: str) -> None:
    assert not is_harmless(HARMFUL[name])


@pytest.mark.parametrize(("offset", "magic", "name"), [
    (0, b"LUKS\xba\xbe\x00\x02", "LUKS"), (0x438, b"\x53\xef", "ext2, 3 or 4"),
    (0x200, b"EFI PART", "GPT"), (0x10040, b"_BHRfS_M", "Btrfs"), (0, b"XFSB", "XFS"),
])  # fmt: skip
def test_file_systems_are_known_by_their_signatures(offset: int, magic: bytes, name: str) -> None:
    assert file_system(bytes(offset) + magic) == name


@pytest.mark.parametrize("start", [b"", bytes(70000), b"\xff" * 70000])
def test_blank_medium_holds_no_file_system(start: bytes) -> None:
    assert file_system(start) is None
