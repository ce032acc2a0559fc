"""The few blocks of a medium that cases write to, and what was in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from firmware_model.wire.bot import CswStatus
from hil_tests.bot.link import RawLink

BLOCK_BYTES: Final = 512
BLOCKS: Final = 4
HALF_BYTES: Final = BLOCKS // 2 * BLOCK_BYTES  # of them: whole packets at every speed
LBA: Final = 32
READ_CAPACITY: Final = bytes.fromhex("25000000000000000000")
MODE_SENSE: Final = bytes.fromhex("1a003f00c000")
MODE_BYTES: Final = 192
WRITE_PROTECTED: Final = 0x80  # in byte 2 of the answer (SBC-3 6.4.1)
READ_10, WRITE_10 = 0x28, 0x2A


def ten(opcode: int, lba: int, count: int) -> bytes:
    """Return a READ(10) or WRITE(10)."""
    return (
        bytes((opcode, 0)) + lba.to_bytes(4, "big") + b"\x00" + count.to_bytes(2, "big") + b"\x00"
    )


@dataclass(frozen=True, slots=True)
class Medium:
    """The blocks of a medium that is there."""

    lba_last: int
    is_writable: bool
    before: bytes  # all blocks

    @classmethod
    def of(cls, link: RawLink) -> Self | None:
        """Look at the medium; None where the drive keeps it to itself, or has too few blocks."""
        link.settle()
        status, capacity = link.command(READ_CAPACITY, length=8)
        if status != CswStatus.PASSED or len(capacity) != 8:
            return None
        lba_last = int.from_bytes(capacity[:4], "big")
        block_bytes = int.from_bytes(capacity[4:], "big")
        before = blocks(link)
        if block_bytes != BLOCK_BYTES or lba_last < LBA + BLOCKS or before is None:
            return None
        _, mode = link.command(MODE_SENSE, length=MODE_BYTES)
        return cls(lba_last, not (len(mode) > 2 and mode[2] & WRITE_PROTECTED), before)

    @property
    def written(self) -> bytes:
        """What is to be written to the blocks: nothing that is in them."""
        return b"".join(
            hashlib.shake_128(self.before + bytes((number,))).digest(BLOCK_BYTES)
            for number in range(BLOCKS)
        )

    def restore(self, link: RawLink) -> None:
        """Write back what was there."""
        link.command(ten(WRITE_10, LBA, BLOCKS), self.before)


def blocks(link: RawLink) -> bytes | None:
    """Return what is in the blocks now, None where they can't be read."""
    status, data = link.command(ten(READ_10, LBA, BLOCKS), length=BLOCKS * BLOCK_BYTES)
    is_whole = status == CswStatus.PASSED and len(data) == BLOCKS * BLOCK_BYTES
    return data if is_whole else None
