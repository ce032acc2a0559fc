"""Our own driver, over pyusb and libusb, on a drive that it takes away from the kernel."""

from __future__ import annotations

import re
from typing import Final

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.outcome import NotExercised

# An interface descriptor with class, subclass and protocol of it, in any alternate setting.
BULK_ONLY: Final = re.compile("09 04 .. .. .. 08 06 50")
WRITTEN: Final = "/run/driver-wrote"
READ: Final = "/run/driver-read"
BLOCKS: Final = 512


def our_driver_reads_what_it_wrote(drive: PluggedDrive) -> None:
    if not BULK_ONLY.search(drive.do(f"od -An -v -w65536 -tx1 {drive.usb}/descriptors")):
        raise NotExercised("it offers no Bulk-Only")
    pin = {"SEDLAB_PIN_USER": drive.way_in.pin} if drive.way_in.pin else {}
    drive.do(f"head -c {BLOCKS * 512} /dev/urandom >{WRITTEN}")
    try:
        # Reading too, as a try is spent to open the drive.
        drive.sedlab("write", drive.url, WRITTEN, "--destroys-data", **pin)
        wanted = ("--count", str(BLOCKS), "-o", READ)
        drive.sedlab("read", drive.url, *wanted, "--destroys-data", **pin)
    finally:
        drive.unplug()
        drive.plug()
    drive.do(f"cmp {WRITTEN} {READ}")
    drive.do(f"head -c {BLOCKS * 512} {drive.block} | cmp - {WRITTEN}")


CHECKS: Final = (our_driver_reads_what_it_wrote,)
