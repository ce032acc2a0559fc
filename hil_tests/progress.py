"""How far long work has come: a bar for each target on a terminal, a line for each thing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much
Shown = Callable[[str, str, int, int], None]  # the same of one target among several


@contextmanager
def shown(names: Sequence[str]) -> Iterator[Shown]:
    """Show on standard error how far each of several has come, by its name."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<60}"), BarColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {name: bars.add_task(name) for name in names}

        def show(name: str, doing: str, done: int, of: int) -> None:
            said = doing if len(names) == 1 else f"{name}: {doing}"
            bars.update(tasks[name], description=said, completed=done, total=of)

        yield show


def of(name: str, show: Shown) -> Progress:
    """Return what one of them calls."""
    return lambda doing, done, of: show(name, doing, done, of)


def _lines() -> Shown:
    said: set[tuple[str, str]] = set()

    def show(name: str, doing: str, done: int, of: int) -> None:
        if (name, doing) not in said:
            said.add((name, doing))
            click.echo(f"{name}: {doing}", err=True)

    return show
