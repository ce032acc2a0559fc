"""The account of what a drive has acknowledged, block by block, and the judge of what is read back.

The content of a block says which it is: of which run, at which LBA, by which of its writes. So a
block is known again wherever it turns up, and nothing but the account has to be kept.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BLOCK_BYTES: Final = 512
HEADER: Final = struct.Struct("<QQQ")  # seed, LBA, generation
NEVER_WRITTEN: Final = 0  # generation of a block that holds zeros


class Kind(StrEnum):
    """What is wrong with a block."""

    LOST = "lost"  # an acknowledged write is not there, an older one is
    OTHER = "other"  # neither what was acknowledged nor anything that was on its way


@dataclass(frozen=True, slots=True)
class Fault:
    """A block that does not hold what it must."""

    kind: Kind
    lba: int
    expected: tuple[int, ...]  # generations that it may hold
    found: str

    def __str__(self) -> str:
        generations = " or ".join(str(each) for each in self.expected)
        return f"{self.kind}: LBA {self.lba} must hold write {generations}, and holds {self.found}"


def block(seed: int, lba: int, generation: int) -> bytes:
    """Return the 512 bytes that the `generation`-th write of an account puts at `lba`."""
    if generation == NEVER_WRITTEN:
        return bytes(BLOCK_BYTES)
    header = HEADER.pack(seed, lba, generation)
    return header + hashlib.shake_128(header).digest(BLOCK_BYTES - HEADER.size)


def content(seed: int, lba: int, block_count: int, generation: int) -> bytes:
    """Return what one write puts at `block_count` blocks from `lba` on."""
    return b"".join(block(seed, each, generation) for each in range(lba, lba + block_count))


class Account:
    """A span of blocks that one writer has for itself; one write at a time is on its way."""

    def __init__(self, seed: int, lba_first: int, block_count: int) -> None:
        self.lba_first = lba_first
        self.block_count = block_count
        self._seed = seed
        self._written = 0
        self._known = array("Q", bytes(8 * block_count))  # generation of each block
        self._open: dict[int, tuple[int, ...]] = {}  # by LBA: writes that nobody answered

    @property
    def unanswered(self) -> int:
        """How many blocks may be old or new."""
        return len(self._open)

    def begin(self, lba: int, block_count: int) -> bytes:
        """Return what is to be written now; until it is acknowledged, it may be there or not."""
        self._written += 1
        for each in range(lba, lba + block_count):
            self._open[each] = (*self._open.get(each, ()), self._written)
        return content(self._seed, lba, block_count, self._written)

    def acknowledge(self, lba: int, block_count: int) -> None:
        """Note that the write that began last has been answered: it must be there from now on."""
        for each in range(lba, lba + block_count):
            self._known[each - self.lba_first] = self._open.pop(each)[-1]

    def judge(self, lba: int, data: bytes) -> Iterator[Fault]:
        """Hold what was read to the account, block by block.

        A block whose write nobody answered may be old or new; what it is found to be, it stays. A
        loss is told once: what was found counts as known, or an LBA would be told again and again.
        """
        for number in range(len(data) // BLOCK_BYTES):
            at = lba + number
            found = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
            expected = (self._known[at - self.lba_first], *self._open.pop(at, ()))
            generation = next(
                (each for each in expected if found == block(self._seed, at, each)), None
            )
            if generation is None:
                yield self._fault(at, expected, found)
                continue
            self._known[at - self.lba_first] = generation

    def unanswered_spans(self) -> tuple[tuple[int, int], ...]:
        """Return the blocks that may be old or new: LBA and count of each that stand together."""
        spans: list[tuple[int, int]] = []
        for lba in sorted(self._open):
            first, count = spans[-1] if spans else (lba, 0)
            if first + count == lba:
                spans[-1:] = [(first, count + 1)]
            else:
                spans.append((lba, 1))
        return tuple(spans)

    def _fault(self, lba: int, expected: tuple[int, ...], found: bytes) -> Fault:
        """Say what was found, and take it as known if it is one of our own writes."""
        seed, of_lba, generation = HEADER.unpack_from(found)
        if not any(found):
            seed, of_lba, generation, what = self._seed, lba, NEVER_WRITTEN, "zeros"
        elif found != block(seed, of_lba, generation):
            return Fault(Kind.OTHER, lba, expected, f"garbage: {found[:24].hex()}…")
        else:
            what = f"write {generation}" + ("" if of_lba == lba else f" of LBA {of_lba}")
            what += "" if seed == self._seed else " of another run"
        if (seed, of_lba) == (self._seed, lba) and generation < min(expected):
            self._known[lba - self.lba_first] = generation
            return Fault(Kind.LOST, lba, expected, what)
        return Fault(Kind.OTHER, lba, expected, what)
