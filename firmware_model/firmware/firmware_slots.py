"""The two areas of flash that hold firmware images, each as it came, from its first page on.

An image stands in the good blocks of its area in their order. A block that fails while it is
filled is marked and passed over, and what stood in it is copied to the next.
"""

from typing import Final

from firmware_model.firmware.medium import REFRESH_AT, WornOut
from firmware_model.firmware.record_ring import SPARE_BLOCKS
from firmware_model.hardware.cells import ERASED, RECORD_BYTES
from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.hardware.nand import Nand
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import IMAGE_BYTES_MAX, ImageHeader

SLOTS: Final = (FirmwareSlot.A, FirmwareSlot.B)
_NO_RECORD: Final = ERASED * RECORD_BYTES


def blocks_needed(block_bytes: int) -> int:
    """Return the blocks of both areas."""
    return len(SLOTS) * _blocks_of_one(block_bytes)


def _blocks_of_one(block_bytes: int) -> int:
    return -(-IMAGE_BYTES_MAX // block_bytes) + SPARE_BLOCKS


class FirmwareSlots:
    """The areas, in the blocks from `first_block` on."""

    def __init__(self, nand: Nand, first_block: int) -> None:
        self._nand = nand
        self._first_block = first_block
        self.page_bytes = nand.geometry.page_bytes
        self._block_pages = nand.geometry.block_pages
        self._blocks = _blocks_of_one(self._block_pages * self.page_bytes)
        self.is_tired = False  # what was read last needed much correction

    def program(self, slot: FirmwareSlot, offset: int, data: bytes) -> None:
        """Store a piece of an image at an offset, a multiple of the page, after those before it.

        Raises WornOut where no good block is left.
        """
        for at in range(0, len(data), self.page_bytes):
            page = data[at : at + self.page_bytes]
            self._program(slot, (offset + at) // self.page_bytes, page)

    def read(self, slot: FirmwareSlot) -> bytes | None:
        """Return as many bytes as the header in a slot announces.

        None where there is no header, or a page that can't be corrected: then it holds no image.
        """
        blocks = self.good_blocks(slot)
        start = self._nand.read(blocks[0] * self._block_pages) if blocks else None
        try:
            length = ImageHeader.decode(start or b"").image_bytes
        except DecodeError:
            return None
        left = -(-length // self.page_bytes)
        self.is_tired = False
        parts: list[bytes] = []
        for block in blocks:
            count = min(left, self._block_pages)
            part = self._nand.read(block * self._block_pages, count) if count else b""
            if part is None:
                return None
            self.is_tired |= count > 0 and self._nand.corrected >= REFRESH_AT
            parts.append(part)
            left -= count
        return None if left else b"".join(parts)[:length]

    def _program(self, slot: FirmwareSlot, index: int, data: bytes) -> None:
        """Program the page of an image that has this index, in the first block that takes it."""
        place, within = divmod(index, self._block_pages)
        while place < len(blocks := self.good_blocks(slot)):
            block = blocks[place]
            # Erased whatever it holds: one whose erase was cut reads as empty, and is not.
            if not within and not self._nand.erase(block, "firmware slot"):
                self._nand.mark_bad(block)
                continue
            first = block * self._block_pages
            if self._nand.programmed_in(block) != within:
                break
            if self._nand.program(first + within, data, _NO_RECORD, "firmware"):
                return
            kept = self._nand.read(first, within) if within else b""
            self._nand.mark_bad(block)
            if kept is None:
                break
            for at in range(within):
                page = kept[at * self.page_bytes : (at + 1) * self.page_bytes]
                self._program(slot, index - within + at, page)
        raise WornOut(f"no good block of firmware slot {slot.name} takes the image")

    def good_blocks(self, slot: FirmwareSlot) -> list[int]:
        """Return the blocks that an image in a slot stands in, in its order."""
        first = self._first_block + SLOTS.index(slot) * self._blocks
        return [b for b in range(first, first + self._blocks) if not self._nand.is_bad(b)]
