"""What an evaluation leaves behind, as values: verdicts, findings, figures."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """What became of a property."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_EXERCISED = "not exercised"


def folder_name(target: str) -> str:
    """Return a name for a target's folder that any file system takes."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", target)


@dataclass(frozen=True, slots=True)
class Finding:
    """One way to break a property: the shortest steps, as they happened."""

    property_id: str
    said: str
    replay_id: str
    lines: tuple[str, ...]
    trace: str | None  # name of the pcap in the target's folder of traces
    options: tuple[str, ...] = ()  # of the command, to reach the target as the evaluation did

    @property
    def command(self) -> str:
        """What a shell runs to see it again; quoted, as a user's own part may have any name."""
        quoted = self.replay_id.replace("'", "'\"'\"'")
        return " ".join((f"sedlab replay '{quoted}'", *map(shlex.quote, self.options)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about one property."""

    property_id: str
    sentence: str
    block: str
    requirements: tuple[str, ...]
    outcome: Outcome
    reason: str  # why it was not exercised, or what the profile expects
    is_expected: bool  # the profile says that it fails
    runs: int  # of its own scenarios
    findings: tuple[Finding, ...]

    @property
    def is_surprise(self) -> bool:
        """Whether the profile says otherwise: a control that does not fail is one, too."""
        has_failed = self.outcome is Outcome.FAILED
        return has_failed != self.is_expected and self.outcome is not Outcome.NOT_EXERCISED


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One target, judged."""

    target: str
    title: str
    date: str  # ISO 8601, the day of the evaluation
    figures: Mapping[str, str]
    verdicts: tuple[Verdict, ...]
    picture: str = ""  # of its flash, as SVG; empty where nobody could look

    @property
    def failed(self) -> tuple[Verdict, ...]:
        return tuple(each for each in self.verdicts if each.outcome is Outcome.FAILED)

    @property
    def is_as_expected(self) -> bool:
        """Whether every failure, and no other, is one that the profile expects."""
        return bool(self.failed) and not any(each.is_surprise for each in self.verdicts)

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        counts = Counter(each.outcome for each in self.verdicts)
        text = ", ".join(f"{counts[each]} {each.value}" for each in Outcome if counts[each])
        if self.is_as_expected:
            text += "; it fails exactly what its profile says it must"
        return text

    @property
    def blocks(self) -> dict[str, tuple[Verdict, ...]]:
        """Verdicts by line of the scorecard, in order."""
        names = dict.fromkeys(each.block for each in self.verdicts)
        return {name: tuple(each for each in self.verdicts if each.block == name) for name in names}
