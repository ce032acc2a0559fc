"""What once failed on a reference drive holds now."""

from importlib.resources import files

import pytest

from hil_tests.actions import ReplayId
from hil_tests.evaluate import replay
from hil_tests.runs import Target

LINES = files("fixtures").joinpath("regressions", "replay_ids.txt").read_text("utf-8").splitlines()
IDS = [line for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize("text", IDS)
def test_sequence_that_once_failed_passes(text: str) -> None:
    wanted = ReplayId.parse(text)

    assert replay(Target(wanted.target), wanted.property_id, wanted.actions) is None
