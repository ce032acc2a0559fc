"""What a drive's maker decided: limits, lengths, features, what locks it."""

from dataclasses import dataclass, field
from typing import Final, Literal

from firmware_model.hardware.endurance import Endurance
from firmware_model.wire.native import Entry, Feature
from firmware_model.wire.scsi import BLOCK_BYTES

NO_FEATURES: Final = Feature(0)


@dataclass(frozen=True, slots=True)
class Flash:
    """The flash part, and how much of it is kept back."""

    page_bytes: int = 4096
    spare_bytes: int = 224
    pages_per_block: int = 64
    planes: int = 1
    over_provisioning_percent: int = 7
    endurance: Endurance = field(default_factory=Endurance)

    @property
    def page_blocks(self) -> int:
        """Logical blocks in a page: what a smaller write has to read first."""
        return self.page_bytes // BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Policy:
    """The configuration that the firmware obeys."""

    block_count: int  # of 512 bytes
    product: str = ""  # that firmware must be for: the name of the profile
    entry: Entry = Entry.HOST
    features: Feature = NO_FEATURES
    limits: tuple[int, int, int] = (10, 10, 10)  # tries of user, admin and recovery
    at_limit: Literal["erase", "block"] = "erase"
    pin_digits: tuple[int, int] = (7, 16)  # fewest and most
    kdf_iterations: int = 600_000
    auto_lock_s: int | None = None
    lock_on_suspend: bool = True
    lock_on_reset: bool = True
    start_after_stop: bool = False  # a stopped unit must be started before it is used again
    reservations_persist: bool = False  # through loss of power, where the host wants it
    log_records: int = 4096
    flash: Flash = field(default_factory=Flash)
