"""The verb that gives a machine with a kernel of its own: lab."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from hil_tests.kernel.machine import KernelMachine

SCRIPT_S: Final = 3600


@click.command()
@click.option(
    "--usbredir",
    "socket_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Unix socket of a usbredir server, whose device is plugged in.",
)
@click.option("--high-speed", is_flag=True, help="Plug it into USB 2, not USB 3.")
@click.option("--memory", default=1024, show_default=True, help="Memory of the machine, in MiB.")
def lab(socket_path: Path | None, high_speed: bool, memory: int) -> None:
    """Give a root shell on a stock Linux kernel, in a machine that is gone afterwards.

    All your files are there, at their places. What is changed is forgotten, but for the folder in
    $SHARED, which is one and the same on both sides. The host's loopback is 10.0.2.2. If standard
    input is no terminal, it is run as a script, and its exit status becomes this one's.
    """
    from hil_tests.kernel import packages
    from hil_tests.kernel.image import NoImage
    from hil_tests.kernel.machine import KernelMachine, MachineFault
    from hil_tests.kernel.qemu import Bus, QemuError

    if lacking := packages.missing(packages.MACHINE):
        raise click.ClickException(lacking)
    try:
        with KernelMachine.boot(_say, memory) as machine:
            if socket_path is not None:
                machine.plug_usbredir(socket_path, Bus.EHCI if high_speed else Bus.XHCI)
            sys.exit(_used(machine))
    except (NoImage, MachineFault, QemuError) as fault:
        what, _, last_words = str(fault).partition("\n")
        if last_words:
            click.echo(last_words, err=True)
        raise click.ClickException(what) from fault


def _used(machine: KernelMachine) -> int:
    """Have the machine run what comes from standard input; return the exit status."""
    from hil_tests.kernel.terminal import shell

    if sys.stdin.isatty() and sys.stdout.isatty():
        _say(f"Linux {machine.kernel_release}; $SHARED is {machine.folder}")
        return shell(machine, str(Path.cwd()))
    script = f"cd {shlex.quote(str(Path.cwd()))} && exec bash -s"
    ended = machine.run(script, timeout_s=SCRIPT_S, stdin=sys.stdin.buffer.read())
    sys.stdout.buffer.write(ended.output)
    if ended.status is None:
        raise click.ClickException(f"the script took more than {SCRIPT_S} s")
    return ended.status


def _say(line: str) -> None:
    click.echo(line, err=True)
