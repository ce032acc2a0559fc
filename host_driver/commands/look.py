"""The verbs that only look: list, info, log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_driver.commands.options import Session, opens_drive

if TYPE_CHECKING:
    from firmware_model.wire.attempt_log import Evidence, LogRecord
    from firmware_model.wire.native import Status
    from host_driver.drive import Drive, Info

MASS_STORAGE = 0x08


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_drives(as_json: bool) -> None:
    """Show what can be a target: profiles, files of drives here, attached USB drives."""
    import json
    from importlib.metadata import entry_points

    models: list[str] = []
    for point in entry_points(group="sedlab.completion"):
        models += point.load()("")
    files = [str(each) for each in sorted(Path().glob("*.sed"))]
    attached, reason = _attached()
    if as_json:
        click.echo(json.dumps({"models": models, "files": files, "usb": attached}, indent=2))
        return
    for target in (*models, *files, *attached):
        click.echo(target)
    if reason:
        click.echo(f"no USB drives listed: {reason}", err=True)


def _attached() -> tuple[list[str], str]:
    """Return the URLs of attached mass-storage devices, and why there may be more."""
    import usb.core
    import usb.util

    from host_driver.backends.libusb import find_backend
    from host_driver.errors import DriveError

    def is_disk(device: Any) -> bool:
        return any(
            usb.util.find_descriptor(configuration, bInterfaceClass=MASS_STORAGE) is not None
            for configuration in device
        )

    try:
        found = usb.core.find(backend=find_backend(), find_all=True, custom_match=is_disk)
        urls = [f"usb:{each.idVendor:04x}:{each.idProduct:04x}" for each in found]
    except DriveError as refused:
        return [], str(refused)
    except usb.core.USBError as refused:
        return [], str(refused)
    return urls, ""


@click.command()
@opens_drive
def info(session: Session) -> None:
    """Show what a drive says of itself without a PIN."""
    with session.open() as drive:
        found = drive.info()
        session.show(_document(found), _lines(found))


def _document(found: Info) -> dict[str, Any]:
    document: dict[str, Any] = {
        "vendor": found.vendor,
        "product": found.product,
        "revision": found.revision,
        "serial": found.serial,
        "dialect": found.dialect,
        "state": None,
    }
    status = found.status
    if status is not None:
        document |= {
            "state": status.state.name.lower(),
            "tries": dict(zip(_COUNTS, status.tries, strict=True)),
            "limits": dict(zip(_COUNTS, status.limits, strict=True)),
            "guesses": sum(status.limits),
            "features": _features(status),
            "is_read_only": status.is_read_only,
            "has_admin": status.has_admin,
            "recovery_left": status.recovery_left,
        }
    return document


_COUNTS = ("user", "admin", "recovery")


def _features(status: Status) -> list[str]:
    return [str(each.name).lower().replace("_", "-") for each in status.features]


def _lines(found: Info) -> list[str]:
    status = found.status
    rows = [
        ("drive", f"{found.vendor} {found.product}, revision {found.revision}"),
        ("serial", found.serial),
        ("dialect", found.dialect),
    ]
    if status is None:
        rows.append(("state", "no lock that sedlab knows"))
    else:
        tries = (
            f"{left} of {limit} as {name}"
            for name, left, limit in zip(_COUNTS, status.tries, status.limits, strict=True)
        )
        rows += [
            ("state", status.state.name.lower()),
            ("tries left", ", ".join(tries)),
            ("guesses", f"{sum(status.limits)} before the limit, over all roles"),
            ("features", ", ".join(_features(status)) or "none"),
            ("admin PIN", "set" if status.has_admin else "not set"),
            ("recovery", f"{status.recovery_left} unused PINs"),
            ("read-only", "yes" if status.is_read_only else "no"),
        ]
    return [f"{name:<11} {text}" for name, text in rows]


@click.command()
@opens_drive
@click.option(
    "--verify",
    is_flag=False,
    flag_value="",
    metavar="[KEY]",
    help="Prove the log: by the pinned identity, or by this fingerprint.",
)
def log(session: Session, verify: str | None) -> None:
    """Show the attempt log: single records with a PIN, signed counts without.

    With --verify, say what is proved; exits 3 where the proof fails.
    """
    from host_driver.attempt_log import attempts, counts_by_name
    from host_driver.known_drives import fingerprint

    if verify:
        session = replace(session, identity=verify)
    with session.open() as drive:
        records = _records(session, drive)
        evidence = drive.evidence()
        shown = fingerprint(evidence.identity)
        counts = {name: count for name, count in counts_by_name(evidence).items() if count}
        document = {
            "records": None if records is None else [_record(each) for each in records],
            "count": evidence.count,
            "counts": counts,
            "attempts": attempts(evidence),
            "head": evidence.head.hex(),
            "identity": shown,
            "verified": verify is not None,
        }
        lines = [] if records is None else [_line(each) for each in records]
        lines += [f"{count:>6}  {name}" for name, count in counts.items()]
        lines.append(f"{evidence.count:>6}  records, {attempts(evidence)} PINs tried")
        lines.append(f"head {evidence.head.hex()}")
        if verify is not None:
            lines += _proved(evidence, shown, records is not None)
        session.show(document, lines)


def _records(session: Session, drive: Drive) -> tuple[LogRecord, ...] | None:
    """Return single records, which need the PIN of who may see them; None without one."""
    if drive.dialect != "native" or drive.is_blank or not session.unlock(drive, must=False):
        return None
    return drive.log().records


def _record(record: LogRecord) -> dict[str, Any]:
    return {"number": record.number, "time_us": record.time_us, "event": record.event.name}


def _line(record: LogRecord) -> str:
    return f"{record.number:>6}  {record.time_us / 1e6:>12.3f} s  {record.event.name}"


def _proved(evidence: Evidence, identity: str, has_records: bool) -> list[str]:
    lines = [
        f"proved: drive {identity} signed head and counts over a nonce drawn just now",
        "proved: no record can be missing from these counts since the drive was made",
    ]
    if has_records:
        lines.append("proved: the records shown lead to that head, with none left out")
    return lines
