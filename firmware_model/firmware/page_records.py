"""What the pages of a block are, by the records in their spare areas.

A record says what its page is, and how many pages before it a cut has torn: so a block that a cut
fell into is filled further.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from firmware_model.firmware.page_map import Entries
from firmware_model.hardware.cells import RECORD_BYTES
from firmware_model.hardware.nand import Nand

RECORD: Final = np.dtype(
    {
        "names": ["kind", "valid", "number", "epoch", "sequence", "torn"],
        "formats": ["u1", ">u4", ">u4", ">u4", ">u8", ">u2"],
        "offsets": [0, 1, 5, 9, 13, 30],
        "itemsize": RECORD_BYTES,
    }
)
DATA: Final = 0xD1
MAP: Final = 0xD2
NEWEST: Final = 1 << 62  # the sequence of a block of which no record tells one
NOTHING: Final = -1  # in place of a logical page: a page that holds none
FIRST_MAP: Final = -2  # and below: a page of the map

Records = npt.NDArray[np.void]


class PageRecords:
    """The records of one block, of a medium with so many logical pages and pages of the map."""

    def __init__(self, nand: Nand, block: int, logical_pages: int, map_pages: int) -> None:
        self.block = block
        self.records: Records = nand.records(block).view(RECORD)[:, 0]
        self.count = len(self.records)
        self._nand = nand
        self._first = block * nand.geometry.block_pages
        self._is_torn = np.zeros(self.count, np.bool_)  # a cut fell into it: nobody was told of it
        kind, number = self.records["kind"], self.records["number"]
        is_ours = (kind == DATA) & (number < logical_pages)
        is_ours |= (kind == MAP) & (number < map_pages)
        is_ours &= self.records["sequence"] < NEWEST  # of forged ones there is no going on
        self.is_ours: npt.NDArray[np.bool_] = is_ours
        self._look_for_weak()
        self.sequence = int(self.records["sequence"][self.is_ours].max(initial=0))
        for index in np.flatnonzero(self.is_ours & (self.records["torn"] > 0)).tolist():
            self.hear(self.records[index], index)

    @property
    def torn_last(self) -> int:
        """How many pages behind the last of ours hold nothing."""
        return self.count - 1 - int(np.flatnonzero(self.is_ours)[-1])

    def hear(self, teller: np.void, end: int) -> None:
        """Take the word of the record that follows for the pages before `end`."""
        torn = slice(max(end - int(teller["torn"]), 0), end)
        self._is_torn[torn] = True
        self.is_ours[torn] = False

    def numbers(self, epoch: int) -> Entries:
        """Return which logical page each page of the block is, as far as an epoch wrote them."""
        numbers = np.full(self._nand.geometry.block_pages, NOTHING, np.int64)
        number = self.records["number"].astype(np.int64)
        numbers[: self.count] = np.where(self.records["kind"] == MAP, FIRST_MAP - number, number)
        numbers[: self.count][~self.is_ours | (self.records["epoch"] != epoch)] = NOTHING
        return numbers

    def last_lost(self, epoch: int) -> int | None:
        """Return the last page of an epoch that can be read, and whose record can't.

        A page that a cut tore can't be read either: nobody was told that it is there.
        """
        is_told = self.records["kind"] != 0
        epochs = self.records["epoch"][is_told]
        if is_told.all() or (len(epochs) and epoch not in epochs):
            return None
        for index in np.flatnonzero(~is_told & ~self._is_torn)[::-1].tolist():
            page = self._first + index
            if not self._nand.has_record(page) and self._nand.read(page) is not None:
                return int(index)
        return None

    def _look_for_weak(self) -> None:
        """Read the last pages with margin: what a cut left weak does not stay."""
        for index in range(self.count - 1, -1, -1):
            if not self._nand.is_stable(self._first + index):
                self._is_torn[index] = True
                self.is_ours[index] = False
            elif self.is_ours[index]:
                return
