"""A drive beside the machine: `sedlab serve` as a process of its own, as long as it is wanted."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from firmware_model.wire.operator import SUFFIX
from hil_tests.children import ends_with_us

ENDING_S: Final = 30
NOT_REACHED: Final = 3


class NotServed(Exception):
    """The server has ended; says why in a line that begins with our name, as it does."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status  # to exit with


@dataclass(frozen=True, slots=True)
class DriveBeside:
    """A drive that is given away at a socket of USB redirection, as its server tells of it."""

    socket: Path
    target: str
    serial: str
    dialect: str  # native, keypad, none
    operator: str  # the socket of who stands beside it

    @classmethod
    def told(cls, line: bytes, socket: Path) -> Self:
        """Return the drive of the line that `sedlab serve --json` prints."""
        said = json.loads(line)["drives"][0]
        return cls(socket, said["target"], said["serial"], said["dialect"], said["operator"])

    def manual(self, block: str, generic: str) -> list[str]:
        """Return in lines how to unlock and operate it where a kernel has it as these two nodes."""
        is_file = not self.target.startswith("model:")
        named = shlex.quote(self.operator.removesuffix(SUFFIX) if is_file else self.operator)
        there = "from another terminal of the host"
        lines = {
            "native": [
                f"to unlock: sedlab unlock sg:{generic} --destroys-data --serial {self.serial}",
                "to set the first PIN: the same with set-pin",
            ],
            "keypad": [
                f"to unlock, {there}: sedlab press {named} KEYS",
                "KEYS, asked for if left out: PIN UNLOCK; first of all, SET PIN UNLOCK PIN UNLOCK",
                f"then, for the kernel to see its medium: blockdev --rereadpt {block}",
            ],
            "none": ["nothing to unlock: the drive has no PIN"],
        }
        hands = f"to pull its plug and more, {there}: sedlab unplug|plug|cut-power|leds {named}"
        return [*lines[self.dialect], hands]


@contextmanager
def redirected(target: str, *options: str) -> Iterator[DriveBeside]:
    """Give a drive away by USB redirection.

    Raises NotServed, at the end too if the server is gone by then. What it tells meanwhile is not
    shown: the terminal is the machine's.
    """
    with tempfile.TemporaryDirectory(prefix="sedlab-") as folder:
        socket, log = Path(folder, "redir"), Path(folder, "serve.log")
        serve = [sys.executable, "-m", "host_driver", "serve", target, "--usbredir", str(socket)]
        with log.open("wb") as told:
            server = subprocess.Popen(
                [*ends_with_us(signal.SIGTERM), *serve, *options, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=told,
                start_new_session=True,  # a Ctrl-C is for us or the machine: the drive stays
            )
        with server:
            assert server.stdout is not None
            try:
                said = server.stdout.readline()
                if not said.startswith(b'{"drives":'):
                    raise _ended(server.wait(ENDING_S), log)
                try:
                    yield DriveBeside.told(said, socket)
                finally:
                    if (status := server.poll()) is not None:  # whatever failed, failed by that
                        raise _ended(status, log)
            finally:
                server.terminate()


def _ended(status: int, log: Path) -> NotServed:
    """Return why a server has ended: the last it said, unless it ended well or was killed."""
    if status > 0:
        return NotServed(log.read_text(errors="replace").strip().rpartition("\n")[2], status)
    how = "ended" if status == 0 else f"was killed by signal {-status}"
    return NotServed(f"sedlab: the drive's server {how}", NOT_REACHED)
