"""Drives behind a USB/IP server, `usbip://HOST[:PORT]/BUSID`: no kernel module and no root.

The server may be ours, Linux's usbipd, or any other. A model that our own server says it is may be
changed as one in this process; whatever else is there may be real, and is behind the interlock.
"""

import errno
from array import array
from collections.abc import Iterator
from contextlib import ExitStack

import usb.core
from usb.backend import IBackend
from usb.core import USBError

from firmware_model.wire.usb import Request, SetupPacket
from firmware_model.wire.usbip import MODEL_PATH
from host_driver.attachment import Attachment, OpenOptions
from host_driver.backends.bus import CONTROL_TIMEOUT_MS, Bus, Handle, Port
from host_driver.backends.serial_number import serial_of
from host_driver.errors import Disconnected
from host_driver.interlock import Interlocked, why_not
from host_driver.mass_storage import failure
from host_driver.trace import traced
from host_driver.transport import CommandTransport
from host_driver.usb_transport import open_transport
from host_driver.usbip_link import UsbIpLink, UsbIpName, import_device
from host_driver.verbose import Told, Verbose

Buffer = array  # of type code "B"

# What Linux's server takes for a reset of the device: a request that hosts make to a hub
# (USB 2.0 table 11-17).
PORT_RESET = SetupPacket(0x23, Request.SET_FEATURE, 4, 0, 0)


class LinkPort(Port):
    """A port with an imported device."""

    def __init__(self, link: UsbIpLink) -> None:
        super().__init__(1)
        self.link = link


class UsbIp(Bus[LinkPort]):
    """A bus with one device, which was imported; or none yet."""

    def __init__(self, link: UsbIpLink | None = None) -> None:
        super().__init__()
        self._port = None if link is None else LinkPort(link)

    @property
    def silence(self) -> str:
        """Why there is no device on it."""
        return "none was imported" if self._port is None else self._port.silence

    def enumerate_devices(self) -> Iterator[LinkPort]:
        """Yield the port, if its device answers."""
        port = self._port
        if port is None:
            return
        if port.address == 0 and self.read_descriptors(port):
            port.address = port.link.device.device_number & 0x7F or 1
        if port.address:
            yield port

    def reset_device(self, dev_handle: Handle[LinkPort]) -> None:
        """Have the server reset the port, and restore the configuration.

        A server that hands the request on to the device gets a stall for it.
        """
        configuration = self.get_configuration(dev_handle)
        try:
            self.control(dev_handle.port, PORT_RESET)
        except USBError as error:
            if error.errno != errno.EPIPE:
                raise
        if configuration:
            self.set_configuration(dev_handle, configuration)

    def control(
        self,
        port: LinkPort,
        setup: SetupPacket,
        data: bytes = b"",
        timeout_ms: int = CONTROL_TIMEOUT_MS,
    ) -> bytes | int:
        """Run a control transfer."""
        if setup.is_in and setup.length:
            buffer = bytearray(setup.length)
            count = port.link.transfer_in(0, memoryview(buffer), timeout_ms, setup.encode())
            return bytes(buffer[:count])
        return port.link.transfer_out(0, data, timeout_ms, setup.encode())

    def bulk_write(
        self, dev_handle: Handle[LinkPort], ep: int, intf: int, data: "Buffer[int]", timeout: int
    ) -> int:
        """Send `data`; return how many bytes the device took."""
        return dev_handle.port.link.transfer_out(ep, memoryview(data), timeout)

    def bulk_read(
        self, dev_handle: Handle[LinkPort], ep: int, intf: int, buff: "Buffer[int]", timeout: int
    ) -> int:
        """Fill `buff` from its start; return how many bytes came."""
        return dev_handle.port.link.transfer_in(ep, memoryview(buff), timeout)

    intr_write = bulk_write
    intr_read = bulk_read


def attach(rest: str, options: OpenOptions) -> Attachment:
    """Open the drive that `usbip:` and `rest` name; raise DriveError when it is not to be had."""
    name = UsbIpName.parse(rest)
    with ExitStack() as stack:
        link = import_device(name)
        stack.callback(link.close)
        bus = UsbIp(link)
        backend: IBackend = bus
        if options.trace is not None:
            backend = traced(backend, options.trace, stack)
        if options.on_exchange is not None:
            backend = Told(backend, options.on_exchange)
        device = usb.core.find(backend=backend)
        if device is None:
            raise Disconnected(f"the drive at usbip:{name} does not say what it is: {bus.silence}")
        try:
            serial = serial_of(device)
        except USBError as error:
            raise failure(error, f"opening usbip:{name}") from error
        opened = open_transport(device, options.transport)
        stack.callback(opened.close)
        transport: CommandTransport = opened
        if options.on_exchange is not None:
            transport = Verbose(transport, options.on_exchange)
        refusal = None
        if not link.device.path.startswith(MODEL_PATH):
            refusal = why_not(options, None, serial)
            transport = Interlocked(transport, refusal)
        return Attachment(
            transport=transport,
            operator=options.operator,
            is_trusted=False,
            serial=serial,
            destroys_data=refusal is None,
            device=device,
            close=stack.pop_all().close,
        )
