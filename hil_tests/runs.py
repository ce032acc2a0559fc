"""Runs: a target by its name, a sequence of actions, and what the properties say of each step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from hil_tests.actions import Action, ReplayId
from hil_tests.bench.bench import Bench
from hil_tests.content import Content, default_content
from hil_tests.facts import facts_of, reset_code_of
from hil_tests.promises import OF_A_WORKING_DRIVE, without_losses
from hil_tests.properties import PROPERTIES
from hil_tests.properties.base import Property
from hil_tests.steps import Facts, Step
from hil_tests.targets import ModelName, fresh_profile

TEST_KDF_ITERATIONS = 1  # in runs; one property measures the cost that the profile demands
SEED = b"sedlab evaluation"


class UnsteadyDrive(ValueError):
    """A drive that was made twice and went through the same did not do the same: no verdict."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A property that did not hold, at the last of some steps."""

    property_id: str
    said: str
    steps: tuple[Step, ...]
    settings: tuple[str, ...] = ()  # keys of the profile that the run takes, as KEY=VALUE

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(step.action for step in self.steps)

    def replay_id(self, target: str) -> ReplayId:
        """Return what replays it on a target."""
        return ReplayId(self.property_id, "+".join((target, *self.settings)), self.actions)


class Target:
    """A drive the harness can make anew as often as it likes, by its URL `model:...`.

    `content` is the user's own; without one, it is the register. What is judged for FILE.sed is a
    fresh drive of the file's profile: nobody's drive is attacked, and the file stays as it is.
    Raises ValueError for a name that is none, DriveError for a drive that is not to be had.
    """

    def __init__(self, url: str, content: Content | None = None) -> None:
        scheme, _, rest = url.partition(":")
        if scheme != "model":
            raise ValueError(f"{url} is no model: and takes an operator to be evaluated")
        self.url = url
        self._content = content
        self.name = ModelName.parse(rest)
        self._parts = self.name.parts()
        self.profile = fresh_profile(self.name)

    @property
    def judged(self) -> str | None:
        """What is judged, where that is not the very drive that the URL names."""
        return "a fresh drive of the profile in the file" if self.name.is_file else None

    @cached_property
    def facts(self) -> Facts:
        """What its documents say of it."""
        return facts_of(self.profile, reset_code_of(self.profile, SeededNoise(SEED)))

    @cached_property
    def content(self) -> Content:
        """What is stored and searched for."""
        return self._content or default_content()

    @cached_property
    def _factory_new(self) -> EmulatedDrive:
        noise = SeededNoise(SEED)
        return EmulatedDrive.new(self.profile, noise, self._parts, TEST_KDF_ITERATIONS)

    @cached_property
    def _factory_new_for_glitches(self) -> EmulatedDrive:
        """The same drive, of code that can be glitched."""
        from hil_tests.glitch.shadow import shadow

        made = shadow()
        parts = self.name.parts(made.defects(), made.module)
        return made.drive().new(self.profile, SeededNoise(SEED), parts, TEST_KDF_ITERATIONS)

    def changed(self, settings: Sequence[str]) -> Target:
        """Return the same target with keys of its profile changed, each given as `KEY=VALUE`."""
        if not settings:
            return self
        return Target("+".join((self.url, *settings)), self._content)

    def close(self) -> None:
        """Let go of what other programs wait for; a model is nobody else's."""

    def reach(self) -> None:
        """Raise DriveError where the drive can't be reached any more; a model always is.

        What was last seen of such a drive says nothing of it.
        """

    def bench(self, actions: Sequence[Action] = ()) -> Bench:
        """Return a bench over a fresh drive under power, on which such actions can be run."""
        is_glitched = any(action.verb == "glitch" for action in actions)
        made = self._factory_new_for_glitches if is_glitched else self._factory_new
        drive = made.fork()
        drive.power_on()
        return Bench(drive, self.facts, self.content)


def applicable(facts: Facts) -> tuple[Property, ...]:
    """Return the properties that can be exercised on such a target."""
    return tuple(each for each in PROPERTIES if each.reason_not_to_run(facts) is None)


def judge(step: Step, properties: Iterable[Property]) -> list[tuple[str, str]]:
    """Return id and complaint of each property that a step breaks, less what a fault may cost."""
    if step.excused:
        step = without_losses(step)
        properties = [each for each in properties if each.id not in OF_A_WORKING_DRIVE]
    complaints = ((each.id, each.check(step)) for each in properties)
    return [(property_id, said) for property_id, said in complaints if said is not None]


def run_until_failure(
    bench: Bench, actions: Sequence[Action], properties: Sequence[Property]
) -> tuple[list[Step], list[Failure]]:
    """Run a sequence until a step breaks a property; return the steps and what broke."""
    steps: list[Step] = []
    for action in actions:
        steps.append(bench.run(action))
        broken = judge(steps[-1], properties)
        if broken:
            return steps, [Failure(each, said, tuple(steps)) for each, said in broken]
    return steps, []


def first_failures(steps: Sequence[Step], properties: Sequence[Property]) -> list[Failure]:
    """Return how the first of some steps that breaks a property does so."""
    for number, step in enumerate(steps, 1):
        broken = judge(step, properties)
        if broken:
            return [Failure(each, said, tuple(steps[:number])) for each, said in broken]
    return []


def fails(target: Target, property_: Property, actions: Sequence[Action]) -> Failure | None:
    """Return how a sequence breaks a property on a fresh drive of the target, if it does."""
    _, failures = run_until_failure(target.bench(actions), actions, (property_,))
    return failures[0] if failures else None


def shortened(target: Target, property_: Property, failure: Failure) -> Failure:
    """Leave out every step that the failure does without, one after the other until none can go."""
    target = target.changed(failure.settings)
    best = failure
    size = max(len(best.actions) // 2, 1)
    while True:
        at = 0
        while at < len(best.actions):
            shorter = best.actions[:at] + best.actions[at + size :]
            found = fails(target, property_, shorter) if shorter else None
            if found is not None:
                best = replace(found, settings=failure.settings)
            else:
                at += size
        if size == 1:
            return best
        size = max(size // 2, 1)
