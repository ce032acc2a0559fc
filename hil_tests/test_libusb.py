"""The way to real hardware, on buses that misbehave as real ones do."""

import errno
from pathlib import Path
from typing import Any

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st
from usb.backend import IBackend

from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import (
    ConfigurationDescriptor,
    DescriptorType,
    EndpointDescriptor,
    InterfaceDescriptor,
    SetupPacket,
)
from hil_tests.ram_disk import INQUIRY, TEST_UNIT_READY, RamDrive
from host_driver.attachment import Attachment, OpenOptions
from host_driver.backends.in_process import InProcess
from host_driver.backends.libusb import UsbName, attach, attached, find_backend, udev_rule
from host_driver.errors import (
    AccessDenied,
    Disconnected,
    DriveInUse,
    NoBackend,
    NotFound,
)
from host_driver.transport import ScsiStatus

NAME = "1209:5ED0"
SERIAL = "0123456789AB"
CAREFUL = OpenOptions()
NO_SYSTEM = Path("/nonexistent")


class WindowsBus(InProcess):
    """A bus whose drives the system keeps, as libusb tells it."""

    def open_device(self, dev: Any) -> Any:
        raise NotImplementedError("Operation not supported or unimplemented on this platform")


class LinuxBus(InProcess):
    """A bus on which a kernel holds the drives, and perhaps keeps them."""

    def __init__(self, drive: RamDrive, opening: int = 0, claiming: int = 0) -> None:
        super().__init__([drive])
        self.opening, self.claiming = opening, claiming  # errno, 0 for none
        self.kernel_has_it = True
        self.claimed: set[int] = set()

    def open_device(self, dev: Any) -> Any:
        if self.opening:
            raise usb.core.USBError("refused", -3, self.opening)
        return super().open_device(dev)

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        if self.claiming or self.kernel_has_it:
            raise usb.core.USBError("refused", -6, self.claiming or errno.EBUSY)
        super().claim_interface(dev_handle, intf)
        self.claimed.add(intf)

    def release_interface(self, dev_handle: Any, intf: int) -> None:
        super().release_interface(dev_handle, intf)
        self.claimed.discard(intf)

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return self.kernel_has_it

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernel_has_it = False

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        if intf in self.claimed:
            raise usb.core.USBError("refused", -6, errno.EBUSY)
        self.kernel_has_it = True


class InterruptedBus(LinuxBus):
    """One whose user presses Ctrl-C when the kernel has just let go."""

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        super().detach_kernel_driver(dev_handle, intf)
        raise KeyboardInterrupt


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


def test_drive_goes_back_where_taking_it_is_interrupted(tmp_path: Path) -> None:
    bus = InterruptedBus(RamDrive())
    with pytest.raises(KeyboardInterrupt):
        reach(NAME, CAREFUL, bus, tmp_path)

    assert bus.kernel_has_it


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


def test_disks_that_are_attached_are_named_with_their_serial_numbers() -> None:
    names = attached(InProcess([RamDrive(), RamDrive("FEDCBA987654")]))

    assert [str(each) for each in names] == ["1209:5ed0:0123456789AB", "1209:5ed0:FEDCBA987654"]


def test_disk_that_may_not_be_opened_is_named_without() -> None:
    for bus in (LinuxBus(RamDrive(), opening=errno.EACCES), WindowsBus([RamDrive()])):
        assert attached(bus) == [UsbName(0x1209, 0x5ED0, None)]


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


class OneEndpoint(RamDrive):
    """A drive whose interface lacks the endpoint to the host."""

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        if (setup.request, setup.value >> 8) == (0x06, DescriptorType.CONFIGURATION):
            endpoint = EndpointDescriptor(0x02, 0x02, 512)
            interface = InterfaceDescriptor(0, 0, 0x08, 0x06, 0x50, (endpoint,))
            return ConfigurationDescriptor(1, (interface,)).encode()[: setup.length]
        return super().control(setup, data)


def test_drive_that_turns_out_unfit_is_given_back_to_the_kernel(tmp_path: Path) -> None:
    bus = LinuxBus(OneEndpoint())
    with pytest.raises(NotFound, match="lacks a bulk endpoint"):
        reach(NAME, CAREFUL, bus, tmp_path)

    assert bus.kernel_has_it


@pytest.mark.parametrize("serial", [SERIAL, ""])
def test_drive_that_the_system_keeps_is_in_use(serial: str) -> None:
    with pytest.raises(DriveInUse, match=r"the system's own driver holds 1209:5ed0.*WinUSB"):
        reach(NAME, CAREFUL, WindowsBus([RamDrive(serial)]))


class BadStrings(RamDrive):
    """A drive whose strings, but for the languages, are some bytes."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        if (setup.request, setup.value >> 8) == (0x06, 3) and setup.value & 0xFF:
            return self.answer[: setup.length]
        return super().control(setup, data)


@given(st.binary(max_size=20) | st.builds(lambda b: bytes((2 + len(b), 3)) + b, st.binary()))
def test_any_serial_number_descriptor_is_a_serial_number_or_none(answer: bytes) -> None:
    attachment = reach(NAME, OpenOptions(destroys_data=True), InProcess([BadStrings(answer)]))

    assert isinstance(attachment.serial, str)


USES = {
    "mounted on /media/stick": ("proc/self/mounts", "/dev/sdb1 /media/stick vfat rw 0 0\n"),
    "used as swap (/dev/sdb1)": ("proc/swaps", "/dev/sdb1 partition 1048572 0 -2\n"),
    "held by dm-0": ("sys/class/block/sdb1/holders/dm-0", ""),  # LUKS, mounted as /dev/mapper/...
}


@pytest.mark.parametrize("use", USES)
def test_drive_that_the_system_uses_is_not_torn_off(tmp_path: Path, use: str) -> None:
    device = tmp_path / "sys/devices/usb1/1-1/1-1:1.0/host0/block/sdb/sdb1"
    (device / "holders").mkdir(parents=True)
    (tmp_path / "sys/class/block").mkdir(parents=True)
    (tmp_path / "sys/class/block/sdb1").symlink_to(device)
    (tmp_path / "proc/self").mkdir(parents=True)
    others = {
        "proc/self/mounts": "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n",
        "proc/swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 1048572 0 -2\n",
    }
    for path, lines in others.items():
        (tmp_path / path).write_text(lines)
    bus = LinuxBus(RamDrive())
    reach(NAME, CAREFUL, bus, tmp_path).close()
    path, line = USES[use]
    (tmp_path / path).write_text(others.get(path, "") + line)
    with pytest.raises(DriveInUse) as refused:
        reach(NAME, CAREFUL, bus, tmp_path)

    assert str(refused.value) == f"1209:5ed0 is {use}: let go of that first"
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

    assert [line.split()[0] for line in lines] == [
        "GET_DESCRIPTOR",
        "GET_DESCRIPTOR",
        "SET_CONFIGURATION",
        "SET_INTERFACE",
        "TEST_UNIT_READY",
    ]
    assert (tmp_path / "drive.pcap").read_bytes()[20:24] == b"\xdc\x00\x00\x00"


def test_trace_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        reach(NAME, OpenOptions(trace=tmp_path), InProcess([RamDrive()]))
