"""What the kernel makes of a drive that is put in and pulled out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.kernel_log import LogRecord, warnings

COMPLAINTS: Final = re.compile(r"warning|can't|couldn't|unrecognized|invalid|junk", re.IGNORECASE)
# SPC-4 5.14 demands this unit attention of every drive; the kernel logs it as a warning.
RESET: Final = "Power-on or device reset occurred"
SLOW_MACHINE: Final = "hrtimer: interrupt took"  # a matter of the machine that QEMU runs on
REPLUGS: Final = 2


def enumerates_without_a_warning(drive: PluggedDrive) -> None:
    said = warned(drive.log_of_plug)
    driver = drive.do(f"readlink {drive.interface}/driver").strip().rpartition("/")[2]
    speed = drive.do(f"cat {drive.usb}/speed").strip()

    assert not said, f"the kernel warns: {said}"
    assert driver == drive.way_in.driver, f"taken by {driver}"
    assert speed == str(drive.way_in.speed_mbps), f"{speed} Mbit/s"


def geometry_is_what_the_drive_has(drive: PluggedDrive) -> None:
    sectors = int(drive.attribute("size"))
    logical = drive.attribute("queue/logical_block_size")

    assert sectors * 512 == drive.way_in.disk_bytes, f"{sectors} sectors of 512 bytes"
    assert logical == "512", f"blocks of {logical} bytes"
    assert drive.attribute("ro") == "0", "write-protected"


def lsusb_reads_every_descriptor(drive: PluggedDrive) -> None:
    bus, device = (int(drive.do(f"cat {drive.usb}/{each}")) for each in ("busnum", "devnum"))
    said = drive.do(f"lsusb -v -s {bus}:{device} 2>&1")
    complaint = COMPLAINTS.search(said)

    assert complaint is None, said[complaint.start() :].splitlines()[0] if complaint else ""
    # The class is a number: its name comes from lists that not every machine has.
    assert re.search(r"bInterfaceClass +8\b", said), "no mass storage interface"


def serial_number_is_twelve_hex_digits(drive: PluggedDrive) -> None:
    serial = drive.do(f"cat {drive.usb}/serial").strip()

    assert re.fullmatch(r"[0-9A-F]{12,}", serial), f"{serial!r}, against BOT 4.1.1"


def comes_and_goes_without_a_warning(drive: PluggedDrive) -> None:
    before = drive.machine.moment()
    for _ in range(REPLUGS - 1):
        drive.unplug()
        drive.attach()
    drive.unplug()
    drive.plug()
    said = warned(drive.machine.log_since(before))

    assert not said, f"the kernel warns: {said}"


def warned(records: Iterable[LogRecord], *expected: str) -> str:
    """Return the first warning but those expected of any drive; nothing if there is none."""
    texts = (record.text for record in warnings(records))
    return next(
        (text for text in texts if not any(x in text for x in (RESET, SLOW_MACHINE, *expected))), ""
    )


CHECKS: Final = (
    enumerates_without_a_warning,
    geometry_is_what_the_drive_has,
    lsusb_reads_every_descriptor,
    serial_number_is_twelve_hex_digits,
    comes_and_goes_without_a_warning,
)
