"""What all verbs that open a drive have in common: options, opening, results."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from host_driver.commands.pins import entered_pin, given_pin, is_attended
from host_driver.commands.shown import printable
from host_driver.errors import Erased, Locked, NoPin, SelfTestFailed, WrongPin

if TYPE_CHECKING:
    from firmware_model.wire.native import State
    from host_driver.attachment import Operator
    from host_driver.drive import Drive

F = TypeVar("F", bound=Callable[..., Any])
ROLES = ("user", "admin")
TRANSPORTS = ("bulk-only", "uas")


class TargetType(click.ParamType[str]):
    """A URL, or the path of a drive's file."""

    name = "target"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        return f"model:{text}" if text.endswith(".sed") and not _has_scheme(text) else text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete profiles, defects behind a plus, files of drives; else what the shell can."""
        from importlib.metadata import entry_points

        words: list[str] = []
        for point in entry_points(group="sedlab.completion"):
            words += point.load()(incomplete)
        folder = incomplete.removesuffix(os.path.split(incomplete)[1])  # as typed: ./, ../x/
        words += sorted(f"{folder}{path.name}" for path in Path(folder).glob("*.sed"))
        found = [CompletionItem(word) for word in words if word.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


def _has_scheme(text: str) -> bool:
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme.isalpha() and len(scheme) > 1  # C:\ is a drive of another kind


@dataclass(frozen=True, slots=True)
class Session:
    """What was said on the command line about the drive and the way to it."""

    target: str
    role: str
    pin_fd: int | None
    identity: str | None
    known_drives: Path | None
    trace: Path | None
    is_verbose: bool
    destroys_data: bool
    serial: str | None
    operator: str | None
    transport: str
    as_json: bool

    def open(self) -> Drive:
        """Open the drive; raise DriveError when it can't be reached."""
        from host_driver.attachment import OpenOptions, TransportKind
        from host_driver.drive import open_drive

        options = OpenOptions(
            destroys_data=self.destroys_data,
            serial=self.serial,
            identity=self.identity,
            known_drives=self.known_drives,
            trace=self.trace,
            on_exchange=_tell if self.is_verbose else None,
            operator=_operator_of(self.operator),
            transport=TransportKind(self.transport),
        )
        return open_drive(self.target, options, ask=_ask if is_attended() else None)

    def unlock(self, drive: Drive, role: str | None = None) -> None:
        """Unlock with the PIN that was given, or asked for.

        Without one, return where the drive is open already or has no lock, and raise what keeps it
        shut otherwise: Locked, NoPin, Erased or SelfTestFailed.
        """
        from firmware_model.wire.native import State

        role = role or self.role
        status = drive.status()
        if status is None:
            return
        pin = given_pin(role, self.pin_fd)
        if pin is None:
            if status.state is State.UNLOCKED:
                return
            _refuse_without_pin(status.state)
            pin = entered_pin(role, None)
        if pin is None:
            raise Locked(f"the drive is locked: give SEDLAB_PIN_{role.upper()}")
        self.try_pin(drive, pin, role)

    def try_pin(self, drive: Drive, pin: str, role: str) -> None:
        """Unlock with a PIN; where none is left after a wrong one, note what the drive is now."""
        try:
            drive.unlock(pin, role)
        except WrongPin as wrong:
            status = drive.status() if wrong.tries_left == 0 else None
            if status is not None:
                wrong.add_note(f"the drive is now {status.state.name.lower()}")
            raise

    def show(self, document: dict[str, Any], lines: list[str]) -> None:
        """Print a result: a JSON document for a program, lines for a person."""
        if self.as_json:
            click.echo(json.dumps(document, indent=2))
        elif lines:
            click.echo("\n".join(printable(line) for line in lines))


def _refuse_without_pin(state: State) -> None:
    """Raise what no PIN could help against."""
    match state.name:
        case "FACTORY":
            raise NoPin("no PIN has been set yet: set-pin sets the first")
        case "ERASED":
            raise Erased("the drive has been erased: set a PIN to use it anew")
        case "FAILED":
            raise SelfTestFailed("the drive failed its self-test")


def _operator_of(target: str | None) -> Operator | None:
    if target is None:
        return None
    from host_driver.operator_socket import OperatorSocket

    return OperatorSocket(target)


def _tell(line: str) -> None:
    click.echo(printable(line), err=True)


def _ask(serial: str, fingerprint: str) -> bool:
    known = f"Drive {printable(serial)} is not known yet. Its identity is {fingerprint}"
    click.echo(known, err=True)
    return click.confirm("Trust it from now on?", err=True)


def opens_drive(function: F, roles: tuple[str, ...] = ROLES) -> F:
    """Give a verb TARGET and the options of opening it; it is called with a Session."""

    @click.argument("target", type=TargetType())
    @click.option(
        "--role", type=click.Choice(roles), default="user", show_default=True, help="Whose PIN."
    )
    @click.option("--pin-fd", type=int, metavar="N", help="Read the PIN from a file descriptor.")
    @click.option("--identity", metavar="FINGERPRINT", help="Trust a drive of this identity only.")
    @click.option(
        "--known-drives",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File of pinned identities, instead of the user's own.",
    )
    @click.option(
        "--trace",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write what crosses the bus to a pcap file.",
    )
    @click.option("-v", "--verbose", is_flag=True, help="Show every exchange on the bus.")
    @click.option("--destroys-data", is_flag=True, help="Allow a real drive to be changed.")
    @click.option("--serial", help="Serial number of the real drive that is meant.")
    @click.option(
        "--operator", metavar="TARGET", help="Press keys of a drive that another process serves."
    )
    @click.option(
        "--transport",
        type=click.Choice(TRANSPORTS),
        default=TRANSPORTS[0],
        show_default=True,
        help="How commands reach a drive on USB.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
    @functools.wraps(function)
    def opened(
        target: str,
        role: str,
        pin_fd: int | None,
        identity: str | None,
        known_drives: Path | None,
        trace: Path | None,
        verbose: bool,
        destroys_data: bool,
        serial: str | None,
        operator: str | None,
        transport: str,
        as_json: bool,
        **rest: Any,
    ) -> Any:
        session = Session(
            target,
            role,
            pin_fd,
            identity,
            known_drives,
            trace,
            verbose,
            destroys_data,
            serial,
            operator,
            transport,
            as_json,
        )
        return function(session, **rest)

    return opened  # type: ignore[return-value]
