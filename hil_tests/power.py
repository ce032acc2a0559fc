"""Power cut at every durable step of what a drive does: enumerated, none left to chance.

For each scenario the steps are counted in a run without a cut. Then the same run is repeated once
for each of them, cut there, and judged by every property to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hil_tests.actions import Action, parse_action, parse_steps
from hil_tests.properties.base import LOST, STORED, Property, join, times
from hil_tests.runs import Failure, Target, UnsteadyDrive, applicable, run_until_failure
from hil_tests.steps import Capability, Facts, Outcome


@dataclass(frozen=True, slots=True)
class CutScenario:
    """What goes before, the action that is cut, and what must hold of the drive afterwards."""

    name: str
    before: str
    action: str
    after: str

    def actions(self, cut: int | None) -> tuple[Action, ...]:
        """Return the whole run, cut at one step or at none."""
        before = parse_steps(self.before) if self.before else ()
        return (*before, parse_action(self.action).at(cut), *parse_steps(self.after))

    @property
    def index(self) -> int:
        """Where in the run the cut action stands."""
        return len(parse_steps(self.before)) if self.before else 0


@dataclass(frozen=True, slots=True)
class Swept:
    """A scenario after all its cuts: its steps by name, and the runs that broke a property."""

    scenario: CutScenario
    step_names: tuple[str, ...]
    failures: tuple[Failure, ...]


def scenarios(facts: Facts) -> Iterator[CutScenario]:
    """Give every scenario that a drive with these features can go through."""
    limit = facts.limits.get("user", 10)
    last = join(LOST, times(limit - 1, "unlock-user-1"))
    opens = "unlock-user-0,read-0-8"
    anew = join(opens, "set_pin-user-0", opens, "unlock-user-1,unlock-user-0")
    changed = "unlock-user-0,lock,unlock-user-1,lock,unlock-user-0,read-0-8"
    yield CutScenario("set the first PIN", "", "set_pin-user-0", join(anew, "write-0-0-8,read-0-8"))
    yield CutScenario("unlock, right PIN", LOST, "unlock-user-0", opens)
    yield CutScenario("unlock, wrong PIN", LOST, "unlock-user-1", opens)
    yield CutScenario("right PIN at the last try", last, "unlock-user-0", anew)
    yield CutScenario("wrong PIN at the last try", last, "unlock-user-1", anew)
    yield CutScenario("change the PIN", STORED, "set_pin-user-1", changed)
    yield CutScenario("lock", STORED, "lock", opens)
    yield CutScenario("start", LOST, "power_cycle", opens)
    yield CutScenario("first read", join(LOST, "unlock-user-0"), "read-0-8", opens)
    reads = join("unlock-user-0", "read-0-40")
    yield CutScenario("write whole pages", STORED, "write-0-9-24", reads)
    yield CutScenario("write parts of pages", STORED, "write-1-9-20", reads)
    yield CutScenario("first write", join(LOST, "unlock-user-0"), "write-0-9-8", opens)
    yield CutScenario("erase", STORED, "erase", anew)
    yield CutScenario("erase by code", LOST, "erase_by_code", anew)
    yield CutScenario("sanitize", STORED, "sanitize", anew)
    yield CutScenario(
        "set the admin's PIN", STORED, "set_pin-admin-1", "unlock-admin-1,lock,unlock-user-0"
    )
    if Capability.SIGN_FIRMWARE in facts.capabilities:
        again = join(STORED, "update-0,unlock-user-0")
        after = join(opens, "update-1", opens, "power_cycle", opens)
        yield CutScenario("update", STORED, "update-0", after)
        yield CutScenario("update again", again, "update-1", after)
        yield CutScenario("refused update", STORED, "update-4", after)
    if "duress" in facts.features:
        armed = join(STORED, "set_duress-3,lock")
        yield CutScenario("set the duress PIN", STORED, "set_duress-3", join("lock", opens))
        yield CutScenario("enter the duress PIN", armed, "unlock-user-3", anew)
    if "read-only" in facts.features:
        yield CutScenario("set read-only", STORED, "set_read_only-on", join(opens, "write-0-9-1"))
    if "recovery" in facts.features:
        given = join(STORED, "make_recovery,lock")
        after = "unlock-user-0,lock,unlock-user-2,lock,recover-1-3,read-0-8"
        yield CutScenario("make recovery PINs", STORED, "make_recovery", join("lock", opens))
        yield CutScenario("recover", given, "recover-0-2", after)
        yield CutScenario("wrong recovery PIN", given, "recover-3-2", after)


def sweep(target: Target, scenario: CutScenario, properties: Sequence[Property]) -> Swept:
    """Cut one scenario at each of its steps."""
    bench = target.bench()
    actions = scenario.actions(None)
    steps = bench.run_all(actions[: scenario.index + 1])
    names = steps[-1].step_names
    failures: list[Failure] = []
    for cut in range(1, len(names) + 1):
        ran, broken = run_until_failure(target.bench(), scenario.actions(cut), properties)
        failures += broken
        if not broken and ran[scenario.index].outcome is not Outcome.CUT:
            raise UnsteadyDrive(
                f"{target.url} does not do the same twice, so nothing can be said of it: in"
                f" {scenario.name!r}, step {cut} of {len(names)} did not come again"
            )
    return Swept(scenario, names, tuple(failures))


def sweep_all(
    target: Target, progress: Callable[[str, int, int], None] = lambda doing, done, of: None
) -> tuple[Swept, ...]:
    """Cut every scenario at each of its steps."""
    properties = applicable(target.facts)
    plan = list(scenarios(target.facts))
    swept = []
    for done, scenario in enumerate(plan):
        progress(f"power cuts: {scenario.name}", done, len(plan))
        swept.append(sweep(target, scenario, properties))
    return tuple(swept)
