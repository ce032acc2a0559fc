"""Where the bits of a flash part stand, block by block: in memory here, in FILE.sed elsewhere.

A page that holds what was programmed is kept as data and record; its parity follows from them, so
it is worked out only when somebody looks at raw bits. A page that no longer holds it - torn, or
with flipped bits - is kept as the raw bits themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

# Pages that are programmed together share one buffer, and go together when their block is erased.
Data = bytes | memoryview


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

    def blocks(self) -> Iterator[int]:
        """Give the blocks that are not as they left the factory."""
        ...

    def state(self, block: int) -> BlockState: ...

    def set_state(self, block: int, state: BlockState) -> None: ...

    def page_count(self, block: int) -> int:
        """Return how many pages are programmed since the block was erased."""
        ...

    def data(self, block: int, first: int, count: int) -> Sequence[Data]:
        """Return the data of programmed pages as it was programmed, which may be shorter."""
        ...

    def records(self, block: int) -> bytes:
        """Return the records of all programmed pages, one behind the other."""
        ...

    def append(self, block: int, datas: Sequence[Data], records: bytes) -> None:
        """Program pages, their records one behind the other."""
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
    """One block in memory."""

    state: BlockState = field(default_factory=BlockState)
    datas: list[Data] = field(default_factory=list)
    records: bytearray = field(default_factory=bytearray)
    raw: dict[int, RawPage] = field(default_factory=dict)

    def copy(self) -> Block:
        return replace(
            self, datas=self.datas.copy(), records=self.records.copy(), raw=self.raw.copy()
        )


class MemoryCells:
    """Cells in a dict of the blocks that were ever used."""

    def __init__(self, blocks: dict[int, Block] | None = None) -> None:
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
        return 0 if found is None else len(found.datas)

    def data(self, block: int, first: int, count: int) -> Sequence[Data]:
        return self._blocks.get(block, _UNUSED).datas[first : first + count]

    def records(self, block: int) -> bytes:
        return bytes(self._blocks.get(block, _UNUSED).records)

    def append(self, block: int, datas: Sequence[Data], records: bytes) -> None:
        found = self._at(block)
        found.datas.extend(datas)
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
        return MemoryCells({number: block.copy() for number, block in self._blocks.items()})

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
    other = MemoryCells()
    for block in cells.blocks():
        datas = cells.data(block, 0, cells.page_count(block))
        other.set_state(block, cells.state(block))
        other.append(block, datas, cells.records(block))
        for index, raw in cells.raw(block).items():
            other.set_raw(block, index, raw)
    return other
