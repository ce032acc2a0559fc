"""The entropy source: raw noise, its health tests, and full-entropy output.

Source: NIST SP 800-90B sections 3.1.5 and 4. Samples are bytes of a ring-oscillator source
assessed at 6 bits of min-entropy each; 64 of them, 384 bits, go through SHA-256 for each 32 bytes
of output, which is more than the 256 + 64 bits that full entropy takes (SP 800-90C).
"""

import hashlib
import re
from collections.abc import Callable
from typing import Final, Protocol

ENTROPY_BITS: Final = 6  # H, of one sample
REPETITION_CUTOFF: Final = 6  # 1 + 30 / H for a false alarm in 2^30 (4.4.1)
WINDOW: Final = 512  # samples (4.4.2)
PROPORTION_CUTOFF: Final = 31  # 1 + CRITBINOM(512, 2^-6, 1 - 2^-30) (4.4.2)
START_UP_SAMPLES: Final = 1024  # 4.3, requirement 4
KEPT: Final = 1024  # samples looked back on
RECURRING: Final = 16  # samples that come again by chance once in 2^80
SAMPLES_PER_OUTPUT: Final = 64
OUTPUT_BYTES: Final = 32

_REPEATED: Final = re.compile(rb"(.)\1{%d}" % (REPETITION_CUTOFF - 1), re.DOTALL)


class HealthTestFailed(Exception):
    """The source repeats itself; nothing may be drawn from it until the next power-up."""


class NoiseSource(Protocol):
    """Raw noise, one byte a sample."""

    def samples(self, count: int) -> bytes: ...

    def copy(self) -> "NoiseSource": ...


class SeededNoise:
    """Noise that a seed decides, so that a run can be run again."""

    def __init__(self, seed: bytes, number: int = 0) -> None:
        self._seed = seed
        self._number = number

    def samples(self, count: int) -> bytes:
        """Return the next `count` samples."""
        self._number += 1
        return hashlib.shake_128(self._seed + self._number.to_bytes(8, "big")).digest(count)

    def copy(self) -> "SeededNoise":
        """Return a source that will give the same noise."""
        return SeededNoise(self._seed, self._number)


class HealthTests(Protocol):
    """Whether samples are noise. Made anew, without arguments, at every power-up."""

    def complaint(self, before: bytes, samples: bytes) -> str | None:
        """Return what is wrong with a window of samples that came after those before."""
        ...


class ContinuousTests:
    """The two tests of SP 800-90B 4.4, and one of our own (4.5) for a source that repeats itself.

    Neither of the two notices a period of hundreds of samples.
    """

    def complaint(self, before: bytes, samples: bytes) -> str | None:
        """Return which test a window fails."""
        if _REPEATED.search(before[1 - REPETITION_CUTOFF :] + samples):
            return "repetition"
        if samples.count(samples[:1]) >= PROPORTION_CUTOFF:
            return "adaptive proportion"
        seen = before + samples
        return "recurrence" if seen.find(samples[-RECURRING:]) < len(seen) - RECURRING else None


class Entropy:
    """Tested and conditioned output of one noise source."""

    def __init__(self, source: NoiseSource) -> None:
        self.source = source
        self._tests: HealthTests = ContinuousTests()
        self._before = b""  # the last samples
        self._pool = b""
        self._has_failed = False

    def power_on(self, tests: HealthTests | None = None) -> None:
        """Run the start-up tests; raise HealthTestFailed when the source does not pass."""
        self._tests = tests or ContinuousTests()
        self._before = self._pool = b""
        self._has_failed = False
        for _ in range(START_UP_SAMPLES // WINDOW):
            self._window()

    def draw(self, count: int) -> bytes:
        """Return `count` bytes; raise HealthTestFailed when the source has failed."""
        output = b""
        while len(output) < count:
            if not self._pool:
                self._pool = self._window()
            taken = self._pool[:SAMPLES_PER_OUTPUT]
            self._pool = self._pool[SAMPLES_PER_OUTPUT:]
            output += hashlib.sha256(taken).digest()
        return output[:count]

    def copy(self) -> "Entropy":
        """Return a source in the same condition that will give the same output."""
        other = Entropy(self.source.copy())
        other._tests = self._tests
        other._before, other._pool = self._before, self._pool
        other._has_failed = self._has_failed
        return other

    def _window(self) -> bytes:
        samples = self.source.samples(WINDOW)
        complaint = self._tests.complaint(self._before, samples)
        self._before = (self._before + samples)[-KEPT:]
        self._has_failed = self._has_failed or complaint is not None
        if self._has_failed:
            raise HealthTestFailed(complaint or "failed before")
        return samples


def random_digits(draw: Callable[[int], bytes], count: int) -> str:
    """Return random decimal digits, each as likely as any other."""
    digits = ""
    while len(digits) < count:
        digits += "".join(str(byte % 10) for byte in draw(64) if byte < 250)
    return digits[:count]
