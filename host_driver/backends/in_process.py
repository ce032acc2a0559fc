"""A pyusb backend whose bus is this process: any object that is a UsbFunction becomes a device.

As a function belongs to one thread, so does the backend.
"""

import errno
from array import array
from collections.abc import Callable, Iterator, Sequence

from usb.core import USBError

from firmware_model.wire.function import BusEvent, Handshake, UsbFunction
from firmware_model.wire.usb import Request, SetupPacket, Speed
from host_driver.backends.bus import (
    CONTROL_TIMEOUT_MS,
    LIBUSB_ERROR_NOT_FOUND,
    Bus,
    Handle,
    Port,
    babble,
    no_device,
    stalled,
    timed_out,
)

Buffer = array  # of type code "B"


def nobody_is_coming(timeout_ms: int) -> bool:
    """Give up at once: in one process, nothing but the caller could make a function ready."""
    return False


class FunctionPort(Port):
    """A port with a function on it."""

    def __init__(self, number: int, function: UsbFunction) -> None:
        super().__init__(number)
        self.function = function


class InProcess(Bus[FunctionPort]):
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
        self._ports = [FunctionPort(number, each) for number, each in enumerate(functions, 1)]
        self._last_address = 0
        self._wait = wait
        for function in functions:
            function.bus(BusEvent.ATTACH, speed)

    # --- what is there -----------------------------------------------------------------------

    def enumerate_devices(self) -> Iterator[FunctionPort]:
        """Yield the ports where a device answers; a new one is reset and given an address."""
        for port in self._ports:
            if self._enumerate(port):
                yield port

    def _enumerate(self, port: FunctionPort) -> bool:
        if port.address == 0:
            port.function.bus(BusEvent.RESET)
        if not self.read_descriptors(port):
            port.address = 0
            return False
        if port.address == 0:
            self._last_address += 1
            port.address = self._last_address
            port.owners = {}
            self.control(port, SetupPacket(0x00, Request.SET_ADDRESS, port.address % 128, 0, 0))
        return True

    def reset_device(self, dev_handle: Handle[FunctionPort]) -> None:
        """Reset the port, enumerate again and restore the configuration, as an OS does."""
        port = dev_handle.port
        configuration = self.get_configuration(dev_handle)
        known = port.device
        port.function.bus(BusEvent.RESET)
        if not self.read_descriptors(port):
            port.address = 0
            raise no_device()
        if port.device != known:
            port.address = 0
            raise USBError("Entity not found", LIBUSB_ERROR_NOT_FOUND, errno.ENOENT)
        self.control(port, SetupPacket(0x00, Request.SET_ADDRESS, port.address % 128, 0, 0))
        if configuration:
            self.set_configuration(dev_handle, configuration)

    # --- transfers ---------------------------------------------------------------------------

    def bulk_write(
        self,
        dev_handle: Handle[FunctionPort],
        ep: int,
        intf: int,
        data: "Buffer[int]",
        timeout: int,
    ) -> int:
        """Send `data`; return how many bytes the device took."""
        result = dev_handle.port.function.transfer_out(ep, data.tobytes())
        while result.__class__ is not int:
            self._refused(result, dev_handle, ep, timeout)
            result = dev_handle.port.function.transfer_out(ep, data.tobytes())
        return result

    def bulk_read(
        self,
        dev_handle: Handle[FunctionPort],
        ep: int,
        intf: int,
        buff: "Buffer[int]",
        timeout: int,
    ) -> int:
        """Fill `buff` from its start; return how many bytes came."""
        length = len(buff)
        result = dev_handle.port.function.transfer_in(ep, length)
        while isinstance(result, Handshake):
            self._refused(result, dev_handle, ep, timeout)
            result = dev_handle.port.function.transfer_in(ep, length)
        count = len(result)
        if count > length:
            raise babble()
        memoryview(buff)[:count] = memoryview(result)
        return count

    # On the wire an interrupt transfer differs from a bulk one by when it may happen only.
    intr_write = bulk_write
    intr_read = bulk_read

    def control(
        self,
        port: FunctionPort,
        setup: SetupPacket,
        data: bytes = b"",
        timeout_ms: int = CONTROL_TIMEOUT_MS,
    ) -> bytes | int:
        """Run a control transfer."""
        result = port.function.control(setup, data)
        while isinstance(result, Handshake):
            if result is Handshake.STALL:
                raise stalled()
            self._not_moved(result, port, 0, timeout_ms)
            result = port.function.control(setup, data)
        return result

    def _refused(
        self, result: object, handle: Handle[FunctionPort], ep: int, timeout_ms: int
    ) -> None:
        """Raise what the handshake of an endpoint stands for; return to ask once more."""
        if result is Handshake.STALL:
            # A device that was unplugged and came back in between knows nothing of this handle.
            expected = handle.configuration
            if expected and self.get_configuration(handle) != expected:
                handle.configuration = expected
                handle.port.address = 0
                raise no_device()
            raise stalled()
        self._not_moved(result, handle.port, ep, timeout_ms)

    def _not_moved(self, result: object, port: FunctionPort, ep: int, timeout_ms: int) -> None:
        if result is Handshake.DETACHED:
            port.address = 0
            raise no_device()
        if not self._wait(timeout_ms):
            port.function.cancel(ep)
            raise timed_out()
