"""What libiscsi's conformance suite says of a disk: `iscsi-test-cu`, which speaks SG_IO too."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
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
        return bool(self.why_skipped)

    @property
    def why_skipped(self) -> str:
        """What it said then; empty if it looked at something."""
        said = (line.removeprefix(SKIPPED) for line in self.said if line.startswith(SKIPPED))
        return next(said, "") if self.has_passed else ""


def judged(output: str) -> list[Judged]:
    """Return the verdicts in what the suite printed."""
    parts = SUITE.split(output)
    return [
        Judged(f"{suite}.{name}", verdict == "passed", _lines(said))
        for suite, text in zip(parts[1::2], parts[2::2], strict=True)
        for name, said, verdict in TEST.findall(text)
    ]


def summary(tests: Sequence[Judged]) -> str:
    """Return how many passed, were skipped and failed; below, what was skipped, by its cause."""
    skipped = defaultdict(list)
    for each in tests:
        if each.is_skipped:
            skipped[each.why_skipped].append(each.name)
    skips = sum(len(names) for names in skipped.values())
    failed = sum(not each.has_passed for each in tests)
    counts = f"{len(tests) - skips - failed} passed, {skips} skipped, {failed} failed"
    return "\n".join([counts, *(f"{why}: {', '.join(names)}" for why, names in skipped.items())])


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
