"""Mounting: from the records of all pages to the map of a translation layer.

Every page says in its record which logical page it is, or that it is a page of the map itself, and
the number its block was begun with. That puts all copies in order, and the last one counts.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from firmware_model.firmware.page_map import PAGE_SHIFT, Entries, PageMap
from firmware_model.hardware.cells import RECORD_BYTES
from firmware_model.hardware.nand import Nand

RECORD: Final = np.dtype(
    {
        "names": ["kind", "valid", "number", "epoch", "sequence"],
        "formats": ["u1", ">u4", ">u4", ">u4", ">u8"],
        "offsets": [0, 1, 5, 9, 13],
        "itemsize": RECORD_BYTES,
    }
)
DATA: Final = 0xD1
MAP: Final = 0xD2
NEWEST: Final = 1 << 62  # the sequence of a block of which no record tells one
NOTHING: Final = -1  # in place of a logical page: a page that holds none
FIRST_MAP: Final = -2  # and below: a page of the map

Records = npt.NDArray[np.void]


class Mount:
    """What stands in the blocks from `first_block` on, as far as `epoch` wrote it."""

    def __init__(
        self, nand: Nand, first_block: int, block_count: int, logical_pages: int, epoch: int
    ) -> None:
        self.map = PageMap(logical_pages)
        self.map_at: dict[int, int] = {}  # number of a page of the map -> where it stands
        self.numbers: dict[int, Entries] = {}  # by block: what its pages are
        self.order: dict[int, int] = {}  # of the blocks that were found, by their sequence
        self.lost: dict[int, int] = {}  # by block: the last page whose record is lost
        self.bad: list[int] = []
        self.sequence = 0  # of the block begun last
        self.open_block = -1  # one that can be filled further
        self._nand = nand
        self._block_pages = nand.geometry.block_pages
        self._logical_pages = logical_pages
        self._map_entries = nand.geometry.page_bytes // 8
        self._epoch = epoch
        found = []
        for block in nand.scan(first_block, block_count):
            if nand.is_bad(block):
                self.bad.append(block)
                continue
            records = self._look_at(block)
            if len(records):
                found.append((int(records["sequence"].max()), block, records))
        found.sort(key=lambda each: each[:2])
        newest_map = self._newest_of_the_map([block for _, block, _ in found])
        for sequence, block, records in found:
            self.order[block] = sequence
            self._take_in(block, records, newest_map)
        if found:
            self.sequence, newest, _ = found[-1]
            self._reopen(newest)

    def _look_at(self, block: int) -> Records:
        """Note what the pages of a block are, and return their records; none where none is ours."""
        records = self._nand.records(block).view(RECORD)[:, 0]
        kind, number = records["kind"], records["number"]
        is_ours = (kind == DATA) & (number < self._logical_pages)
        is_ours |= (kind == MAP) & (number < -(-self._logical_pages // self._map_entries))
        is_ours &= records["sequence"] < NEWEST  # of forged ones there is no going on
        if not kind.all():
            self._look_for_lost(block, records)
        last = block * self._block_pages + len(records) - 1
        if len(records) and not self._nand.is_stable(last):
            is_ours[-1] = False  # a cut fell into it: nobody was told that it is there
        if not is_ours.any():
            return records[:0]
        numbers = np.full(self._block_pages, NOTHING, np.int64)
        numbers[: len(records)] = np.where(kind == MAP, FIRST_MAP - number.astype(np.int64), number)
        numbers[: len(records)][~is_ours | (records["epoch"] != self._epoch)] = NOTHING
        self.numbers[block] = numbers
        return np.where(is_ours, records, np.zeros(1, RECORD))

    def _look_for_lost(self, block: int, records: Records) -> None:
        """Note the last page of this epoch that can be read, and whose record can't.

        A page that a cut tore can't be read either: nobody was told that it is there.
        """
        is_told = records["kind"] != 0
        if is_told.any() and not (records["epoch"][is_told] == self._epoch).any():
            return
        for index in np.flatnonzero(~is_told)[::-1].tolist():
            page = block * self._block_pages + index
            if not self._nand.has_record(page) and self._nand.read(page) is not None:
                self.lost[block] = index
                return

    def _newest_of_the_map(self, blocks: list[int]) -> dict[int, int]:
        """Return where the last copy of each page of the map stands, of blocks in their order."""
        newest = {}
        for block in blocks:
            numbers = self.numbers[block]
            for index in np.flatnonzero(numbers <= FIRST_MAP).tolist():
                newest[FIRST_MAP - int(numbers[index])] = block * self._block_pages + index
        return newest

    def _take_in(self, block: int, records: Records, newest_map: dict[int, int]) -> None:
        numbers = self.numbers[block][: len(records)]
        first = block * self._block_pages
        entries = (np.arange(first + 1, first + 1 + len(records)) << PAGE_SHIFT) | records["valid"]
        begin = 0
        for index in [*np.flatnonzero(numbers <= FIRST_MAP).tolist(), len(records)]:
            part = slice(begin, index)
            is_data = numbers[part] >= 0
            self.map.put(numbers[part][is_data], entries[part][is_data])
            if index < len(records):
                number = FIRST_MAP - int(numbers[index])
                if newest_map[number] == first + index:
                    self._take_map(number, first + index)
            begin = index + 1

    def _take_map(self, number: int, page: int) -> None:
        """Take in a page of the map; entries that lead to no copy of their page count for none."""
        data = self._nand.read(page)
        if data is None:
            block, index = divmod(page, self._block_pages)
            self.lost[block] = max(index, self.lost.get(block, 0))
            return
        self.map_at[number] = page
        first = number * self._map_entries
        entries = np.frombuffer(data, "<i8").astype(np.int64)[: self._logical_pages - first]
        logical = np.arange(first, first + len(entries))
        blocks, indexes = np.divmod((entries >> PAGE_SHIFT) - 1, self._block_pages)
        is_right = np.zeros(len(entries), np.bool_)
        for each in np.unique(blocks).tolist():
            numbers = self.numbers.get(each)
            if numbers is not None:
                within = blocks == each
                is_right[within] = numbers[indexes[within]] == logical[within]
        self.map.put(logical, np.where(is_right, entries, 0))

    def _reopen(self, block: int) -> None:
        """Have the newest block filled further, unless a cut fell into its last page."""
        last = block * self._block_pages + self._nand.programmed_in(block) - 1
        is_whole = self._nand.records(block).view(RECORD)[-1, 0]["kind"] in (DATA, MAP)
        if is_whole and self._nand.is_stable(last):
            self.open_block = block
