"""A pyusb backend whose bus is this process: any object that is a UsbFunction becomes a device.

Source of the contract: pyusb 1.3.1, usb/backend/__init__.py and libusb1.py, whose errors are given
here too. As a function belongs to one thread, so does the backend. There are no kernel drivers: the
calls about them raise NotImplementedError, as libusb does where it knows of none.
"""

import errno
from array import array
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Final

from usb.backend import IBackend
from usb.core import USBError, USBTimeoutError

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.function import BusEvent, Handshake, UsbFunction
from firmware_model.wire.usb import (
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    Feature,
    Recipient,
    Request,
    SetupPacket,
    Speed,
)
from host_driver.backends import descriptors

# libusb 1.0 error codes, as USBError.backend_error_code gives them.
LIBUSB_ERROR_NO_DEVICE: Final = -4
LIBUSB_ERROR_NOT_FOUND: Final = -5
LIBUSB_ERROR_BUSY: Final = -6
LIBUSB_ERROR_TIMEOUT: Final = -7
LIBUSB_ERROR_OVERFLOW: Final = -8
LIBUSB_ERROR_PIPE: Final = -9

Buffer = array  # of type code "B"


def nobody_is_coming(timeout_ms: int) -> bool:
    """Give up at once: in one process, nothing but the caller could make a function ready."""
    return False


class Port:
    """One function and what enumeration learned of it; pyusb's device identification."""

    def __init__(self, number: int, function: UsbFunction) -> None:
        self.number = number
        self.function = function
        self.address = 0  # 0 until enumerated
        self.device: DeviceDescriptor | None = None
        self.configurations: tuple[ConfigurationDescriptor, ...] = ()
        self.owners: dict[int, Handle] = {}  # interface number -> who claimed it

    def read_descriptors(self) -> bool:
        """Ask the function what it is; False when nobody answers sensibly."""
        try:
            device = DeviceDescriptor.decode(self._descriptor(DescriptorType.DEVICE, 0, 18))
            blobs = [self._configuration(index) for index in range(device.configuration_count)]
            configurations = tuple(ConfigurationDescriptor.decode(blob) for blob in blobs)
        except DecodeError:
            return False
        self.device, self.configurations = device, configurations
        return True

    def _configuration(self, index: int) -> bytes:
        """Return a configuration whole, asking for its length first, as hosts do."""
        head = self._descriptor(DescriptorType.CONFIGURATION, index, 9)
        length = int.from_bytes(head[2:4], "little")
        return self._descriptor(DescriptorType.CONFIGURATION, index, length)

    def _descriptor(self, kind: DescriptorType, index: int, length: int) -> bytes:
        setup = SetupPacket(0x80, Request.GET_DESCRIPTOR, kind << 8 | index, 0, length)
        answer = self.function.control(setup)
        return answer if isinstance(answer, bytes) else b""


class Handle:
    """An opened port."""

    __slots__ = ("configuration", "function", "port")

    def __init__(self, port: Port) -> None:
        self.port = port
        self.function = port.function
        self.configuration = 0  # what this handle last set


class InProcess(IBackend):
    """A bus with one port for each function, all of them attached at one speed.

    `wait(timeout_ms)` is called when a function answers NAK; true stands for "ask it again", and
    false ends the transfer in a USBTimeoutError. The timeout is pyusb's: 0 means no limit.
    """

    def __init__(
        self,
        functions: Sequence[UsbFunction],
        wait: Callable[[int], bool] = nobody_is_coming,
        speed: Speed = Speed.HIGH,
    ) -> None:
        super().__init__()
        self._ports = [Port(number, function) for number, function in enumerate(functions, 1)]
        self._last_address = 0
        self._wait = wait
        for function in functions:
            function.bus(BusEvent.ATTACH, speed)

    # --- what is there -----------------------------------------------------------------------

    def enumerate_devices(self) -> Iterator[Port]:
        """Yield the ports where a device answers; a new one is reset and given an address."""
        for port in self._ports:
            if self._enumerate(port):
                yield port

    def _enumerate(self, port: Port) -> bool:
        if port.address == 0:
            port.function.bus(BusEvent.RESET)
        if not port.read_descriptors():
            port.address = 0
            return False
        if port.address == 0:
            self._last_address += 1
            port.address = self._last_address
            port.owners = {}
            self._control(port, SetupPacket(0x00, Request.SET_ADDRESS, port.address % 128, 0, 0))
        return True

    def get_parent(self, dev: Port) -> None:
        """There are no hubs."""

    def get_device_descriptor(self, dev: Port) -> SimpleNamespace:
        """Return the device descriptor under pyusb's names, and where the device is."""
        return descriptors.device(self._device(dev), bus=1, address=dev.address, port=dev.number)

    def get_configuration_descriptor(self, dev: Port, config: int) -> SimpleNamespace:
        """Return the configuration of that index; raise IndexError past the last."""
        return descriptors.configuration(self._configuration(dev, config))

    def get_interface_descriptor(
        self, dev: Port, intf: int, alt: int, config: int
    ) -> SimpleNamespace:
        """Return the alternate setting of those indexes; raise IndexError past the last."""
        return descriptors.interface(self._configuration(dev, config).setting(intf, alt))

    def get_endpoint_descriptor(
        self, dev: Port, ep: int, intf: int, alt: int, config: int
    ) -> SimpleNamespace:
        """Return the endpoint of those indexes; raise IndexError past the last."""
        interface = self._configuration(dev, config).setting(intf, alt)
        return descriptors.endpoint(interface.endpoints[ep])

    def _device(self, port: Port) -> DeviceDescriptor:
        if port.device is None:
            raise _no_device()
        return port.device

    def _configuration(self, port: Port, index: int) -> ConfigurationDescriptor:
        if port.device is None:
            raise _no_device()
        return port.configurations[index]

    # --- handles -----------------------------------------------------------------------------

    def open_device(self, dev: Port) -> Handle:
        """Return a handle, the argument of everything below."""
        return Handle(dev)

    def close_device(self, dev_handle: Handle) -> None:
        """Release what the handle still claims."""
        owners = dev_handle.port.owners
        for number in [number for number, owner in owners.items() if owner is dev_handle]:
            del owners[number]

    def set_configuration(self, dev_handle: Handle, config_value: int) -> None:
        """Select a configuration by value; 0 leaves the device unconfigured."""
        self._control(
            dev_handle.port, SetupPacket(0x00, Request.SET_CONFIGURATION, config_value, 0, 0)
        )
        dev_handle.configuration = config_value

    def get_configuration(self, dev_handle: Handle) -> int:
        """Ask the device for the value of its configuration; 0 when it has none."""
        answer = self._control(
            dev_handle.port, SetupPacket(0x80, Request.GET_CONFIGURATION, 0, 0, 1)
        )
        value = answer[0] if isinstance(answer, bytes) and answer else 0
        dev_handle.configuration = value
        return value

    def set_interface_altsetting(self, dev_handle: Handle, intf: int, altsetting: int) -> None:
        """Select an alternate setting; both are numbers, not indexes."""
        self._control(
            dev_handle.port, SetupPacket(0x01, Request.SET_INTERFACE, altsetting, intf, 0)
        )

    def claim_interface(self, dev_handle: Handle, intf: int) -> None:
        """Take an interface; raise EBUSY while another handle has it."""
        owner = dev_handle.port.owners.setdefault(intf, dev_handle)
        if owner is not dev_handle:
            raise USBError("Resource busy", LIBUSB_ERROR_BUSY, errno.EBUSY)

    def release_interface(self, dev_handle: Handle, intf: int) -> None:
        """Give an interface back; raise ENOENT when the handle has it not."""
        if dev_handle.port.owners.get(intf) is not dev_handle:
            raise USBError("Entity not found", LIBUSB_ERROR_NOT_FOUND, errno.ENOENT)
        del dev_handle.port.owners[intf]

    def reset_device(self, dev_handle: Handle) -> None:
        """Reset the port, enumerate again and restore the configuration, as an OS does."""
        port = dev_handle.port
        configuration = self.get_configuration(dev_handle)
        known = port.device
        port.function.bus(BusEvent.RESET)
        if not port.read_descriptors():
            port.address = 0
            raise _no_device()
        if port.device != known:
            port.address = 0
            raise USBError("Entity not found", LIBUSB_ERROR_NOT_FOUND, errno.ENOENT)
        self._control(port, SetupPacket(0x00, Request.SET_ADDRESS, port.address % 128, 0, 0))
        if configuration:
            self.set_configuration(dev_handle, configuration)

    def clear_halt(self, dev_handle: Handle, ep: int) -> None:
        """Clear the halt of the endpoint of that address."""
        setup = SetupPacket(Recipient.ENDPOINT, Request.CLEAR_FEATURE, Feature.ENDPOINT_HALT, ep, 0)
        self._control(dev_handle.port, setup)

    # --- transfers ---------------------------------------------------------------------------

    def bulk_write(
        self, dev_handle: Handle, ep: int, intf: int, data: "Buffer[int]", timeout: int
    ) -> int:
        """Send `data`; return how many bytes the device took."""
        result = dev_handle.function.transfer_out(ep, data.tobytes())
        while result.__class__ is not int:
            self._refused(result, dev_handle, ep, timeout)
            result = dev_handle.function.transfer_out(ep, data.tobytes())
        return result

    def bulk_read(
        self, dev_handle: Handle, ep: int, intf: int, buff: "Buffer[int]", timeout: int
    ) -> int:
        """Fill `buff` from its start; return how many bytes came."""
        length = len(buff)
        result = dev_handle.function.transfer_in(ep, length)
        while isinstance(result, Handshake):
            self._refused(result, dev_handle, ep, timeout)
            result = dev_handle.function.transfer_in(ep, length)
        count = len(result)
        if count > length:
            raise _babble()
        memoryview(buff)[:count] = memoryview(result)
        return count

    # On the wire an interrupt transfer differs from a bulk one by when it may happen only.
    intr_write = bulk_write
    intr_read = bulk_read

    def ctrl_transfer(
        self,
        dev_handle: Handle,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: "Buffer[int]",
        timeout: int,
    ) -> int:
        """Run a control transfer; fill `data` for IN; return the bytes of the data stage."""
        setup = SetupPacket(bmRequestType, bRequest, wValue, wIndex, len(data))
        sent = b"" if setup.is_in else data.tobytes()
        result = self._control(dev_handle.port, setup, sent, timeout)
        if (bmRequestType, bRequest) == (0x00, Request.SET_CONFIGURATION):
            dev_handle.configuration = wValue
        if isinstance(result, int):
            return result
        count = len(result)
        if count > len(data):
            raise _babble()
        memoryview(data)[:count] = memoryview(result)
        return count

    def _control(
        self, port: Port, setup: SetupPacket, data: bytes = b"", timeout_ms: int = 0
    ) -> bytes | int:
        result = port.function.control(setup, data)
        while isinstance(result, Handshake):
            if result is Handshake.STALL:
                raise _stalled()
            self._not_moved(result, port, 0, timeout_ms)
            result = port.function.control(setup, data)
        return result

    def _refused(self, result: object, handle: Handle, ep: int, timeout_ms: int) -> None:
        """Raise what the handshake of an endpoint stands for; return to ask once more."""
        if result is Handshake.STALL:
            # A device that was unplugged and came back in between knows nothing of this handle.
            expected = handle.configuration
            if expected and self.get_configuration(handle) != expected:
                handle.configuration = expected
                handle.port.address = 0
                raise _no_device()
            raise _stalled()
        self._not_moved(result, handle.port, ep, timeout_ms)

    def _not_moved(self, result: object, port: Port, ep: int, timeout_ms: int) -> None:
        if result is Handshake.DETACHED:
            port.address = 0
            raise _no_device()
        if not self._wait(timeout_ms):
            port.function.cancel(ep)
            raise USBTimeoutError("Operation timed out", LIBUSB_ERROR_TIMEOUT, errno.ETIMEDOUT)


def _no_device() -> USBError:
    return USBError("No such device", LIBUSB_ERROR_NO_DEVICE, errno.ENODEV)


def _stalled() -> USBError:
    return USBError("Pipe error", LIBUSB_ERROR_PIPE, errno.EPIPE)


def _babble() -> USBError:
    return USBError("Overflow", LIBUSB_ERROR_OVERFLOW, errno.EOVERFLOW)
