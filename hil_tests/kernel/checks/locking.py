"""Locking and unlocking a drive that the kernel has, and what the kernel sees of it."""

from __future__ import annotations

from typing import Final

from hil_tests.kernel.checks.plugging import warned
from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.outcome import NotExercised

FIRST_BLOCK: Final = "set -o pipefail; dd if={} bs=4096 count=1 iflag=direct status=none | md5sum"
NO_MEDIUM: Final = "No medium found"
MEDIUM_CHANGE: Final = {"ACTION": "change", "SUBSYSTEM": "block", "DISK_MEDIA_CHANGE": "1"}


def kernel_sees_lock_and_unlock(drive: PluggedDrive) -> None:
    if not drive.way_in.pin:
        raise NotExercised("it has no lock")
    before = drive.machine.moment()
    content = drive.do(FIRST_BLOCK.format(drive.block))
    drive.lock()
    size = drive.attribute("size")
    read = drive.machine.run(FIRST_BLOCK.format(drive.block))
    locked = drive.machine.moment()  # locking is told by such an event too
    drive.unlock()
    told = drive.machine.event_since(locked, MEDIUM_CHANGE | {"DEVNAME": drive.name})
    again = drive.do(FIRST_BLOCK.format(drive.block))
    said = warned(drive.machine.log_since(before))

    assert size == "0", f"{size} sectors are left"
    assert NO_MEDIUM in read.text, read.text
    assert told is not None, "no event of the kernel tells of another medium"
    assert again == content, "another content"
    assert not said, f"the kernel warns: {said}"


CHECKS: Final = (kernel_sees_lock_and_unlock,)
