"""The report for people: one HTML file, which asks for nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hil_tests.report.requirements import Requirement, requirements
from hil_tests.report.values import Evaluation, Outcome, Verdict, folder_name


@dataclass(frozen=True, slots=True)
class Row:
    """A requirement, the properties that bear on it, and what became of it on each target."""

    requirement: Requirement
    property_ids: tuple[str, ...]
    standings: tuple[Outcome, ...]


def report_html(evaluations: Sequence[Evaluation]) -> str:
    """Return the page on one or more targets."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hil_tests", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    text = environment.get_template("report.html.j2").render(
        evaluations=evaluations,
        headline=headline(evaluations),
        blocks=tuple(dict.fromkeys(block for each in evaluations for block in each.blocks)),
        sources=_by_source(evaluations),
        requirements=requirements(),
        folder_name=folder_name,
        outcomes=Outcome,
    )
    return f"{text}\n"


def headline(evaluations: Sequence[Evaluation]) -> str:
    """Return the verdict on all targets in a line."""
    if not evaluations:
        return "No drive was judged"
    held = sum(not each.failed for each in evaluations)
    if len(evaluations) > 1:
        return f"{held or 'None'} of {len(evaluations)} drives held"
    only = evaluations[0]
    judged = sum(each.outcome is not Outcome.NOT_EXERCISED for each in only.verdicts)
    if not only.failed:
        could = "" if judged == len(only.verdicts) else " that could be judged"
        return f"It held in all {judged} properties{could}"
    return f"It broke {len(only.failed)} of {judged} properties"


def _by_source(evaluations: Sequence[Evaluation]) -> dict[str, tuple[Row, ...]]:
    """Return the requirements that were judged, by the document they stand in, in its order."""
    bearing: dict[str, list[str]] = {}
    for verdict in (verdict for each in evaluations for verdict in each.verdicts):
        for row_id in verdict.requirements:
            if verdict.property_id not in bearing.setdefault(row_id, []):
                bearing[row_id].append(verdict.property_id)
    sources: dict[str, tuple[Row, ...]] = {}
    for requirement in requirements().values():
        if requirement.id in bearing:
            standings = tuple(_standing(each.verdicts, requirement.id) for each in evaluations)
            row = Row(requirement, tuple(bearing[requirement.id]), standings)
            sources[requirement.source] = (*sources.get(requirement.source, ()), row)
    return sources


def _standing(verdicts: Sequence[Verdict], row_id: str) -> Outcome:
    """Return the worst that became of a requirement; passed only if something was exercised."""
    seen = {verdict.outcome for verdict in verdicts if row_id in verdict.requirements}
    for outcome in (Outcome.FAILED, Outcome.PASSED):
        if outcome in seen:
            return outcome
    return Outcome.NOT_EXERCISED
