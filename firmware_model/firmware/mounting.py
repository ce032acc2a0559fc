"""Mounting: from the records of all pages to the map of a translation layer.

Every page says in its record which logical page it is, or that it is a page of the map itself, and
the number its block was begun with. That puts all copies in order, and the last one counts.
"""

from itertools import pairwise

import numpy as np

from firmware_model.firmware.block_use import NO_BLOCK
from firmware_model.firmware.medium import REFRESH_AT
from firmware_model.firmware.page_map import PAGE_SHIFT, VALID, Entries, PageMap
from firmware_model.firmware.page_records import FIRST_MAP, PAGE, PageRecords
from firmware_model.hardware.nand import Nand


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
        self.tired: set[int] = set()  # blocks with a page of the map that should move
        self.bad: list[int] = []
        self.sequence = 0  # of the block begun last
        self.open_block = NO_BLOCK  # that one, which may have room
        self.before = np.zeros(1, PAGE)[0]  # the page programmed last
        self.torn = 0  # pages behind it that hold nothing
        self._nand = nand
        self._block_pages = nand.geometry.block_pages
        self._logical_pages = logical_pages
        self._map_entries = nand.geometry.page_bytes // 8
        map_pages = -(-logical_pages // self._map_entries)
        blocks = []
        for block in nand.scan(first_block, block_count):
            if nand.is_bad(block):
                self.bad.append(block)
            else:
                blocks.append(PageRecords(nand, block, logical_pages, map_pages))
        blocks.sort(key=lambda each: (each.sequence, each.block))
        for each, following in pairwise(blocks):
            if following.sequence == each.sequence + 1 and following.is_ours[0]:
                each.hear(following.records[0], each.count)
        for each in blocks:
            lost = each.last_lost(epoch)
            if lost is not None:
                self.lost[each.block] = lost
        found = [each for each in blocks if each.is_ours.any()]
        for each in found:
            self.numbers[each.block] = each.numbers(epoch)
        newest_map = self._newest_of_the_map([each.block for each in found])
        for each in found:
            self.order[each.block] = each.sequence
            self._take_in(each, newest_map)
        if found:
            newest = found[-1]
            self.sequence, self.open_block = newest.sequence, newest.block
            self.before, self.torn = newest.end(epoch)

    def _newest_of_the_map(self, blocks: list[int]) -> dict[int, int]:
        """Return where the last copy of each page of the map stands, of blocks in their order."""
        newest = {}
        for block in blocks:
            numbers = self.numbers[block]
            for index in np.flatnonzero(numbers <= FIRST_MAP).tolist():
                newest[FIRST_MAP - int(numbers[index])] = block * self._block_pages + index
        return newest

    def _take_in(self, found: PageRecords, newest_map: dict[int, int]) -> None:
        count, valid = found.count, found.records["valid"]
        numbers = self.numbers[found.block][:count]
        first = found.block * self._block_pages
        entries = (np.arange(first + 1, first + 1 + count) << PAGE_SHIFT) | valid
        begin = 0
        for index in [*np.flatnonzero(numbers <= FIRST_MAP).tolist(), count]:
            part = slice(begin, index)
            is_data = numbers[part] >= 0
            self.map.put(numbers[part][is_data], entries[part][is_data])
            if index < count:
                number = FIRST_MAP - int(numbers[index])
                if newest_map[number] == first + index:
                    self._take_map(number, first + index)
            begin = index + 1

    def _take_map(self, number: int, page: int) -> None:
        """Take in a page of the map; entries that lead to no copy of their page count for none."""
        self.map_at[number] = page
        first = number * self._map_entries
        data = self._nand.read(page)
        if self._nand.corrected >= REFRESH_AT:
            self.tired.add(page // self._block_pages)
        if data is None:  # what it discarded, nobody knows: what it covers is unreadable
            end = min(first + self._map_entries, self._logical_pages)
            covered = self.map.in_use(first, end)
            self.map.put(covered, self.map.at(covered) & ~VALID)
            return
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
