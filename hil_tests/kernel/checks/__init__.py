"""The battery: what must hold of a drive in a real kernel, whatever way it came in.

A check is a function of a drive that is plugged in, and that it may pull out and put in again. It
fails by an exception, and raises NotExercised if it has nothing to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hil_tests.kernel.checks import blocks, driver, files, locking, plugging, queries, suspend
from hil_tests.kernel.drive import PluggedDrive

Check = Callable[[PluggedDrive], None]

BATTERY: Final[tuple[Check, ...]] = (
    *plugging.CHECKS,
    *locking.CHECKS,
    *queries.CHECKS,
    *blocks.CHECKS,
    *driver.CHECKS,  # refuses a drive that holds a file system
    *files.CHECKS,
    *suspend.CHECKS,  # last, as the machine is of no use any more
)

PULLED: Final = frozenset(  # the kernel has something to say of what is pulled in a write
    (files.vfat_outlives_a_plug_pulled_in_a_write, files.ext4_outlives_a_plug_pulled_in_a_write)
)


def title(check: Check) -> str:
    """Return what a table calls a check."""
    return check.__name__.replace("_", " ")
