"""The encrypted volume: blocks of 512 bytes in pages of flash, ciphertext only."""

from itertools import pairwise
from typing import Final

import numpy as np

from firmware_model.firmware.sector_cipher import SECTOR_BYTES, SectorCipher
from firmware_model.firmware.translation import Translation
from firmware_model.hardware.cells import Data

LOOKED_AT: Final = 1 << 18  # blocks, when it is asked which of them hold anything


class Volume:
    """Blocks of an open drive, which exists as long as there is a key."""

    def __init__(self, translation: Translation, cipher: SectorCipher, page_bytes: int) -> None:
        self.translation = translation
        self._cipher = cipher
        self._sectors = page_bytes // SECTOR_BYTES
        self._all = (1 << self._sectors) - 1

    def read(self, lba: int, block_count: int) -> bytes:
        """Return the plaintext of blocks; those never written since the last erase are zero.

        Raises Unreadable.
        """
        first, skipped = divmod(lba, self._sectors)
        page_count = -(-(skipped + block_count) // self._sectors)
        stored = self.translation.read(first, page_count)
        begin = skipped * SECTOR_BYTES
        cipher = stored.data[begin : begin + block_count * SECTOR_BYTES]
        if stored.valid.count(self._all) == page_count:
            return bytes(self._cipher.decrypt(lba, cipher))
        if not any(stored.valid):
            return bytes(len(cipher))
        plain = bytearray(self._cipher.decrypt(lba, cipher))
        for index in range(block_count):
            page, sector = divmod(skipped + index, self._sectors)
            if not stored.valid[page] >> sector & 1:
                plain[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES] = _ZEROS
        return bytes(plain)

    def write(self, lba: int, data: bytes) -> None:
        """Encipher and store whole blocks; all of them are durable when this returns.

        Raises WornOut, and Unreadable where the rest of a page can't be read.
        """
        cipher = self._cipher.encrypt(lba, data)
        end = lba + len(data) // SECTOR_BYTES
        at = lba
        while at < end:
            page, first = divmod(at, self._sectors)
            count = min(self._sectors - first, end - at)
            if not first and count == self._sectors:
                count = (end - at) // self._sectors * self._sectors
            new = cipher[(at - lba) * SECTOR_BYTES : (at - lba + count) * SECTOR_BYTES]
            if count % self._sectors:
                self._merge(page, first, new)
            else:
                self.translation.write(page, new, self._all)
            at += count

    def trim(self, lba: int, block_count: int) -> None:
        """Forget blocks: they read as zero from now on, and for good when this returns."""
        self.translation.trim(lba, block_count, self._sectors)

    def provisioning(self, lba: int, end: int, most: int) -> list[tuple[int, bool]]:
        """Return how many blocks from `lba` on hold something or nothing, and so on up to `end`.

        At most `most` times in turn; True stands for something.
        """
        runs: list[tuple[int, bool]] = []
        for first in range(lba, end, LOOKED_AT):
            held = self.translation.held(first, min(LOOKED_AT, end - first), self._sectors)
            edges = [0, *(np.flatnonzero(held[1:] != held[:-1]) + 1).tolist(), len(held)]
            for begin, stop in pairwise(edges):
                is_held, count = bool(held[begin]), stop - begin
                if runs and runs[-1][1] is is_held:
                    runs[-1] = (runs[-1][0] + count, is_held)
                elif len(runs) < most:
                    runs.append((count, is_held))
                else:
                    return runs
        return runs

    def _merge(self, page: int, first: int, new: Data) -> None:
        """Put some sectors into a page; the ciphertext of the others is moved as it is."""
        count = len(new) // SECTOR_BYTES
        begin, end = first * SECTOR_BYTES, (first + count) * SECTOR_BYTES
        old = self.translation.read(page, 1)
        valid = old.valid[0] | ((1 << count) - 1) << first
        data = b"".join((old.data[:begin], new, old.data[end:]))
        self.translation.write(page, data, valid)


_ZEROS: Final = bytes(SECTOR_BYTES)
