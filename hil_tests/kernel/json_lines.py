"""Values as JSON, one a line, over a socket: so one speaks to QEMU, and to the agent inside."""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Final

LINE_BYTES_MAX: Final = 64 << 20


class JsonLines:
    """One end of such a conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    def send(self, value: dict[str, Any], timeout_s: float) -> None:
        """Send a value; raise TimeoutError if nobody takes it, EOFError if nobody is there."""
        self._connection.settimeout(timeout_s)
        try:
            self._connection.sendall(json.dumps(value).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError) as gone:
            raise EOFError from gone

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next value.

        Raises TimeoutError if it does not come in time, EOFError when the other end has gone, and
        ValueError if it is no object of JSON or has more than 64 MiB.
        """
        deadline = time.monotonic() + timeout_s
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > LINE_BYTES_MAX:
                raise ValueError(f"a line of more than {LINE_BYTES_MAX} bytes")
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._connection.recv(1 << 20)
            except ConnectionResetError as gone:
                raise EOFError from gone
            if not data:
                raise EOFError
            self._received += data
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        try:
            value = json.loads(line)
        except RecursionError as nested:
            raise ValueError("nested too deeply") from nested
        if not isinstance(value, dict):
            raise ValueError(f"no object: {line[:80]!r}")
        return value

    def fileno(self) -> int:
        """Return what to wait on until something comes."""
        return self._connection.fileno()

    def close(self) -> None:
        """Leave; the other end hears of it."""
        self._connection.close()
