"""PINs as a person or a program gives them: never in argv.

In order: a file descriptor, the environment, a prompt where somebody sits at a terminal.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import click

PIN_BYTES_MAX: Final = 4096  # of a line on a file descriptor; longer is no PIN


def given_pin(role: str, fd: int | None) -> str | None:
    """Return the PIN of a role that a program gave; None where it gave none."""
    if fd is not None:
        return _line_of(fd)
    return os.environ.get(f"SEDLAB_PIN_{role.upper()}")


def entered_pin(role: str, fd: int | None) -> str | None:
    """Return the PIN of a role, asked for at a terminal where none was given."""
    given = given_pin(role, fd)
    if given is None and is_attended():
        return str(click.prompt(f"PIN of {role}", hide_input=True, err=True))
    return given


def new_pin(role: str, fd: int | None) -> str:
    """Return a role's new PIN, typed twice at a terminal; raise UsageError where there is none."""
    if fd is not None:
        return _line_of(fd)
    given = os.environ.get("SEDLAB_NEW_PIN")
    if given is not None:
        return given
    if not is_attended():
        raise click.UsageError("no new PIN: give it by SEDLAB_NEW_PIN or --new-pin-fd N")
    return str(
        click.prompt(f"New PIN of {role}", hide_input=True, confirmation_prompt=True, err=True)
    )


def is_attended() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _line_of(fd: int) -> str:
    """Return the first line of a file descriptor."""
    try:
        with open(fd, "rb", closefd=False) as stream:
            line = stream.readline(PIN_BYTES_MAX)
    except OSError as refused:
        raise click.UsageError(f"file descriptor {fd}: {refused.strerror}") from None
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
