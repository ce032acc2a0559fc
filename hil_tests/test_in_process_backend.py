"""The in-process bus as pyusb uses it: enumeration, handles, transfers, and every error."""

import errno
from array import array

import pytest
import usb.control
import usb.core
import usb.util

from firmware_model.usb.descriptors import PIPES
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import SetupPacket, Speed
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive
from host_driver.backends.in_process import FunctionPort, InProcess

IN, OUT = 0x81, 0x02


def found(bus: InProcess, serial: str | None = None) -> usb.core.Device:
    devices = usb.core.find(backend=bus, find_all=True)
    return next(one for one in devices if serial in (None, one.serial_number))


def opened(drive: RamDrive) -> usb.core.Device:
    device = found(InProcess([drive]))
    device.set_configuration()
    return device


def refusal(error: pytest.ExceptionInfo[usb.core.USBError]) -> tuple[int | None, int | None]:
    return error.value.errno, error.value.backend_error_code


def test_drive_is_found_by_its_numbers_and_read_by_its_strings() -> None:
    device = usb.core.find(idVendor=0x1209, idProduct=0x5ED0, backend=InProcess([RamDrive()]))

    strings = (device.manufacturer, device.product, device.serial_number)
    assert strings == ("sedlab", "RAM disk", "0123456789AB")
    assert device.speed == usb.util.SPEED_HIGH


def test_port_may_be_one_of_superspeed() -> None:
    device = found(InProcess([RamDrive()], speed=Speed.SUPER))

    assert device.speed == usb.util.SPEED_SUPER
    assert device.bcdUSB == 0x0320


def test_each_function_has_its_own_port_and_address() -> None:
    bus = InProcess([RamDrive("A" * 12), RamDrive("B" * 12)])
    devices = list(usb.core.find(backend=bus, find_all=True))

    assert [(one.port_number, one.address) for one in devices] == [(1, 1), (2, 2)]
    assert found(bus, "B" * 12).port_number == 2


def test_pyusb_walks_every_descriptor_and_stops() -> None:
    device = found(InProcess([RamDrive()]))

    addresses = [
        endpoint.bEndpointAddress
        for configuration in device
        for interface in configuration
        for endpoint in interface
    ]
    assert addresses == [IN, OUT, *PIPES.values()]
    assert "Mass Storage" in str(device)


def test_attaching_and_enumerating_do_not_configure_the_drive() -> None:
    drive = RamDrive()
    device = found(InProcess([drive]))

    assert drive.heard[::2] == [(BusEvent.ATTACH, False), (BusEvent.RESET, False)]
    with pytest.raises(usb.core.USBError, match="Configuration not set"):
        device.get_active_configuration()


def test_finding_a_drive_again_does_not_reset_it() -> None:
    drive = RamDrive()
    bus = InProcess([drive])
    device = found(bus)
    device.set_configuration()

    assert found(bus) == device
    assert device.get_active_configuration().bConfigurationValue == 1
    assert drive.heard.count((BusEvent.RESET, False)) == 2  # one reset, told twice


def test_bulk_transfers_carry_a_command() -> None:
    device = opened(RamDrive())
    written = device.write(OUT, Cbw(5, 36, True, 0, INQUIRY).encode())
    data = device.read(IN, 36)
    status = device.read(IN, 13)

    assert written == 31
    assert data.tobytes() == INQUIRY_DATA
    assert status.tobytes() == b"USBS\x05" + bytes(8)


def test_bulk_read_fills_the_buffer_it_is_given() -> None:
    device = opened(RamDrive())
    device.write(OUT, Cbw(5, 36, True, 0, INQUIRY).encode())
    buffer = array("B", bytes(64))
    count = device.read(IN, buffer)

    assert count == 36
    assert buffer.tobytes() == INQUIRY_DATA + bytes(28)


def test_stall_is_a_pipe_error_until_the_halt_is_cleared() -> None:
    device = opened(RamDrive())
    device.write(OUT, Cbw(5, 512, True, 0, TEST_UNIT_READY).encode())
    with pytest.raises(usb.core.USBError) as refused:
        device.read(IN, 512)
    device.clear_halt(IN)

    assert refusal(refused) == (errno.EPIPE, -9)
    assert len(device.read(IN, 13)) == 13


def test_stalled_control_request_is_a_pipe_error() -> None:
    with pytest.raises(usb.core.USBError) as refused:
        opened(RamDrive()).ctrl_transfer(0xC0, 1, 0, 0, 1)

    assert refusal(refused) == (errno.EPIPE, -9)


def test_nothing_to_read_is_a_timeout() -> None:
    with pytest.raises(usb.core.USBTimeoutError) as refused:
        opened(RamDrive()).read(IN, 13)

    assert refusal(refused) == (errno.ETIMEDOUT, -7)


def test_wait_is_asked_with_the_timeout_and_may_have_the_transfer_tried_again() -> None:
    drive = RamDrive()
    asked: list[int] = []

    def wait(timeout_ms: int) -> bool:
        asked.append(timeout_ms)
        drive.transfer_out(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode())
        return True

    device = found(InProcess([drive], wait))
    device.set_configuration()
    status = device.read(IN, 13, timeout=250)

    assert (len(status), asked) == (13, [250])


def test_unplugged_drive_is_no_device_and_no_longer_found() -> None:
    drive = RamDrive()
    bus = InProcess([drive])
    device = found(bus)
    device.set_configuration()
    drive.bus(BusEvent.DETACH)
    with pytest.raises(usb.core.USBError) as refused:
        device.write(OUT, b"x")

    assert refusal(refused) == (errno.ENODEV, -4)
    assert usb.core.find(backend=bus) is None


def test_drive_plugged_in_again_is_another_device() -> None:
    drive = RamDrive()
    bus = InProcess([drive])
    before = found(bus)
    before.set_configuration()
    drive.bus(BusEvent.DETACH)
    drive.bus(BusEvent.ATTACH)
    with pytest.raises(usb.core.USBError) as refused:
        before.read(IN, 13)
    after = found(bus)

    assert refusal(refused) == (errno.ENODEV, -4)
    assert after != before
    after.set_configuration()
    assert after.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode()) == 31


def test_port_reset_reaches_the_drive_and_keeps_device_and_configuration() -> None:
    drive = RamDrive()
    bus = InProcess([drive])
    device = found(bus)
    device.set_configuration()
    device.reset()

    assert drive.heard[-1] == (BusEvent.RESET, True)
    assert device.get_active_configuration().bConfigurationValue == 1
    assert device.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode()) == 31
    assert found(bus) == device


def test_interface_claimed_by_one_handle_is_busy_for_another() -> None:
    bus = InProcess([RamDrive()])
    first, second = found(bus), found(bus)
    first.set_configuration()
    usb.util.claim_interface(first, 0)
    with pytest.raises(usb.core.USBError) as refused:
        usb.util.claim_interface(second, 0)
    usb.util.dispose_resources(first)
    usb.util.claim_interface(second, 0)

    assert refusal(refused) == (errno.EBUSY, -6)


def test_handle_that_is_closed_gives_its_interfaces_back() -> None:
    bus = InProcess([RamDrive()])
    (port,) = bus.enumerate_devices()
    first, second = bus.open_device(port), bus.open_device(port)
    bus.claim_interface(first, 0)
    with pytest.raises(usb.core.USBError):
        bus.claim_interface(second, 0)
    bus.close_device(first)

    bus.claim_interface(second, 0)


def test_alternate_setting_is_selected_by_number() -> None:
    device = opened(RamDrive())
    device.set_interface_altsetting(0, 1)

    assert device.ctrl_transfer(0x81, 10, 0, 0, 1).tobytes() == b"\x01"


@pytest.mark.parametrize("indexes", [(1, 0, 0), (0, 2, 0), (0, 0, 1)])
def test_index_past_the_last_descriptor_is_an_index_error(indexes: tuple[int, int, int]) -> None:
    bus = InProcess([RamDrive()])
    (port,) = bus.enumerate_devices()

    with pytest.raises(IndexError):
        bus.get_interface_descriptor(port, *indexes)


def test_endpoint_past_the_last_is_an_index_error() -> None:
    bus = InProcess([RamDrive()])
    (port,) = bus.enumerate_devices()

    with pytest.raises(IndexError):
        bus.get_endpoint_descriptor(port, 2, 0, 0, 0)


def test_kernel_drivers_are_not_known_here() -> None:
    device = opened(RamDrive())

    with pytest.raises(NotImplementedError):
        device.is_kernel_driver_active(0)
    with pytest.raises(NotImplementedError):
        device.detach_kernel_driver(0)


class Babbling(RamDrive):
    """A drive that says more than it was asked for."""

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        return bytes(length + 1)

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        answer = super().control(setup, data)
        return answer + b"!" if isinstance(answer, bytes) and setup.length == 4 else answer


def test_more_than_asked_for_is_an_overflow() -> None:
    device = opened(Babbling())
    with pytest.raises(usb.core.USBError) as bulk:
        device.read(IN, 13)
    with pytest.raises(usb.core.USBError) as control:
        device.ctrl_transfer(0x80, 6, 0x0100, 0, 4)

    assert refusal(bulk) == refusal(control) == (errno.EOVERFLOW, -8)


class Nonsense(RamDrive):
    """A drive whose descriptors cannot be read."""

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        answer = super().control(setup, data)
        return answer[:-1] if isinstance(answer, bytes) else answer


def test_drive_that_does_not_enumerate_is_not_found() -> None:
    assert usb.core.find(backend=InProcess([Nonsense()])) is None


def test_port_that_was_never_enumerated_has_no_descriptors() -> None:
    with pytest.raises(usb.core.USBError) as refused:
        InProcess([]).get_device_descriptor(FunctionPort(1, RamDrive()))

    assert refusal(refused) == (errno.ENODEV, -4)
