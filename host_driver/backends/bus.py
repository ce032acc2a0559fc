"""What pyusb asks of a backend, as far as it follows from devices that answer control transfers.

Source of the contract: pyusb 1.3.1, usb/backend/__init__.py and libusb1.py, whose errors are given
here too. There are no kernel drivers: the calls about them raise NotImplementedError, as libusb
does where it knows of none.
"""

import errno
from array import array
from types import SimpleNamespace
from typing import Any, Final, Generic, TypeVar

from usb.backend import IBackend
from usb.core import USBError, USBTimeoutError

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usb import (
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    Feature,
    Recipient,
    Request,
    SetupPacket,
)
from host_driver.backends import descriptors

# libusb 1.0 error codes, as USBError.backend_error_code gives them.
LIBUSB_ERROR_IO: Final = -1
LIBUSB_ERROR_NO_DEVICE: Final = -4
LIBUSB_ERROR_NOT_FOUND: Final = -5
LIBUSB_ERROR_BUSY: Final = -6
LIBUSB_ERROR_TIMEOUT: Final = -7
LIBUSB_ERROR_OVERFLOW: Final = -8
LIBUSB_ERROR_PIPE: Final = -9
CONTROL_TIMEOUT_MS: Final = 5_000  # of requests that pyusb gives no time for, as in Linux

Buffer = array  # of type code "B"


class Port:
    """Where a device is and what enumeration learned of it; pyusb's device identification."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.address = 0  # 0 until enumerated
        self.device: DeviceDescriptor | None = None
        self.configurations: tuple[ConfigurationDescriptor, ...] = ()
        self.silence = "nothing is there"  # why it was not enumerated
        self.owners: dict[int, Handle[Any]] = {}  # interface number -> who claimed it


P = TypeVar("P", bound=Port)


class Handle(Generic[P]):
    """An opened port."""

    __slots__ = ("configuration", "port")

    def __init__(self, port: P) -> None:
        self.port = port
        self.configuration = 0  # what this handle last set


class Bus(IBackend, Generic[P]):
    """A backend that lacks the ways to its devices: enumeration, transfers and reset."""

    def control(
        self,
        port: P,
        setup: SetupPacket,
        data: bytes = b"",
        timeout_ms: int = CONTROL_TIMEOUT_MS,
    ) -> bytes | int:
        """Run a control transfer: return the data of IN, the count of OUT; raise USBError."""
        raise NotImplementedError

    # --- what is there -----------------------------------------------------------------------

    def read_descriptors(self, port: P) -> bool:
        """Ask the device what it is; False, and why in `silence`, when nobody answers sensibly."""
        try:
            device = DeviceDescriptor.decode(self._descriptor(port, DescriptorType.DEVICE, 0, 18))
            blobs = [self._whole(port, index) for index in range(device.configuration_count)]
            configurations = tuple(ConfigurationDescriptor.decode(blob) for blob in blobs)
        except DecodeError as wrong:
            port.silence = str(wrong)
            return False
        except USBError as failed:
            port.silence = failed.strerror or str(failed)
            return False
        port.device, port.configurations = device, configurations
        return True

    def _whole(self, port: P, index: int) -> bytes:
        """Return a configuration whole, asking for its length first, as hosts do."""
        head = self._descriptor(port, DescriptorType.CONFIGURATION, index, 9)
        length = int.from_bytes(head[2:4], "little")
        return self._descriptor(port, DescriptorType.CONFIGURATION, index, length)

    def _descriptor(self, port: P, kind: DescriptorType, index: int, length: int) -> bytes:
        setup = SetupPacket(0x80, Request.GET_DESCRIPTOR, kind << 8 | index, 0, length)
        answer = self.control(port, setup)
        return answer if isinstance(answer, bytes) else b""

    def get_parent(self, dev: P) -> None:
        """There are no hubs."""

    def get_device_descriptor(self, dev: P) -> SimpleNamespace:
        """Return the device descriptor under pyusb's names, and where the device is."""
        return descriptors.device(self._device(dev), bus=1, address=dev.address, port=dev.number)

    def get_configuration_descriptor(self, dev: P, config: int) -> SimpleNamespace:
        """Return the configuration of that index; raise IndexError past the last."""
        return descriptors.configuration(self._configuration(dev, config))

    def get_interface_descriptor(self, dev: P, intf: int, alt: int, config: int) -> SimpleNamespace:
        """Return the alternate setting of those indexes; raise IndexError past the last."""
        return descriptors.interface(self._configuration(dev, config).setting(intf, alt))

    def get_endpoint_descriptor(
        self, dev: P, ep: int, intf: int, alt: int, config: int
    ) -> SimpleNamespace:
        """Return the endpoint of those indexes; raise IndexError past the last."""
        interface = self._configuration(dev, config).setting(intf, alt)
        return descriptors.endpoint(interface.endpoints[ep])

    def _device(self, port: P) -> DeviceDescriptor:
        if port.device is None:
            raise no_device()
        return port.device

    def _configuration(self, port: P, index: int) -> ConfigurationDescriptor:
        if port.device is None:
            raise no_device()
        return port.configurations[index]

    # --- handles -----------------------------------------------------------------------------

    def open_device(self, dev: P) -> Handle[P]:
        """Return a handle, the argument of everything below."""
        return Handle(dev)

    def close_device(self, dev_handle: Handle[P]) -> None:
        """Release what the handle still claims."""
        owners = dev_handle.port.owners
        for number in [number for number, owner in owners.items() if owner is dev_handle]:
            del owners[number]

    def claim_interface(self, dev_handle: Handle[P], intf: int) -> None:
        """Take an interface; raise EBUSY while another handle has it."""
        owner = dev_handle.port.owners.setdefault(intf, dev_handle)
        if owner is not dev_handle:
            raise USBError("Resource busy", LIBUSB_ERROR_BUSY, errno.EBUSY)

    def release_interface(self, dev_handle: Handle[P], intf: int) -> None:
        """Give an interface back; raise ENOENT when the handle has it not."""
        if dev_handle.port.owners.get(intf) is not dev_handle:
            raise USBError("Entity not found", LIBUSB_ERROR_NOT_FOUND, errno.ENOENT)
        del dev_handle.port.owners[intf]

    # --- requests ----------------------------------------------------------------------------

    def set_configuration(self, dev_handle: Handle[P], config_value: int) -> None:
        """Select a configuration by value; 0 leaves the device unconfigured."""
        self.control(
            dev_handle.port, SetupPacket(0x00, Request.SET_CONFIGURATION, config_value, 0, 0)
        )
        dev_handle.configuration = config_value

    def get_configuration(self, dev_handle: Handle[P]) -> int:
        """Ask the device for the value of its configuration; 0 when it has none."""
        answer = self.control(
            dev_handle.port, SetupPacket(0x80, Request.GET_CONFIGURATION, 0, 0, 1)
        )
        value = answer[0] if isinstance(answer, bytes) and answer else 0
        dev_handle.configuration = value
        return value

    def set_interface_altsetting(self, dev_handle: Handle[P], intf: int, altsetting: int) -> None:
        """Select an alternate setting; both are numbers, not indexes."""
        self.control(dev_handle.port, SetupPacket(0x01, Request.SET_INTERFACE, altsetting, intf, 0))

    def clear_halt(self, dev_handle: Handle[P], ep: int) -> None:
        """Clear the halt of the endpoint of that address."""
        setup = SetupPacket(Recipient.ENDPOINT, Request.CLEAR_FEATURE, Feature.ENDPOINT_HALT, ep, 0)
        self.control(dev_handle.port, setup)

    def ctrl_transfer(
        self,
        dev_handle: Handle[P],
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
        result = self.control(dev_handle.port, setup, sent, timeout)
        if (bmRequestType, bRequest) == (0x00, Request.SET_CONFIGURATION):
            dev_handle.configuration = wValue
        if isinstance(result, int):
            return result
        count = len(result)
        if count > len(data):
            raise babble()
        memoryview(data)[:count] = memoryview(result)
        return count


def no_device() -> USBError:
    """Return the error of a device that is gone."""
    return USBError("No such device", LIBUSB_ERROR_NO_DEVICE, errno.ENODEV)


def stalled() -> USBError:
    """Return the error of an endpoint that is halted, or of a request that is not supported."""
    return USBError("Pipe error", LIBUSB_ERROR_PIPE, errno.EPIPE)


def babble() -> USBError:
    """Return the error of a device that sent more than it was asked for."""
    return USBError("Overflow", LIBUSB_ERROR_OVERFLOW, errno.EOVERFLOW)


def timed_out() -> USBTimeoutError:
    """Return the error of a transfer that was withdrawn."""
    return USBTimeoutError("Operation timed out", LIBUSB_ERROR_TIMEOUT, errno.ETIMEDOUT)
