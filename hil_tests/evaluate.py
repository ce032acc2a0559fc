"""An evaluation: every property's own scenarios, then the state machine, then the findings.

Scenarios are short runs written to break one property; every step of them is judged by all. What
breaks is shortened until no step can go, run once more with a trace, and named by a replay id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from hil_tests.actions import Action, parse_steps, spell_steps
from hil_tests.bench.bench import Bench
from hil_tests.content import pins_in
from hil_tests.machines import search
from hil_tests.power import sweep_all
from hil_tests.progress import Progress
from hil_tests.properties import BY_ID, PROPERTIES
from hil_tests.properties.base import Property, needs
from hil_tests.report.values import Evaluation, Finding, Outcome, Verdict
from hil_tests.runs import (
    TEST_KDF_ITERATIONS,
    Failure,
    Target,
    applicable,
    fails,
    run_until_failure,
    shortened,
)
from hil_tests.steps import Capability, Facts, Step
from hil_tests.steps import Outcome as StepOutcome

EXAMPLES: Final = {"survey": 0, "quick": 60, "standard": 600, "deep": 20_000}
DEPTHS: Final = tuple(EXAMPLES)
SEARCHES_MAX: Final = 6  # times the machine goes on after a property broke
HANDS: Final = {Capability.OPERATE, Capability.CUT_POWER, Capability.MOVE_CLOCK}
FINDINGS_MAX: Final = 3  # of one property: the shortest
_TOO_MUCH: Final = "take more than the bench can do"


@dataclass
class Tally:
    """What an evaluation has done so far."""

    runs: Counter[str] = field(default_factory=Counter)  # of a property's own scenarios
    spoiled: Counter[str] = field(default_factory=Counter)  # those in which the drive broke down
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    steps: int = 0
    cuts: int = 0  # before every durable step, and inside those that can be torn, of
    cut_scenarios: int = 0
    searched_bytes: int = 0
    picture: str = ""  # of the flash with the whole content in it, as SVG

    def add(self, steps: Sequence[Step], failures: Sequence[Failure]) -> None:
        """Count the steps of a run, and keep what broke."""
        self.steps += len(steps)
        self.searched_bytes += sum(int(step.seen.get("searched_bytes", 0)) for step in steps)
        self.picture = next((s.seen["picture"] for s in steps if "picture" in s.seen), self.picture)
        for failure in failures:
            self.failures.setdefault(failure.property_id, []).append(failure)


def evaluate(
    target: Target,
    *,
    depth: str = "standard",
    date: str,
    traces: Path | None = None,
    options: tuple[str, ...] = (),
    progress: Progress = lambda doing, done, of: None,
) -> Evaluation:
    """Judge a target by every property it can be judged by.

    `traces` is a folder for the pcap files of findings, `options` those that reached the target on
    the command line, which a replay needs again. Raises ValueError for content that holds
    one of the test PINs: no dump of it could be searched for PINs. Raises DriveError where the
    drive went meanwhile: then there is no verdict.
    """
    clashing = pins_in(target.content.data)
    if clashing:
        raise ValueError(f"the content holds the test PIN {clashing[0]}: choose another file")
    tally = Tally()
    properties = applicable(target.facts)
    _run_scenarios(target, properties, tally, progress)
    _cut_everywhere(target, tally, progress)
    _run_machine(target, properties, tally, EXAMPLES[depth], progress)
    findings = _findings(target, tally, traces, options, progress)
    target.reach()
    verdicts = tuple(_verdict(target, each, tally, findings) for each in PROPERTIES)
    return Evaluation(
        target=target.url,
        title=target.profile.title,
        date=date,
        figures=_figures(target, tally, depth),
        verdicts=verdicts,
        picture=tally.picture,
    )


def _run_scenarios(
    target: Target, properties: Sequence[Property], tally: Tally, progress: Progress
) -> None:
    """Run every scenario, judged by all; and once more by its own property, if that was cut off."""
    plan = [(each, text) for each in properties for text in each.sequences(target.facts)]
    for done, (property_, text) in enumerate(plan):
        progress(f"scenarios of {property_.id}", done, len(plan))
        actions = parse_steps(text)
        steps, failures = run_until_failure(target.bench(actions), actions, properties)
        tally.add(steps, failures)
        tally.runs[property_.id] += 1
        is_own = any(failure.property_id == property_.id for failure in failures)
        if failures and not is_own:
            steps, failures = run_until_failure(target.bench(actions), actions, (property_,))
            tally.add(steps, failures)
        tally.spoiled[property_.id] += any(_spoils(step, target) for step in steps)
    progress("scenarios", len(plan), len(plan))


def _spoils(step: Step, target: Target) -> bool:
    """Whether what follows a step says little: the drive did not do what every drive does."""
    is_broken = step.outcome in (StepOutcome.FAULT, StepOutcome.CRASH)
    return is_broken or (step.was_refused and "PIN" in target.facts.features)


def _cut_everywhere(target: Target, tally: Tally, progress: Progress) -> None:
    """Cut power at every durable step of every scenario of `hil_tests.power`."""
    if Capability.CUT_POWER not in target.facts.capabilities or "PIN" not in target.facts.features:
        return
    for swept in sweep_all(target, progress):
        tally.cuts += swept.single + swept.torn
        tally.cut_scenarios += 1
        tally.add((), swept.failures)


def _run_machine(
    target: Target,
    properties: Sequence[Property],
    tally: Tally,
    examples: int,
    progress: Progress,
) -> None:
    """Have Hypothesis look for what the scenarios did not think of, with an operator's hands."""
    if not target.facts.capabilities >= HANDS:
        return
    for number in range(SEARCHES_MAX if examples else 0):
        left = [each for each in properties if each.id not in tally.failures]
        progress(f"state machine, {examples} runs", number, SEARCHES_MAX)
        failure, step_count = search(target, left, examples)
        tally.steps += step_count
        if failure is None:
            break
        tally.failures[failure.property_id] = [failure]
    progress("state machine", SEARCHES_MAX, SEARCHES_MAX)


def _findings(
    target: Target,
    tally: Tally,
    traces: Path | None,
    options: tuple[str, ...],
    progress: Progress,
) -> dict[str, tuple[Finding, ...]]:
    """Shorten what broke, and write it down."""
    found: dict[str, tuple[Finding, ...]] = {}
    for done, (property_id, failures) in enumerate(tally.failures.items()):
        progress(f"shortening {property_id}", done, len(tally.failures))
        property_ = BY_ID[property_id]
        few = sorted(failures, key=lambda failure: len(failure.actions))[:FINDINGS_MAX]
        short = [shortened(target, property_, failure) for failure in few]
        different = {str(each.replay_id(target.url)): each for each in short}
        found[property_id] = tuple(
            replace(_finding(target, replay_id, failure, traces, number), options=options)
            for number, (replay_id, failure) in enumerate(different.items(), 1)
        )
    return found


def _finding(
    target: Target, replay_id: str, failure: Failure, traces: Path | None, number: int
) -> Finding:
    trace = None
    if traces is not None:
        trace = f"{failure.property_id}-{number}.pcap"
        changed = target.changed(failure.settings)
        write_trace(changed, failure.actions, traces / trace)
    return Finding(
        property_id=failure.property_id,
        said=failure.said,
        replay_id=replay_id,
        lines=tuple(step.line() for step in failure.steps),
        trace=trace,
    )


def write_trace(target: Target, actions: Sequence[Action], path: Path) -> None:
    """Run a sequence with all that crosses the bus in a pcap file, on the drive's own clock."""
    from host_driver.trace import TracedBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        fresh = target.bench(actions)
        fresh.reconnect()  # its interface is for the bench that is watched
        unit = fresh.unit
        bench = Bench(
            unit,
            target.facts,
            target.content,
            watch=lambda inner: TracedBackend(inner, stream, lambda: unit.now_us),
        )
        try:
            bench.run_all(actions)
        finally:
            bench.reconnect()


def _verdict(
    target: Target,
    property_: Property,
    tally: Tally,
    findings: dict[str, tuple[Finding, ...]],
) -> Verdict:
    reason = property_.reason_not_to_run(target.facts) or ""
    expected = target.profile.expected_failures.get(property_.id)
    left_out = property_.left_out(target.facts)
    outcome = Outcome.PASSED
    if reason:
        outcome = Outcome.NOT_EXERCISED
    elif property_.id in findings:
        outcome = Outcome.FAILED
        reason = f"as its profile expects: {expected}" if expected is not None else ""
    elif tally.spoiled[property_.id] == tally.runs[property_.id]:
        outcome = Outcome.NOT_EXERCISED
        reason = "the drive broke down in every run that was to show it"
    elif left_out >= tally.runs[property_.id]:
        outcome = Outcome.NOT_EXERCISED
        reason = f"nothing found, but half of its runs or more {_TOO_MUCH}: {left_out}"
    elif expected is not None:
        reason = "its profile expects it to fail"
    elif left_out:
        reason = f"some runs {_TOO_MUCH}: {left_out}"
    return Verdict(
        property_id=property_.id,
        sentence=property_.sentence,
        block=property_.block.value,
        requirements=property_.requirements,
        outcome=outcome,
        reason=reason,
        is_expected=expected is not None,
        runs=tally.runs[property_.id],
        findings=findings.get(property_.id, ()),
    )


def _figures(target: Target, tally: Tally, depth: str) -> dict[str, str]:
    facts = target.facts
    guesses = " + ".join(f"{limit} as {role}" for role, limit in facts.limits.items())
    searched = f"{tally.searched_bytes:,} bytes of the {target.content.name}"
    figures = {
        "Depth": f"{depth}, {EXAMPLES[depth]} runs of the state machine, judged by all properties",
        "Steps run and judged": f"{tally.steps:,}",
        "Content stored and searched for": searched,
        "Guesses before the limit": "without end: there is no PIN",
    }
    if "PIN" in facts.features:
        cuts = f"{tally.cuts}, at and inside every durable step of {tally.cut_scenarios} scenarios"
        figures |= {
            "Power cuts": cuts,
            "PBKDF2 cost": _stretching(facts),
            "Guesses before the limit": f"{sum(facts.limits.values())} ({guesses})",
        }
    if target.judged is not None:
        figures["What was judged"] = target.judged
    figures["What the bench could do"] = ", ".join(sorted(e.value for e in facts.capabilities))
    return figures


def _stretching(facts: Facts) -> str:
    """Say what an attempt costs in runs: a drive that was not made for them has its own cost."""
    in_runs = f"{TEST_KDF_ITERATIONS} iteration in runs"
    if Capability.PATCH_FIRMWARE in facts.capabilities:
        return f"{in_runs}, {facts.kdf_iterations:,} iterations in one property"
    return in_runs if Capability.FORK in facts.capabilities else "as the drive was made"


def replay(target: Target, property_id: str, actions: Sequence[Action]) -> Failure | None:
    """Run a sequence on a fresh drive; return how it breaks the property, if it does.

    Raises ValueError for a property that there is not, or that the target can't be judged by, and
    DriveError where the drive went meanwhile.
    """
    property_ = BY_ID.get(property_id)
    if property_ is None:
        raise ValueError(f"no property {property_id!r}; there are {', '.join(BY_ID)}")
    reason = property_.reason_not_to_run(target.facts)
    if reason is not None:
        raise ValueError(f"{property_id} is not exercised on {target.url}: {reason}")
    facts = target.facts
    lacking = needs(spell_steps(actions), facts.dialect) - facts.capabilities
    if lacking:
        said = " or ".join(sorted(each.value for each in lacking))
        raise ValueError(f"on {target.url} the bench can't {said}")
    failure = fails(target, property_, actions)
    target.reach()
    return failure


def broken_properties(target: Target) -> list[str]:
    """Return the properties that the scenarios break, without the state machine."""
    tally = Tally()
    _run_scenarios(target, applicable(target.facts), tally, lambda doing, done, of: None)
    return sorted(tally.failures)
