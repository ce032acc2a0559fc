"""The machine that tests share, and the table of what the battery found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hil_tests.kernel.checks import BATTERY, title
from hil_tests.kernel.lab import Lab
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.outcome import (
    BATTERY_CHECK,
    BULK_ONLY_CASE,
    CONFORMANCE,
    Outcome,
    table,
)
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
    """Print the tables: the battery's in its own order, the others as they were recorded."""
    battery, cases = (
        [Outcome.recorded(each) for each in _recorded(terminalreporter, kind)]
        for kind in (BATTERY_CHECK, BULK_ONLY_CASE)
    )
    found = {(each.check, each.way_in): each for each in battery}
    places = [(title(check), way_in.name) for way_in in WAYS_IN for check in BATTERY]
    sections = {
        "what a stock kernel finds, by way in": table(found[at] for at in places if at in found),
        "the thirteen cases of Bulk-Only, by target": table(cases),
        "libiscsi's conformance suite": "\n".join(_recorded(terminalreporter, CONFORMANCE)),
    }
    for name, text in sections.items():
        if text:
            terminalreporter.section(name)
            terminalreporter.write_line(text)


def _recorded(terminalreporter: Any, kind: str) -> list[Any]:
    """Return what tests recorded under a name."""
    return [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in getattr(report, "user_properties", [])
        if name == kind
    ]
