"""A person's terminal, connected to a shell in a machine."""

from __future__ import annotations

import errno
import os
import selectors
import shlex
import shutil
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from hil_tests.kernel.json_lines import JsonLines
from hil_tests.kernel.machine import KernelMachine

CONSOLE: Final = "/dev/hvc0"
DAY_S: Final = 24 * 3600
HUNG_UP: Final = 128 + signal.SIGHUP  # the exit status of a shell that heard of it


def shell(machine: KernelMachine, folder: str) -> int:
    """Run a shell in a folder until it ends; return its exit status, HUNG_UP if the terminal does.

    What is typed goes to it as it is, as this process's terminal echoes and interprets nothing.
    Raises MachineFault if the machine ends first.
    """
    size = shutil.get_terminal_size()
    running = machine.start(
        f"stty rows {size.lines} columns {size.columns} <{CONSOLE}; cd {shlex.quote(folder)};"
        f" PS1='lab:\\w# ' exec setsid --ctty --wait bash --norc <{CONSOLE} >{CONSOLE} 2>&1",
        timeout_s=DAY_S,
    )
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    with raw(keyboard):
        is_over = joined(keyboard, screen, machine.qemu.console, machine.qemu.agent)
    return (running.wait().status or 0) if is_over else HUNG_UP


def joined(keyboard: int, screen: int, console: socket.socket, agent: JsonLines) -> bool:
    """Have a console be at a terminal until the agent says something, or the machine is gone.

    Returns False if the terminal hangs up before.
    """
    with selectors.DefaultSelector() as ready:
        for source in (keyboard, console, agent):
            ready.register(source, selectors.EVENT_READ)
        while True:
            sources = [key.fileobj for key, _ in ready.select()]
            try:
                if console in sources and (shown := console.recv(1 << 16)):
                    os.write(screen, shown)
                elif console in sources or agent in sources:  # all that the shell said is shown
                    return True
                if keyboard in sources:
                    typed = os.read(keyboard, 1 << 12)
                    if not typed:  # it has hung up: Ctrl-D is a byte like others
                        return False
                    console.sendall(typed)
            except ConnectionError:
                return True
            except OSError as gone:
                if gone.errno != errno.EIO:  # which a terminal gives that has hung up
                    raise
                return False


@contextmanager
def raw(terminal: int) -> Iterator[None]:
    """Have a terminal do nothing by itself meanwhile."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        with suppress(termios.error):  # one that has hung up needs nothing more
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
