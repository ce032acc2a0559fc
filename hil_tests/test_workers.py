"""Processes among which work is shared out, when whoever started them is broken off."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Event

import pytest

from hil_tests.workers import workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX processes")


def hold(told: Path) -> None:
    """Have something open for ever, and tell when that is so and when not any more."""
    stream = os.open(told, os.O_WRONLY)  # until the process ends
    try:
        os.write(stream, b"opened ")
        Event().wait()
    finally:
        os.write(stream, b"closed ")


def tell(told: Path) -> None:
    told.write_bytes(b"went on ")


def test_work_that_is_broken_off_closes_what_it_has_open_and_nothing_else_begins(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    with pytest.raises(KeyboardInterrupt), workers(1) as pool:
        pool.submit(hold, told)
        pool.submit(tell, told)
        listener = told.open("rb", buffering=0)
        said = listener.read(7)
        raise KeyboardInterrupt
    with listener:
        said += listener.readall()

    assert said == b"opened closed "
