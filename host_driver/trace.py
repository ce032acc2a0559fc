"""What passed between host and drive: as a pcap file, or as bytes in memory.

The pcap is what Linux's usbmon gives (link type 220, LINKTYPE_USB_LINUX_MMAPPED), with the
descriptors up front, so that Wireshark decodes mass storage from the first packet on.
"""

from array import array
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from usb.backend import IBackend
from usb.core import USBError

from firmware_model.wire.usb import DescriptorType, Feature, Request, SetupPacket
from host_driver.usbmon import TransferType, UsbmonFile, status_of, system_now_us

Buffer = array  # of type code "B"


class Forwarding(IBackend):
    """A backend that leaves everything to another one, to be watched by a subclass."""

    def __init__(self, inner: IBackend) -> None:
        super().__init__()
        self.inner = inner
        for name in vars(IBackend):
            is_ours = getattr(type(self), name) is not getattr(IBackend, name)
            if not name.startswith("_") and not is_ours:
                setattr(self, name, getattr(inner, name))


class TracedBackend(Forwarding):
    """A backend whose traffic goes into a pcap file as well."""

    def __init__(
        self, inner: IBackend, stream: BinaryIO, now_us: Callable[[], int] = system_now_us
    ) -> None:
        super().__init__(inner)
        self._file = UsbmonFile(stream, now_us)
        self._enumerated: set[tuple[int, int]] = set()
        self._places: dict[int, tuple[int, int]] = {}  # id of an open handle -> bus, device

    def open_device(self, dev: Any) -> Any:
        """Open, and read all descriptors once, so that the trace explains itself."""
        handle = self.inner.open_device(dev)
        found = self.inner.get_device_descriptor(dev)
        place = (int(found.bus or 0), int(found.address or 0))
        self._places[id(handle)] = place
        if place not in self._enumerated:
            self._enumerated.add(place)
            self._enumerate(handle, dev, found)
        return handle

    def close_device(self, dev_handle: Any) -> None:
        """Close, and forget where the handle led."""
        self._places.pop(id(dev_handle), None)
        self.inner.close_device(dev_handle)

    def _enumerate(self, handle: Any, dev: Any, found: Any) -> None:
        wanted = [(DescriptorType.DEVICE, 0, 0, 18)]
        for index in range(int(found.bNumConfigurations)):
            total = int(self.inner.get_configuration_descriptor(dev, index).wTotalLength)
            wanted.append((DescriptorType.CONFIGURATION, index, 0, total))
        strings = sorted({int(found.iManufacturer), int(found.iProduct), int(found.iSerialNumber)})
        if any(strings):
            wanted.append((DescriptorType.STRING, 0, 0, 254))
        wanted += [(DescriptorType.STRING, index, 0x0409, 254) for index in strings if index]
        for kind, index, language, length in wanted:
            request = (handle, 0x80, Request.GET_DESCRIPTOR, kind << 8 | index, language)
            try:
                self.ctrl_transfer(*request, array("B", bytes(length)), 1000)
            except USBError:  # in the trace as what it was; who needs the descriptor will see
                continue

    def ctrl_transfer(
        self,
        dev_handle: Any,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: "Buffer[int]",
        timeout: int,
    ) -> int:
        """Run and record a control transfer."""
        setup = SetupPacket(bmRequestType, int(bRequest), wValue, wIndex, len(data))
        return self._control(
            dev_handle,
            setup,
            data,
            lambda: self.inner.ctrl_transfer(
                dev_handle, bmRequestType, bRequest, wValue, wIndex, data, timeout
            ),
        )

    def set_configuration(self, dev_handle: Any, config_value: int) -> None:
        """Select a configuration; recorded as the request that it is on the bus."""
        setup = SetupPacket(0x00, Request.SET_CONFIGURATION, config_value, 0, 0)
        self._control(
            dev_handle,
            setup,
            array("B"),
            lambda: self.inner.set_configuration(dev_handle, config_value),
        )

    def set_interface_altsetting(self, dev_handle: Any, intf: int, altsetting: int) -> None:
        """Select an alternate setting; recorded as the request that it is on the bus."""
        setup = SetupPacket(0x01, Request.SET_INTERFACE, altsetting, intf, 0)
        self._control(
            dev_handle,
            setup,
            array("B"),
            lambda: self.inner.set_interface_altsetting(dev_handle, intf, altsetting),
        )

    def clear_halt(self, dev_handle: Any, ep: int) -> None:
        """Clear a halt; recorded as the request that it is on the bus."""
        setup = SetupPacket(0x02, Request.CLEAR_FEATURE, Feature.ENDPOINT_HALT, ep, 0)
        self._control(dev_handle, setup, array("B"), lambda: self.inner.clear_halt(dev_handle, ep))

    def bulk_write(
        self, dev_handle: Any, ep: int, intf: int, data: "Buffer[int]", timeout: int
    ) -> int:
        """Run and record a bulk transfer to the drive."""
        place = self._places[id(dev_handle)]
        sent = data.tobytes()
        complete = self._file.urb(place, TransferType.BULK, ep, len(sent), sent)
        return self._ended(
            complete, lambda: self.inner.bulk_write(dev_handle, ep, intf, data, timeout), None
        )

    def bulk_read(
        self, dev_handle: Any, ep: int, intf: int, buff: "Buffer[int]", timeout: int
    ) -> int:
        """Run and record a bulk transfer from the drive."""
        place = self._places[id(dev_handle)]
        complete = self._file.urb(place, TransferType.BULK, ep, len(buff))
        return self._ended(
            complete, lambda: self.inner.bulk_read(dev_handle, ep, intf, buff, timeout), buff
        )

    def _control(
        self,
        handle: Any,
        setup: SetupPacket,
        data: "Buffer[int]",
        run: Callable[[], int | None],
    ) -> int:
        endpoint = 0x80 if setup.is_in else 0x00
        sent = b"" if setup.is_in else data.tobytes()
        place = self._places[id(handle)]
        complete = self._file.urb(place, TransferType.CONTROL, endpoint, setup.length, sent, setup)
        return self._ended(complete, run, data if setup.is_in else None)

    @staticmethod
    def _ended(
        complete: Callable[[int, int, bytes], None],
        run: Callable[[], int | None],
        received: "Buffer[int] | None",
    ) -> int:
        """Run a transfer and record how it ended, also when it ends in an error."""
        try:
            count = run() or 0
        except USBError as error:
            complete(status_of(error.errno), 0, b"")
            raise
        complete(0, count, b"" if received is None else received[:count].tobytes())
        return count


def traced(backend: IBackend, path: Path, closing: ExitStack) -> IBackend:
    """Return a backend whose traffic goes into a new pcap file, until `closing` closes it.

    Raises ValueError when the file can't be written.
    """
    try:
        stream = closing.enter_context(path.open("wb"))
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
    return TracedBackend(backend, stream)


class Recorded(Forwarding):
    """A backend that remembers every payload that crossed it, both ways, in order."""

    def __init__(self, inner: IBackend) -> None:
        super().__init__(inner)
        self.payloads: list[bytes] = []

    def bulk_write(
        self, dev_handle: Any, ep: int, intf: int, data: "Buffer[int]", timeout: int
    ) -> int:
        """Remember what is sent, whether or not it arrives."""
        self.payloads.append(data.tobytes())
        count: int = self.inner.bulk_write(dev_handle, ep, intf, data, timeout)
        return count

    def bulk_read(
        self, dev_handle: Any, ep: int, intf: int, buff: "Buffer[int]", timeout: int
    ) -> int:
        """Remember what came."""
        count: int = self.inner.bulk_read(dev_handle, ep, intf, buff, timeout)
        self.payloads.append(buff[:count].tobytes())
        return count

    def ctrl_transfer(
        self,
        dev_handle: Any,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: "Buffer[int]",
        timeout: int,
    ) -> int:
        """Remember the data stage."""
        if not bmRequestType & 0x80:
            self.payloads.append(data.tobytes())
        count: int = self.inner.ctrl_transfer(
            dev_handle, bmRequestType, bRequest, wValue, wIndex, data, timeout
        )
        if bmRequestType & 0x80:
            self.payloads.append(data[:count].tobytes())
        return count
