"""The command as tests call it: in this process, at a terminal of its own, and as a server."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hil_tests.children import ends_with_us

ROOT = Path(__file__).parent.parent
VARIABLES = ("PIN_USER", "PIN_ADMIN", "PIN_RECOVERY", "NEW_PIN", "RESET_CODE")
FAST = ("--set", "pin.kdf_iterations=1")
PATIENCE_S = 60  # for a process that shows nothing
# The process becomes leader of a session whose terminal is its standard input.
AT_TERMINAL = (
    "import os, runpy; os.login_tty(0); runpy.run_module('host_driver', run_name='__main__')"
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a call of the command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a person who has used nothing yet, at home in `folder`."""
    ours = {name: value for name, value in os.environ.items() if "SEDLAB" not in name}
    paths = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    return ours | paths | {"TERM": "dumb"}


class Terminal:
    """A person at a terminal, who reads what the command shows and types what it asks for."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._ours, theirs = os.openpty()
        self.shown = ""
        self._seen = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environment(folder),
        )
        os.close(theirs)

    def answers(self, question: str, answer: str, end: str = "\n") -> None:
        """Wait for a question, and type the answer to it."""
        while question not in self.shown[self._seen :]:
            assert self._read(), f"{question!r} was not asked, but:\n{self.shown}"
        self._seen = len(self.shown)
        os.write(self._ours, (answer + end).encode())

    def ends(self) -> int:
        """Wait for the end of the command, and return its exit status."""
        while self._read():
            pass
        os.close(self._ours)
        return self._process.wait(PATIENCE_S)

    def _read(self) -> bool:
        """Take in what is shown next; return whether there was anything."""
        if not select.select([self._ours], [], [], PATIENCE_S)[0]:
            self._process.kill()
        try:
            data = os.read(self._ours, 4096)
        except OSError:  # on Linux, that is how a terminal says that nobody is there any more
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


class Server:
    """A running `sedlab serve`, and where its drives are."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        module: Sequence[str] = ("host_driver",),
        pass_fds: Sequence[int] = (),
    ) -> None:
        serve = [sys.executable, "-m", *module, "serve"]
        self.process = subprocess.Popen(
            [*ends_with_us(signal.SIGTERM), *serve, *arguments],
            pass_fds=pass_fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(folder),
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    def drives(self) -> list[dict[str, Any]]:
        """Return what was printed as JSON."""
        assert self.said, self.process.communicate(timeout=PATIENCE_S)
        found: list[dict[str, Any]] = json.loads(self.said)["drives"]
        return found

    def ends(self, number: signal.Signals) -> tuple[int, str, str]:
        """Send a signal; return status and what was printed."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        rest = self.process.stdout.read()  # which `communicate` has not, if it came with the first
        _, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, self.said + rest, err
