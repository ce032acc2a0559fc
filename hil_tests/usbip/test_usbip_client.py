"""usbip:// as the driver uses it with our server."""

import contextlib
import errno
import socket
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive
from hil_tests.served import Serving, serving
from hil_tests.targets import ModelName, fresh_drive
from hil_tests.updated_drives import image
from host_driver import Locked, OpenOptions, WrongPin, open_drive
from host_driver.backends.usbip import UsbIp, attach
from host_driver.errors import (
    Disconnected,
    DriveInUse,
    NotFound,
)
from host_driver.usbip_link import UsbIpLink, UsbIpName, import_device, split_address

IN, OUT = 0x81, 0x02
PIN = "8402957136"


@pytest.fixture
def drive() -> RamDrive:
    return RamDrive()


@pytest.fixture
def served(drive: RamDrive) -> Iterator[Serving]:
    with serving([drive]) as found:
        yield found


@contextlib.contextmanager
def linked(served: Serving) -> Iterator[UsbIpLink]:
    """Give an imported device."""
    link = import_device(UsbIpName.parse(served.name()))
    try:
        yield link
    finally:
        link.close()


@pytest.fixture
def device(served: Serving) -> Iterator[usb.core.Device]:
    """The drive as pyusb has it, configured."""
    with linked(served) as link:
        found = usb.core.find(backend=UsbIp(link))
        found.set_configuration()
        yield found


def refusal(error: pytest.ExceptionInfo[usb.core.USBError]) -> tuple[int | None, int | None]:
    return error.value.errno, error.value.backend_error_code


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("//127.0.0.1/1-1", UsbIpName("127.0.0.1", 3240, "1-1")),
        ("//pi.local:3241/1-1.4", UsbIpName("pi.local", 3241, "1-1.4")),
        ("//[::1]/1-1", UsbIpName("::1", 3240, "1-1")),
        ("//[fe80::1]:9/2-1", UsbIpName("fe80::1", 9, "2-1")),
    ],
)
def test_name_says_host_port_and_device(text: str, name: UsbIpName) -> None:
    assert UsbIpName.parse(text) == name
    assert UsbIpName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "//",
        "//host",
        "//host/",
        "host/1-1",
        "//:3240/1-1",
        "//host:/1-1",
        "//host:x/1-1",
        "//host:65536/1-1",
        "//::1/1-1",
        "//[host/1-1",
        "//host/1-1/2",
        "//host/" + "1" * 32,
        "//ho st/1-1",
        "//host/1\n1",
    ],
)
def test_malformed_name_is_wrong_usage(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        UsbIpName.parse(text)


@given(st.text(max_size=30).map(lambda text: f"//{text}"))
def test_any_text_is_a_name_that_reads_back_or_a_refusal(text: str) -> None:
    try:
        name = UsbIpName.parse(text)
    except ValueError:
        return

    assert UsbIpName.parse(str(name)) == name


def test_address_without_a_port_has_the_protocols_own() -> None:
    assert split_address("127.0.0.1") == ("127.0.0.1", 3240)


# --- as pyusb uses it ------------------------------------------------------------------------


def test_device_is_found_and_described(device: usb.core.Device) -> None:
    assert (device.idVendor, device.serial_number) == (0x1209, "0123456789AB")
    addresses = [each.bEndpointAddress for each in device.get_active_configuration()[0, 0]]
    assert addresses == [IN, OUT]


def test_bulk_transfers_carry_a_command(device: usb.core.Device) -> None:
    written = device.write(OUT, Cbw(5, 36, True, 0, INQUIRY).encode())
    buffer = array("B", bytes(64))
    count = device.read(IN, buffer)

    assert (written, count) == (31, 36)
    assert buffer.tobytes() == INQUIRY_DATA + bytes(28)
    assert device.read(IN, 13).tobytes() == b"USBS\x05" + bytes(8)


def test_stall_is_a_pipe_error_until_the_halt_is_cleared(device: usb.core.Device) -> None:
    device.write(OUT, Cbw(5, 512, True, 0, TEST_UNIT_READY).encode())
    with pytest.raises(usb.core.USBError) as refused:
        device.read(IN, 512)
    device.clear_halt(IN)

    assert refusal(refused) == (errno.EPIPE, -9)
    assert len(device.read(IN, 13)) == 13


def test_nothing_to_read_is_a_timeout_and_the_transfer_is_withdrawn(
    device: usb.core.Device,
) -> None:
    with pytest.raises(usb.core.USBTimeoutError) as refused:
        device.read(IN, 13, timeout=1)
    device.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode())

    assert refusal(refused) == (errno.ETIMEDOUT, -7)
    assert len(device.read(IN, 13)) == 13


def test_unplugged_drive_is_no_device_from_then_on(
    device: usb.core.Device, served: Serving, drive: RamDrive
) -> None:
    with served.ports[0].lock:
        drive.bus(BusEvent.DETACH)
        drive.bus(BusEvent.ATTACH)
    for _ in range(2):
        with pytest.raises(usb.core.USBError) as refused:
            device.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode())

        assert refusal(refused) == (errno.ENODEV, -4)


def test_port_reset_reaches_the_drive_and_keeps_its_configuration(
    device: usb.core.Device, drive: RamDrive
) -> None:
    device.reset()

    assert (BusEvent.RESET, True) in drive.heard
    assert device.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode()) == 31


# --- as a person uses it ---------------------------------------------------------------------


def test_drive_of_somebody_else_is_in_use(served: Serving) -> None:
    with linked(served), pytest.raises(DriveInUse, match="attached to another host"):
        open_drive(served.url())


def test_drive_that_there_is_not_comes_with_those_that_there_are(served: Serving) -> None:
    with pytest.raises(NotFound, match=r"no drive at usbip://.*/1-7; offered are: 1-1$"):
        open_drive(served.url("1-7"))


def test_server_that_there_is_not_is_told_in_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotFound, match=rf"no USB/IP server at 127.0.0.1 port {port}: .*refused"):
        open_drive(f"usbip://127.0.0.1:{port}/1-1")


def test_name_of_no_host_is_told_in_a_line() -> None:
    with pytest.raises(NotFound, match="no USB/IP server at"):
        open_drive(f"usbip://{'x' * 64}.invalid/1-1")


@pytest.fixture
def native(tmp_path: Path) -> Iterator[tuple[Serving, OpenOptions]]:
    """A served drive with a lock, and options by which the driver knows it."""
    drive = fresh_drive(ModelName.parse("native"), SeededNoise(b"served"), kdf_iterations=1)
    drive.power_on()
    options = OpenOptions(known_drives=tmp_path / "known")
    with serving([drive]) as found:
        yield found, options


def test_drive_is_used_over_the_network_as_in_this_process(
    native: tuple[Serving, OpenOptions],
) -> None:
    served, options = native
    content = bytes(range(256)) * 512  # 128 KiB, written and read in one transfer each
    with open_drive(served.url(), options, ask=lambda *_: True) as drive:
        drive.set_pin(PIN)
        with pytest.raises(WrongPin) as wrong:
            drive.unlock("1234509876")
        drive.unlock(PIN)
        drive.write(0, content)

        assert drive.read(0, len(content) // 512) == content
        assert wrong.value.tries_left == 9


def test_drive_that_was_given_back_can_be_had_at_once() -> None:
    with serving([RamDrive()]) as there:
        name = UsbIpName("127.0.0.1", there.address[1], "1-1")
        for _ in range(30):
            import_device(name).close()

        assert there.log.lines[-1].startswith("1-1: detached")


def test_disconnecting_locks_the_drive(native: tuple[Serving, OpenOptions]) -> None:
    served, options = native
    with open_drive(served.url(), options, ask=lambda *_: True) as drive:
        drive.set_pin(PIN)
        drive.unlock(PIN)
        drive.write(0, b"kept".ljust(512))
    with open_drive(served.url(), options) as drive:
        with pytest.raises(Locked):
            drive.read(0, 1)
        drive.unlock(PIN)

        assert drive.read(0, 1).startswith(b"kept")


def test_updated_drive_leaves_and_is_there_again_with_new_firmware(
    native: tuple[Serving, OpenOptions],
) -> None:
    served, options = native
    with open_drive(served.url(), options, ask=lambda *_: True) as drive:
        drive.set_pin(PIN)
        drive.unlock(PIN)
        drive.update(image())
        with pytest.raises(Disconnected):
            drive.info()
    assert served.is_free()
    with open_drive(served.url(), options) as drive:
        status = drive.status()

    assert status is not None and str(status.version) == "1.1.0"


def test_model_of_our_own_server_may_be_changed_and_is_not_trusted(served: Serving) -> None:
    attachment = attach(served.name(), OpenOptions())
    attachment.close()

    assert (attachment.destroys_data, attachment.is_trusted) == (True, False)
    assert attachment.serial == "0123456789AB"


def test_trace_and_lines_are_written_as_asked(served: Serving, tmp_path: Path) -> None:
    lines: list[str] = []
    options = OpenOptions(trace=tmp_path / "drive.pcap", on_exchange=lines.append)
    attachment = attach(served.name(), options)
    attachment.transport.execute(TEST_UNIT_READY)
    attachment.close()

    assert lines[-1].startswith("TEST_UNIT_READY")
    assert (tmp_path / "drive.pcap").read_bytes()[20:24] == b"\xdc\x00\x00\x00"
