"""The encrypted volume: blocks of 512 bytes in pages of flash, ciphertext only."""

from typing import Final

from firmware_model.firmware.sector_cipher import SECTOR_BYTES, SectorCipher
from firmware_model.firmware.translation import Translation


class Volume:
    """Blocks of an open drive, which exists as long as there is a key."""

    def __init__(self, translation: Translation, cipher: SectorCipher, page_bytes: int) -> None:
        self.translation = translation
        self._cipher = cipher
        self._sectors = page_bytes // SECTOR_BYTES
        self._all = (1 << self._sectors) - 1

    def read(self, lba: int, block_count: int) -> bytes:
        """Return the plaintext of blocks; those never written since the last erase are zero."""
        parts: list[bytes] = []
        holes: list[int] = []  # blocks, counted from `lba`, that hold nothing
        end = lba + block_count
        at = lba
        while at < end:
            page, first = divmod(at, self._sectors)
            count = min(self._sectors - first, end - at)
            stored = self.translation.read(page)
            if stored is None:
                parts.append(bytes(count * SECTOR_BYTES))
                holes.extend(range(at - lba, at - lba + count))
            else:
                parts.append(stored.data[first * SECTOR_BYTES : (first + count) * SECTOR_BYTES])
                if stored.valid != self._all:
                    holes.extend(
                        at - lba + i for i in range(count) if not stored.valid >> (first + i) & 1
                    )
            at += count
        if len(holes) == block_count:
            return bytes(block_count * SECTOR_BYTES)
        plain = self._cipher.decrypt(lba, b"".join(parts))
        return _with_zeros(plain, holes) if holes else plain

    def write(self, lba: int, data: bytes) -> None:
        """Encipher and store whole blocks; all of them are durable when this returns."""
        cipher = self._cipher.encrypt(lba, data)
        end = lba + len(data) // SECTOR_BYTES
        at = lba
        while at < end:
            page, first = divmod(at, self._sectors)
            count = min(self._sectors - first, end - at)
            new = cipher[(at - lba) * SECTOR_BYTES : (at - lba + count) * SECTOR_BYTES]
            if count == self._sectors:
                self.translation.write(page, new, self._all)
            else:
                self._merge(page, first, new)
            at += count

    def _merge(self, page: int, first: int, new: bytes) -> None:
        """Put some sectors into a page; the ciphertext of the others is moved as it is."""
        count = len(new) // SECTOR_BYTES
        valid = ((1 << count) - 1) << first
        old = self.translation.read(page)
        if old is None:
            data = new.rjust((first + count) * SECTOR_BYTES, b"\xff")
        else:
            end = (first + count) * SECTOR_BYTES
            data = old.data[: first * SECTOR_BYTES] + new + old.data[end:]
            valid |= old.valid
        self.translation.write(page, data, valid)


def _with_zeros(plain: bytes, holes: list[int]) -> bytes:
    cleared = bytearray(plain)
    for index in holes:
        cleared[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES] = _ZEROS
    return bytes(cleared)


_ZEROS: Final = bytes(SECTOR_BYTES)
