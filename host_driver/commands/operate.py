"""The operator's verbs: what hands do to a drive that another process serves."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from host_driver.commands.options import TargetType
from host_driver.commands.pins import entered_line
from host_driver.commands.shown import printable

if TYPE_CHECKING:
    from host_driver.operator_socket import OperatorSocket


def _operates(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb TARGET; it is called with the operator, and what it returns is printed."""

    @click.argument("target", type=TargetType())
    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @functools.wraps(function)
    def operated(target: str, as_json: bool, **rest: Any) -> None:
        from host_driver.operator_socket import OperatorSocket

        with closing(OperatorSocket(target)) as operator:
            document = function(operator, **rest)
        if as_json:
            click.echo(json.dumps(document, indent=2))
            return
        for name, value in document.items():
            click.echo(printable(f"{name:<6} {value}"))

    return operated


@click.command()
@_operates
@click.argument("keys", nargs=-1, metavar="[KEYS]...")
@click.option("--keys-fd", type=int, metavar="N", help="Read the keys from a file descriptor.")
def press(operator: OperatorSocket, keys: tuple[str, ...], keys_fd: int | None) -> dict[str, str]:
    """Press keys of a drive that is served, such as 1234567 UNLOCK.

    TARGET is the drive's FILE.sed, or the socket that `serve` prints. Others of this machine may
    see what stands in a command: without KEYS they are asked for, or come by --keys-fd.
    """
    text = " ".join(keys) or entered_line("Keys", keys_fd)
    if text is None:
        raise click.UsageError("no keys: give them as arguments or by --keys-fd N")
    operator.press(text)
    return operator.leds()


@click.command()
@_operates
def leds(operator: OperatorSocket) -> dict[str, str]:
    """Show the lights of a drive that is served."""
    return operator.leds()


@click.command()
@_operates
def plug(operator: OperatorSocket) -> dict[str, str]:
    """Connect a drive that is served to its host; give it power where it has none."""
    operator.power_on()
    operator.plug()
    return _state(operator)


@click.command()
@_operates
def unplug(operator: OperatorSocket) -> dict[str, str]:
    """Disconnect a drive that is served from its host; it keeps its power."""
    operator.unplug()
    return _state(operator)


@click.command("cut-power")
@_operates
@click.option(
    "--at-step", type=click.IntRange(1), metavar="N", help="At the N-th durable step from now."
)
@click.option("--torn", type=click.Choice(["half", "weak"]), help="Inside that step.")
def cut_power(operator: OperatorSocket, at_step: int | None, torn: str | None) -> dict[str, str]:
    """Take the power of a drive that is served away; `plug` gives it back."""
    if at_step is None:
        if torn is not None:
            raise click.UsageError("--torn needs --at-step")
        operator.power_off()
    else:
        operator.cut_at(at_step, torn)
    return _state(operator)


def _state(operator: OperatorSocket) -> dict[str, str]:
    status = operator.status()
    return {
        "power": "on" if status.get("is_on") else "off",
        "plug": "in" if status.get("is_plugged") else "out",
    }
