"""What an examiner does who has a drive's firmware: patch its verdict, and run a part by itself.

Done to a drive in this process, or by an operator to a unit that he serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.parts import PartClass, Unwrapped
from firmware_model.firmware.reference import REFERENCE
from hil_tests.actions import PINS

Stretch = Callable[[bytes, bytes, int], bytes]


def patch_verdict(drive: EmulatedDrive) -> None:
    """Have a drive without power call every PIN right from its next start on."""
    inner = drive.parts.get("wrapping", REFERENCE["wrapping"])
    patched = _patched(inner)
    drive.parts = {part: patched if made is inner else made for part, made in drive.parts.items()}
    drive.parts["wrapping"] = patched


def _patched(inner: PartClass) -> PartClass:
    """Return the same part with its verdict patched: whatever unwraps is right."""

    class Patched(inner):  # type: ignore[misc, valid-type]
        def unwrap(self, kek: bytes, wrapped: bytes) -> Unwrapped:
            found = super().unwrap(kek, wrapped)
            return Unwrapped(True, found.key or (kek + kek[::-1]))

    return Patched


@dataclass(frozen=True, slots=True)
class Stretching:
    """What one stretching of a PIN costs, and what it does not depend on."""

    per_mille: int  # of what the reference's takes here at the same number of iterations
    ignored: tuple[str, ...]


def measure_stretching(drive: EmulatedDrive, iterations: int) -> Stretching:
    """Measure one stretching beside the reference's at the same cost."""
    stretch = drive.parts.get("stretching", REFERENCE["stretching"])().stretch
    used = _seconds(stretch, iterations)
    reference = _seconds(REFERENCE["stretching"]().stretch, iterations)
    return Stretching(int(1000 * used / reference), tuple(_ignored(stretch)))


def _ignored(stretch: Stretch) -> list[str]:
    """Return what a stretched PIN does not depend on: what is not in it costs a thief nothing."""
    pin, salt = PINS[0].encode(), bytes(range(32))
    usual = stretch(pin, salt, 2)
    others = {
        "the PIN": stretch(PINS[1].encode(), salt, 2),
        "the salt": stretch(pin, salt[::-1], 2),
        "the number of iterations": stretch(pin, salt, 3),
    }
    return [name for name, other in others.items() if other == usual]


def _seconds(stretch: Stretch, iterations: int) -> float:
    """Return processor time of one stretching: the least of two."""
    times = []
    for _ in range(2):
        began = time.thread_time()
        stretch(PINS[0].encode(), bytes(32), iterations)
        times.append(time.thread_time() - began)
    return min(times)
