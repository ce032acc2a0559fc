"""What the pages of a block are, by the records in their spare areas.

A record says what its page is, and what the page programmed before it is: so one whose own record
is lost is still known, and one that can't be read at all is an error and not an older copy. Or it
says how many pages before it a cut has torn: so a block that a cut fell into is filled further.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from firmware_model.firmware.page_map import Entries
from firmware_model.hardware.cells import RECORD_BYTES
from firmware_model.hardware.nand import Nand

PAGE: Final = np.dtype([("kind", "u1"), ("valid", ">u4"), ("number", ">u4")])
RECORD: Final = np.dtype(
    {
        "names": ["kind", "valid", "number", "page", "epoch", "sequence", "before", "torn"],
        "formats": ["u1", ">u4", ">u4", PAGE, ">u4", ">u8", PAGE, ">u2"],
        "offsets": [0, 1, 5, 0, 9, 13, 21, 30],  # `page` is the three before it
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
        self._limits = {DATA: logical_pages, MAP: map_pages}
        self._is_torn = np.zeros(self.count, np.bool_)  # a cut fell into it: nobody was told of it
        # Of forged sequence numbers there is no going on.
        self.is_ours = self._are_there(self.records) & (self.records["sequence"] < NEWEST)
        self._look_for_weak()
        self.sequence = int(self.records["sequence"][self.is_ours].max(initial=0))
        if not self.is_ours.all() or self.records["torn"].any():
            for index in np.flatnonzero(self.is_ours).tolist():
                self.hear(self.records[index], index)

    def hear(self, teller: np.void, end: int) -> None:
        """Take the word of the record that follows for the pages before `end`."""
        torn = int(teller["torn"])
        if torn:
            self._is_torn[max(end - torn, 0) : end] = True
            self.is_ours[max(end - torn, 0) : end] = False
        elif end and not self.is_ours[end - 1] and self._are_there(teller["before"]):
            self.records = self.records.copy()
            self.records["page"][end - 1] = teller["before"]
            self.records["epoch"][end - 1] = teller["epoch"]
            self.is_ours[end - 1] = True

    def end(self, epoch: int) -> tuple[np.void, int]:
        """Return what the next record is to say: the page before it, and how many are torn."""
        last = int(np.flatnonzero(self.is_ours)[-1])
        is_of_epoch = self.records["epoch"][last] == epoch
        page = self.records["page"][last] if is_of_epoch else np.zeros(1, PAGE)[0]
        return page, self.count - 1 - last

    def numbers(self, epoch: int) -> Entries:
        """Return which logical page each page of the block is, as far as an epoch wrote them."""
        numbers = np.full(self._nand.geometry.block_pages, NOTHING, np.int64)
        number = self.records["number"].astype(np.int64)
        numbers[: self.count] = np.where(self.records["kind"] == MAP, FIRST_MAP - number, number)
        numbers[: self.count][~self.is_ours | (self.records["epoch"] != epoch)] = NOTHING
        return numbers

    def last_lost(self, epoch: int) -> int | None:
        """Return the last page of an epoch that can be read, and that no record tells of.

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

    def _are_there(self, pages: Records | np.void) -> npt.NDArray[np.bool_]:
        """Tell which of these are pages of the medium."""
        kind, number = pages["kind"], pages["number"]
        is_data = (kind == DATA) & (number < self._limits[DATA])
        return np.asarray(is_data | ((kind == MAP) & (number < self._limits[MAP])))

    def _look_for_weak(self) -> None:
        """Read the last pages with margin: what a cut left weak does not stay."""
        for index in range(self.count - 1, -1, -1):
            if not self._nand.is_stable(self._first + index):
                self._is_torn[index] = True
                self.is_ours[index] = False
            elif self.is_ours[index]:
                return
