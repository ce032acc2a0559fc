"""The verb of the harness that has parts fail, one after the other: faults."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hil_tests import progress
from hil_tests.workers import workers
from host_driver.commands.options import TargetType

if TYPE_CHECKING:
    from hil_tests.fault_campaign import Campaign, Tried


@click.command()
@click.argument("target", type=TargetType())
@click.option("--family", "names", multiple=True, metavar="NAME", help="Only this; repeatable.")
@click.option("--scenario", "wanted", multiple=True, metavar="NAME", help="Only this; repeatable.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def faults(
    target: str, names: tuple[str, ...], wanted: tuple[str, ...], jobs: int, as_json: bool
) -> None:
    """Have every part fail in every way that has a name, and judge the drive.

    Glitches of the firmware are tried one by one, all of them. Exits 1 when anybody got what he
    must not have, and prints what replays it.
    """
    from hil_tests.fault_plans import FAMILIES
    from hil_tests.runs import Target

    facts = Target(target).facts
    if "PIN" not in facts.features:
        raise click.UsageError(f"{target} has no PIN: there is nothing to guard")
    _refuse_unknown("family", names, [*FAMILIES])
    families = [name for name in FAMILIES if name in names or not names]
    offered = {name: [each.name for each in FAMILIES[name].scenarios(facts)] for name in families}
    _refuse_unknown("scenario", wanted, [each for some in offered.values() for each in some])
    plan = [
        (name, each) for name in families for each in offered[name] if each in wanted or not wanted
    ]
    with progress.shown((target,)) as show:
        done = [*_tried(target, plan, jobs, progress.of(target, show))]
    violated = [each for campaign in done for each in campaign.tried if each.property_id]
    if as_json:
        click.echo(json.dumps(_document(target, done), indent=2))
    else:
        click.echo("\n".join(_table(done)))
        for tried in violated:
            click.echo(f"\n{tried.property_id}: {tried.said}")
            click.echo("\n".join(f"  {each}" for each in (tried.where, tried.replay_id) if each))
    if violated:
        sys.exit(1)


def _refuse_unknown(what: str, named: tuple[str, ...], offered: list[str]) -> None:
    unknown = [name for name in named if name not in offered]
    if unknown:
        there_are = ", ".join(dict.fromkeys(offered))
        raise click.UsageError(f"no {what} {unknown[0]!r}; there are {there_are}")


def _tried(
    url: str, plan: list[tuple[str, str]], jobs: int, tell: progress.Progress
) -> Iterator[Campaign]:
    """Run the plans of each scenario, shared out among processes where there are several."""
    from hil_tests.fault_campaign import joined

    if jobs == 1:
        for number, (family, scenario) in enumerate(plan):
            tell(f"{family}: {scenario}", number, len(plan))
            yield run_share(url, family, scenario, 0, 1)
        return
    with workers(jobs) as pool:
        running = [
            (each, [pool.submit(run_share, url, *each, share, jobs) for share in range(jobs)])
            for each in plan
        ]
        for number, ((family, scenario), shares) in enumerate(running):
            tell(f"{family}: {scenario}", number, len(plan))
            yield joined([future.result() for future in shares])


def run_share(url: str, family: str, scenario: str, share: int, of: int) -> Campaign:
    """Run a share of the plans of one scenario, in whatever process this is."""
    from hil_tests.fault_campaign import run_plans
    from hil_tests.fault_plans import FAMILIES
    from hil_tests.runs import Target, applicable

    target = Target(url)
    found = next(each for each in FAMILIES[family].scenarios(target.facts) if each.name == scenario)
    return run_plans(target, FAMILIES[family], found, applicable(target.facts), (share, of))


def _table(done: list[Campaign]) -> Iterator[str]:
    """Give the outcomes of each family, and of all."""
    from hil_tests.fault_campaign import Verdict

    yield "".join(f"{name:>11}" for name in ("", "plans", *Verdict))
    every: Counter[Verdict] = Counter()
    for family, outcomes in _by_family(done).items():
        every += outcomes
        yield _row(family, outcomes)
    yield _row("all", every)


def _row(name: str, outcomes: Counter[Any]) -> str:
    from hil_tests.fault_campaign import Verdict

    counts = (outcomes.total(), *(outcomes[verdict] for verdict in Verdict))
    return f"{name:<11}" + "".join(f"{count:>11}" for count in counts)


def _by_family(done: list[Campaign]) -> dict[str, Counter[Any]]:
    found: dict[str, Counter[Any]] = {}
    for campaign in done:
        found.setdefault(campaign.family, Counter()).update(campaign.outcomes())
    return found


def _document(target: str, done: list[Campaign]) -> dict[str, Any]:
    from hil_tests.fault_plans import FAMILIES

    return {
        "target": target,
        "plans": sum(len(campaign.tried) for campaign in done),
        "families": [
            {
                "family": family,
                "sentence": FAMILIES[family].sentence,
                "outcomes": outcomes,
                "scenarios": {
                    campaign.scenario: campaign.outcomes()
                    for campaign in done
                    if campaign.family == family
                },
            }
            for family, outcomes in _by_family(done).items()
        ],
        "violated": [
            _violation(each) for campaign in done for each in campaign.tried if each.property_id
        ],
    }


def _violation(tried: Tried) -> dict[str, str]:
    return {
        "scenario": tried.scenario,
        "property": tried.property_id,
        "said": tried.said,
        "where": tried.where,
        "replay_id": tried.replay_id,
    }
