"""A way for a disk into the machine's USB: what every one has, and what the checks ask of it.

A way in puts a disk of its own into a machine; what was written to it is there again the next time.
To add one is to write a class with these few members and to name an object of it in `ways_in.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from hil_tests.kernel.machine import KernelMachine

BULK_ONLY, UAS = "usb-storage", "uas"  # the kernel's drivers
HIGH_SPEED, SUPER_SPEED = 480, 5000

Unplug = Callable[[], None]


class WayIn(Protocol):
    """One of them."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def driver(self) -> str:
        """The driver of the kernel that must take it."""

    @property
    def speed_mbps(self) -> int:
        """The speed that the kernel must see."""

    @property
    def disk_bytes(self) -> int:
        """The capacity that the kernel must see."""

    @property
    def pin(self) -> str:
        """The PIN that opens it, which is locked when it is put in; empty if it has no lock."""

    @property
    def departures(self) -> Mapping[str, str]:
        """Checks that it is known not to pass, and why; each must fail then."""

    def plug(self, machine: KernelMachine) -> Unplug:
        """Put the disk in; return what takes it out again."""
