"""The fault campaign: every plan of a family is run, judged by every property, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hil_tests.actions import parse_action, parse_steps, spell_steps
from hil_tests.fault_plans import Family, Plan
from hil_tests.properties.base import Property
from hil_tests.runs import Target, judge
from hil_tests.snapshot import Branch, Scenario, Snapshot
from hil_tests.steps import Outcome, Step


class Verdict(StrEnum):
    """What became of a plan."""

    DETECTED = "detected"  # the drive says that something is wrong, or refuses
    TOLERATED = "tolerated"  # all is as without the fault
    FAIL_SAFE = "fail-safe"  # what the fault may cost is lost, and nothing else
    VIOLATED = "violated"  # somebody has what he must not have
    UNMET = "unmet"  # nothing used what had failed: it says nothing


@dataclass(frozen=True, slots=True)
class Tried:
    """One plan that was run."""

    scenario: str
    verdict: Verdict
    replay_id: str
    property_id: str = ""  # that was broken
    said: str = ""
    where: str = ""  # the place in the firmware, of a glitch


@dataclass(frozen=True, slots=True)
class Campaign:
    """The plans of one scenario, after they were run."""

    family: str
    scenario: str
    tried: tuple[Tried, ...]

    def outcomes(self) -> Counter[Verdict]:
        """Return how many plans ended how."""
        return Counter(each.verdict for each in self.tried)


def joined(shares: Sequence[Campaign]) -> Campaign:
    """Return shares of one scenario as one."""
    return replace(shares[0], tried=tuple(each for share in shares for each in share.tried))


def run_plans(
    target: Target,
    family: Family,
    scenario: Scenario,
    properties: Sequence[Property],
    share: tuple[int, int] = (0, 1),
) -> Campaign:
    """Run the plans of a family in one scenario: of `share` (i, n), every n-th from the i-th."""
    target = target.changed(scenario.settings)
    start = Snapshot.after(target.bench(family.measure), scenario.once())
    before = len(scenario.once()) + len(scenario.each_time())
    clean = _run(start, scenario, Plan(family.measure)).steps
    normal = clean[before + len(family.measure) :]
    tried = []
    for plan in [*family.plans(normal[0])][share[0] :: share[1]]:
        branch = _run(start, scenario, plan)
        begin = before + len(plan.faults)
        found = _outcome(target, scenario, branch.steps, normal, begin, properties)
        is_unmet = not all(met() for met in branch.bench.met)
        is_unmet |= len(branch.steps[begin].boots) < len(plan.cuts)
        if is_unmet and found.verdict is Verdict.TOLERATED:
            found = replace(found, verdict=Verdict.UNMET)
        tried.append(found)
    return Campaign(family.name, scenario.name, tuple(tried))


def _run(start: Snapshot, scenario: Scenario, plan: Plan) -> Branch:
    branch = start.branch()
    action = parse_action(scenario.action).at(*plan.cuts)
    after = parse_steps(scenario.after)
    branch.run((*scenario.each_time(), *plan.faults, action, *after), ())
    return branch


def _outcome(
    target: Target,
    scenario: Scenario,
    steps: list[Step],
    normal: list[Step],
    begin: int,
    properties: Sequence[Property],
) -> Tried:
    """Tell how a plan ended, from the step on whose action its faults were armed for."""
    where = str(steps[begin].seen.get("glitch", ""))
    for number, step in enumerate(steps, 1):
        for property_id, said in judge(step, properties):
            spelled = spell_steps([each.action for each in steps[:number]])
            replay_id = f"{property_id}:{target.url}:{spelled}"
            return Tried(scenario.name, Verdict.VIOLATED, replay_id, property_id, said, where)
    spelled = spell_steps([each.action for each in steps])
    seen, expected = steps[begin:], [_seen(step) for step in normal]
    if [_seen(step) for step in seen] == expected:
        verdict = Verdict.TOLERATED
    elif _refuses(seen[0], normal[0]) or any(map(_tells, seen)):
        verdict = Verdict.DETECTED
    else:
        verdict = Verdict.FAIL_SAFE
    return Tried(scenario.name, verdict, f"{target.url}:{spelled}", where=where)


def _seen(step: Step) -> tuple[object, ...]:
    """Return what can be seen of a step from outside."""
    return step.outcome, step.detail, step.state, step.tries, step.mismatches


def _refuses(step: Step, clean: Step) -> bool:
    """Tell whether the disturbed command itself is refused, or for another reason."""
    return step.outcome is Outcome.REFUSED and step.detail != clean.detail


def _tells(step: Step) -> bool:
    """Tell whether a drive says of itself that something is wrong; being locked does not."""
    return step.state == "failed" or step.tells_fault
