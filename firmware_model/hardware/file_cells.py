"""Flash cells in FILE.sed: what counts is checked whenever it is read, and written last."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from firmware_model.hardware.cells import ERASED, RECORD_BYTES, BlockState, Data, RawPage
from firmware_model.hardware.nand import Geometry
from firmware_model.hardware.sedfile_layout import (
    BLOCK_ENTRY_BYTES,
    CLEAN,
    PAGE_ENTRY,
    PAGE_ENTRY_BYTES,
    RAW,
    RAW_WEAK,
    BlockPlaces,
    block_entry_at,
    decode_block,
    encode_block,
    page_checksum,
)


class Store(Protocol):
    """Bytes at offsets, and what to raise where they are not what was written."""

    def read(self, at: int, count: int) -> bytes: ...

    def write(self, at: int, data: Data) -> None: ...

    def damage(self, what: str) -> Exception: ...


@dataclass(slots=True)
class _Block:
    """The page table of a block that was looked at."""

    table: npt.NDArray[np.void]  # of PAGE_ENTRY
    count: int
    raw: dict[int, RawPage]


class FileCells:
    """Cells (`cells.Cells`) in an open file; what was changed in it is refused."""

    def __init__(self, store: Store, geometry: Geometry) -> None:
        self._store = store
        self._geometry = geometry
        self.page_bytes = geometry.page_bytes
        self._places = BlockPlaces(geometry)
        self._loaded: dict[int, _Block] = {}
        self._states: dict[int, BlockState] = {}
        for first in range(0, geometry.block_count, _PIECE):
            count = min(_PIECE, geometry.block_count - first)
            table = store.read(block_entry_at(first), count * BLOCK_ENTRY_BYTES)
            rows = np.frombuffer(table, np.uint64).reshape(count, -1)
            for block in np.flatnonzero(rows.any(axis=1)).tolist():
                state = decode_block(first + block, rows[block].tobytes())
                self._states[first + block] = state

    def blocks(self) -> Iterator[int]:
        """Give the blocks that are not as they left the factory."""
        return iter(sorted(self._states))

    def state(self, block: int) -> BlockState:
        """Return what a block has been through."""
        return self._states.get(block, _UNUSED)

    def set_state(self, block: int, state: BlockState) -> None:
        """Keep what a block has been through."""
        self._store.write(block_entry_at(block), encode_block(block, state))
        self._states[block] = state

    def page_count(self, block: int) -> int:
        """Return how many pages are programmed since the block was erased."""
        return self._at(block).count if block in self._states else 0

    def data(self, block: int, first: int, count: int) -> bytes:
        """Return the data of pages, one behind the other; an erased one is all FFh."""
        found, size = self._at(block), self.page_bytes
        programmed = max(min(count, found.count - first), 0)
        stored = self._store.read(self._places.data(block, first), programmed * size)
        sums = found.table["data_crc"][first : first + programmed].tolist()
        pages = memoryview(stored)
        for at, right in enumerate(sums):
            is_raw = first + at in found.raw
            if not is_raw and zlib.crc32(pages[at * size : (at + 1) * size]) != right:
                raise self._damage(block, first + at)
        return stored.ljust(count * size, ERASED)

    def records(self, block: int) -> bytes:
        """Return the records of all programmed pages, one behind the other."""
        found = self._at(block)
        return found.table["record"][: found.count].tobytes()

    def append(self, block: int, data: Data, records: bytes) -> None:
        """Program pages: their bytes first, and only then the tables say so."""
        count, size = len(records) // RECORD_BYTES, self.page_bytes
        if len(data) < count * size:
            data = bytes(data).ljust(count * size, ERASED)
        pages = memoryview(data)
        found, state = self._at(block), self.state(block)
        first, end = found.count, found.count + count
        self._store.write(self._places.data(block, first), data)
        rows = found.table[first:end]
        rows["kind"], rows["reads_left"], rows["erases"] = CLEAN, 0, state.erase_count
        rows["page"] = np.arange(first, end) + block * self._geometry.block_pages
        rows["record"] = np.frombuffer(records, f"V{RECORD_BYTES}")
        rows["data_crc"] = [zlib.crc32(pages[at : at + size]) for at in range(0, len(data), size)]
        rows["spare_crc"] = rows["slot"] = 0
        if block not in self._states:
            self.set_state(block, state)
        self._write_table(block, found, first, end)
        found.count = end
        self._loaded[block] = found

    def raw(self, block: int) -> dict[int, RawPage]:
        """Return the pages that are raw bits, by their place in the block."""
        return self._at(block).raw if block in self._states else {}

    def set_raw(self, block: int, index: int, raw: RawPage) -> None:
        """Have a programmed page hold these bits."""
        found = self._at(block)
        row, before = found.table[index], found.raw.get(index)
        if before is None or before[:2] != raw[:2]:
            slot = 1 - int(row["slot"])
            self._store.write(self._places.data(block, index, slot), raw.data)
            self._store.write(self._places.spare(block, index, slot), raw.spare)
            row["slot"], row["data_crc"] = slot, zlib.crc32(raw.data)
            row["spare_crc"] = zlib.crc32(raw.spare)
        row["kind"] = RAW if raw.reads_left is None else RAW_WEAK
        row["reads_left"] = raw.reads_left or 0
        self._write_table(block, found, index, index + 1)
        found.raw[index] = raw

    def erase(self, block: int, state: BlockState) -> None:
        """Erase a block: its pages name an older erase from now on."""
        self.set_state(block, state)
        if block in self._loaded:
            self._loaded[block] = _Block(self._loaded[block].table, 0, {})

    def check(self, data_bytes: int) -> None:
        """Read all tables and at most so much of the data, and refuse what was changed in them."""
        for block in self._states:
            count = self.page_count(block)
            if count and data_bytes > 0:
                self.data(block, 0, count)
            data_bytes -= count * self._geometry.page_bytes

    def _write_table(self, block: int, found: _Block, first: int, end: int) -> None:
        rows = found.table[first:end]
        entries = rows.tobytes()
        steps = range(0, len(entries), PAGE_ENTRY_BYTES)
        rows["crc"] = [page_checksum(entries[at : at + PAGE_ENTRY_BYTES]) for at in steps]
        self._store.write(self._places.entries(block, first), rows.tobytes())

    def _at(self, block: int) -> _Block:
        found = self._loaded.get(block)
        if found is None:
            found = self._load(block)
            if found.count:
                self._loaded[block] = found
        return found

    def _load(self, block: int) -> _Block:
        """Read the page table of a block: the entries that name its last erase, in order."""
        pages, state = self._geometry.block_pages, self.state(block)
        entries = self._store.read(self._places.entries(block), pages * PAGE_ENTRY_BYTES)
        table = np.frombuffer(bytearray(entries), PAGE_ENTRY)
        kinds = table["kind"]
        numbers = block * pages + np.arange(pages)
        is_whole = (kinds >= CLEAN) & (kinds <= RAW_WEAK) & (table["page"] == numbers)
        is_whole &= table["slot"] <= 1
        for index in np.flatnonzero(is_whole).tolist():
            entry = entries[index * PAGE_ENTRY_BYTES : (index + 1) * PAGE_ENTRY_BYTES]
            is_whole[index] = table["crc"][index] == page_checksum(entry)
        is_empty = ~np.frombuffer(entries, np.uint8).reshape(pages, -1).any(axis=1)
        is_now = is_whole & (table["erases"] == state.erase_count)
        count = int(is_now.sum())
        if not (is_whole | is_empty).all() or not is_now[:count].all():
            raise self._store.damage(
                f"damaged: the page table of block {block} has a wrong checksum"
            )
        found = _Block(table, count, {})
        for index in np.flatnonzero(kinds[:count] != CLEAN).tolist():
            found.raw[index] = self._raw_page(block, index, table[index])
        return found

    def _raw_page(self, block: int, index: int, row: np.void) -> RawPage:
        slot, shape = int(row["slot"]), self._geometry
        data = self._store.read(self._places.data(block, index, slot), shape.page_bytes)
        spare = self._store.read(self._places.spare(block, index, slot), shape.spare_bytes)
        if zlib.crc32(data) != row["data_crc"] or zlib.crc32(spare) != row["spare_crc"]:
            raise self._damage(block, index)
        return RawPage(data, spare, int(row["reads_left"]) if row["kind"] == RAW_WEAK else None)

    def _damage(self, block: int, index: int) -> Exception:
        number = block * self._geometry.block_pages + index
        return self._store.damage(f"damaged: page {number} does not match its checksum")


_UNUSED = BlockState()
_PIECE: Final = 1 << 15  # blocks whose state is read at once
