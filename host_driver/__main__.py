"""The command `sedlab`: verbs come by entry point, and are loaded when they are called."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, version
from typing import Any, Final

import click

from host_driver.errors import DriveError

# The verbs and what they do, so that `sedlab --help` loads none of them.
VERBS: Final = {
    "new": "Make a drive in a file.",
    "serve": "Give a drive to other programs (not yet).",
    "list": "Show profiles, drive files and attached drives.",
    "info": "Show what a drive says of itself.",
    "unlock": "Try a PIN.",
    "lock": "Lock a drive.",
    "set-pin": "Give a role a PIN.",
    "erase": "Destroy all keys, and so all data.",
    "read": "Read blocks.",
    "write": "Write blocks.",
    "log": "Show the attempt log, or prove it.",
    "evaluate": "Attack and judge a drive.",
    "replay": "Run the steps of a finding again.",
    "defects": "Show weaknesses that can be seeded into a model.",
    "completion": "Print what makes a shell complete sedlab's verbs and targets.",
}
SHELLS: Final = ("bash", "zsh", "fish")
USAGE, INTERRUPTED = 2, 130


class Verbs(click.Group):
    """A group whose commands are entry points of `sedlab.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name == "completion":
            return completion
        for point in entry_points(group="sedlab.commands", name=name):
            command: click.Command = point.load()
            return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("sedlab"), prog_name="sedlab")
def cli() -> None:
    """A self-encrypting USB drive in a model, its driver, and a harness that tries to break both.

    A TARGET is model:PROFILE, model:PROFILE+DEFECT, FILE.sed or usb:VID:PID[:SERIAL].
    """


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete sedlab: `eval "$(sedlab completion bash)"`."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "sedlab", "_SEDLAB_COMPLETE").source())


def main(arguments: list[str] | None = None) -> None:
    """Run the command and end the process: 0 done, 1 refused, 2 wrong usage, 3 not reached."""
    try:
        result = cli.main(arguments, prog_name="sedlab", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Abort:
        click.echo("sedlab: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain of it once more at exit.
        sys.stdout = None
        sys.exit(0)
    except (ValueError, OSError) as wrong:
        _fail(wrong, USAGE, arguments)
    except DriveError as refused:
        _fail(refused, refused.exit_status, arguments)


def _fail(wrong: Exception, status: int, arguments: list[str] | None) -> None:
    """Say in one line what went wrong, as JSON where that was asked for, and exit."""
    if "--json" in (sys.argv[1:] if arguments is None else arguments):
        import json

        document: dict[str, Any] = {"error": type(wrong).__name__, "message": str(wrong)}
        tries_left = getattr(wrong, "tries_left", None)
        if tries_left is not None:
            document["tries_left"] = tries_left
        click.echo(json.dumps(document))
    click.echo(f"sedlab: {wrong}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
