"""Access to the medium of an open drive: who opened it, with what key, and how much moved."""

from collections.abc import Callable
from typing import Final

from firmware_model.firmware.attempt_log import AttemptLog
from firmware_model.firmware.parts import Parts
from firmware_model.firmware.sector_cipher import SECTOR_BYTES
from firmware_model.firmware.translation import Translation
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.wire.attempt_log import Event
from firmware_model.wire.native import Role

TOTALS_EVERY: Final = 1 << 30  # bytes moved between two records of totals
_MIB: Final = 1 << 20


class Access:
    """The open medium, or none."""

    def __init__(
        self,
        translation: Translation,
        log: AttemptLog,
        parts: Parts,
        clock: Clock,
        timing: Timing,
        page_bytes: int,
    ) -> None:
        self.translation = translation
        self._log = log
        self._parts = parts
        self._clock = clock
        self._timing = timing
        self._page_bytes = page_bytes
        self._volume: Volume | None = None
        self.on_close: Callable[[], None] = lambda: None  # told when the medium is closed
        self.role: Role | None = None
        self.used_at_us = 0  # when the medium was last opened, read or written
        self._read = self._written = self._told = 0  # bytes since it was opened

    @property
    def is_open(self) -> bool:
        """Whether there are a way to the data and its key: either that goes closes the medium."""
        return self._volume is not None and self._parts.vault.key() is not None

    def open(self, mek: bytes, role: Role) -> None:
        """Open the medium with its key."""
        vault = self._parts.vault
        vault.hold(mek)
        cipher = self._parts.cipher.sectors(vault.key() or mek)
        self._volume = Volume(self.translation, cipher, self._page_bytes)
        self.role = role
        self.used_at_us = self._clock.now_us
        self._read = self._written = self._told = 0

    def close(self) -> None:
        """Forget the key, and with it the way to the data."""
        self._parts.vault.release()
        self._volume = None
        self.role = None
        self.on_close()

    @property
    def mek(self) -> bytes | None:
        """The key of the open medium."""
        return self._parts.vault.key() if self.is_open else None

    @property
    def totals(self) -> int:
        """MiB read, in the upper half, and written since it was opened, as the log keeps them."""
        if not self.is_open:
            return 0
        return (self._read // _MIB) << 32 | self._written // _MIB

    def read(self, lba: int, block_count: int) -> bytes:
        """Return blocks of an open medium; the first read of a session is logged before."""
        assert self._volume is not None, "read of a locked medium"
        if not self._read:
            self._log.add(Event.FIRST_READ)
        self._read += block_count * SECTOR_BYTES
        self._moved(block_count)
        return self._parts.caching.read(self._volume, lba, block_count)

    def write(self, lba: int, data: bytes) -> None:
        """Store blocks in an open medium; the first write of a session is logged before."""
        assert self._volume is not None, "write to a locked medium"
        if not data:
            return
        if not self._written:
            self._log.add(Event.FIRST_WRITE)
        self._written += len(data)
        self._moved(len(data) // SECTOR_BYTES)
        self._parts.caching.write(self._volume, lba, data)

    def trim(self, lba: int, block_count: int) -> None:
        """Forget blocks of an open medium, after what a cache still holds of them is stored."""
        assert self._volume is not None, "trim of a locked medium"
        self._parts.caching.flush(self._volume)
        self._volume.trim(lba, block_count)
        self.used_at_us = self._clock.now_us

    def provisioning(self, lba: int, end: int, most: int) -> list[tuple[int, bool]]:
        """Return which blocks of an open medium hold anything (Volume.provisioning)."""
        assert self._volume is not None, "a look at a locked medium"
        self._parts.caching.flush(self._volume)
        return self._volume.provisioning(lba, end, most)

    def flush(self) -> None:
        """Have everything answered in flash."""
        if self._volume is not None:
            self._parts.caching.flush(self._volume)

    def _moved(self, block_count: int) -> None:
        self._clock.charge(block_count * self._timing.sector_us)
        self.used_at_us = self._clock.now_us
        if self._read + self._written - self._told >= TOTALS_EVERY:
            self._told = self._read + self._written
            self._log.add(Event.TOTALS, detail=self.totals)
