"""A drive beside the machine: `sedlab serve` as a process of its own, as long as it is wanted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENDING_S = 30


class NotServed(Exception):
    """The server said why, and ended with a status."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


@contextmanager
def redirected(target: str, *options: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give away a drive by USB redirection; yields the socket, and what the server says of it.

    Raises NotServed. What the server tells meanwhile is not shown: the terminal is the machine's.
    """
    with tempfile.TemporaryDirectory(prefix="sedlab-") as folder:
        socket, log = Path(folder, "redir"), Path(folder, "serve.log")
        # It ends, and closes the drive's file, when we are killed.
        ends_with_us = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "TERM", "--"]
        serve = [sys.executable, "-m", "host_driver", "serve", target, "--usbredir", str(socket)]
        with log.open("wb") as told:
            server = subprocess.Popen(
                [*ends_with_us, *serve, *options, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=told,
            )
        with server:
            assert server.stdout is not None
            try:
                said = server.stdout.readline()
                if not said.startswith(b'{"drives":'):
                    status = server.wait(ENDING_S)
                    raise NotServed(log.read_text(errors="replace").strip(), status)
                yield socket, json.loads(said)["drives"][0]
            finally:
                server.terminate()
