"""The verbs about PINs and keys: unlock, lock, set-pin, erase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from host_driver.commands.options import ROLES, F, Session, opens_drive
from host_driver.commands.pins import (
    entered_pin,
    given_pin,
    is_attended,
    new_pin,
    reset_code,
)
from host_driver.commands.shown import printable
from host_driver.errors import NoPin, NotSupported

if TYPE_CHECKING:
    from host_driver.attachment import Holder
    from host_driver.drive import Drive

NEW_ROLES = ("user", "admin", "duress", "recovery")
OPENERS = (*ROLES, "recovery")


@click.command()
@opens_drive
def unlock(session: Session) -> None:
    """Try a PIN: right or wrong, and how many tries are left."""
    with session.open() as drive:
        pin = entered_pin(session.role, session.pin_fd)
        if pin is None:
            raise click.UsageError(f"no PIN: give SEDLAB_PIN_{session.role.upper()} or --pin-fd N")
        session.try_pin(drive, pin, session.role)
        said = "unlocked"
        stays_open = not session.target.startswith("model:")
        if not stays_open:
            said = (
                "the PIN is right. A drive in this process locks again on exit: "
                "no unlocked state is ever stored"
            )
        document = {"unlocked": True, "role": session.role, "stays_unlocked": stays_open}
        lines = [said]
        if drive.holder is not None:
            document |= {"device": drive.holder.node, "device_blocks": drive.holder.block_count}
            lines.append(_seen_by(drive.holder))
        session.show(document, lines)


def _seen_by(holder: Holder) -> str:
    """Return what the system that has the drive as a disk knows of its medium by now."""
    if not holder.node:
        return "no disk driver has the drive: there is nothing to mount"
    if not holder.block_count:
        return f"{holder.node}: no medium seen yet; as root, blockdev --rereadpt {holder.node}"
    return f"{holder.node}: {holder.block_count} blocks, to be mounted"


@click.command()
@opens_drive
def lock(session: Session) -> None:
    """Lock a drive."""
    with session.open() as drive:
        drive.lock()
        session.show({"locked": True}, ["locked"])


def _opens_for_pin(function: F) -> F:
    return opens_drive(function, NEW_ROLES)


@click.command("set-pin")
@_opens_for_pin
@click.option("--as", "opener", type=click.Choice(OPENERS), help="Who opens the drive for it.")
@click.option("--new-pin-fd", type=int, metavar="N", help="Read the new PIN from there.")
def set_pin(session: Session, opener: str | None, new_pin_fd: int | None) -> None:
    """Give a role a PIN: the first of a blank drive, or a new one.

    A drive that has PINs is opened first: by that role, or by whoever decides where the role has
    no PIN yet. The drive draws the PINs of `--role recovery` itself, and shows them this once; one
    of them, which then ends, gives a user who is blocked or forgot a new PIN: `--as recovery`.
    """
    if opener == "recovery" and session.role != "user":
        raise click.UsageError("a recovery PIN gives a new PIN to the user, and to no other role")
    with session.open() as drive:
        if drive.status() is None:
            raise NotSupported("the drive offers no PIN that sedlab knows")
        was_blank = drive.is_blank
        if was_blank and "recovery" in (session.role, opener):
            raise NoPin("no PIN has been set yet: there is nothing to recover")
        document: dict[str, object] = {"set": session.role}
        lines = [f"PIN of {session.role} set"]
        if opener == "recovery":
            _recover(session, drive, new_pin_fd)
        else:
            if not was_blank:
                session.unlock(drive, opener or _opener(session, drive))
            if session.role == "recovery":
                document["pins"] = pins = drive.make_recovery_pins()
                lines = [f"recovery PIN {at}  {pin}" for at, pin in enumerate(pins, 1)]
                lines.append("Each opens once. They are shown this once: keep them apart.")
            else:
                drive.set_pin(new_pin(session.role, new_pin_fd), session.role)
        if was_blank and drive.dialect == "native":
            from host_driver.known_drives import fingerprint

            document["identity"] = shown = fingerprint(drive.identity())
            lines.append(f"identity {shown}")
        session.show(document, lines)


def _recover(session: Session, drive: Drive, new_pin_fd: int | None) -> None:
    """Give the user a new PIN by a recovery PIN."""
    pin = entered_pin("recovery", session.pin_fd)
    if pin is None:
        raise click.UsageError("no PIN: give SEDLAB_PIN_RECOVERY or --pin-fd N")
    drive.recover(pin, new_pin("user", new_pin_fd))


def _opener(session: Session, drive: Drive) -> str:
    """Return who is to open the drive, so that the role's PIN can be set."""
    status = drive.status()
    has_admin = status is not None and status.has_admin
    if session.role == "user":
        only_admin = given_pin("admin", None) is not None and given_pin("user", None) is None
        return "admin" if has_admin and only_admin else "user"
    return "admin" if has_admin else "user"


@click.command()
@opens_drive
@click.option("--reset-code", "by_code", is_flag=True, help="Ask for the reset code.")
@click.option("--reset-code-fd", type=int, metavar="N", help="Read the reset code from there.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
def erase(session: Session, by_code: bool, reset_code_fd: int | None, yes: bool) -> None:
    """Destroy all keys, and so all data.

    By the right of --role, whose PIN is asked for, or by the reset code that `new` printed
    (--reset-code, --reset-code-fd N or SEDLAB_RESET_CODE).
    """
    if not yes and not is_attended():
        raise click.UsageError("an erase can't be undone: add --yes")
    code = reset_code(reset_code_fd, is_wanted=by_code)
    with session.open() as drive:
        if drive.is_blank:
            raise NoPin("the drive has no keys to destroy")
        if not yes:
            which = printable(f"{session.target} ({drive.info().serial})")
            if not click.confirm(f"Destroy everything on {which}?", err=True):
                raise NotMeant("nothing was erased")
        if code is None:
            session.unlock(drive)
        drive.erase(code)
        session.show({"erased": True}, ["erased"])


class NotMeant(click.ClickException):
    """Somebody was asked, and said no."""
