"""Real time, for a drive that hosts use as they use hardware.

The drive's own clock moves by charges alone, so that the same is always the same. Here, and nowhere
else, it is made to keep up with the clock of the world: an idle drive that is served locks after
its timer. Units that an operator makes for a test have no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread
from time import monotonic_ns
from typing import Final

from firmware_model.emulated_drive import EmulatedDrive

TICK_S: Final = 1.0


class RealTime:
    """Moves a drive's clock on by what has passed, less what the drive itself was charged."""

    def __init__(
        self,
        drive: EmulatedDrive,
        lock: AbstractContextManager[object],  # of whoever calls the drive
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._drive = drive
        self._lock = lock
        self._now_ns = now_ns
        self._seen_ns = now_ns()
        self._left_us = drive.now_us

    def tick(self) -> None:
        """Let as much time pass as has passed since the last tick, and timers run out."""
        with self._lock:
            now_ns = self._now_ns()
            passed_us, self._seen_ns = (now_ns - self._seen_ns) // 1000, now_ns
            charged_us = self._drive.now_us - self._left_us
            self._drive.advance(max(passed_us - charged_us, 0))
            self._left_us = self._drive.now_us


@contextmanager
def keeping_up(drive: EmulatedDrive, lock: AbstractContextManager[object]) -> Iterator[None]:
    """Have a drive's clock keep up with the world's."""
    clock, ended = RealTime(drive, lock), Event()

    def run() -> None:
        while not ended.wait(TICK_S):
            clock.tick()

    thread = Thread(target=run, name="real time", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
