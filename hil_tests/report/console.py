"""The scorecard on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hil_tests.report.values import Evaluation, Outcome

_MARKS = {
    Outcome.PASSED: ("PASS", "green"),
    Outcome.FAILED: ("FAIL", "bold red"),
    Outcome.NOT_EXERCISED: ("--", "dim"),
}


def scorecard(evaluation: Evaluation) -> RenderableType:
    """Return verdicts by block, the figures, and a command for each finding."""
    table = Table(
        title=f"{evaluation.target}: {escape(evaluation.title)}",
        caption=evaluation.summary,
        show_header=False,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column(width=4)
    table.add_column(no_wrap=True)
    table.add_column()
    for block, verdicts in evaluation.blocks.items():
        table.add_section()
        table.add_row("", Text(block, style="bold"), "")
        for verdict in verdicts:
            mark, style = _MARKS[verdict.outcome]
            said = verdict.reason or verdict.sentence
            if verdict.findings:
                said = verdict.findings[0].said
            table.add_row(Text(mark, style=style), verdict.property_id, Text(said))
    figures = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in evaluation.figures.items():
        figures.add_row(Text(name, style="dim"), Text(text))
    replays = [
        Text(f"sedlab replay '{finding.replay_id}'", overflow="fold")
        for verdict in evaluation.failed
        for finding in verdict.findings[:1]
    ]
    return Group(table, figures, *replays)
