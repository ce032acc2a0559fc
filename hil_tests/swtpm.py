"""A TPM of our own: the program swtpm on the loopback, with a state of its own.

It is a TPM 2.0 in software. What is missing to run it is named, for tests that then can't run.
"""

import importlib.util
import os
import select
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Final

FIRST_PORT: Final = 10_000  # below those that systems give to clients, from 32768 on
PORTS: Final = 20_000
PORTS_OF_A_PROCESS: Final = 40


def missing() -> str:
    """Return what is lacking for tests with a TPM; nothing if they can run."""
    lacking = []
    if shutil.which("swtpm") is None:
        lacking.append("the program swtpm")
    if importlib.util.find_spec("tpm2_pytss") is None:
        lacking.append("the extra sedlab[tpm]")
    return f"no {' and no '.join(lacking)}; `make test-tpm` installs it" if lacking else ""


class Swtpm:
    """The process, and how to reach it."""

    def __init__(self, folder: Path) -> None:
        """Start it, with its state in an absolute folder that it keeps when it is stopped."""
        self._folder = folder
        self._pid = folder / "pid"
        self._port = _free_ports()
        self.tcti = f"swtpm:host=127.0.0.1,port={self._port}"
        self.start()

    def start(self) -> None:
        """Give it power: an orderly TPM2_Startup(CLEAR)."""
        address = "bindaddr=127.0.0.1"
        subprocess.run(
            [
                "swtpm",
                "socket",
                "--tpm2",
                f"--tpmstate=dir={self._folder}",
                f"--server=type=tcp,port={self._port},{address}",
                f"--ctrl=type=tcp,port={self._port + 1},{address}",
                "--flags=not-need-init,startup-clear",
                f"--pid=file={self._pid}",
                "--daemon",  # returns when it listens
            ],
            check=True,
        )

    def cut_power(self) -> None:
        """Kill it: no shutdown command, as when supply fails."""
        _kill(int(self._pid.read_text()))

    def clear(self) -> None:
        """Take everything out of it that a drive put there (TPM2_Clear, by the platform)."""
        import tpm2_pytss as tss

        with tss.ESAPI(self.tcti) as tpm:
            tpm.clear(tss.ESYS_TR.PLATFORM)


def _kill(pid: int) -> None:
    """End a daemon, which is nobody's child, and wait until it has gone."""
    ended = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        select.select([ended], [], [], 10)
    finally:
        os.close(ended)


def _free_ports() -> int:
    """Return a port that is free, as is the next one: commands, and control.

    Of the ports that no client is given by itself, and each process looks at others first: what is
    free now is so, too, when the TPM is started again.
    """
    first = os.getpid() % (PORTS // PORTS_OF_A_PROCESS) * PORTS_OF_A_PROCESS
    for step in range(0, PORTS, 2):
        port = FIRST_PORT + (first + step) % PORTS
        with socket.socket() as commands, socket.socket() as control:
            try:
                commands.bind(("127.0.0.1", port))
                control.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise OSError("no two free ports for a TPM in software")
