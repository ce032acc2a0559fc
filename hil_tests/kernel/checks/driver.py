"""Our own driver, over pyusb and libusb, on a drive that it takes away from the kernel."""

from __future__ import annotations

from typing import Final

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.outcome import NotExercised
from hil_tests.kernel.way_in import BULK_ONLY

WRITTEN: Final = "/run/driver-wrote"
READ: Final = "/run/driver-read"
BLOCKS: Final = 512


def our_driver_reads_what_it_wrote(drive: PluggedDrive) -> None:
    if drive.way_in.driver != BULK_ONLY:
        raise NotExercised("our driver speaks Bulk-Only alone")
    pin = {"SEDLAB_PIN_USER": drive.way_in.pin} if drive.way_in.pin else {}
    drive.do(f"head -c {BLOCKS * 512} /dev/urandom >{WRITTEN}")
    try:
        # Reading too, as a try is spent to open the drive.
        drive.sedlab(f"write {drive.url} {WRITTEN} --destroys-data", **pin)
        drive.sedlab(f"read {drive.url} --count {BLOCKS} -o {READ} --destroys-data", **pin)
    finally:
        drive.unplug()
        drive.plug()
    drive.do(f"cmp {WRITTEN} {READ}")
    drive.do(f"head -c {BLOCKS * 512} {drive.block} | cmp - {WRITTEN}")


CHECKS: Final = (our_driver_reads_what_it_wrote,)
