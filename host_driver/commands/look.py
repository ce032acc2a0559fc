"""The verbs that only look: list, info, log."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from host_driver.commands.options import Session, opens_drive
from host_driver.commands.pins import entered_pin
from host_driver.commands.shown import printable

if TYPE_CHECKING:
    from firmware_model.wire.attempt_log import LogRecord
    from firmware_model.wire.native import Status
    from host_driver.attempt_log import AttemptLog
    from host_driver.drive import Drive, Info
    from host_driver.linux_disks import LinuxDisk


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_drives(as_json: bool) -> None:
    """Show what can be a target.

    Profiles, files of drives in this folder, attached USB drives, and those that the Linux kernel
    has as disks.
    """
    import json
    from importlib.metadata import entry_points

    from host_driver.linux_disks import usb_disks

    models: list[str] = []
    for point in entry_points(group="sedlab.completion"):
        models += point.load()("")
    files = [str(each) for each in sorted(Path().glob("*.sed"))]
    attached, reason = _attached()
    held = usb_disks()
    if as_json:
        document = {
            "models": models,
            "files": files,
            "usb": attached,
            "usb_unlisted": reason,
            "sg": [_held_document(disk) for disk in held],
        }
        click.echo(json.dumps(document, indent=2))
        return
    for target in (*models, *files, *attached):
        click.echo(printable(target))
    for disk in held:
        named = _held_document(disk)
        block = "" if named["block"] is None else f", {named['block']}"
        said = f"{disk.vendor} {disk.product}, serial {disk.serial or 'none'}{block}"
        click.echo(f"{named['url']:<15} {printable(said)}")
    if reason:
        click.echo(f"no USB drives listed: {reason}", err=True)
    click.echo("model:PROFILE+DEFECT has a weakness: see `sedlab defects list`", err=True)


def _held_document(disk: LinuxDisk) -> dict[str, str | None]:
    """Return what is told of a drive that the kernel has; sgN is what everybody's commands pass."""
    block = f"/dev/{disk.block}" if disk.block else None
    node = f"/dev/{disk.generic}" if disk.generic else block
    return {
        "url": f"sg:{node}",
        "block": block,
        "vendor": disk.vendor,
        "product": disk.product,
        "serial": disk.serial,
    }


def _attached() -> tuple[list[str], str]:
    """Return the URLs of attached mass-storage devices, and why there may be more."""
    from usb.core import USBError

    from host_driver.backends.libusb import attached, find_backend
    from host_driver.errors import DriveError

    try:
        return [f"usb:{name}" for name in attached(find_backend())], ""
    except (DriveError, USBError) as refused:
        return [], str(refused)


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
            "firmware": {
                "version": str(status.version),
                "security_version": status.security_version,
            },
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


def _firmware(status: Status) -> str:
    if not status.version.number:
        return "none that may run"
    return f"{status.version}, security version {status.security_version}"


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
            ("firmware", _firmware(status)),
            ("tries left", ", ".join(tries)),
            ("guesses", f"{sum(status.limits)} before the limit, over all roles"),
            ("features", ", ".join(_features(status)) or "none"),
            ("admin PIN", "set" if status.has_admin else "not set"),
            ("recovery", f"{status.recovery_left} unused PINs"),
            ("read-only", "yes" if status.is_read_only else "no"),
        ]
    return [f"{name:<11} {text}" for name, text in rows]


class LogCommand(click.Command):
    """A verb whose --verify may stand before TARGET and still have no KEY."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spelled = [
            "--verify=" if each == "--verify" and not following.startswith("SHA256:") else each
            for each, following in pairwise([*args, ""])
        ]
        return super().parse_args(ctx, spelled)


@click.command(cls=LogCommand)
@opens_drive
@click.option(
    "--verify",
    is_flag=False,
    flag_value="",
    metavar="[KEY]",
    help="Prove the log: by the pinned identity, or by this fingerprint (SHA256:...).",
)
def log(session: Session, verify: str | None) -> None:
    """Show the attempt log, or prove it.

    With the PIN of who decides over the drive, single records; without, counts by kind, which the
    drive signs. With --verify, says what is proved, and exits 1 when it is not.
    """
    from host_driver.attempt_log import LogNotProved, attempts, counts_by_name
    from host_driver.errors import IdentityChanged, IdentityUnknown
    from host_driver.known_drives import fingerprint

    if verify:
        session = replace(session, identity=verify)
    with session.open() as drive:
        try:
            kept = _kept(session, drive)
            evidence = drive.evidence()
        except (LogNotProved, IdentityChanged, IdentityUnknown) as wrong:
            if verify is None:
                raise
            raise NotProved(f"not proved: {wrong}") from wrong
        shown = fingerprint(evidence.identity)
        counts = {name: count for name, count in counts_by_name(evidence).items() if count}
        document = {
            "records": None if kept is None else [_record(each) for each in kept.records],
            "count": evidence.count,
            "counts": counts,
            "attempts": attempts(evidence),
            "head": evidence.head.hex(),
            "identity": shown,
            "verified": verify is not None,
        }
        lines = [] if kept is None else _record_lines(kept)
        lines += [f"{count:>6}  {name}" for name, count in counts.items()]
        lines.append(f"{evidence.count:>6}  records, {attempts(evidence)} PINs tried")
        lines.append(f"head {evidence.head.hex()}")
        if verify is not None:
            lines += _proved(shown, _why_believed(session, drive), kept is not None)
        session.show(document, lines)


class NotProved(click.ClickException):
    """The log, or whose it is, is not proved."""


def _kept(session: Session, drive: Drive) -> AttemptLog | None:
    """Return single records, which take the PIN of who may see them; None without one."""
    if drive.dialect != "native" or drive.is_blank:
        return None
    pin = entered_pin(session.role, session.pin_fd, is_optional=True)
    if pin is None:
        return None
    session.try_pin(drive, pin, session.role)
    return drive.log()


def _record(record: LogRecord) -> dict[str, Any]:
    document: dict[str, Any] = {
        "number": record.number,
        "time_us": record.time_us,
        "event": record.event.name,
    }
    role = _role(record)
    if role:
        document["role"] = role
    if any(record.megabytes):
        document["read_mib"], document["written_mib"] = record.megabytes
    if record.firmware is not None:
        version, document["security_version"] = record.firmware
        document["version"] = str(version)
    return document


def _role(record: LogRecord) -> str:
    from firmware_model.wire.native import Role

    return {int(role): role.name.lower() for role in Role}.get(record.role, "")


def _record_lines(log: AttemptLog) -> list[str]:
    lines = []
    if log.checkpoint is not None:
        lines.append(f"{log.checkpoint.base:>6}  earlier records, folded into a signed checkpoint")
    for record in log.records:
        line = f"{record.number:>6}  {record.time_us / 1e6:>12.3f} s  {record.event.name:<14}"
        read, written = record.megabytes
        moved = f"{read} MiB read, {written} MiB written" if read or written else ""
        firmware = (
            "" if record.firmware is None else "{}, security version {}".format(*record.firmware)
        )
        lines.append(f"{line} {_role(record) or moved or firmware}".rstrip())
    return lines


def _why_believed(session: Session, drive: Drive) -> str:
    """Return why the drive's identity is taken for the right one."""
    if session.identity is not None:
        return "has the fingerprint that was given"
    if drive.is_trusted:
        return "was made for this command"
    return "has the identity that is pinned for its serial number"


def _proved(identity: str, why: str, has_records: bool) -> list[str]:
    lines = [
        f"proved: drive {identity} signed head and counts over a nonce drawn just now",
        f"proved: that drive {why}",
        "proved: no record can be missing from these counts since the drive was made",
    ]
    if has_records:
        lines.append("proved: the records shown lead to that head, with none left out")
    else:
        lines.append("not shown: single records, which take a PIN on a drive that a host unlocks")
    return lines
