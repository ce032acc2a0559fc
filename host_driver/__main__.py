"""The command `sedlab`: verbs come by entry point, and are loaded when they are called."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

import click

from host_driver.errors import DriveError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# The verbs and how the help of each begins, so that `sedlab --help` loads none of them.
VERBS: Final = {
    "new": "Make a drive in a file.",
    "serve": "Give a drive to other programs: not in this version.",
    "list": "Show what can be a target.",
    "info": "Show what a drive says of itself without a PIN.",
    "unlock": "Try a PIN.",
    "lock": "Lock a drive.",
    "set-pin": "Give a role a PIN.",
    "erase": "Destroy all keys, and so all data.",
    "update": "Give a drive new firmware.",
    "read": "Read blocks of a drive into a file.",
    "write": "Write a file to the blocks of a drive.",
    "dump": "Read a drive's raw flash into a file.",
    "log": "Show the attempt log, or prove it.",
    "evaluate": "Attack and judge a drive.",
    "replay": "Run the steps of a finding again.",
    "image": "Make and look at firmware images.",
    "faults": "Have every part fail in every way that has a name, and judge the drive.",
    "power-sweep": "Cut power at every durable step of every scenario, once and twice.",
    "defects": "Weaknesses that can be seeded into a model.",
    "lab": "Give a shell on a stock Linux kernel, in a machine that is gone afterwards.",
    "completion": "Print what makes a shell complete sedlab.",
}
COMPLETE: Final = "_SEDLAB_COMPLETE"
REFUSED, USAGE, INTERRUPTED = 1, 2, 130


class Verbs(click.Group):
    """A group whose commands are entry points of `sedlab.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "completion":
            from host_driver.commands.completion import completion

            return completion
        for point in entry_points(group="sedlab.commands", name=name):
            command: click.Command = point.load()
            return command
        return None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        verbs = [(name, said) for name, said in VERBS.items() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=said) for name, said in verbs), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sedlab", prog_name="sedlab")
def cli() -> None:
    """A self-encrypting USB drive in a model, its driver, and a harness that tries to break both.

    A TARGET is model:PROFILE, model:PROFILE+DEFECT, FILE.sed or usb:VID:PID[:SERIAL].

    PINs are asked for on a terminal, or come by --pin-fd N or SEDLAB_PIN_USER, SEDLAB_PIN_ADMIN,
    SEDLAB_PIN_RECOVERY and SEDLAB_NEW_PIN in the environment; never as an argument.

    Exits 0 when done, 1 when the drive refused or a property failed, 2 for wrong usage, and 3 when
    the drive was not reached or did not keep to the protocol.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end the process with its exit status."""
    _fill_standard_streams()
    try:
        sys.exit(_run(arguments))
    except BrokenPipeError:
        # Whoever read our output has gone; without this, Python says so once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _fill_standard_streams() -> None:
    """Give each standard stream that the caller has closed the null device.

    Otherwise the next file to be opened, a drive's perhaps, gets its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(stream, mode, encoding="utf-8"))


def _run(arguments: list[str] | None) -> int:
    """Run the command; say in one line what went wrong, and return the exit status."""
    is_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    if COMPLETE in os.environ:
        from host_driver.commands.completion import register

        register()
    try:
        result = cli.main(arguments, prog_name="sedlab", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        return _fail("Interrupted", "interrupted", INTERRUPTED, is_json)
    except click.ClickException as wrong:
        message = wrong.format_message()
        if "\n" in message:  # the help that click shows where no verb was given
            wrong.show()
            return wrong.exit_code
        if isinstance(wrong, click.UsageError) and wrong.ctx is not None:
            message = f"{message.rstrip('.')} (see `{wrong.ctx.command_path} --help`)"
        return _fail(type(wrong).__name__, message, wrong.exit_code, is_json)
    except BrokenPipeError:
        raise
    except OSError as wrong:
        where = "" if wrong.filename is None else f"{wrong.filename}: "
        message = f"{where}{wrong.strerror or wrong}"
        return _fail(type(wrong).__name__, message, USAGE, is_json)
    except ValueError as wrong:
        return _fail(type(wrong).__name__, str(wrong), USAGE, is_json)
    except DriveError as wrong:
        tries_left = getattr(wrong, "tries_left", None)
        more = {} if tries_left is None else {"tries_left": tries_left}
        message = "; ".join((str(wrong), *getattr(wrong, "__notes__", ())))
        return _fail(type(wrong).__name__, message, wrong.exit_status, is_json, **more)


def _fail(kind: str, message: str, status: int, is_json: bool, **more: Any) -> int:
    """Say what went wrong: a line for a person, a document for a program."""
    from host_driver.commands.shown import printable

    line = printable(" ".join(message.split()))
    with suppress(OSError):  # what went wrong may be the output itself: the status still tells
        click.echo(f"sedlab: {line}", err=True)
        if is_json:
            import json

            click.echo(json.dumps({"error": kind, "message": line, **more}))
    return status


if __name__ == "__main__":
    main()
