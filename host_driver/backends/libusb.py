"""Real hardware, `usb:VID:PID[:SERIAL]`, through libusb.

Anything that writes, spends tries or erases needs both `destroys_data` and the serial number of
the very drive, in the URL or in the options.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import usb.backend.libusb1
import usb.core
import usb.util
from usb.backend import IBackend

from host_driver.attachment import Attachment, OpenOptions
from host_driver.backends.serial_number import serial_of
from host_driver.errors import AccessDenied, DriveError, DriveInUse, NoBackend, NotFound
from host_driver.interlock import Interlocked, why_not
from host_driver.linux_disks import blocks
from host_driver.linux_disks import uses as uses_of
from host_driver.mass_storage import MASS_STORAGE, failure
from host_driver.trace import traced
from host_driver.transport import CommandTransport
from host_driver.usb_transport import open_transport
from host_driver.verbose import Told, Verbose


@dataclass(frozen=True, slots=True)
class UsbName:
    """Which device is meant: what follows `usb:`."""

    vendor_id: int
    product_id: int
    serial: str | None

    def __str__(self) -> str:
        serial = "" if self.serial is None else f":{self.serial}"
        return f"{self.vendor_id:04x}:{self.product_id:04x}{serial}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name in VID:PID[:SERIAL]; raise ValueError for a text of another form."""
        vendor, _, rest = text.partition(":")
        product, colon, serial = rest.partition(":")
        try:
            numbers = int(vendor, 16), int(product, 16)
        except ValueError:
            numbers = -1, -1
        if not all(0 <= number <= 0xFFFF for number in numbers) or (colon and not serial):
            raise ValueError(f"usb:{text} is not usb:VID:PID[:SERIAL] with VID and PID in hex")
        return cls(*numbers, serial or None)


def _packaged_libusb() -> IBackend | None:
    try:
        import libusb_package
    except ImportError:
        return None
    backend: IBackend | None = libusb_package.get_libusb1_backend()
    return backend


LOADERS = (usb.backend.libusb1.get_backend, _packaged_libusb)  # the system's goes first


def find_backend(loaders: Sequence[Callable[[], IBackend | None]] = LOADERS) -> IBackend:
    """Return the first libusb that loads; raise NoBackend when none does."""
    for load in loaders:
        backend = load()
        if backend is not None:
            return backend
    raise NoBackend("no libusb could be loaded: pip install libusb-package")


def udev_rule(name: UsbName) -> str:
    """Return the line that lets whoever sits at the machine open such devices."""
    return (
        f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{name.vendor_id:04x}", '
        f'ATTR{{idProduct}}=="{name.product_id:04x}", TAG+="uaccess"'
    )


def attached(backend: IBackend) -> list[UsbName]:
    """Return the name of each disk that is attached, with its serial number if it may be read.

    Raises USBError where the bus can't be looked at.
    """

    def is_disk(device: usb.core.Device) -> bool:
        return any(
            usb.util.find_descriptor(configuration, bInterfaceClass=MASS_STORAGE) is not None
            for configuration in device
        )

    names = []
    for device in usb.core.find(backend=backend, find_all=True, custom_match=is_disk):
        serial = ""
        with suppress(usb.core.USBError, NotImplementedError):  # not for us to open
            serial = serial_of(device)
        usb.util.dispose_resources(device)
        names.append(UsbName(device.idVendor, device.idProduct, serial or None))
    return names


def attach(
    rest: str,
    options: OpenOptions,
    backend: IBackend | None = None,
    root: Path = Path("/"),  # where /proc and /sys are looked for
) -> Attachment:
    """Open the drive that `usb:` and `rest` name; raise DriveError when it is not to be had."""
    name = UsbName.parse(rest)
    with ExitStack() as undo:
        used = find_backend() if backend is None else backend
        if options.trace is not None:
            used = traced(used, options.trace, undo)
        if options.on_exchange is not None:
            used = Told(used, options.on_exchange)
        try:
            device, serial = _select(used, name)
            take_from_kernel(device, name, root, undo)
            opened = open_transport(device, options.transport)
        except NotImplementedError as error:  # what pyusb makes of libusb's NOT_SUPPORTED
            raise DriveInUse(
                f"the system's own driver holds {name}, and libusb can't take it from it here: "
                "on Windows, give the drive the driver WinUSB"
            ) from error
        undo.callback(opened.close)
        transport: CommandTransport = opened
        if options.on_exchange is not None:
            transport = Verbose(transport, options.on_exchange)
        refusal = why_not(options, name.serial, serial)
        return Attachment(
            transport=Interlocked(transport, refusal),
            operator=options.operator,
            is_trusted=False,
            serial=serial,
            destroys_data=refusal is None,
            close=undo.pop_all().close,
            device=device,
        )


def _select(backend: IBackend, name: UsbName) -> tuple[usb.core.Device, str]:
    """Return the one device of that name and its serial number, empty if it has none."""
    found = usb.core.find(
        backend=backend, find_all=True, idVendor=name.vendor_id, idProduct=name.product_id
    )
    matching = []
    for device in found:
        serial = _serial(device, name)
        if name.serial in (None, serial):
            matching.append((device, serial))
        else:
            usb.util.dispose_resources(device)
    if not matching:
        raise NotFound(f"no drive {name} is attached")
    if len(matching) > 1:
        serials = ", ".join(serial or "(none)" for _, serial in matching)
        raise NotFound(f"{len(matching)} drives are {name}; add a serial number: {serials}")
    return matching[0]


def _serial(device: usb.core.Device, name: UsbName) -> str:
    try:
        return serial_of(device)
    except usb.core.USBError as error:
        raise _not_opened(error, name) from error


def _not_opened(error: usb.core.USBError, name: UsbName) -> DriveError:
    if error.errno in (errno.EACCES, errno.EPERM):
        rule = udev_rule(name)
        return AccessDenied(
            f"not allowed to open {name}; add to /etc/udev/rules.d/70-sedlab.rules: {rule}"
        )
    return failure(error, f"opening {name}")


def take_from_kernel(device: usb.core.Device, name: UsbName, root: Path, undo: ExitStack) -> None:
    """Take the device from the kernel's driver; `undo` gives it back.

    Raises DriveInUse while the system uses what is on it: that would be torn off.
    """
    used = uses(device, root)
    if used:
        raise DriveInUse(f"{name} is {', '.join(used)}: let go of that first")
    taken: list[int] = []

    def give_back() -> None:
        usb.util.dispose_resources(device)  # the kernel takes no interface that is still claimed
        for interface in taken:
            try:
                device.attach_kernel_driver(interface)
            except (NotImplementedError, usb.core.USBError):
                continue  # unplugged meanwhile, or the kernel was quicker, or never let go
        usb.util.dispose_resources(device)

    undo.callback(give_back)
    try:
        for interface in (
            one.bInterfaceNumber for configuration in device for one in configuration
        ):
            if interface not in taken and device.is_kernel_driver_active(interface):
                taken.append(interface)  # first: a Ctrl-C may come when the kernel has let go
                device.detach_kernel_driver(interface)
    except NotImplementedError:
        pass  # no kernel to take it from: macOS without entitlement, Windows, or not a real bus
    except usb.core.USBError as error:
        raise _not_opened(error, name) from error


def uses(device: usb.core.Device, root: Path = Path("/")) -> list[str]:
    """Return what Linux does with the device's blocks; nothing on other systems."""
    if not device.port_numbers:
        return []
    port = f"{device.bus}-{'.'.join(map(str, device.port_numbers))}"
    return uses_of(blocks(lambda block: port in block.parts, root), root)
