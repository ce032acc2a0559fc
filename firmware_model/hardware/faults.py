"""Named ways a part misbehaves, for whoever puts them on a board. No part knows of them."""

from typing import Final

from firmware_model.hardware.ecc import MARK_BYTES, SECTOR_BYTES
from firmware_model.hardware.entropy import NoiseSource
from firmware_model.hardware.nand import RECORD_BYTES, Nand

SPREAD: Final = 131  # bits from one flip to the next; odd, so that no bit comes twice


class StuckNoise:
    """A noise source whose every sample is the same."""

    def __init__(self, value: int) -> None:
        self._value = value

    def samples(self, count: int) -> bytes:
        """Return the next `count` samples."""
        return bytes((self._value,)) * count

    def copy(self) -> "StuckNoise":
        """Return a source that will give the same noise."""
        return self


class RepeatingNoise:
    """A noise source that gives the same samples over and over."""

    def __init__(self, samples: bytes, at: int = 0) -> None:
        self._samples = samples
        self._at = at

    @classmethod
    def of(cls, source: NoiseSource, period: int) -> "RepeatingNoise":
        """Return a source that repeats what another gives next."""
        return cls(source.samples(period))

    def samples(self, count: int) -> bytes:
        """Return the next `count` samples."""
        begin = self._at % len(self._samples)
        self._at += count
        times = (begin + count) // len(self._samples) + 1
        return (self._samples * times)[begin : begin + count]

    def copy(self) -> "RepeatingNoise":
        """Return a source that will give the same noise."""
        return RepeatingNoise(self._samples, self._at)


def flip_data(nand: Nand, page: int, count: int) -> None:
    """Flip bits in each codeword of a page's data."""
    page_bytes = nand.geometry.page_bytes
    codeword_bits = 8 * min(page_bytes, SECTOR_BYTES)
    firsts = range(0, 8 * page_bytes, codeword_bits)
    spread = [number * SPREAD % codeword_bits for number in range(count)]
    nand.flip(page, [first + bit for first in firsts for bit in spread])


def flip_record(nand: Nand, page: int, count: int) -> None:
    """Flip bits in the firmware's record in a page's spare area."""
    first = 8 * (nand.geometry.page_bytes + MARK_BYTES)
    bits = 8 * RECORD_BYTES
    nand.flip(page, [first + number * SPREAD % bits for number in range(count)])
