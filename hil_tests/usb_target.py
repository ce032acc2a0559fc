"""A target of the scheme `usb:`: a drive of the operating system, taken from its kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import usb.core
from usb.backend import IBackend

from hil_tests.content import Content
from hil_tests.runs import Target
from hil_tests.wire_target import WireTarget
from host_driver.attachment import OpenOptions
from host_driver.backends.libusb import UsbName, attach, find_backend, take_from_kernel
from host_driver.errors import AccessDenied
from host_driver.interlock import Interlocked, why_not
from host_driver.trace import Forwarding


class OneDevice(Forwarding):
    """A bus with one device of another bus, which is taken from its kernel until `leave`.

    It is taken when it is first looked for, which raises DriveInUse while the system uses it.
    """

    def __init__(self, inner: IBackend, device: usb.core.Device, name: UsbName, root: Path) -> None:
        super().__init__(inner)
        self._device, self._name, self._root = device, name, root
        self._taken: ExitStack | None = None

    def enumerate_devices(self) -> Iterator[Any]:
        """Yield it, unless it has gone; one that came back has another address."""
        if self._taken is None:
            self._take()
        for each in self.inner.enumerate_devices():
            found = self.inner.get_device_descriptor(each)
            if (found.bus, found.address) == (self._device.bus, self._device.address):
                yield each

    def _take(self) -> None:
        with ExitStack() as undo:
            take_from_kernel(self._device, self._name, self._root, undo)
            self._taken = undo.pop_all()

    def leave(self) -> None:
        """Give the device back to the kernel; whoever claimed its interface has let go of it."""
        if self._taken is not None:
            self._taken.close()
        self._taken = None


def open_target(
    url: str,
    profile: str | None,
    destroys_data: bool,
    content: Content | None = None,
    backend: IBackend | None = None,
    root: Path = Path("/"),
) -> Target:
    """Return the drive `usb:VID:PID:SERIAL` as a target.

    Raises ValueError for a name that is none, DriveError for a drive that is not to be had, or that
    holds a file system.
    """
    if profile is None:
        raise ValueError(f"{url}: say what the drive is by --profile NAME")
    rest = url.removeprefix("usb:")
    name, options = UsbName.parse(rest), OpenOptions(destroys_data=destroys_data)
    used = find_backend() if backend is None else backend
    attachment = attach(rest, options, used, root)
    try:
        if refusal := why_not(options, name.serial, attachment.serial):
            raise AccessDenied(f"{url}: {refusal}")
        device, transport = attachment.device, attachment.transport
        assert device is not None and isinstance(transport, Interlocked)
        transport.look()
    finally:
        attachment.close()
    bus = OneDevice(used, device, name, root)
    return WireTarget(url, bus, profile, os.environ.get("SEDLAB_RESET_CODE"), content)
