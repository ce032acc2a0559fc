"""The bench at either kind of speed, with and without commands that wait."""

from collections.abc import Iterator

import pytest

from firmware_model.wire.uas import TaskAttribute
from hil_tests.ram_disk import read10
from hil_tests.uas.bench import SPEEDS, Bench, held


@pytest.fixture(params=SPEEDS, ids=lambda speed: speed.name.lower())
def on(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    assert bench.host.failed == []
    assert bench.host.posted == 0  # nothing is left waiting that the host did not give up


@pytest.fixture
def waiting(on: Bench) -> Bench:
    """Commands that wait behind one whose data does not come."""
    held(on)
    for tag, attribute in enumerate(
        (TaskAttribute.SIMPLE, TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE), 1
    ):
        on.host.queue(tag, read10(tag, 1), in_length=512, attribute=attribute)
    return on
