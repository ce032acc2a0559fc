"""A glitch: one verdict of the firmware turned, or one of its steps left out.

Instrumented code (`hil_tests.glitch.instrument`) asks here at every decision and before every step.
Asked for, they are numbered; the one whose number is wanted comes out the other way, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

QUESTIONS_MAX: Final = 2_000_000  # in one action; the firmware hangs, and the watchdog resets it


class WatchdogReset(RuntimeError):
    """The firmware did not come to an end: the watchdog stopped it."""


@dataclass(frozen=True, slots=True)
class Site:
    """A decision or a step, where it stands in the source."""

    file: str
    line: int
    kind: str  # "verdict" or "step"
    source: str

    def __str__(self) -> str:
        done = "turned" if self.kind == "verdict" else "left out"
        return f"{self.file}:{self.line} {done}: {self.source}"


class Glitch:
    """What instrumented code asks, and the one time it gets the wrong answer."""

    def __init__(self, questions_max: int = QUESTIONS_MAX) -> None:
        self.sites: list[Site] = []
        self._questions_max = questions_max
        self.asked: list[int] = []  # sites, in the order in which they asked since `arm`
        self.hit: Site | None = None  # where the glitch fell
        self._wanted: int | None = None  # None: nothing is counted
        self._kept: Any = None

    def arm(self, number: int) -> None:
        """Count from here, and turn what is asked `number`-th; 0: nothing, but count."""
        self.asked, self.hit, self._wanted = [], None, number

    @property
    def count(self) -> int:
        """How many questions there were since `arm`."""
        return len(self.asked)

    def disarm(self) -> None:
        """Count no more."""
        self._wanted = None

    def add(self, site: Site) -> int:
        """Take in a place where code asks; return its index."""
        self.sites.append(site)
        return len(self.sites) - 1

    # --- what instrumented code calls ------------------------------------------------------------

    def verdict(self, site: int, value: object) -> bool:
        """Return whether a condition holds; turned, if it is the one."""
        self._kept = value
        return bool(value) != self._is_hit(site)

    def comparison(self, site: int, value: Any) -> Any:
        """Return what a comparison gave. One of arrays is no verdict."""
        is_verdict = isinstance(value, bool | np.bool_)
        return bool(value) != self._is_hit(site) if is_verdict else value

    def step(self, site: int) -> bool:
        """Return whether a step happens."""
        return not self._is_hit(site)

    def kept(self) -> Any:
        """Return the value that the last verdict was about."""
        return self._kept

    def _is_hit(self, site: int) -> bool:
        if self._wanted is None:
            return False
        self.asked.append(site)
        if len(self.asked) > self._questions_max:
            raise WatchdogReset("the watchdog reset the firmware")
        if len(self.asked) != self._wanted:
            return False
        self.hit = self.sites[site]
        return True
