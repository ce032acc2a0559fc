"""What the blocks of a medium are good for: how many of their pages count, how worn they are."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from firmware_model.firmware.page_map import Entries
from firmware_model.hardware.nand import Nand

WEAR_SPREAD: Final = 200  # erases between the most and the least worn block, before data moves
NO_BLOCK: Final = -1
_KEPT_OUT: Final = 1 << 30  # more than any count


class BlockUse:
    """The blocks from `first_block` on; one that has room, if any, is named and left out."""

    def __init__(
        self, nand: Nand, first_block: int, block_count: int, bad_blocks: Iterable[int]
    ) -> None:
        self._first_block = first_block
        self._block_pages = nand.geometry.block_pages
        self._valid = np.zeros(block_count, np.int32)  # pages that count
        self._erases = nand.erase_counts(first_block, block_count)
        self._is_bad = np.zeros(block_count, np.bool_)
        self._is_bad[[block - first_block for block in bad_blocks]] = True

    def enter(self, pages: Entries) -> None:
        """Count pages, wherever they are."""
        blocks = pages // self._block_pages - self._first_block
        self._valid += np.bincount(blocks, minlength=len(self._valid)).astype(np.int32)

    def enter_block(self, block: int, count: int) -> None:
        """Count so many pages of one block."""
        self._valid[block - self._first_block] += count

    def leave(self, pages: Entries) -> None:
        """Count pages, or -1 for none, as holding nothing that counts any more."""
        if not len(pages):
            return
        block = int(pages.min()) // self._block_pages
        if block >= 0 and int(pages.max()) // self._block_pages == block:
            self._valid[block - self._first_block] -= len(pages)
            return
        blocks = pages[pages >= 0] // self._block_pages - self._first_block
        if len(blocks):
            first, last = int(blocks.min()), int(blocks.max())
            counts = len(blocks) if first == last else np.bincount(blocks - first)
            self._valid[first : last + 1] -= counts

    def leave_all(self) -> None:
        """Have no page count."""
        self._valid[:] = 0

    def was_erased(self, block: int) -> None:
        """Count an erase."""
        self._erases[block - self._first_block] += 1

    def went_bad(self, block: int) -> None:
        """Take a block out of use."""
        self._is_bad[block - self._first_block] = True

    def free_count(self, open_block: int) -> int:
        """Return how many blocks hold nothing, besides the open one."""
        return int(np.count_nonzero(self._closed(self._valid == 0, open_block)))

    def least_worn_free(self) -> int:
        """Return the block to erase next, or NO_BLOCK."""
        return self._least(self._erases, self._closed(self._valid == 0, NO_BLOCK))[0]

    def cheapest(self, open_block: int) -> int:
        """Return the block that costs the least to collect, or NO_BLOCK where none gives room."""
        block, count = self._least(self._valid, self._closed(self._valid > 0, open_block))
        return block if count < self._block_pages else NO_BLOCK

    def coldest(self, open_block: int) -> int:
        """Return the block whose content has lain still for too long, or NO_BLOCK."""
        block, erases = self._least(self._erases, self._closed(self._valid > 0, open_block))
        return block if self._erases.max() - erases > WEAR_SPREAD else NO_BLOCK

    def _closed(self, among: npt.NDArray[np.bool_], open_block: int) -> npt.NDArray[np.bool_]:
        among &= ~self._is_bad
        if open_block != NO_BLOCK:
            among[open_block - self._first_block] = False
        return among

    def _least(
        self, counts: npt.NDArray[np.signedinteger], among: npt.NDArray[np.bool_]
    ) -> tuple[int, int]:
        """Return the block of the least count, and that count; NO_BLOCK where there is none."""
        left = np.where(among, counts, _KEPT_OUT)
        at = int(left.argmin())
        return at + self._first_block if among[at] else NO_BLOCK, int(left[at])
