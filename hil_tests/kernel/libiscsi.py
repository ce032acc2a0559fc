"""What libiscsi's conformance suite says of a disk: `iscsi-test-cu`, which speaks SG_IO too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

SUITE: Final = re.compile(r"^Suite: (\S+)$", re.MULTILINE)
# What a test says stands between its name and its verdict.
TEST: Final = re.compile(r"^  Test: (\S+) \.\.\.((?:.*\n)*?)(passed|FAILED)$", re.MULTILINE)
SKIPPED: Final = "[SKIPPED] "


@dataclass(frozen=True, slots=True)
class Judged:
    """One test of the suite."""

    name: str  # SUITE.TEST
    has_passed: bool
    said: tuple[str, ...]

    @property
    def is_skipped(self) -> bool:
        """Whether it passed because it looked at nothing."""
        return self.has_passed and any(line.startswith(SKIPPED) for line in self.said)


def judged(output: str) -> list[Judged]:
    """Return the verdicts in what the suite printed."""
    parts = SUITE.split(output)
    return [
        Judged(f"{suite}.{name}", verdict == "passed", _lines(said))
        for suite, text in zip(parts[1::2], parts[2::2], strict=True)
        for name, said, verdict in TEST.findall(text)
    ]


def summary(tests: Iterable[Judged]) -> str:
    """Return how many passed, were skipped and failed, in a line."""
    all_ = list(tests)
    skipped = sum(each.is_skipped for each in all_)
    failed = sum(not each.has_passed for each in all_)
    return f"{len(all_) - skipped - failed} passed, {skipped} skipped, {failed} failed"


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
