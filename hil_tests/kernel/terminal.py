"""A person's terminal, connected to a shell in a machine."""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hil_tests.kernel.machine import KernelMachine

CONSOLE: Final = "/dev/hvc0"
DAY_S: Final = 24 * 3600


def shell(machine: KernelMachine, folder: str) -> int:
    """Run a shell in a folder until it ends; return its exit status.

    What is typed goes to it as it is, as this process's terminal echoes and interprets nothing.
    Raises MachineFault if the machine ends first.
    """
    size = shutil.get_terminal_size()
    running = machine.start(
        f"stty rows {size.lines} columns {size.columns} <{CONSOLE}; cd {shlex.quote(folder)};"
        f" PS1='lab:\\w# ' exec setsid --ctty --wait bash --norc <{CONSOLE} >{CONSOLE} 2>&1",
        timeout_s=DAY_S,
    )
    console, agent = machine.qemu.console, machine.qemu.agent
    with selectors.DefaultSelector() as ready, _raw(sys.stdin.fileno()):
        for source in (sys.stdin, console, agent):
            ready.register(source, selectors.EVENT_READ)
        while True:
            sources = [key.fileobj for key, _ in ready.select()]
            if console in sources and (shown := console.recv(1 << 16)):
                os.write(sys.stdout.fileno(), shown)
            elif console in sources or agent in sources:  # all that the shell said is shown
                return running.wait().status or 0
            if sys.stdin in sources:
                console.sendall(os.read(sys.stdin.fileno(), 1 << 12))


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Have a terminal do nothing by itself meanwhile."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
