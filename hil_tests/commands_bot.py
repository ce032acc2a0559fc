"""The verb of the harness that sets both ends of Bulk-Only against each other: bot-cases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from host_driver.commands.options import Session, opens_drive
from host_driver.errors import CommandRefused, Erased, Locked, NoPin, NotSupported

if TYPE_CHECKING:
    from hil_tests.bot.cases import Observation
    from hil_tests.bot.recovery import Recovery
    from host_driver.drive import Drive

AS_SPECIFIED: Final = "as specified"
TOLERATED: Final = "tolerated"  # against the letter, and no host minds
BROKEN: Final = "broken"
NOT_EXERCISED: Final = "not exercised"


@click.command("bot-cases")
@opens_drive
def bot_cases(session: Session) -> None:
    """Show how a drive ends each of the thirteen cases of Bulk-Only, and every recovery.

    A case is what host and drive expect of a data phase (BOT 1.0 6.7). A recovery is a reset and
    clear-halts of both endpoints, some of them and in some order, from each trouble that calls for
    one. Cases that write need an open drive; they restore two blocks. Exits 1 where one is broken.
    """
    with session.open() as drive:
        if drive.device is None:
            raise NotSupported(
                f"{session.target} shows no bus: wrappers are sent to usb:, usbip: or model:"
            )
        if not drive.destroys_data:
            raise CommandRefused(
                "not run: it may change a real drive, which needs --destroys-data and its serial "
                "number"
            )
        _open(session, drive)
        cases, recoveries = _run(drive)
    rows = [_case_row(name, seen) for name, seen in cases]
    troubles = [_recovery_row(each) for each in recoveries]
    document = {"target": session.target, "cases": rows, "recoveries": troubles}
    session.show(document, [*_table(rows), "", *_summary(troubles)])
    if any(each["verdict"] == BROKEN for each in (*rows, *troubles)):
        sys.exit(1)


def _open(session: Session, drive: Drive) -> None:
    """Open the medium if that can be; one that was made for this is given a PIN first."""
    from hil_tests.actions import PINS
    from hil_tests.bot.medium import BLOCKS, LBA

    if drive.is_trusted and drive.is_blank:
        drive.set_pin(PINS[0])
        drive.unlock(PINS[0])
        return
    try:
        session.unlock(drive)
    except (Locked, NoPin, Erased) as closed:
        click.echo(f"bot-cases: {closed}: no case that takes the medium is exercised", err=True)
        return
    if not drive.disk.is_write_protected():
        # An interlock looks at the medium before the first write, and all that follow go past it.
        drive.write(LBA, drive.read(LBA, BLOCKS))


def _run(drive: Drive) -> tuple[list[tuple[str, Observation | None]], list[Recovery]]:
    from hil_tests.actions import BOT_ORDERS, BOT_TROUBLES
    from hil_tests.bot import cases, recovery
    from hil_tests.bot.link import RawLink
    from hil_tests.bot.medium import Medium

    assert drive.device is not None
    link = RawLink(drive.device)
    medium = Medium.of(link)
    observed = [
        (case.name, None if cases.lacking(case, medium) else cases.run(link, case, medium))
        for case in cases.CASES
    ]
    recovered = [
        recovery.recover(link, trouble, order, medium)
        for trouble in BOT_TROUBLES
        for order in BOT_ORDERS
    ]
    return observed, recovered


def _case_row(name: str, seen: Observation | None) -> dict[str, Any]:
    from hil_tests.bot.cases import BY_NAME

    case = BY_NAME[name]
    row: dict[str, Any] = {
        "case": case.number,
        "name": name,
        "command": case.command,
        "host": case.host_text,
        "device": case.device_text,
    }
    if seen is None:
        return row | {"verdict": NOT_EXERCISED, "said": [f"it takes {case.needs.value}"]}
    csw = seen.csw
    return row | {
        "data_bytes": seen.moved,
        "residue": None if csw is None else csw.residue,
        "status": None if csw is None else csw.status.value,
        "halt": seen.halt_text,
        "verdict": _verdict(seen.faults, seen.tolerated),
        "said": [*seen.faults, *seen.tolerated],
    }


def _recovery_row(seen: Recovery) -> dict[str, Any]:
    verdict = NOT_EXERCISED if seen.unreached else _verdict(seen.faults, [])
    said = [seen.unreached] if seen.unreached else seen.faults
    return {"trouble": seen.trouble, "order": seen.order, "verdict": verdict, "said": said}


def _verdict(faults: list[str], tolerated: list[str]) -> str:
    if faults:
        return BROKEN
    return TOLERATED if tolerated else AS_SPECIFIED


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    layout = "{:>4}  {:<8} {:<8} {:<18} {:>5} {:>7} {:>6}  {:<15} {}"
    names = ("case", "host", "device", "command", "data", "residue", "status", "halt", "verdict")
    yield layout.format(*names)
    for row in rows:
        status = row.get("status")
        seen = (
            row.get("data_bytes", "-"),
            "-" if row.get("residue") is None else row["residue"],
            "-" if status is None else f"{status:02X}",
            row.get("halt", "-"),
        )
        yield layout.format(
            *(row[name] for name in ("case", "host", "device", "command")),
            *seen,
            ": ".join((row["verdict"], *filter(None, ("; ".join(row["said"]),)))),
        )


def _summary(troubles: list[dict[str, Any]]) -> Iterator[str]:
    """One line for each trouble, and one for each order that led elsewhere."""
    for trouble in dict.fromkeys(each["trouble"] for each in troubles):
        each = [row for row in troubles if row["trouble"] == trouble]
        verdicts = [row["verdict"] for row in each]
        counts = (f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
        yield f"{trouble:<15} {len(each)} orders of recovery: {', '.join(counts)}"
        for row in each:
            if row["verdict"] == BROKEN:
                yield f"    {row['order']:<5} {'; '.join(row['said'])}"
        if verdicts[0] == NOT_EXERCISED:
            yield f"    {'; '.join(each[0]['said'])}"
