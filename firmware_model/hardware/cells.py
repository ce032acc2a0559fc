"""Where the bits of a flash part stand, block by block: in memory here, in FILE.sed elsewhere.

A page that holds what was programmed is kept as data and record; its parity follows from them, so
it is worked out only when somebody looks at raw bits. A page that no longer holds it - torn, or
with flipped bits - is kept as the raw bits themselves.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

Data = bytes | memoryview  # read-only, of bytes
ERASED: Final = b"\xff"
RECORD_BYTES: Final = 32  # of the spare area, for the firmware


class RawPage(NamedTuple):
    """A page as bits: data and whole spare area, parity included."""

    data: bytes
    spare: bytes
    reads_left: int | None = None  # of a page too weak to stay: how often it still reads right


@dataclass(frozen=True, slots=True)
class BlockState:
    """What a block has been through."""

    erase_count: int = 0
    reads: int = 0  # of pages, since it was erased
    programmed_at_us: int = 0  # when its first page was programmed
    is_bad: bool = False  # marked so, by the factory or by the controller
    is_weak: bool = False  # its last erase was cut short: what is programmed now does not stay


class Cells(Protocol):
    """The array. Blocks and pages are counted from 0; pages of a block are appended in order."""

    @property
    def page_bytes(self) -> int: ...

    def blocks(self) -> Iterator[int]:
        """Give the blocks that are not as they left the factory."""
        ...

    def state(self, block: int) -> BlockState: ...

    def set_state(self, block: int, state: BlockState) -> None: ...

    def page_count(self, block: int) -> int:
        """Return how many pages are programmed since the block was erased."""
        ...

    def data(self, block: int, first: int, count: int) -> Data:
        """Return the data of pages, one behind the other; an erased one is all FFh."""
        ...

    def records(self, block: int) -> bytes:
        """Return the records of all programmed pages, one behind the other."""
        ...

    def append(self, block: int, data: Data, records: bytes) -> None:
        """Program as many pages as there are records of 32 bytes; FFh fills up the last one."""
        ...

    def raw(self, block: int) -> dict[int, RawPage]:
        """Return the pages that are raw bits, by their place in the block."""
        ...

    def set_raw(self, block: int, index: int, raw: RawPage) -> None:
        """Have a programmed page hold these bits."""
        ...

    def erase(self, block: int, state: BlockState) -> None:
        """Erase a block, which then has `state`."""
        ...


@dataclass(slots=True)
class Block:
    """One block in memory: what was programmed together stays one buffer."""

    state: BlockState = field(default_factory=BlockState)
    runs: list[Data] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # the first page of each run
    records: bytearray = field(default_factory=bytearray)
    raw: dict[int, RawPage] = field(default_factory=dict)

    @property
    def page_count(self) -> int:
        return len(self.records) // RECORD_BYTES

    def copy(self) -> Block:
        return replace(
            self,
            runs=self.runs.copy(),
            starts=self.starts.copy(),
            records=self.records.copy(),
            raw=self.raw.copy(),
        )


class MemoryCells:
    """Cells in a dict of the blocks that were ever used."""

    def __init__(self, page_bytes: int, blocks: dict[int, Block] | None = None) -> None:
        self.page_bytes = page_bytes
        self._blocks = {} if blocks is None else blocks

    def blocks(self) -> Iterator[int]:
        return iter(sorted(self._blocks))

    def state(self, block: int) -> BlockState:
        found = self._blocks.get(block)
        return _UNUSED.state if found is None else found.state

    def set_state(self, block: int, state: BlockState) -> None:
        self._at(block).state = state

    def page_count(self, block: int) -> int:
        found = self._blocks.get(block)
        return 0 if found is None else found.page_count

    def data(self, block: int, first: int, count: int) -> Data:
        found, size = self._blocks.get(block, _UNUSED), self.page_bytes
        if not found.runs:
            return ERASED * count * size
        at = bisect_right(found.starts, first) - 1
        begin = (first - found.starts[at]) * size
        end, run = begin + count * size, found.runs[at]
        if end <= len(run):
            return run if end - begin == len(run) else memoryview(run)[begin:end]
        runs = found.runs[at : bisect_left(found.starts, first + count)]
        return b"".join(map(self._filled, runs))[begin:end].ljust(end - begin, ERASED)

    def _filled(self, run: Data) -> bytes:
        pages = max(-(-len(run) // self.page_bytes), 1)
        return bytes(run).ljust(pages * self.page_bytes, ERASED)

    def records(self, block: int) -> bytes:
        return bytes(self._blocks.get(block, _UNUSED).records)

    def append(self, block: int, data: Data, records: bytes) -> None:
        found = self._at(block)
        found.starts.append(found.page_count)
        found.runs.append(data)
        found.records += records

    def raw(self, block: int) -> dict[int, RawPage]:
        return self._blocks.get(block, _UNUSED).raw

    def set_raw(self, block: int, index: int, raw: RawPage) -> None:
        self._at(block).raw[index] = raw

    def erase(self, block: int, state: BlockState) -> None:
        self._blocks[block] = Block(state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryCells) and self._blocks == other._blocks

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> MemoryCells:
        blocks = {number: block.copy() for number, block in self._blocks.items()}
        return MemoryCells(self.page_bytes, blocks)

    def _at(self, block: int) -> Block:
        found = self._blocks.get(block)
        if found is None:
            found = self._blocks[block] = Block()
        return found


_UNUSED = Block()


def copied(cells: Cells) -> MemoryCells:
    """Return the same cells in memory."""
    if isinstance(cells, MemoryCells):
        return cells.copy()
    other = MemoryCells(cells.page_bytes)
    for block in cells.blocks():
        other.set_state(block, cells.state(block))
        count = cells.page_count(block)
        if count:
            other.append(block, cells.data(block, 0, count), cells.records(block))
        for index, raw in cells.raw(block).items():
            other.set_raw(block, index, raw)
    return other
