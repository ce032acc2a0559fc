"""Linux's own USB/IP server in the machine, which knows nothing of us: it gives away what is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hil_tests.kernel.drive import PluggedDrive


@contextmanager
def given_away(drive: PluggedDrive) -> Iterator[str]:
    """Have usbipd give a drive away, and yield the URL that it has in the machine meanwhile."""
    busid = drive.usb.rpartition("/")[2]
    drive.do("modprobe usbip-host && usbipd -D")
    try:
        drive.do(f"usbip bind -b {busid}")
        yield f"usbip://127.0.0.1/{busid}"
    finally:
        drive.do("pkill -x usbipd; rmmod usbip-host")
