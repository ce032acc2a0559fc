"""The flash translation layer: logical pages on NAND, page-mapped, safe under power cuts.

Blocks are filled one after the other, each numbered when it is begun; every page says in its record
which logical page it is. So number of the block and place in it put all copies of a page in order,
the last one counts, and one program is one change, which a cut leaves done or not done.

What was discarded is kept from coming back by a page of the map itself, written into the same
stream: it counts for the logical pages it covers until they are written again.

Where a record can't be read, but its page can, nobody knows whose newest copy that is. Then older
copies are answered no more, and nothing is written that would hide it, until the drive is erased.

Pages belong to an epoch. An erase of the drive begins a new one, and what an older epoch left is
never read again. A block is erased when it is begun, not when it falls empty: so no erase that a
cut interrupted is ever relied on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from firmware_model.firmware.medium import Unreadable, WornOut
from firmware_model.firmware.mounting import DATA, FIRST_MAP, MAP, NEWEST, NOTHING, RECORD, Mount
from firmware_model.firmware.page_map import PAGE_SHIFT, VALID, Entries, PageMap
from firmware_model.hardware.cells import Data
from firmware_model.hardware.nand import Nand

FREE_BLOCKS: Final = 3  # kept for collection: one to fill, one for what moves, one that goes bad
LEVEL_EVERY: Final = 16  # blocks begun between two looks at the wear
WEAR_SPREAD: Final = 200  # erases between the most and the least worn block, before data moves
REFRESH_AT: Final = 6  # bits corrected in one codeword: the page moves before more of them flip
_KEPT_OUT: Final = 1 << 30  # more than any count


@dataclass(frozen=True, slots=True)
class Stored:
    """What logical pages hold: ciphertext, and which of each page's sectors were ever written."""

    data: Data
    valid: list[int]


def blocks_needed(logical_pages: int, block_pages: int, over_provisioning_percent: int) -> int:
    """Return the blocks that hold so many pages, with room to collect and for blocks gone bad."""
    filled = -(-logical_pages // block_pages)
    spare = max(filled * over_provisioning_percent // 100, 1)
    return filled + spare + FREE_BLOCKS + max(filled // 50, 2)


class Translation:
    """Logical pages on the blocks from `first_block` on."""

    def __init__(
        self, nand: Nand, first_block: int, block_count: int, logical_pages: int, epoch: int
    ) -> None:
        self.logical_pages = logical_pages
        self.host_pages = self.moved_pages = 0  # programmed since power-up
        self._nand = nand
        self._first_block = first_block
        self._block_count = block_count
        self._block_pages = nand.geometry.block_pages
        self._epoch = epoch
        self._map_entries = nand.geometry.page_bytes // 8
        self._nothing = bytes(nand.geometry.page_bytes)  # in place of a page that holds none
        self._valid_in = np.zeros(block_count, np.int32)  # pages that count
        self._erases = np.zeros(block_count, np.int64)
        self._is_bad = np.zeros(block_count, np.bool_)
        self._tired: set[int] = set()  # blocks whose bits need much correction
        self._records = np.zeros(self._block_pages, RECORD)  # of the pages programmed next
        found = Mount(nand, first_block, block_count, logical_pages, epoch)
        self._map, self._map_at, self._numbers = found.map, found.map_at, found.numbers
        self._order, self._lost = found.order, found.lost
        self._sequence = found.sequence  # of the block begun last
        self._open = found.open_block  # the block that is being filled
        is_open = self._open >= 0
        self._left = self._block_pages - nand.programmed_in(self._open) if is_open else 0
        self._erases[:] = nand.erase_counts(first_block, block_count)
        self._is_bad[[block - first_block for block in found.bad]] = True
        self._count_valid()
        self._stamp()

    # --- what the volume asks -------------------------------------------------------------------

    def read(self, first: int, count: int) -> Stored:
        """Return logical pages; one that was never written or was discarded has no valid sector.

        Raises Unreadable.
        """
        entries = self._map.get(first, count).tolist()
        self._refuse_doubtful(entries)
        parts: list[Data] = []
        at = 0
        while at < count:
            page = (entries[at] >> PAGE_SHIFT) - 1
            end = at + 1
            if page < 0:
                parts.append(self._nothing)
            elif not entries[at] & VALID:
                raise Unreadable(f"logical page {first + at}")  # it was already when it moved
            else:
                room = min(count - at, self._block_pages - page % self._block_pages)
                while end < at + room and (entries[end] >> PAGE_SHIFT) - 1 == page + end - at:
                    end += 1
                parts.append(self._fetch(page, end - at))
            at = end
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._refresh()
        return Stored(data, [entry & VALID for entry in entries])

    def write(self, first: int, data: Data, valid: int, purpose: str = "data") -> None:
        """Replace logical pages as a whole: they are durable when this returns. Raises WornOut."""
        page_bytes = self._nand.geometry.page_bytes
        count = -(-len(data) // page_bytes)
        if not 0 <= first <= first + count <= self.logical_pages:
            raise ValueError(f"there is no logical page {first + count - 1}")
        self._refuse_to_hide()
        view = memoryview(data)
        numbers = np.arange(first, first + count, dtype=np.int64)
        done = 0
        while done < count:
            self._make_room()
            end = min(done + self._left, count)
            part = slice(done, end)
            piece = view[done * page_bytes : end * page_bytes]
            written = self._program(DATA, numbers[part], valid, piece, purpose, True)
            self.host_pages += written
            done += written

    def trim(self, first: int, count: int, sectors: int) -> None:
        """Discard sectors, of which a page has `sectors`; `first` and `count` are in sectors.

        They hold nothing when this returns, and never again will. Raises WornOut.
        """
        self._refuse_to_hide()
        end = first + count
        pages = self._map.in_use(first // sectors, -(-end // sectors))
        entries = self._map.at(pages)
        begins = np.clip(first - pages * sectors, 0, sectors)
        ends = np.clip(end - pages * sectors, 0, sectors)
        kept = entries & ~((1 << ends) - (1 << begins))
        is_gone = kept & VALID == 0
        self._leave((entries[is_gone] >> PAGE_SHIFT) - 1)
        self._map.put(pages, np.where(is_gone, 0, kept))
        for number in np.unique(pages // self._map_entries).tolist():
            self._write_map(number)

    def held(self, first: int, count: int, sectors: int) -> npt.NDArray[np.bool_]:
        """Tell of each of `count` sectors whether it holds anything; a page has `sectors`."""
        page, skipped = divmod(first, sectors)
        entries = self._map.get(page, -(-(skipped + count) // sectors))
        # What is lost is not nothing: reading it is an error.
        valids = np.where((entries != 0) & (entries & VALID == 0), VALID, entries & VALID)
        bits: npt.NDArray[np.bool_] = (valids[:, None] >> np.arange(sectors) & 1).astype(np.bool_)
        return bits.reshape(-1)[skipped : skipped + count]

    def discard(self, epoch: int) -> None:
        """Forget every page, because the epoch that wrote them is over."""
        self._epoch = epoch
        self._map = PageMap(self.logical_pages)
        self._map_at.clear()
        self._numbers = {block: np.full_like(row, NOTHING) for block, row in self._numbers.items()}
        self._valid_in[:] = 0
        for block in self._lost:
            self._is_bad[block - self._first_block] = not self._nand.erase(block, "data block")
            self._left = 0 if block == self._open else self._left
        self._lost.clear()
        self._stamp()

    def _count_valid(self) -> None:
        entries = self._map.entries()
        pages = (entries[entries != 0] >> PAGE_SHIFT) - 1
        blocks = pages // self._block_pages - self._first_block
        self._valid_in += np.bincount(blocks, minlength=self._block_count).astype(np.int32)
        for page in self._map_at.values():
            self._valid_in[page // self._block_pages - self._first_block] += 1

    # --- writing --------------------------------------------------------------------------------

    def _program(
        self,
        kind: int,
        numbers: Entries,
        valids: Entries | int,
        data: Data,
        purpose: str,
        is_run: bool = False,  # whether the numbers follow each other
    ) -> int:
        """Program pages into the open block, which has room; return how many before it failed."""
        block = self._open
        index = self._block_pages - self._left
        first = self._page_at(block, index)
        fields = self._records[: len(numbers)]
        fields["kind"], fields["number"], fields["valid"] = kind, numbers, valids
        done = self._nand.program(first, data, fields.tobytes(), purpose)
        self._left -= done
        if kind == MAP:
            self._numbers[block][index : index + done] = FIRST_MAP - numbers[:done]
            for at in range(done):
                self._leave(np.array([self._map_at.get(int(numbers[at]), -1)]))
                self._map_at[int(numbers[at])] = first + at
        elif done:
            self._numbers[block][index : index + done] = numbers[:done]
            pages = np.arange(first + 1, first + 1 + done)
            kept = valids if isinstance(valids, int) else valids[:done]
            self._enter(numbers[:done], (pages << PAGE_SHIFT) | kept, is_run)
        self._valid_in[block - self._first_block] += done
        if done < len(numbers):
            self._retire(block)
        return done

    def _enter(self, numbers: Entries, entries: Entries, is_run: bool) -> None:
        """Put logical pages where they stand now."""
        run = self._map.run(int(numbers[0]), len(numbers)) if is_run else None
        if run is None:
            self._leave((self._map.at(numbers) >> PAGE_SHIFT) - 1)
            self._map.put(numbers, entries)
        else:
            self._leave((run >> PAGE_SHIFT) - 1)
            run[:] = entries

    def _leave(self, pages: Entries) -> None:
        """Count pages, or -1 for none, as holding nothing that counts any more."""
        if not len(pages):
            return
        block = int(pages.min()) // self._block_pages
        if block >= 0 and int(pages.max()) // self._block_pages == block:
            self._valid_in[block - self._first_block] -= len(pages)
            return
        blocks = pages[pages >= 0] // self._block_pages - self._first_block
        if len(blocks):
            first, last = int(blocks.min()), int(blocks.max())
            counts = len(blocks) if first == last else np.bincount(blocks - first)
            self._valid_in[first : last + 1] -= counts

    def _write_map(self, number: int) -> None:
        """Write a page of the map as it is now."""
        numbers = np.array([number])
        first = number * self._map_entries
        count = min(self._map_entries, self.logical_pages - first)
        is_written = 0
        while not is_written:
            self._make_room()
            data = self._map.get(first, count).astype("<i8").tobytes()
            is_written = self._program(MAP, numbers, 0, data, "map")

    # --- room -----------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Have room in the open block, collecting blocks while few are free."""
        if self._left:
            return
        if not self._sequence % LEVEL_EVERY:
            self._level()
        while not self._left and np.count_nonzero(self._good(self._valid_in == 0)) < FREE_BLOCKS:
            self._collect(self._least_valid())
        if not self._left:
            self._begin()

    def _good(self, blocks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return those of the blocks that are neither bad nor being filled."""
        blocks &= ~self._is_bad
        if self._open >= 0 and self._left:
            blocks[self._open - self._first_block] = False
        return blocks

    def _least_valid(self) -> int:
        """Return the block that costs the least to collect."""
        counts = np.where(self._good(self._valid_in > 0), self._valid_in, _KEPT_OUT)
        victim = int(counts.argmin())
        if counts[victim] >= self._block_pages:
            raise WornOut("too few good blocks are left")
        return victim + self._first_block

    def _level(self) -> None:
        """Move what has lain still off a block that is far less worn than others."""
        erases = np.where(self._good(self._valid_in > 0), self._erases, _KEPT_OUT)
        coldest = int(erases.argmin())
        if (
            self._erases.max() - erases[coldest] > WEAR_SPREAD
            and self._good(self._valid_in == 0).any()
        ):
            self._collect(coldest + self._first_block)

    def _collect(self, block: int) -> None:
        """Move what is valid out of a block."""
        numbers = self._numbers[block]
        pages = np.arange(self._page_at(block, 0), self._page_at(block, self._block_pages))
        is_data = numbers >= 0
        entries = self._map.at(numbers[is_data])
        is_valid = (entries >> PAGE_SHIFT) - 1 == pages[is_data]
        logical, valids = numbers[is_data][is_valid], entries[is_valid] & VALID
        done = 0
        while done < len(logical):
            if not self._left:
                self._begin()
            part = slice(done, min(done + self._left, len(logical)))
            old = (pages[is_data][is_valid][part]).tolist()
            datas = [self._nand.read(page) for page in old]
            kept = np.where([data is not None for data in datas], valids[part], 0)  # 0: lost
            joined = b"".join(data or self._nothing for data in datas)
            moved = self._program(DATA, logical[part], kept, joined, "moved data")
            self.moved_pages += moved
            done += moved
        for at in np.flatnonzero(numbers <= FIRST_MAP).tolist():
            number = FIRST_MAP - int(numbers[at])
            if self._map_at.get(number) == int(pages[at]):
                if not self._left:
                    self._begin()
                self._write_map(number)

    def _begin(self) -> None:
        """Erase the least worn free block, and fill it from now on."""
        while True:
            free = np.flatnonzero(self._good(self._valid_in == 0))
            if not len(free):
                raise WornOut("no good block is left")
            at = int(free[self._erases[free].argmin()])
            block = at + self._first_block
            is_erased = self._nand.erase(block, "data block")
            self._erases[at] += 1
            if is_erased:
                break
            self._is_bad[at] = True
            self._nand.mark_bad(block)
        self._sequence += 1
        self._open, self._left = block, self._block_pages
        self._numbers[block] = np.full(self._block_pages, NOTHING, np.int64)
        self._stamp()

    def _stamp(self) -> None:
        """Note what the records of the open block have in common."""
        self._records["epoch"], self._records["sequence"] = self._epoch, self._sequence

    def _retire(self, block: int) -> None:
        """Take a block that failed out of use, once nothing that counts is left in it."""
        self._is_bad[block - self._first_block] = True
        self._left = 0
        self._collect(block)
        self._nand.mark_bad(block)

    # --- reading --------------------------------------------------------------------------------

    def _refuse_doubtful(self, entries: Sequence[int]) -> None:
        """Raise Unreadable for pages of which a lost page may be a newer copy."""
        if not self._lost:
            return
        lost = max((self._order.get(block, NEWEST), index) for block, index in self._lost.items())
        for entry in entries:
            block, index = divmod((entry >> PAGE_SHIFT) - 1, self._block_pages)
            if entry < 1 << PAGE_SHIFT or (self._order[block], index) <= lost:
                raise Unreadable("a page whose record is lost may be a newer copy")

    def _refuse_to_hide(self) -> None:
        """Raise WornOut where a record is lost: what is collected would no longer tell of it."""
        if self._lost:
            raise WornOut("the record of a page is lost")

    def _fetch(self, page: int, count: int) -> Data:
        data = self._nand.read_run(page, count)
        if data is None:
            raise Unreadable(f"page {page}")
        if self._nand.corrected >= REFRESH_AT:
            self._tired.add(page // self._block_pages)
        return data

    def _refresh(self) -> None:
        """Move what is valid out of blocks that needed nearly all of the ECC."""
        with suppress(WornOut):  # then it stays where it is
            while self._tired and not self._lost:
                self._make_room()
                self._collect(self._tired.pop())

    def _page_at(self, block: int, index: int) -> int:
        return block * self._block_pages + index
