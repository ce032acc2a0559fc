"""How a flash part wears and forgets: what its datasheet promises, and what happens beyond it.

Nothing here is drawn: which bits flip, and how long a block lives, belongs to its place.
"""

import hashlib
from dataclasses import dataclass
from itertools import islice
from typing import Final

from firmware_model.hardware.cells import BlockState, RawPage
from firmware_model.hardware.ecc import CORRECTABLE_BITS, SECTOR_BYTES

_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Endurance:
    """What the datasheet promises, with the ECC it asks for."""

    cycles: int = 60_000  # of program and erase, for each block
    reads: int = 1_000_000  # of a block before it must be rewritten
    retention_days: int = 3650  # of a fresh block; a tenth of it after all cycles
    factory_bad_per_mille: int = 5

    @property
    def calm_reads(self) -> int:
        """Reads of a block below which no bit of it has flipped."""
        return self.reads // CORRECTABLE_BITS

    @property
    def calm_us(self) -> int:
        """Age of a block, worn as promised, below which no bit of it has flipped."""
        return self.retention_days * _DAY_US // (10 * CORRECTABLE_BITS)

    def flips(self, state: BlockState, reads: int, now_us: int) -> int:
        """Return how many bits of each codeword of a block have flipped by now."""
        wear = state.erase_count
        age_us = max(now_us - state.programmed_at_us, 0)
        aged_us = age_us * (self.cycles + 9 * wear) // self.cycles
        return (
            CORRECTABLE_BITS * reads // self.reads
            + CORRECTABLE_BITS * aged_us // (self.retention_days * _DAY_US)
            + CORRECTABLE_BITS * max(wear - self.cycles, 0) // self.cycles
        )

    def is_spent(self, block: int, erase_count: int) -> bool:
        """Tell whether a block fails its next erase: some time after what is promised."""
        if erase_count < self.cycles:
            return False
        return erase_count >= self.cycles + self.cycles * _of_place(block, 0, 0, 1)[0] // 256


def flipped(raw: RawPage, block: int, index: int, flips: int) -> RawPage:
    """Return a page after so many flips in each sector, always the same bits first."""
    if not flips:
        return raw
    data = bytearray(raw.data)
    for first in range(0, len(data), SECTOR_BYTES):
        bits = min(SECTOR_BYTES, len(data) - first) * 8
        draws = _of_place(block, index, first, 8 * flips)
        drawn = (int.from_bytes(draws[at : at + 2], "big") for at in range(0, 8 * flips, 2))
        for bit in islice(dict.fromkeys(each % bits for each in drawn), flips):
            data[first + bit // 8] ^= 1 << bit % 8
    return raw._replace(data=bytes(data))


def noise(block: int, index: int, data_bytes: int, spare_bytes: int) -> RawPage:
    """Return what stands in a page that holds nothing any more."""
    return RawPage(
        _of_place(block, index, -1, data_bytes), _of_place(block, index, -2, spare_bytes)
    )


def _of_place(block: int, index: int, at: int, count: int) -> bytes:
    return hashlib.shake_128(f"{block} {index} {at}".encode()).digest(count)
