"""Signals that end what goes on: it closes what it has open, and nothing disturbs that."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, NoReturn, Self

SIGNALS: Final = (
    (signal.SIGINT, signal.SIGTERM)
    if sys.platform == "win32"
    else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
)
# What ends a server even where it came ignored, as a shell has SIGINT for what it starts by `&`.
ENDS_SERVERS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def breakable() -> Iterator[None]:
    """Have the first of these signals raise KeyboardInterrupt, and none after it do anything.

    It is not SystemExit: Hypothesis takes that for a failure of what it tests, and goes on. A
    signal that is ignored, as nohup has it, stays so.
    """
    heeded = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]

    def break_off(number: int, frame: object) -> NoReturn:
        for each in heeded:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, break_off) for each in heeded}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Ending:
    """What a server waits for: a signal, or its drive that is done with.

    Python wakes no thread for a signal that came just before the thread began to wait, but by a
    file. As a context, it takes the signals from whoever has them.
    """

    def __init__(self) -> None:
        self._waited_for, self._come = socket.socketpair()
        self._come.setblocking(False)
        self._back = ExitStack()

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if number not in ENDS_SERVERS and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._back.callback(signal.signal, number, signal.signal(number, lambda *_: None))
        before = signal.set_wakeup_fd(self._come.fileno(), warn_on_full_buffer=False)
        self._back.callback(signal.set_wakeup_fd, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._back.close()
        self._waited_for.close()
        self._come.close()

    def come(self) -> None:
        """End it; any thread may."""
        with suppress(OSError):  # full, or over
            self._come.send(b"\0")

    def wait(self) -> None:
        """Wait for it."""
        self._waited_for.recv(1)
