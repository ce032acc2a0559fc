"""Processes that do not outlive the one that starts them."""

from __future__ import annotations

import shutil
import signal


def ends_with_us(number: signal.Signals) -> list[str]:
    """Return how the command of a process begins that gets a signal when this one has died.

    However that comes about: the kernel sends it (prctl(2), PR_SET_PDEATHSIG), and it goes by the
    thread that starts the process, so start it from one that stays. Where util-linux's setpriv is
    missing this is empty, and the process may stay.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", number.name.removeprefix("SIG"), "--"] if setpriv else []
