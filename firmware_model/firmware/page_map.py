"""The map of a translation layer: for each logical page, where it stands.

Entries stand in groups, and a group exists from its first entry on: memory follows what was
written, not the capacity.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Entries = npt.NDArray[np.int64]
GROUP: Final = 64  # entries
PAGE_SHIFT: Final = 32  # an entry is page + 1 above, and which sectors are valid below
VALID: Final = (1 << PAGE_SHIFT) - 1


class PageMap:
    """An entry for each of `count` pages; 0 stands for a page that is nowhere."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._group_of = np.zeros(-(-count // GROUP), np.int32)  # row of `_rows`; 0: no group yet
        self._rows = np.zeros((16, GROUP), np.int64)  # row 0 stays empty
        self._used = 1

    def get(self, first: int, count: int) -> Entries:
        """Return the entries of `count` pages in a row."""
        group, offset = divmod(first, GROUP)
        if offset + count <= GROUP:
            return self._rows[self._group_of[group], offset : offset + count]
        last = (first + count - 1) // GROUP
        rows = self._rows[self._group_of[group : last + 1]]
        return rows.reshape(-1)[offset : offset + count]

    def run(self, first: int, count: int) -> Entries | None:
        """Return the entries of pages in a row to change in place; None where that can't be."""
        group, offset = divmod(first, GROUP)
        row = self._group_of[group]
        return self._rows[row, offset : offset + count] if row and offset + count <= GROUP else None

    def at(self, pages: npt.NDArray[np.int64]) -> Entries:
        """Return the entries of any pages."""
        return self._rows[self._group_of[pages // GROUP], pages % GROUP]

    def put(self, pages: npt.NDArray[np.int64], entries: Entries) -> None:
        """Replace the entries of any pages; of two for one page the later counts."""
        groups = pages // GROUP
        rows = self._group_of[groups]
        if not rows.all():
            self._make(np.unique(groups[rows == 0]))
            rows = self._group_of[groups]
        self._rows[rows, pages % GROUP] = entries

    def entries(self) -> Entries:
        """Return every entry there is room for, in no order that means anything."""
        return self._rows[: self._used].reshape(-1)

    def in_use(self, first: int, end: int) -> npt.NDArray[np.int64]:
        """Return the pages from `first` up to `end` that are somewhere."""
        groups = np.flatnonzero(self._group_of[first // GROUP : -(-end // GROUP)]) + first // GROUP
        rows, offsets = np.nonzero(self._rows[self._group_of[groups]])
        pages = groups[rows] * GROUP + offsets
        return pages[(pages >= first) & (pages < end)]

    def _make(self, groups: npt.NDArray[np.int64]) -> None:
        end = self._used + len(groups)
        if end > len(self._rows):
            self._rows.resize((max(end, 2 * len(self._rows)), GROUP), refcheck=False)
        self._group_of[groups] = np.arange(self._used, end)
        self._used = end
