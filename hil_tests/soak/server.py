"""`sedlab serve` in a process that tells, when it is asked, how much of its memory is in use.

What the system has given a process shows a leak late: an allocator keeps what was freed, and of
that it needs more for a thousand power cycles, in steps of 1 MiB. What is in use after a collection
of garbage is known to the byte, and grows by less than one power cycle's worth.
"""

from __future__ import annotations

import ctypes
import gc
import json
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from hil_tests.command_line import PATIENCE_S, Server

ASKED: Final = b"?"
ANSWER_BYTES_MAX: Final = 4096


class _Mallinfo2(ctypes.Structure):
    """What mallinfo2(3) tells of the C library's heap, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@dataclass(frozen=True, slots=True)
class InUse:
    """What a process has allocated and not freed, when no garbage is left."""

    heap_kib: int  # of the C library: buffers, and what is larger than 512 bytes
    blocks: int  # of Python's own allocator: what is smaller

    @classmethod
    def here(cls) -> InUse:
        """Return it of this process; raise AttributeError where the C library tells nothing."""
        mallinfo2 = ctypes.CDLL(None).mallinfo2
        mallinfo2.restype = _Mallinfo2
        gc.collect()
        heap = mallinfo2()
        return cls((heap.uordblks + heap.hblkhd) >> 10, sys.getallocatedblocks())


class AskedServer(Server):
    """A running `sedlab serve` that can be asked."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._line, theirs = socket.socketpair()
        self._line.settimeout(PATIENCE_S)
        with theirs:
            module = ("hil_tests.soak.server", str(theirs.fileno()))
            super().__init__(folder, *arguments, module=module, pass_fds=(theirs.fileno(),))

    def in_use(self) -> InUse | None:
        """Ask it; return None if it does not answer, now or before: it might be a late one's."""
        try:
            self._line.sendall(ASKED)
            answer = self._line.recv(ANSWER_BYTES_MAX)
        except OSError:
            self._line.close()
            return None
        return InUse(**json.loads(answer)) if answer else None

    def end(self) -> None:
        """Have it end, by whatever it takes."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Have it end, and let go of what it said."""
        self.end()
        self.process.communicate()
        self._line.close()


def _answer(line: socket.socket) -> None:
    with line:  # whoever asks is not to wait for one who can't tell
        while line.recv(len(ASKED)):
            line.sendall(json.dumps(asdict(InUse.here())).encode())


def main() -> None:
    """Serve as the arguments behind the first say, which is the descriptor to be asked by."""
    from host_driver.__main__ import main as sedlab

    line = socket.socket(fileno=int(sys.argv.pop(1)))
    threading.Thread(target=_answer, args=(line,), daemon=True).start()
    sys.argv[0] = "sedlab"
    sedlab()


if __name__ == "__main__":
    main()
