"""Where runs branch: a drive without power, kept with all that is known of it.

What comes before is run once; each run that begins here gets a copy. Nothing of a drive but its
board outlives the loss of power, so a copy is the same drive, and the steps that led here and those
that follow are together one sequence, which a replay id spells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hil_tests.actions import Action, parse_steps
from hil_tests.bench.bench import Bench
from hil_tests.properties.base import Property, join
from hil_tests.runs import Failure, judge
from hil_tests.steps import Step

RESTART: Final = "power_cycle"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What goes before, the action it is about, and what must hold of the drive afterwards.

    What goes before is run once, up to its last power cycle; what stands behind that, each time.
    """

    name: str
    before: str
    action: str
    after: str
    settings: tuple[str, ...] = ()  # keys of the profile that it takes, as KEY=VALUE

    def once(self) -> tuple[Action, ...]:
        """Return what is run once."""
        return self._before()[: self._split()]

    def each_time(self) -> tuple[Action, ...]:
        """Return what each run begins with, up to the action it is about."""
        return self._before()[self._split() :]

    def _before(self) -> tuple[Action, ...]:
        has_restart = RESTART in self.before.split(",")
        return parse_steps(self.before if has_restart else join(RESTART, self.before))

    def _split(self) -> int:
        verbs = [action.verb for action in self._before()]
        return len(verbs) - 1 - verbs[::-1].index(RESTART)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A drive without power, the steps that led there, and the one that is not over yet, if any."""

    bench: Bench
    steps: tuple[Step, ...] = ()
    unfinished: Step | None = None

    @classmethod
    def after(cls, bench: Bench, actions: Sequence[Action]) -> Snapshot:
        """Run actions, then take power away. `bench` is used up."""
        steps = tuple(bench.run_all(actions))
        return cls(bench.fork(), steps)

    def branch(self) -> Branch:
        """Return a run that goes on from here."""
        unfinished = self.unfinished
        if unfinished is not None:
            seen, wrong = dict(unfinished.seen), list(unfinished.mismatches)
            unfinished = replace(unfinished, seen=seen, mismatches=wrong)
        return Branch(self.bench.fork(), list(self.steps), unfinished)


class Branch:
    """One run that goes on from a snapshot."""

    def __init__(self, bench: Bench, steps: list[Step], unfinished: Step | None) -> None:
        self.bench = bench
        self.steps = steps
        self.unfinished = unfinished

    def run(self, actions: Sequence[Action], properties: Sequence[Property]) -> list[Failure]:
        """Run actions until a step breaks a property; return what broke.

        From a snapshot in the middle of an action, the first of `actions` is that one, and may name
        further cuts: it goes on where power was lost.
        """
        for action in actions:
            if self.unfinished is not None:
                step, self.unfinished = replace(self.unfinished, action=action), None
                self.bench.finish(step)
            else:
                step = self.bench.run(action)
            self.steps.append(step)
            broken = judge(step, properties)
            if broken:
                return [Failure(each, said, tuple(self.steps)) for each, said in broken]
        return []

    def cut(self, action: Action) -> Snapshot | None:
        """Run an action to its first cut; return where power was lost, None where it was not."""
        step = self.bench.start(action)
        if self.bench.unit.is_on:
            return None
        return Snapshot(self.bench.fork(), tuple(self.steps), step)
