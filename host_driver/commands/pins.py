"""PINs as a person or a program gives them: never in argv.

In order: a file descriptor, the environment, a prompt where somebody sits at a terminal.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import click

LINE_BYTES_MAX: Final = 4096  # on a file descriptor; a longer line is no PIN


def given_pin(role: str, fd: int | None) -> str | None:
    """Return the PIN of a role that a program gave; None where it gave none."""
    if fd is not None:
        return _line_of(fd)
    return os.environ.get(f"SEDLAB_PIN_{role.upper()}")


def entered_pin(role: str, fd: int | None, *, is_optional: bool = False) -> str | None:
    """Return the PIN of a role, asked for at a terminal where none was given.

    Where it is optional, somebody who just presses Enter gives none.
    """
    given = given_pin(role, fd)
    if given is not None or not is_attended():
        return given
    if is_optional:
        text = f"PIN of {role} (Enter for none)"
        return click.prompt(text, "", hide_input=True, show_default=False, err=True) or None
    return str(click.prompt(f"PIN of {role}", hide_input=True, err=True))


def new_pin(role: str, fd: int | None) -> str:
    """Return a role's new PIN, typed twice at a terminal; raise UsageError where there is none."""
    given = os.environ.get("SEDLAB_NEW_PIN") if fd is None else _line_of(fd)
    if given is not None:
        return given
    if not is_attended():
        raise click.UsageError("no new PIN: give it by SEDLAB_NEW_PIN or --new-pin-fd N")
    text = f"New PIN of {role}"
    return str(click.prompt(text, hide_input=True, confirmation_prompt=True, err=True))


def reset_code(fd: int | None, *, is_wanted: bool) -> str | None:
    """Return the reset code, where one was given; one that is wanted is asked for."""
    given = os.environ.get("SEDLAB_RESET_CODE") if fd is None else _line_of(fd)
    if given is not None or not is_wanted:
        return given
    if not is_attended():
        raise click.UsageError("no code: give it by SEDLAB_RESET_CODE or --reset-code-fd N")
    return str(click.prompt("Reset code", hide_input=True, err=True))


def entered_line(what: str, fd: int | None) -> str | None:
    """Return a line that a program gave or a person typed unseen; None where nobody could."""
    if fd is not None:
        return _line_of(fd)
    return str(click.prompt(what, hide_input=True, err=True)) if is_attended() else None


def is_attended() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _line_of(fd: int) -> str:
    """Return the next line of a file descriptor, and leave what follows to who reads next."""
    line = bytearray()
    try:
        while byte := os.read(fd, 1):
            line += byte
            if byte == b"\n":
                break
            if len(line) > LINE_BYTES_MAX:
                raise click.UsageError(f"file descriptor {fd}: no line that could be a PIN")
    except OSError as refused:
        raise click.UsageError(f"file descriptor {fd}: {refused.strerror}") from None
    except OverflowError:
        raise click.UsageError(f"file descriptor {fd}: no number of one") from None
    if not line:
        raise click.UsageError(f"file descriptor {fd}: nothing came")
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
