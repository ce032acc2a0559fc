"""Parts of a drive that fail on purpose, so that the battery is seen to find it."""

from __future__ import annotations

from typing import Final

from firmware_model.firmware.volume import Volume
from firmware_model.wire.scsi import BLOCK_BYTES

WAITING_MAX: Final = 8192  # blocks
WORN_BLOCKS: Final = 512  # of so many, one


class IgnoresFlush:
    """A write cache that is not stored when the host asks for it."""

    part = "caching"

    def __init__(self) -> None:
        self._waiting: dict[int, bytes] = {}

    def read(self, volume: Volume, lba: int, block_count: int) -> bytes:
        stored = volume.read(lba, block_count)
        blocks = (stored[at : at + BLOCK_BYTES] for at in range(0, len(stored), BLOCK_BYTES))
        return b"".join(self._waiting.get(number, each) for number, each in enumerate(blocks, lba))

    def write(self, volume: Volume, lba: int, data: bytes) -> None:
        for number, at in enumerate(range(0, len(data), BLOCK_BYTES), lba):
            self._waiting[number] = bytes(data[at : at + BLOCK_BYTES])
        while len(self._waiting) > WAITING_MAX:
            oldest = next(iter(self._waiting))
            volume.write(oldest, self._waiting.pop(oldest))

    def flush(self, volume: Volume) -> None:
        """Store nothing."""


class WearsOut:
    """Reads one block of many with a bit that fell over."""

    part = "caching"

    def read(self, volume: Volume, lba: int, block_count: int) -> bytes:
        data = bytearray(volume.read(lba, block_count))
        for number in range(lba, lba + block_count):
            if number % WORN_BLOCKS == WORN_BLOCKS - 1:
                data[(number - lba) * BLOCK_BYTES] ^= 1
        return bytes(data)

    def write(self, volume: Volume, lba: int, data: bytes) -> None:
        volume.write(lba, data)

    def flush(self, volume: Volume) -> None:
        """Nothing is left to do."""
