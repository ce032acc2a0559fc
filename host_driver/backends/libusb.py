"""Real hardware, `usb:VID:PID[:SERIAL]`, through libusb.

Anything that writes, spends tries or erases needs both `destroys_data` and the serial number of
the very drive, in the URL or in the options.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import usb.backend.libusb1
import usb.core
import usb.util
from usb.backend import IBackend
from usb.control import get_descriptor

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usb import DescriptorType, StringDescriptor
from host_driver.attachment import Attachment, OpenOptions
from host_driver.errors import AccessDenied, DriveError, DriveInUse, NoBackend, NotFound
from host_driver.interlock import Interlocked
from host_driver.mass_storage import failure
from host_driver.trace import traced
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
            _free_of_kernel(device, name, root, undo)
            transport = open_transport(device, options.transport)
        except NotImplementedError as error:  # what pyusb makes of libusb's NOT_SUPPORTED
            raise DriveInUse(
                f"the system's own driver holds {name}, and libusb can't take it from it here: "
                "on Windows, give the drive the driver WinUSB"
            ) from error
        undo.callback(transport.close)
        if options.on_exchange is not None:
            transport = Verbose(transport, options.on_exchange)
        refusal = _refusal(name, serial, options)
        return Attachment(
            transport=Interlocked(transport, refusal),
            operator=options.operator,
            is_trusted=False,
            serial=serial,
            destroys_data=refusal is None,
            close=undo.pop_all().close,
        )


def _refusal(name: UsbName, serial: str, options: OpenOptions) -> str | None:
    """Return why nothing may be changed on this drive; None when all was said that must be."""
    if not options.destroys_data:
        return "it may change a real drive, which needs --destroys-data and its serial number"
    said = [one for one in (name.serial, options.serial) if one is not None]
    if not said:
        return "--destroys-data needs the drive's serial number as well"
    if not serial:
        return "the drive has no serial number by which to mean it"
    if any(one != serial for one in said):
        return "the serial number given is not that of the drive"
    return None


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
    if not device.iSerialNumber:
        return ""
    try:
        # Not the property: it turns a device that may not be opened into one without languages.
        languages = usb.util.get_langids(device)
        if not languages:
            return ""
        kind, index = DescriptorType.STRING, device.iSerialNumber
        answer = get_descriptor(device, 254, kind, index, languages[0]).tobytes()
        return StringDescriptor.decode(answer[: answer[0]] if answer else b"").text
    except DecodeError:
        return ""  # what is no text is no serial number either
    except usb.core.USBError as error:
        if error.errno is None:  # of pyusb itself, which found no descriptor in the answer
            return ""
        raise _not_opened(error, name) from error


def _not_opened(error: usb.core.USBError, name: UsbName) -> DriveError:
    if error.errno in (errno.EACCES, errno.EPERM):
        rule = udev_rule(name)
        return AccessDenied(
            f"not allowed to open {name}; add to /etc/udev/rules.d/70-sedlab.rules: {rule}"
        )
    return failure(error, f"opening {name}")


def _free_of_kernel(device: usb.core.Device, name: UsbName, root: Path, undo: ExitStack) -> None:
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
            except usb.core.USBError:
                continue  # unplugged meanwhile, or the kernel was quicker
        usb.util.dispose_resources(device)

    undo.callback(give_back)
    try:
        for interface in (
            one.bInterfaceNumber for configuration in device for one in configuration
        ):
            if interface not in taken and device.is_kernel_driver_active(interface):
                device.detach_kernel_driver(interface)
                taken.append(interface)
    except NotImplementedError:
        pass  # no kernel to take it from: macOS without entitlement, Windows, or not a real bus
    except usb.core.USBError as error:
        raise _not_opened(error, name) from error


def uses(device: usb.core.Device, root: Path = Path("/")) -> list[str]:
    """Return what Linux does with the device's blocks; nothing on other systems.

    A volume that is stacked on it (LUKS, LVM, RAID) is mounted under its own name: what tells of
    it are the holders of the blocks below.
    """
    if not device.port_numbers:
        return []
    port = f"{device.bus}-{'.'.join(map(str, device.port_numbers))}"
    try:
        every = sorted((root / "sys/class/block").iterdir())
    except OSError:
        return []
    blocks = [block for block in every if port in block.resolve().parts]
    names = [f"/dev/{block.name}" for block in blocks]
    mounted = [fields[1] for fields in _table(root / "proc/self/mounts") if fields[0] in names]
    swaps = [fields[0] for fields in _table(root / "proc/swaps") if fields[0] in names]
    holders = [each.name for block in blocks for each in sorted(block.glob("holders/*"))]
    return [
        *(f"mounted on {point}" for point in mounted),
        *(f"used as swap ({name})" for name in swaps),
        *(f"held by {holder}" for holder in holders),
    ]


def _table(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [fields for line in lines if len(fields := line.split()) > 1]
