"""A served drive keeps the world's time; a drive under test moves by charges alone."""

from threading import RLock

import pytest

from firmware_model.wire.native import State
from hil_tests.bench.bench import Bench
from hil_tests.real_time import RealTime
from hil_tests.test_emulated_drive import opened, state

LIMIT_S = 600  # after which the reference drive locks


class World:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def passes(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def bench() -> Bench:
    """A native drive with an open medium."""
    return opened("native")


@pytest.fixture
def clock(bench: Bench, world: World) -> RealTime:
    return RealTime(bench.drive, RLock(), world)


@pytest.mark.parametrize(("seconds", "ends"), [(599, State.UNLOCKED), (601, State.LOCKED)])
def test_idle_drive_locks_when_its_timer_has_run_out_in_the_world(
    bench: Bench, clock: RealTime, world: World, seconds: int, ends: State
) -> None:
    for _ in range(seconds):
        world.passes(1)
        clock.tick()

    assert bench.drive.firmware is not None and bench.drive.firmware.state is ends


def test_drive_that_is_used_meanwhile_stays_open(
    bench: Bench, clock: RealTime, world: World
) -> None:
    for _ in range(3):
        world.passes(LIMIT_S - 1)
        clock.tick()
        bench.host().read(0, 1)

    assert state(bench) is State.UNLOCKED


def test_what_the_drive_was_charged_is_time_that_has_passed(
    bench: Bench, clock: RealTime, world: World
) -> None:
    before_us = bench.drive.now_us
    bench.drive.advance(3_000_000)
    world.passes(5)
    clock.tick()

    assert bench.drive.now_us - before_us == 5_000_000


def test_clock_that_ran_ahead_is_not_turned_back(
    bench: Bench, clock: RealTime, world: World
) -> None:
    bench.drive.advance(9_000_000)
    ahead_us = bench.drive.now_us
    for _ in range(2):
        world.passes(1)
        clock.tick()

    assert bench.drive.now_us == ahead_us + 1_000_000


def test_drive_without_power_keeps_time_as_well(
    bench: Bench, clock: RealTime, world: World
) -> None:
    bench.drive.power_off()
    before_us = bench.drive.now_us
    world.passes(2)
    clock.tick()

    assert bench.drive.now_us == before_us + 2_000_000
