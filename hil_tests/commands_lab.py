"""The verb that gives a machine with a kernel of its own: lab."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from host_driver.commands.options import TargetType
from host_driver.commands.shown import printable

if TYPE_CHECKING:
    from hil_tests.kernel.beside import DriveBeside
    from hil_tests.kernel.machine import KernelMachine
    from hil_tests.kernel.qemu import Bus

SCRIPT_S: Final = 3600


@click.command()
@click.argument("target", required=False, type=TargetType())
@click.option(
    "--usbredir",
    "socket_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Unix socket of a usbredir server, whose device is plugged in.",
)
@click.option("--high-speed", is_flag=True, help="Plug it into USB 2, not USB 3.")
@click.option("--no-uas", is_flag=True, help="Have TARGET offer Bulk-Only alone.")
@click.option(
    "--memory",
    type=click.IntRange(256),
    default=1024,
    show_default=True,
    help="Memory of the machine, in MiB.",
)
def lab(
    target: str | None, socket_path: Path | None, high_speed: bool, no_uas: bool, memory: int
) -> None:
    """Give a root shell on a stock Linux kernel, in a machine that is gone afterwards.

    TARGET, model:PROFILE[+DEFECT] or FILE.sed, is plugged in: the kernel has it as a disk, and how
    to unlock and operate it is told. FILE.sed keeps what is written to it.

    All your files are there, at their places. What is changed is forgotten, but for the folder in
    $SHARED, which is one and the same on both sides. The host's loopback is 10.0.2.2. If standard
    input is no terminal, it is run as a script, and its exit status becomes this one's.
    """
    from hil_tests.ending import breakable
    from hil_tests.kernel import packages
    from hil_tests.kernel.beside import NotServed, redirected
    from hil_tests.kernel.drive import NotFound
    from hil_tests.kernel.image import NoImage
    from hil_tests.kernel.machine import CommandFailed, KernelMachine, MachineFault
    from hil_tests.kernel.qemu import Bus, QemuError

    if target is not None and socket_path is not None:
        raise click.UsageError("--usbredir SOCKET is somebody else's drive: leave TARGET out")
    if target is not None and not target.startswith("model:"):
        raise click.UsageError(f"{target}: what is plugged in is model:PROFILE or FILE.sed")
    if no_uas and target is None:
        raise click.UsageError("--no-uas goes with TARGET")
    if lacking := packages.missing(packages.MACHINE):
        raise click.ClickException(lacking)
    speed = ("--speed", "high" if high_speed else "super")
    bus = Bus.EHCI if high_speed else Bus.XHCI
    try:
        with breakable(), ExitStack() as stack:
            drive = None
            if target is not None:
                options = (*speed, "--no-uas") if no_uas else speed
                drive = stack.enter_context(redirected(target, *options))
            machine = stack.enter_context(KernelMachine.boot(_say, memory))
            if drive is not None:
                _plug(machine, drive, bus)
            elif socket_path is not None:
                machine.plug_usbredir(socket_path, bus)
            sys.exit(_used(machine))
    except NotServed as refused:
        click.echo(str(refused), err=True)
        sys.exit(refused.status)
    except (CommandFailed, NoImage, MachineFault, NotFound, QemuError) as fault:
        what, _, last_words = str(fault).partition("\n")
        if last_words:
            click.echo(last_words, err=True)
        raise click.ClickException(what) from fault


def _plug(machine: KernelMachine, drive: DriveBeside, bus: Bus) -> None:
    """Plug a drive in, wait until the kernel has it as a disk, and say what can be done with it."""
    from hil_tests.kernel.drive import disk_since

    before = machine.moment()
    machine.plug_usbredir(drive.socket, bus)
    disk = disk_since(machine, before)
    names = machine.output_of(f"ls {disk}/block {disk}/scsi_generic").split()[1::2]
    block, generic = (f"/dev/{each}" for each in names)
    _say(f"{drive.target} is {block}, sg:{generic}; its serial is {drive.serial}")
    for line in drive.manual(block, generic):
        _say(line)


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
    click.echo(printable(line), err=True)
