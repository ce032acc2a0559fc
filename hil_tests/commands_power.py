"""The verb of the harness that cuts power everywhere: power-sweep."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

import click

from hil_tests import progress
from hil_tests.workers import workers
from host_driver.commands.options import TargetType

DEPTHS: Final = ("single", "double")


@dataclass(frozen=True, slots=True)
class Violation:
    """A run that broke a property, and what replays it."""

    property: str
    said: str
    replay_id: str


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario, or a share of it, after its cuts."""

    scenario: str
    steps: tuple[str, ...]
    single: int
    torn: int
    double: int
    missed: str  # a step that it is about, and that did not come
    violations: tuple[Violation, ...]

    def with_share(self, other: Result) -> Result:
        """Return both shares as one."""
        return Result(
            self.scenario,
            self.steps,
            self.single + other.single,
            self.torn + other.torn,
            self.double + other.double,
            self.missed,
            self.violations + other.violations,
        )

    def line(self) -> str:
        """Return the result as one line for people."""
        said = _plural(len(self.violations), "violation") if self.violations else "held"
        said += f", but there was no {self.missed!r} to cut" if self.missed else ""
        return f"{self.scenario:<16} {_counts(self.single, self.torn, self.double)}: {said}"


@click.command("power-sweep")
@click.argument("target", type=TargetType())
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="Only this; repeatable.")
@click.option("--depth", type=click.Choice(DEPTHS), default="double", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def power_sweep(target: str, names: tuple[str, ...], depth: str, jobs: int, as_json: bool) -> None:
    """Cut power at every durable step of every scenario, once and twice.

    Cuts fall before each step and inside each that programs or erases flash. Exits 1 when a
    property failed, and prints what replays it; or when a scenario had nothing to cut.
    """
    from hil_tests.power import scenarios
    from hil_tests.runs import Target

    facts = Target(target).facts
    if "PIN" not in facts.features:
        raise click.UsageError(f"{target} has no PIN: there is nothing to cut")
    offered = [scenario.name for scenario in scenarios(facts)]
    unknown = [name for name in names if name not in offered]
    if unknown:
        raise click.UsageError(f"no scenario {unknown[0]!r}; there are {', '.join(offered)}")
    plan = [name for name in offered if name in names or not names]
    with progress.shown((target,)) as show:
        results = [*_swept(target, plan, depth, jobs, progress.of(target, show))]
    found = _shortest(results)
    if as_json:
        document = {
            "target": target,
            "depth": depth,
            "scenarios": [asdict(result) for result in results],
            "shortest": [asdict(violation) for violation in found],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        for result in results:
            click.echo(result.line())
        click.echo(_summary(results))
        for violation in found:
            click.echo(f"\n{violation.property}: {violation.said}\n  {violation.replay_id}")
    if found or any(result.missed for result in results):
        sys.exit(1)


def _counts(single: int, torn: int, double: int) -> str:
    return f"{single:>4} cuts, {torn:>4} inside a step, {double:>6} pairs"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _summary(results: list[Result]) -> str:
    single, torn, double = (
        sum(getattr(result, kind) for result in results) for kind in ("single", "torn", "double")
    )
    violations = sum(len(result.violations) for result in results)
    return (
        f"{_plural(len(results), 'scenario')}: {single} cuts, {torn} inside a step, "
        f"{double} pairs, {_plural(violations, 'violation')}"
    )


def _shortest(results: list[Result]) -> list[Violation]:
    """Return of each property that was broken the shortest run that does it."""
    from hil_tests.actions import ReplayId
    from hil_tests.properties import BY_ID
    from hil_tests.runs import Target, fails, shortened

    found: dict[str, Violation] = {}
    for violation in (each for result in results for each in result.violations):
        known = found.get(violation.property)
        if known is None or violation.replay_id.count(",") < known.replay_id.count(","):
            found[violation.property] = violation
    shortest = []
    for violation in found.values():
        wanted = ReplayId.parse(violation.replay_id)
        target, property_ = Target(wanted.target), BY_ID[wanted.property_id]
        failure = fails(target, property_, wanted.actions)
        if failure is not None:
            short = shortened(target, property_, failure)
            replay_id = str(short.replay_id(wanted.target))
            violation = Violation(violation.property, short.said, replay_id)
        shortest.append(violation)
    return shortest


def _swept(
    target: str, plan: list[str], depth: str, jobs: int, tell: progress.Progress
) -> Iterator[Result]:
    """Sweep each scenario, its first cuts shared out among processes where there are several."""
    if jobs == 1:
        for done, name in enumerate(plan):
            tell(name, done, len(plan))
            yield sweep_share(target, name, depth, 0, 1)
        return
    with workers(jobs) as pool:
        shares = {
            name: [pool.submit(sweep_share, target, name, depth, i, jobs) for i in range(jobs)]
            for name in plan
        }
        for done, (name, share) in enumerate(shares.items()):
            tell(name, done, len(plan))
            result = share[0].result()
            for future in share[1:]:
                result = result.with_share(future.result())
            yield result


def sweep_share(url: str, name: str, depth: str, share: int, of: int) -> Result:
    """Sweep a share of one scenario's first cuts, in whatever process this is."""
    from hil_tests.power import scenarios, sweep
    from hil_tests.runs import Target, applicable

    target = Target(url)
    scenario = next(each for each in scenarios(target.facts) if each.name == name)
    swept = sweep(target, scenario, applicable(target.facts), depth, (share, of))
    violations = (
        Violation(failure.property_id, failure.said, str(failure.replay_id(url)))
        for failure in swept.failures
    )
    counts = swept.single, swept.torn, swept.double
    return Result(name, swept.step_names, *counts, swept.missed, tuple(violations))
