"""The verbs of the harness: evaluate, replay, defects."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future, wait
from contextlib import closing
from datetime import date
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hil_tests.ending import breakable
from hil_tests.workers import workers
from host_driver.commands.options import TargetType
from host_driver.commands.shown import printable
from host_driver.errors import DriveError

if TYPE_CHECKING:
    from hil_tests.progress import Progress
    from hil_tests.report.values import Evaluation

DEPTHS = ("survey", "quick", "standard", "deep")
DEFAULT_OUT = Path("sedlab-report")
PROFILE_HELP = "What a drive of usb: is by its documents, or one of usbip:// without operator."
DESTROYS_HELP = "Allow the drive of usb:, with its serial number, to be changed and erased."
OPERATOR_HELP = "The operator of a drive that `serve` gives away: its FILE.sed, or the socket."


@click.command()
@click.argument("targets", nargs=-1, required=True, type=TargetType(), metavar="TARGET...")
@click.option("--depth", type=click.Choice(DEPTHS), default="standard", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 64), help="Targets judged at the same time.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder for report.html, report.json, junit.xml and traces.",
)
@click.option(
    "--content",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Store and search for this file instead of the register of residents.",
)
@click.option("--operator", metavar="SOCKET", help=OPERATOR_HELP)
@click.option("--profile", metavar="NAME", help=PROFILE_HELP)
@click.option("--destroys-data", is_flag=True, help=DESTROYS_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def evaluate(
    targets: tuple[str, ...],
    depth: str,
    jobs: int | None,
    out: Path,
    content: Path | None,
    operator: str | None,
    profile: str | None,
    destroys_data: bool,
    as_json: bool,
) -> None:
    """Attack and judge a drive: model:PROFILE, model:PROFILE+DEFECT, model:PROFILE+FILE.py:CLASS.

    Or one that `serve` gives away, usbip://HOST:PORT/BUSID --operator SOCKET: fresh drives of its
    make are judged over USB/IP, and it stays as it is.

    Or hardware, usb:VID:PID:SERIAL --profile NAME --destroys-data: it loses all it holds. Between
    runs it is erased, by the code in SEDLAB_RESET_CODE.

    Exits 1 when a property failed, and names the report; 3 when a drive went, which is in none.
    """
    from rich.console import Console

    from hil_tests.report import console, writers

    if operator is not None and len(targets) != 1:
        raise click.UsageError("--operator SOCKET is the operator of one drive")
    with breakable():
        for target in targets:  # wrong names are told before any long work
            _target(target, None, operator, profile, destroys_data).close()
    out.mkdir(parents=True, exist_ok=True)  # so is a folder that can't be written
    writers.withdraw(out)
    evaluations, gone = _evaluate_all(
        targets, depth, jobs or 2, content, out, operator, profile, destroys_data
    )
    if not evaluations:
        raise gone[0]
    paths = writers.write_all(evaluations, out)
    if as_json:
        click.echo(paths.json.read_text("utf-8"))
    else:
        screen = Console()
        for each in evaluations:
            screen.print(console.scorecard(each))
            click.echo("\n".join(console.replays(each)))
        click.echo(f"report: {paths.html}")
    for error in gone:
        click.echo(f"sedlab: {printable(str(error))}", err=True)
    if gone:
        sys.exit(gone[0].exit_status)
    if any(each.failed for each in evaluations):
        sys.exit(1)


def _target(
    url: str,
    content: Path | None = None,
    operator: str | None = None,
    profile: str | None = None,
    destroys_data: bool = False,
) -> Any:
    from hil_tests.content import load
    from hil_tests.runs import Target

    loaded = None if content is None else load(content)
    if url.startswith("usb:"):
        from hil_tests.usb_target import open_target as open_usb

        return open_usb(url, profile, destroys_data, loaded)
    if not url.startswith("usbip:"):
        return Target(url, loaded)
    from hil_tests.served_target import open_target

    return open_target(url, operator, profile, loaded)


def _evaluate_all(
    targets: tuple[str, ...],
    depth: str,
    jobs: int,
    content: Path | None,
    out: Path,
    operator: str | None,
    profile: str | None,
    destroys_data: bool,
) -> tuple[list[Evaluation], list[DriveError]]:
    """Judge each target, several at a time where there are several; tell what drives went, too."""
    from hil_tests import progress

    today = date.today().isoformat()  # noqa: DTZ011 - the day where the report is written
    plan = [(url, depth, content, operator, profile, destroys_data, out, today) for url in targets]
    with progress.shown(targets) as show:
        if len(targets) == 1:
            return [_evaluate_one(*plan[0], progress.of(targets[0], show))], []
        news: SimpleQueue[tuple[str, str, int, int]] = get_context("spawn").SimpleQueue()
        with workers(min(jobs, len(plan)), _tell_by, news) as pool:
            running = [pool.submit(_evaluate_one, *each) for each in plan]
            while not all(future.done() for future in running):
                wait(running, timeout=0.1)
                while not news.empty():
                    show(*news.get())
            return _sorted(running)


def _sorted(ended: list[Future[Evaluation]]) -> tuple[list[Evaluation], list[DriveError]]:
    """Return the evaluations, and why there is none of some drives; raise any other error."""
    evaluations, gone = [], []
    for future in ended:
        try:
            evaluations.append(future.result())
        except DriveError as error:
            gone.append(error)
    return evaluations, gone


_news: SimpleQueue[tuple[str, str, int, int]] | None = None  # of a worker, to whoever started it


def _tell_by(news: SimpleQueue[tuple[str, str, int, int]]) -> None:
    global _news
    _news = news


def _tell(url: str) -> Progress:
    def tell(doing: str, done: int, of: int) -> None:
        if _news is not None:
            _news.put((url, doing, done, of))

    return tell


def _evaluate_one(
    url: str,
    depth: str,
    content: Path | None,
    operator: str | None,
    profile: str | None,
    destroys_data: bool,
    out: Path,
    today: str,
    progress: Progress | None = None,
) -> Evaluation:
    from hil_tests.evaluate import evaluate as run
    from hil_tests.report.writers import folder_name

    traces = out / "traces" / folder_name(url)
    told = progress or _tell(url)
    given = {"--content": content, "--operator": operator, "--profile": profile}
    options = [str(each) for option in given.items() if option[1] is not None for each in option]
    options += ["--destroys-data"] * destroys_data
    with breakable(), closing(_target(url, content, operator, profile, destroys_data)) as target:
        return run(
            target,
            depth=depth,
            date=today,
            traces=traces,
            options=tuple(options),
            progress=told,
        )


@click.command()
@click.argument("replay_id")
@click.argument("target", required=False, type=TargetType())
@click.option(
    "--content",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The content of the evaluation, where it was not the register.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what crosses the bus to a pcap file.",
)
@click.option("--operator", metavar="SOCKET", help=OPERATOR_HELP)
@click.option("--profile", metavar="NAME", help=PROFILE_HELP)
@click.option("--destroys-data", is_flag=True, help=DESTROYS_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def replay(
    replay_id: str,
    target: str | None,
    content: Path | None,
    trace: Path | None,
    operator: str | None,
    profile: str | None,
    destroys_data: bool,
    as_json: bool,
) -> None:
    """Run the steps of a finding again, on its own target or on another.

    Exits 1 when it fails again, and 0 when it passes.
    """
    from hil_tests.actions import ReplayId
    from hil_tests.evaluate import replay as run
    from hil_tests.evaluate import write_trace

    wanted = ReplayId.parse(replay_id)
    url = target or wanted.target
    with breakable(), closing(_target(url, content, operator, profile, destroys_data)) as again:
        failure = run(again, wanted.property_id, wanted.actions)
        if trace is not None:
            write_trace(again, wanted.actions, trace)
    lines = [] if failure is None else [step.line() for step in failure.steps]
    if as_json:
        said = None if failure is None else failure.said
        click.echo(json.dumps({"target": url, "failed": said, "steps": lines}, indent=2))
    elif failure is None:
        click.echo(f"passed: {wanted.property_id} holds on {url}")
    else:
        click.echo("\n".join(lines))
        click.echo(f"failed: {failure.property_id}: {failure.said}")
    if failure is not None:
        sys.exit(1)


@click.group(invoke_without_command=True)
@click.pass_context
def defects(context: click.Context) -> None:
    """Weaknesses that can be seeded into a model."""
    if context.invoked_subcommand is None:
        context.invoke(list_defects)


@defects.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_defects(as_json: bool = False) -> None:
    """Every defect, with the profile to seed it into and the property that finds it."""
    from firmware_model.defects import DEFECTS

    if as_json:
        click.echo(json.dumps([_described(name) for name in DEFECTS], indent=2))
        return
    width = max(map(len, DEFECTS))
    for name, defect in DEFECTS.items():
        click.echo(f"{name:<{width}}  {defect.profile:<7} {defect.killed_by}")


@defects.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show_defect(name: str, as_json: bool) -> None:
    """One defect: what it does, where it was published, which parts it replaces."""
    from firmware_model.defects import DEFECTS

    if name not in DEFECTS:
        raise click.UsageError(f"no defect {name!r}; see `sedlab defects list`")
    described = _described(name)
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    for label, text in described.items():
        click.echo(f"{label:<10} {text}")
    click.echo(f"\nsedlab evaluate model:{described['profile']}+{name}")


@defects.command("matrix")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the matrix as JSON.")
def matrix(jobs: int, as_json: bool) -> None:
    """Judge every defect by every property's scenarios: which find which."""
    from firmware_model.defects import DEFECTS

    found: dict[str, list[str]] = {}
    with workers(jobs) as pool:
        running = {name: pool.submit(_broken_by, name) for name in DEFECTS}
        for name, future in running.items():
            found[name] = future.result()
            if not as_json:
                mark = " " if DEFECTS[name].killed_by in found[name] else "!"
                click.echo(f"{mark} {name}: {', '.join(found[name]) or 'nothing'}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    missed = [name for name, by in found.items() if DEFECTS[name].killed_by not in by]
    if missed:
        raise click.ClickException(f"not found by their own property: {', '.join(missed)}")


def _broken_by(name: str) -> list[str]:
    from firmware_model.defects import DEFECTS
    from hil_tests.evaluate import broken_properties

    return broken_properties(_target(f"model:{DEFECTS[name].profile}+{name}"))


def _described(name: str) -> dict[str, str]:
    from firmware_model.defects import DEFECTS

    defect = DEFECTS[name]
    return {
        "name": name,
        "what": defect.sentence,
        "published": defect.citation,
        "profile": defect.profile,
        "parts": ", ".join(defect.parts),
        "found by": defect.killed_by,
    }
