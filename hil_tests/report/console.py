"""The scorecard on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hil_tests.report.values import Evaluation, Outcome

_MARKS = {
    Outcome.PASSED: ("PASS", "green"),
    Outcome.FAILED: ("FAIL", "bold red"),
    Outcome.NOT_EXERCISED: ("--", "dim"),
}


def scorecard(evaluation: Evaluation) -> RenderableType:
    """Return verdicts by block, and the figures."""
    parts: list[RenderableType] = [
        Text(),
        Text.assemble((evaluation.target, "bold"), f"  {evaluation.title}"),
    ]
    for block, verdicts in evaluation.blocks.items():
        parts += [Text(), Text(block, style="bold")]
        for verdict in verdicts:
            mark, style = _MARKS[verdict.outcome]
            line = Text.assemble("  ", (f"{mark:<5}", style), verdict.property_id)
            if verdict.outcome is Outcome.FAILED:
                said = (verdict.findings[0].said if verdict.findings else "", verdict.reason)
                told = [Padding(Text(each, style="dim"), (0, 0, 0, 7)) for each in said if each]
                parts += [line, *told]
            elif verdict.reason:
                parts.append(line.append(f": {verdict.reason}", style="dim"))
            else:
                parts.append(line)
    figures = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    figures.add_column(no_wrap=True, style="dim")
    figures.add_column()
    for name, text in evaluation.figures.items():
        figures.add_row(name, Text(text))
    style = "bold red" if evaluation.failed else "bold green"
    parts += [Text(), figures, Text(), Text(evaluation.summary, style=style)]
    return Group(*parts)


def replays(evaluation: Evaluation) -> list[str]:
    """Return a command for each failed property, to be printed as it is."""
    return [each.command for verdict in evaluation.failed for each in verdict.findings[:1]]
