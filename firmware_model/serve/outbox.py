"""Messages on their way to a client, in order, whatever threads they come from."""

import socket
from collections import deque
from contextlib import suppress
from threading import Lock, Thread, get_ident
from typing import Final

from firmware_model.wire.stream import Bytes, send

AT_ONCE: Final = 64  # parts, or one message more


class Outbox:
    """What is to be sent to a client, for the thread that serves it: the one that makes this.

    Putting never waits. What that thread puts leaves when it flushes; for what others put, when the
    client may be sleeping, a thread is started that can wait.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream: Final = stream
        self._messages: deque[tuple[Bytes, ...]] = deque()
        self._sending = Lock()
        self._thread = get_ident()

    def put(self, *parts: Bytes) -> None:
        """Have a message leave, its parts one behind the other."""
        self._messages.append(parts)
        # Whoever is sending looks for more when it has done.
        if get_ident() != self._thread and not self._sending.locked():
            Thread(target=self._flush_late, daemon=True).start()

    def flush(self) -> None:
        """Send all there is; raise OSError where the client takes no more."""
        while self._messages:
            with self._sending:
                while parts := self._next():
                    send(self._stream, *parts)

    def _next(self) -> list[Bytes]:
        """Take what leaves at once, as each call wakes the client."""
        parts: list[Bytes] = []
        while self._messages and len(parts) < AT_ONCE:
            parts += self._messages.popleft()
        return parts

    def _flush_late(self) -> None:
        try:
            self.flush()
        except OSError:  # it may have ended within a message: whoever reads finds out too
            with suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)
