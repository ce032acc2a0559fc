"""The entropy source's health tests, held to SP 800-90B computed again and exactly."""

import hashlib
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.entropy import (
    ENTROPY_BITS,
    PROPORTION_CUTOFF,
    REPETITION_CUTOFF,
    START_UP_SAMPLES,
    WINDOW,
    Entropy,
    HealthTestFailed,
    SeededNoise,
)

FALSE_ALARM = Fraction(1, 1 << 30)
MOST_LIKELY = Fraction(1, 1 << ENTROPY_BITS)  # the chance of one value, at that min-entropy
SOUND = SeededNoise(b"sound").samples(8 * WINDOW)


class Recorded:
    """A source that gives these samples, and then no more."""

    def __init__(self, samples: bytes) -> None:
        self.left = samples

    def samples(self, count: int) -> bytes:
        assert len(self.left) >= count, "a source was asked for more than it recorded"
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def copy(self) -> "Recorded":
        return Recorded(self.left)


def started_on(later: bytes) -> Entropy:
    """Return a source that has passed its start-up tests and goes on with these samples."""
    entropy = Entropy(Recorded(SOUND[:START_UP_SAMPLES] + later))
    entropy.power_on()
    return entropy


def with_runs(samples: bytes, runs: list[tuple[int, int, int]]) -> bytes:
    """Return samples with a value repeated from each place on."""
    changed = bytearray(samples)
    for place, length, value in runs:
        changed[place : place + length] = bytes((value,)) * length
    return bytes(changed[: len(samples)])


def lopsided(count: int) -> bytes:
    """Return a window whose first value is in it `count` times, never twice in a row."""
    others = bytes(value for value in SeededNoise(b"others").samples(1024) if value != 0xEE)
    window = bytearray(others[:WINDOW])
    for place in range(count):
        window[2 * place] = 0xEE
    return bytes(window)


def is_refused(samples: bytes) -> bool:
    """Tell whether whole windows of samples fail, by the text of 4.4.1 and 4.4.2."""
    before, repeated, wanted, counted = -1, 0, -1, 0
    for number, sample in enumerate(samples):
        repeated = repeated + 1 if sample == before else 1
        before = sample
        if number % WINDOW == 0:
            wanted, counted = sample, 0
        counted += sample == wanted
        if repeated >= REPETITION_CUTOFF or counted >= PROPORTION_CUTOFF:
            return True
    return False


def test_repetition_cut_off_is_the_first_with_few_enough_false_alarms() -> None:
    """1 + ceil(30 / H): the chance that a value is followed by itself that often (4.4.1)."""
    assert MOST_LIKELY ** (REPETITION_CUTOFF - 1) <= FALSE_ALARM
    assert MOST_LIKELY ** (REPETITION_CUTOFF - 2) > FALSE_ALARM


def test_proportion_cut_off_is_the_first_with_few_enough_false_alarms() -> None:
    """1 + CRITBINOM(W, 2^-H, 1 - alpha): the least k with P(X <= k) >= 1 - alpha (4.4.2)."""
    at_most, critical = Fraction(0), -1
    while at_most < 1 - FALSE_ALARM:
        critical += 1
        rest = WINDOW - critical
        at_most += comb(WINDOW, critical) * MOST_LIKELY**critical * (1 - MOST_LIKELY) ** rest

    assert 1 + critical == PROPORTION_CUTOFF


def test_start_up_tests_look_at_1024_samples_and_none_of_them_is_used() -> None:
    later = SOUND[START_UP_SAMPLES : START_UP_SAMPLES + WINDOW]

    assert started_on(later).draw(32) == hashlib.sha256(later[:64]).digest()


def test_every_output_is_of_64_samples_of_its_own() -> None:
    later = SOUND[START_UP_SAMPLES:]
    expected = b"".join(hashlib.sha256(later[at : at + 64]).digest() for at in range(0, 1024, 64))

    assert started_on(later).draw(512) == expected


def test_what_is_left_of_an_output_is_thrown_away() -> None:
    entropy = started_on(SOUND[START_UP_SAMPLES:])
    first = entropy.draw(5)

    assert entropy.draw(32) == started_on(SOUND[START_UP_SAMPLES:]).draw(64)[32:]
    assert len(first) == 5


@pytest.mark.parametrize("value", [0x00, 0x0A, 0xFF])
def test_stuck_source_fails_at_power_up(value: int) -> None:
    with pytest.raises(HealthTestFailed, match="repetition"):
        Entropy(Recorded(bytes((value,)) * START_UP_SAMPLES)).power_on()


def test_lopsided_source_fails_at_power_up() -> None:
    with pytest.raises(HealthTestFailed, match="adaptive proportion"):
        Entropy(Recorded(lopsided(PROPORTION_CUTOFF) * 2)).power_on()


def test_source_that_is_lopsided_only_in_the_second_window_fails_at_power_up() -> None:
    with pytest.raises(HealthTestFailed):
        Entropy(Recorded(SOUND[:WINDOW] + lopsided(PROPORTION_CUTOFF))).power_on()


def test_value_one_below_the_proportion_cut_off_passes() -> None:
    later = lopsided(PROPORTION_CUTOFF - 1)

    assert len(started_on(later).draw(256)) == 256


@pytest.mark.parametrize("period", [1, 2, 6, 16, 100, 511, 512, 513, 1000])
def test_source_that_begins_to_repeat_itself_fails(period: int) -> None:
    repeated = SOUND[START_UP_SAMPLES : START_UP_SAMPLES + period] * (4 * WINDOW // period + 1)
    entropy = started_on(repeated)

    with pytest.raises(HealthTestFailed):
        entropy.draw(4 * 256)


@pytest.mark.parametrize("period", [64, 100, 500, 512])
def test_source_that_repeats_itself_fails_at_power_up(period: int) -> None:
    with pytest.raises(HealthTestFailed, match="recurrence"):
        Entropy(Recorded((SOUND[:period] * START_UP_SAMPLES)[:START_UP_SAMPLES])).power_on()


@pytest.mark.parametrize("place", [0, 1, 250, WINDOW - REPETITION_CUTOFF])
def test_run_of_the_cut_off_fails_and_one_shorter_passes(place: int) -> None:
    base = bytes(value for value in SOUND[START_UP_SAMPLES:] if value != 0xEE)[:WINDOW]

    assert started_on(with_runs(base, [(place, REPETITION_CUTOFF - 1, 0xEE)])).draw(32)
    with pytest.raises(HealthTestFailed, match="repetition"):
        started_on(with_runs(base, [(place, REPETITION_CUTOFF, 0xEE)])).draw(32)


@pytest.mark.parametrize("before", range(1, REPETITION_CUTOFF))
def test_run_across_two_windows_is_noticed(before: int) -> None:
    later = with_runs(
        SOUND[START_UP_SAMPLES : START_UP_SAMPLES + 2 * WINDOW],
        [(WINDOW - before, REPETITION_CUTOFF, 0xEE)],
    )
    entropy = started_on(later)
    entropy.draw(256)

    with pytest.raises(HealthTestFailed, match="repetition"):
        entropy.draw(1)


def test_failed_source_gives_nothing_until_it_has_passed_at_a_power_up() -> None:
    source = Recorded(SOUND[:START_UP_SAMPLES] + bytes(WINDOW) + SOUND)
    entropy = Entropy(source)
    entropy.power_on()

    for _ in range(3):
        with pytest.raises(HealthTestFailed):
            entropy.draw(1)
    entropy.power_on()
    assert entropy.draw(1)


def test_failure_is_copied_with_the_source() -> None:
    entropy = started_on(bytes(WINDOW) + SOUND)
    with pytest.raises(HealthTestFailed):
        entropy.draw(1)

    with pytest.raises(HealthTestFailed):
        entropy.copy().draw(1)


@given(st.binary(max_size=8), st.lists(st.integers(0, 100), max_size=5), st.integers(0, 300))
def test_copy_goes_on_as_the_source_itself_does(seed: bytes, drawn: list[int], count: int) -> None:
    entropy = Entropy(SeededNoise(seed))
    entropy.power_on()
    for each in drawn:
        entropy.draw(each)
    copy = entropy.copy()

    assert copy.draw(count) == entropy.draw(count)


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_other_seeds_give_other_output_and_the_same_the_same(one: bytes, two: bytes) -> None:
    first, second = Entropy(SeededNoise(one)), Entropy(SeededNoise(two))

    assert (first.draw(32) == second.draw(32)) == (one == two)


RUNS = st.tuples(
    st.integers(0, 3 * WINDOW), st.integers(1, REPETITION_CUTOFF + 1), st.integers(0, 3)
)


@given(
    st.sampled_from((3, 15, 31, 63, 255)),
    st.binary(max_size=4),
    st.lists(RUNS, max_size=4),
)
def test_source_fails_exactly_where_the_standard_says(
    mask: int, seed: bytes, runs: list[tuple[int, int, int]]
) -> None:
    """A mask leaves few values, as a source that lost its entropy would."""
    noise = bytes(value & mask for value in SeededNoise(seed).samples(3 * WINDOW))
    samples = with_runs(noise, runs)
    entropy = Entropy(Recorded(samples))
    try:
        entropy.power_on()
        entropy.draw(256)
        has_failed = False
    except HealthTestFailed:
        has_failed = True

    assert has_failed == is_refused(samples)
