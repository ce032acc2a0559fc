"""Signals that break long work off: it closes what it has open, and nothing disturbs that."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

SIGNALS: Final = (
    (signal.SIGINT, signal.SIGTERM)
    if sys.platform == "win32"
    else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
)


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
