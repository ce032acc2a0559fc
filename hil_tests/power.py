"""Power cut at every durable step of what a drive does: enumerated, none left to chance.

For each scenario the steps are counted in a run without a cut. Then power is cut at each of them,
before the step and, where it programs or erases flash, inside it with each torn outcome; and once
when the action has been answered, before anything else is asked. The run is judged by every
property to its end.

Pairs of cuts: the second one falls into the recovery from the first. That is the start that
follows, and then what the owner does first, up to the first READ or WRITE that the drive obeys:
from there on it is in its owner's hands again. After a second cut the owner begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from firmware_model.hardware.supply import Torn
from hil_tests.actions import END, Action, Cut, parse_action, parse_steps
from hil_tests.properties.base import LOST, STORED, Property, join, times
from hil_tests.runs import Failure, Target, UnsteadyDrive, applicable, first_failures
from hil_tests.snapshot import RESTART, Scenario, Snapshot
from hil_tests.steps import Capability, Facts, Outcome, Step


@dataclass(frozen=True, slots=True)
class CutScenario(Scenario):
    """A scenario whose action is cut."""

    passes: str = ""  # a durable step that must be among those of the action


@dataclass(frozen=True, slots=True)
class Swept:
    """A scenario after its cuts: how many runs of each kind, and those that broke a property."""

    scenario: CutScenario
    step_names: tuple[str, ...]
    single: int  # cuts before a step
    torn: int  # cuts inside a step
    double: int
    failures: tuple[Failure, ...]

    @property
    def missed(self) -> str:
        """The step that the scenario is about, if the action went without it, or without any."""
        wanted = self.scenario.passes or "durable step"
        is_there = wanted in self.step_names if self.scenario.passes else bool(self.step_names)
        return "" if is_there else wanted


def cuts_of(step_names: Sequence[str]) -> Iterator[Cut]:
    """Give every cut of some durable steps: before each, and inside each that can be torn."""
    for number, name in enumerate(step_names, 1):
        yield Cut(number)
        if name.startswith(("program ", "erase ")) and name != "program external flash":
            for torn in Torn:
                yield Cut(number, torn)


def scenarios(facts: Facts) -> Iterator[CutScenario]:
    """Give every scenario that a drive with these features can go through."""
    limit = facts.limits.get("user", 10)
    closed = join(LOST, RESTART)
    guessed = join(LOST, "unlock-user-1", RESTART)  # so that a try can come back
    opened = join(closed, "unlock-user-0")
    last = join(LOST, times(limit - 1, "unlock-user-1"), RESTART)
    # What a cut left weak reads once more, and is gone after the next power-up.
    opens = f"unlock-user-0,read-0-8,{RESTART},unlock-user-0,read-0-8"
    anew = join(opens, "set_pin-user-0", opens, "unlock-user-1,unlock-user-0")
    changed = "unlock-user-0,lock,unlock-user-1,lock,unlock-user-0,read-0-8"
    can_dump = Capability.DUMP_FLASH in facts.capabilities
    remnants = "open_remnants" if can_dump else ""
    yield CutScenario("provision", "", "set_pin-user-0", join(anew, "write-0-0-8,read-0-8"))
    told = "evidence" if "log" in facts.features else ""
    yield CutScenario("unlock-right", guessed, "unlock-user-0", join(told, opens))
    # A cut may leave a try unspent, but then nobody may have seen whether the PIN was right.
    alike = join(LOST, "compare_cuts-user-1-0,unlock-user-1", RESTART)
    yield CutScenario("unlock-wrong", alike, "unlock-user-1", join(told, opens))
    yield CutScenario("last-right", last, "unlock-user-0", anew)
    yield CutScenario("last-wrong", last, "unlock-user-1", anew)
    yield CutScenario(
        "change-pin", opened, "set_pin-user-1", join(changed, remnants, RESTART, changed)
    )
    yield CutScenario("lock", opened, "lock", opens)
    yield CutScenario("start", guessed, RESTART, opens)
    yield CutScenario("first-read", opened, "read-0-8", opens)
    reads = join(
        "unlock-user-0,read-0-40,write-0-60-8,read-0-40", RESTART, "unlock-user-0,read-0-40"
    )
    yield CutScenario("write-pages", opened, "write-0-9-24", reads)
    yield CutScenario("write-parts", join(opened, "write-1-9-20"), "write-1-30-20", reads)
    yield CutScenario("first-write", opened, "write-0-9-8", opens)
    trimmed = join(
        "unlock-user-0,read-0-64,write-2-60-4,read-0-64", RESTART, "unlock-user-0,read-0-64"
    )
    yield CutScenario("trim", join(opened, "write-0-9-40"), "trim-2-20", trimmed)
    yield CutScenario("erase", opened, "erase", anew)
    yield CutScenario("erase-by-code", closed, "erase_by_code", anew)
    yield CutScenario("sanitize", opened, "sanitize", anew)
    admin = "unlock-admin-1,lock,unlock-user-0,read-0-8"
    yield CutScenario("set-admin", opened, "set_pin-admin-1", join(admin, RESTART, admin))
    yield _collecting()
    if Capability.SIGN_FIRMWARE in facts.capabilities:
        after = join(opens, "update-1", opens)
        yield CutScenario("update", opened, "update-0", after)
        again = join(STORED, "update-0", RESTART, "unlock-user-0")
        yield CutScenario("update-again", again, "update-1", after)
        yield CutScenario("update-refused", opened, "update-4", after)
        waits = join("unlock-user-0,stage-4", RESTART, after)
        yield CutScenario("update-waiting", again, "stage-1", waits)
    if "duress" in facts.features:
        armed = join(STORED, "set_duress-3", RESTART)
        yield CutScenario("set-duress", opened, "set_duress-3", join("lock", opens))
        yield CutScenario("duress", armed, "unlock-user-3", anew)
    if "read-only" in facts.features:
        yield CutScenario("read-only", opened, "set_read_only-on", join(opens, "write-0-9-1"))
    if "recovery" in facts.features:
        given = join(STORED, "make_recovery", RESTART)
        after = "unlock-user-0,lock,unlock-user-2,lock,recover-0-3,lock,recover-1-3,read-0-8"
        after = join(after, remnants, RESTART, "unlock-user-3,read-0-8")
        yield CutScenario("make-recovery", opened, "make_recovery", join("lock", opens))
        yield CutScenario("recover", given, "recover-0-2", after)
        yield CutScenario("recover-wrong", given, "recover-3-2", after)


def _collecting() -> CutScenario:
    """Return the scenario of a medium that is full, and has to collect what it may erase."""
    full = join("set_pin-user-0,unlock-user-0,fill-0,scatter-3000-64", RESTART, "unlock-user-0")
    reads = join("unlock-user-0,read_all,scatter-5000-2", RESTART, "unlock-user-0,read_all")
    settings = ("capacity=1MiB", "flash.pages_per_block=16")
    return CutScenario("collect", full, "scatter-4000-12", reads, settings, "program moved data")


def sweep(
    target: Target,
    scenario: CutScenario,
    properties: Sequence[Property],
    depth: str = "single",
    share: tuple[int, int] = (0, 1),
) -> Swept:
    """Cut one scenario at each of its steps, once or twice.

    Of `share` (i, n), every n-th of the first cuts is taken, from the i-th on.
    """
    target = target.changed(scenario.settings)
    start = Snapshot.after(target.bench(), scenario.once())
    action, after = parse_action(scenario.action), parse_steps(scenario.after)
    uncut = start.branch()
    uncut.run((*scenario.each_time(), action, *after), ())
    names = uncut.steps[len(scenario.once()) + len(scenario.each_time())].step_names
    failures = first_failures(uncut.steps, properties) if not share[0] else []
    counts = dict.fromkeys(("single", "torn", "double"), 0)
    for cut in [*cuts_of(names), END][share[0] :: share[1]]:
        branch = start.branch()
        broken = branch.run(scenario.each_time(), properties)
        if broken:
            failures += broken
            break
        counts["single" if cut.torn is None else "torn"] += 1
        lost = branch.cut(action.at(cut))
        if lost is None:
            raise _unsteady(target, scenario.name, cut)
        single = lost.branch()
        broken = single.run((action.at(cut), *after), properties)
        failures += broken
        if depth == "double" and not broken:
            pairs = _pairs(action.at(cut), after, single.steps[len(lost.steps) :])
            for pair in pairs:
                counts["double"] += 1
                failures += _run_pair(target, lost, pair, properties)
    found = tuple(replace(failure, settings=scenario.settings) for failure in failures)
    return Swept(scenario, names, failures=found, **counts)


def _pairs(
    action: Action, after: Sequence[Action], steps: Sequence[Step]
) -> Iterator[tuple[Action, ...]]:
    """Give the runs with a second cut, from those steps that one with a single cut had."""
    first, *then = steps
    for second in cuts_of(first.boots[-1]):
        yield (action.at(*action.cuts, second), *after)
    for place, step in enumerate(then):
        for second in cuts_of(step.step_names):
            yield (action, *after[:place], after[place].at(second), *after)
        if step.verb in ("read", "read_all", "write", "scatter") and step.outcome is Outcome.OK:
            break


def _unsteady(target: Target, where: str, cut: object) -> UnsteadyDrive:
    return UnsteadyDrive(
        f"{target.url} does not do the same twice, so nothing can be said of it: in {where!r},"
        f" the step of cut {cut} did not come again"
    )


def _run_pair(
    target: Target, lost: Snapshot, actions: Sequence[Action], properties: Sequence[Property]
) -> list[Failure]:
    """Run what follows a cut, with another one in it, and see to it that this one happens."""
    branch = lost.branch()
    failures = branch.run(actions, properties)
    for step in branch.steps[len(lost.steps) :]:
        in_start = len(step.action.cuts) > 1
        if step.action.cuts and len(step.boots) < 1 + in_start and not failures:
            raise _unsteady(target, str(step.action), step.action.cuts[-1])
    return failures


def sweep_all(
    target: Target,
    progress: Callable[[str, int, int], None] = lambda doing, done, of: None,
    depth: str = "single",
) -> tuple[Swept, ...]:
    """Cut every scenario at each of its steps."""
    properties = applicable(target.facts)
    plan = list(scenarios(target.facts))
    swept = []
    for done, scenario in enumerate(plan):
        progress(f"power cuts: {scenario.name}", done, len(plan))
        swept.append(sweep(target, scenario, properties, depth))
    return tuple(swept)
