"""Processes among which work is shared out, when whoever started them is broken off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_tests.command_line import PATIENCE_S, ROOT
from hil_tests.workers import workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX processes")

STARTS_AND_WAITS = """
import pathlib, sys
from hil_tests.test_workers import hold
from hil_tests.workers import workers
with workers(1) as pool:
    pool.submit(hold, pathlib.Path(sys.argv[1])).result()
"""


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


def hold_in_an_example(told: Path) -> None:
    """Have Hypothesis hold; it runs what it takes for a failure once more."""
    runs = iter((hold, tell))

    @settings(database=None, max_examples=1)
    @given(st.none())
    def example(drawn: None) -> None:
        next(runs)(told)

    example()


@pytest.mark.parametrize("work", [hold, hold_in_an_example])
def test_work_that_is_broken_off_closes_what_it_has_open_and_nothing_else_begins(
    tmp_path: Path, work: Callable[[Path], None]
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    with pytest.raises(KeyboardInterrupt), workers(1) as pool:
        pool.submit(work, told)
        pool.submit(tell, told)
        listener = told.open("rb", buffering=0)
        said = listener.read(7)
        raise KeyboardInterrupt
    with listener:
        said += listener.readall()

    assert said == b"opened closed "


@pytest.mark.parametrize("end", [subprocess.Popen.terminate, subprocess.Popen.kill])
def test_work_ends_with_the_process_that_started_it(
    tmp_path: Path, end: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    starter = [sys.executable, "-c", STARTS_AND_WAITS, str(told)]
    with subprocess.Popen(starter, cwd=ROOT, stderr=subprocess.DEVNULL) as owner:
        with told.open("rb", buffering=0) as listener:
            said = listener.read(7)
            end(owner)
            said += listener.readall()
        owner.wait(PATIENCE_S)

    assert said == b"opened closed "
