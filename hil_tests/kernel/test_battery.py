"""The battery on every way in; its table is printed at the end of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hil_tests.kernel.checks import BATTERY, Check, title
from hil_tests.kernel.lab import Lab
from hil_tests.kernel.outcome import BATTERY_CHECK, Verdict
from hil_tests.kernel.way_in import WayIn
from hil_tests.kernel.ways_in import WAYS_IN


def one_after_another() -> list[Any]:
    """Return the ways in, so that each stays in one process; that which takes longest begins."""
    groups = [(way_in, pytest.mark.xdist_group(way_in.name)) for way_in in reversed(WAYS_IN)]
    return [pytest.param(way_in, id=way_in.name, marks=group) for way_in, group in groups]


@pytest.mark.parametrize("check", BATTERY, ids=title)
@pytest.mark.parametrize("way_in", one_after_another(), scope="module")
def test_battery(
    lab: Lab, way_in: WayIn, check: Check, record_property: Callable[[str, object], None]
) -> None:
    outcome = lab.outcome(check, way_in)
    record_property(BATTERY_CHECK, outcome.record())
    if outcome.verdict is Verdict.NOT_EXERCISED:
        pytest.skip(outcome.why)

    assert outcome.verdict is not Verdict.FAILED, outcome.why
