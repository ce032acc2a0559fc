"""A USB device in configfs, whose one function is ours to answer for through FunctionFS.

What is made is named after the device port, `sedlab-PORT`, and a lock says whether who made it is
alive: so the next who takes the port finds what a killed one left, and nothing of anybody else's.
Source: Documentation/usb/gadget_configfs.rst, functionfs.rst.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware_model.serve.device_ports import DevicePort, NoPort
from firmware_model.wire.usb import DeviceDescriptor, Speed

GADGETS: Final = Path("/sys/kernel/config/usb_gadget")
RUN: Final = Path("/run/sedlab")
US_ENGLISH: Final = "0x409"
_DETACH: Final = 2  # MNT_DETACH


@dataclass(frozen=True, slots=True)
class DeviceTexts:
    """The strings of a device."""

    manufacturer: str
    product: str
    serial: str


class GadgetTree:
    """The files of one device; `name` is unique on this machine."""

    def __init__(self, name: str, gadgets: Path = GADGETS) -> None:
        self._folder = gadgets / name
        self._configuration = self._folder / "configs" / "c.1"
        self._function = self._folder / "functions" / f"ffs.{name}"
        self._link = self._configuration / self._function.name

    def make(self, device: DeviceDescriptor, texts: DeviceTexts, milliamperes: int) -> None:
        """Make a device that has the function and is not bound to a port."""
        strings = self._folder / "strings" / US_ENGLISH
        for each in (self._folder, strings, self._configuration, self._function):
            each.mkdir(parents=True)
        numbers = {
            "idVendor": device.vendor_id,
            "idProduct": device.product_id,
            "bcdDevice": device.device_version,
            "bDeviceClass": device.device_class,
            "bDeviceSubClass": device.device_subclass,
            "bDeviceProtocol": device.device_protocol,
        }
        for attribute, number in numbers.items():
            (self._folder / attribute).write_text(f"{number:#x}\n")
        (strings / "manufacturer").write_text(f"{texts.manufacturer}\n")
        (strings / "product").write_text(f"{texts.product}\n")
        (strings / "serialnumber").write_text(f"{texts.serial}\n")
        (self._configuration / "MaxPower").write_text(f"{milliamperes}\n")
        self._link.symlink_to(self._function)

    def bind(self, port: str) -> None:
        """Give the device to a port, where its host sees it; raise OSError if it can't be."""
        (self._folder / "UDC").write_text(f"{port}\n")

    def unbind(self) -> None:
        """Take the device from its port, if it has one."""
        try:
            (self._folder / "UDC").write_text("\n")
        except OSError as failed:
            if failed.errno not in (errno.ENODEV, errno.ENOENT):
                raise

    def remove(self) -> None:
        """Remove all of it that there is, once it is unbound."""
        self._link.unlink(missing_ok=True)
        strings = self._folder / "strings" / US_ENGLISH
        for each in (self._function, self._configuration, strings, self._folder):
            if each.is_dir():
                each.rmdir()


@contextmanager
def gadget(port: DevicePort, gadgets: Path = GADGETS, run: Path = RUN) -> Iterator["Gadget"]:
    """Give a gadget for a port that is free, and leave nothing of it behind.

    Raises NoPort where something is lacking or another has the port.
    """
    name = f"sedlab-{port.name}"
    if os.geteuid():
        raise NoPort("a device port is root's: run it with sudo")
    if not gadgets.is_dir():
        raise NoPort("the kernel makes no devices yet: as root, modprobe libcomposite")
    run.mkdir(mode=0o700, exist_ok=True)
    with (run / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoPort(f"{port.name} is in use by another sedlab serve") from None
        made = Gadget(port, GadgetTree(name, gadgets), run / name)
        made.remove()
        if port.user:
            raise NoPort(f"{port.name} is in use: {_how_to_free(port, gadgets)}")
        try:
            yield made
        finally:
            made.remove()


def _how_to_free(port: DevicePort, gadgets: Path) -> str:
    """Return a line on who has a port."""
    for udc in gadgets.glob("*/UDC"):
        if udc.read_text().strip() == port.name:
            return f"by the gadget {udc.parent.name}; to end that, as root, echo '' >{udc}"
    return f"by {port.user}; to end that, as root, modprobe -r {port.user}"


class Gadget:
    """A tree at its device port, and the mounted files that its function is answered for through.

    To leave the host and come back is to unbind and bind: `soft_connect` of sysfs would do, but
    after it, up to Linux 6.1 at least, dummy_hcd gives no requests to the device any more.
    """

    def __init__(self, port: DevicePort, tree: GadgetTree, mount_point: Path) -> None:
        self.files = mount_point
        self._port = port
        self._tree = tree

    @property
    def name(self) -> str:
        """That of the device port."""
        return self._port.name

    @property
    def speed(self) -> Speed:
        """The speed that the port signals at."""
        return self._port.speed

    @property
    def is_attached(self) -> bool:
        """Whether a host is there, as far as the port knows."""
        return self._port.is_attached

    def make(self, device: DeviceDescriptor, texts: DeviceTexts, milliamperes: int) -> None:
        """Make the device; `files` has ep0 then."""
        self._tree.make(device, texts, milliamperes)
        self.files.mkdir(mode=0o700, exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        where = os.fsencode(self.files)
        if libc.mount(self.files.name.encode(), where, b"functionfs", ctypes.c_ulong(0), None):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(self.files))

    def connect(self) -> None:
        """Let the host see the device; raise NoPort where the port's driver refuses it."""
        try:
            self._tree.bind(self.name)
        except OSError as refused:
            raise NoPort(f"{self.name} refuses the drive: {refused.strerror}") from refused

    def disconnect(self) -> None:
        """Leave the host, as if the cable was pulled."""
        self._tree.unbind()

    def remove(self) -> None:
        """Remove what there is of it; nobody may have its files open any more."""
        self.disconnect()
        if self.files.is_mount():
            ctypes.CDLL(None).umount2(os.fsencode(self.files), _DETACH)
        if self.files.is_dir():
            self.files.rmdir()
        self._tree.remove()
