"""What came of a check, and the table of them: a line each, and a column for each way in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

# The names that tests record outcomes under, for the tables at the end.
BATTERY_CHECK: Final = "check of the battery"
BULK_ONLY_CASE: Final = "case of Bulk-Only"
CONFORMANCE: Final = "conformance"  # a line


class Verdict(StrEnum):
    """How it went."""

    PASSED = "passed"
    FAILED = "FAILED"
    DIFFERS = "differs"  # otherwise than it should be, for a known cause
    NOT_EXERCISED = "not exercised"


class NotExercised(Exception):
    """The check could not look at what it is about; the message says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check on one way in."""

    check: str
    way_in: str
    verdict: Verdict
    why: str = ""  # a line; empty for what passed

    def record(self) -> list[str]:
        """Return what passes from one process of pytest to another, which takes no enum."""
        return [self.check, self.way_in, self.verdict.value, self.why]

    @classmethod
    def recorded(cls, record: Sequence[str]) -> Self:
        """Return what was recorded."""
        check, way_in, verdict, why = record
        return cls(check, way_in, Verdict(verdict), why)


def table(outcomes: Iterable[Outcome]) -> str:
    """Return outcomes as a table of text, rows and columns as they come first, reasons below."""
    by_place = {(each.check, each.way_in): each for each in outcomes}
    checks = list(dict.fromkeys(check for check, _ in by_place))
    ways_in = list(dict.fromkeys(way_in for _, way_in in by_place))
    if not by_place:
        return ""
    first = max(len(check) for check in checks)
    widths = [max(len(way_in), len(Verdict.NOT_EXERCISED)) for way_in in ways_in]
    lines = [_row("", first, ways_in, widths)]
    for check in checks:
        cells = [by_place.get((check, way_in)) for way_in in ways_in]
        said = [cell.verdict.value if cell else "not run" for cell in cells]
        lines.append(_row(check, first, said, widths))
    reasons = [
        f"{each.check}, {each.way_in}: {each.verdict}: {each.why}"
        for each in by_place.values()
        if each.why
    ]
    return "\n".join([*lines, *([""] if reasons else []), *reasons])


def _row(name: str, first: int, cells: list[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([name.ljust(first), *padded]).rstrip()
