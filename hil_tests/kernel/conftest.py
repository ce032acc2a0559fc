"""The machine that tests share, and the table of what the battery found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hil_tests.kernel.checks import BATTERY, title
from hil_tests.kernel.lab import Lab
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.outcome import Outcome, Verdict, table
from hil_tests.kernel.packages import BATTERY as PROGRAMS
from hil_tests.kernel.packages import MACHINE, missing
from hil_tests.kernel.ways_in import WAYS_IN


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of this process; a machine is booted in it when a test needs one."""
    if lacking := missing({**MACHINE, **PROGRAMS}):
        pytest.fail(lacking)
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture
def machine(lab: Lab) -> KernelMachine:
    """A machine that runs."""
    return lab.machine()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, in the order of the battery."""
    outcomes = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []):
                if name == "outcome":
                    outcome = Outcome(**value | {"verdict": Verdict(value["verdict"])})
                    outcomes[outcome.check, outcome.way_in] = outcome
    ordered = [
        outcomes[key]
        for way_in in WAYS_IN
        for check in BATTERY
        if (key := (title(check), way_in.name)) in outcomes
    ]
    if ordered:
        terminalreporter.section("what a stock kernel finds, by way in")
        terminalreporter.write_line(table(ordered))
