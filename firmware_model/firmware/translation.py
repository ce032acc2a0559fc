"""The flash translation layer: logical pages on NAND, page-mapped, safe under power cuts.

Blocks are filled one after the other, each numbered when it is begun; every page says in its record
which logical page it is. So number of the block and place in it put all copies of a page in order,
the last one counts, and one program is one change, which a cut leaves done or not done.

What was discarded is kept from coming back by a page of the map itself, written into the same
stream: it counts for the logical pages it covers until they are written again.

A page whose record can't be read is known from the record after it. Where that can't be read either
nobody knows whose newest copy the page is: then older copies are answered no more, and nothing is
written that would hide it, until the drive is erased.

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

from firmware_model.firmware.block_use import NO_BLOCK, BlockUse
from firmware_model.firmware.medium import REFRESH_AT, Unreadable, WornOut
from firmware_model.firmware.mounting import Mount
from firmware_model.firmware.page_map import PAGE_SHIFT, VALID, Entries, PageMap
from firmware_model.firmware.page_records import DATA, FIRST_MAP, MAP, NEWEST, NOTHING, PAGE, RECORD
from firmware_model.hardware.cells import Data
from firmware_model.hardware.nand import Nand

FREE_BLOCKS: Final = 3  # kept for collection: one to fill, one for what moves, one that goes bad
LEVEL_EVERY: Final = 16  # blocks begun between two looks at the wear
_NONE: Final = np.zeros(0, np.int64)


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
        self._block_pages = nand.geometry.block_pages
        self._epoch = epoch
        self._map_entries = nand.geometry.page_bytes // 8
        self._nothing = bytes(nand.geometry.page_bytes)  # in place of a page that holds none
        self._records = np.zeros(self._block_pages, RECORD)  # of the pages programmed next
        found = Mount(nand, first_block, block_count, logical_pages, epoch)
        self._map, self._map_at, self._numbers = found.map, found.map_at, found.numbers
        self._order, self._lost = found.order, found.lost
        self._tired = found.tired  # blocks whose bits need much correction
        self._sequence = found.sequence  # of the block begun last
        self._open = found.open_block  # the block that is being filled
        self._before, self._torn = found.before, found.torn  # what the next record tells of others
        self._may_be_short = True  # of free blocks: a cut may have fallen into a collection
        is_open = self._open != NO_BLOCK
        self._left = self._block_pages - nand.programmed_in(self._open) if is_open else 0
        self._use = BlockUse(nand, first_block, block_count, found.bad)
        entries = self._map.entries()
        self._use.enter((entries[entries != 0] >> PAGE_SHIFT) - 1)
        self._use.enter(np.array(list(self._map_at.values()), np.int64))
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
        begins = np.clip(first - pages * sectors, 0, sectors)
        ends = np.clip(end - pages * sectors, 0, sectors)
        kept = ~((1 << ends) - (1 << begins))
        bounds = np.flatnonzero(np.diff(pages // self._map_entries)) + 1
        for some, masks in zip(np.split(pages, bounds), np.split(kept, bounds), strict=True):
            if len(some):
                self._write_map(int(some[0]) // self._map_entries, some, masks)

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
        self._use.leave_all()
        self._before = np.zeros(1, PAGE)[0]
        for block in self._lost:
            self._left = 0 if block == self._open else self._left
            if not self._nand.erase(block, "data block"):
                self._use.went_bad(block)
                self._nand.mark_bad(block)
        self._lost.clear()
        self._stamp()

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
        fields["before"][0], fields["before"][1:] = self._before, fields["page"][:-1]
        fields["torn"][0] = self._torn
        done = self._nand.program(first, data, fields.tobytes(), purpose)
        self._left -= done
        if done:
            self._before, self._torn = fields["page"][done - 1].copy(), 0
        if kind == MAP:
            self._numbers[block][index : index + done] = FIRST_MAP - numbers[:done]
            for at in range(done):
                self._use.leave(np.array([self._map_at.get(int(numbers[at]), -1)]))
                self._map_at[int(numbers[at])] = first + at
        elif done:
            self._numbers[block][index : index + done] = numbers[:done]
            pages = np.arange(first + 1, first + 1 + done)
            kept = valids if isinstance(valids, int) else valids[:done]
            self._enter(numbers[:done], (pages << PAGE_SHIFT) | kept, is_run)
        self._use.enter_block(block, done)
        if done < len(numbers):
            self._retire(block)
        return done

    def _enter(self, numbers: Entries, entries: Entries, is_run: bool) -> None:
        """Put logical pages where they stand now."""
        run = self._map.run(int(numbers[0]), len(numbers)) if is_run else None
        if run is None:
            self._use.leave((self._map.at(numbers) >> PAGE_SHIFT) - 1)
            self._map.put(numbers, entries)
        else:
            self._use.leave((run >> PAGE_SHIFT) - 1)
            run[:] = entries

    def _write_map(self, number: int, pages: Entries = _NONE, kept: Entries = _NONE) -> None:
        """Write a page of the map, in which logical `pages` have left what the masks in `kept` say.

        Until that is in flash, all that they held still counts. Were it erased before, a cut would
        bring back an older copy.
        """
        numbers = np.array([number])
        first = number * self._map_entries
        count = min(self._map_entries, self.logical_pages - first)
        is_written = 0
        while not is_written:
            self._make_room()
            entries = self._map.get(first, count).copy()
            before = entries[pages - first]
            after = np.where(before & kept & VALID, before & kept, 0)
            entries[pages - first] = after
            data = entries.astype("<i8").tobytes()
            is_written = self._program(MAP, numbers, 0, data, "map")
        self._use.leave((before[after == 0] >> PAGE_SHIFT) - 1)
        self._map.put(pages, after)

    # --- room -----------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Have room in the open block and free ones in reserve, collecting while they are few.

        A cut in the middle of a collection leaves one block more in use, a block that goes bad one
        less to use. That is made good before anything else is written: else a few of them would
        leave nowhere to collect into.
        """
        if self._left and not self._may_be_short:
            return
        self._may_be_short = False
        while self._use.free_count(self._filling) + bool(self._left) < FREE_BLOCKS:
            victim = self._use.cheapest(self._filling)
            if victim == NO_BLOCK:
                self._may_be_short = True
                raise WornOut("too few good blocks are left")
            self._collect(victim)
        if not self._sequence % LEVEL_EVERY:
            cold = self._use.coldest(self._filling)
            if cold != NO_BLOCK:
                self._collect(cold)
        if not self._left:
            self._begin()

    @property
    def _filling(self) -> int:
        """The open block, as long as it has room."""
        return self._open if self._left else NO_BLOCK

    def _collect(self, block: int) -> None:
        """Move what is valid out of a block."""
        numbers = self._numbers[block]
        # Looked at anew each time: a block that fails meanwhile has others collected, or this one.
        while self._numbers[block] is numbers and len(pages := self._valid_pages(block)):
            if not self._left:
                self._begin()
            pages = pages[: self._left]
            logical = numbers[pages % self._block_pages]
            valids = self._map.at(logical) & VALID
            datas = [self._nand.read(page) for page in pages.tolist()]
            kept = np.where([data is not None for data in datas], valids, 0)  # 0: lost
            joined = b"".join(data or self._nothing for data in datas)
            self.moved_pages += self._program(DATA, logical, kept, joined, "moved data")
        for at in np.flatnonzero(numbers <= FIRST_MAP).tolist():
            number = FIRST_MAP - int(numbers[at])
            if self._map_at.get(number) == self._page_at(block, at):
                if not self._left:
                    self._begin()
                self._write_map(number)

    def _valid_pages(self, block: int) -> Entries:
        """Return the pages of a block that are the newest copy of a logical page."""
        numbers = self._numbers[block]
        is_data = np.flatnonzero(numbers >= 0)
        pages = is_data + self._page_at(block, 0)
        valid: Entries = pages[(self._map.at(numbers[is_data]) >> PAGE_SHIFT) - 1 == pages]
        return valid

    def _begin(self) -> None:
        """Erase the least worn free block, and fill it from now on."""
        is_erased = False
        while not is_erased:
            block = self._use.least_worn_free()
            if block == NO_BLOCK:
                raise WornOut("no good block is left")
            is_erased = self._nand.erase(block, "data block")
            self._use.was_erased(block)
            if not is_erased:
                self._may_be_short = True
                self._use.went_bad(block)
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
        self._use.went_bad(block)
        self._left = 0
        self._torn += 1
        self._may_be_short = True
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
                block = self._tired.pop()
                self._left = 0 if block == self._open else self._left
                self._make_room()
                self._collect(block)

    def _page_at(self, block: int, index: int) -> int:
        return block * self._block_pages + index
