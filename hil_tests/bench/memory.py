"""What the bench remembers of a run, besides the worlds of the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from firmware_model.hardware.board import FlashImage
from firmware_model.hardware.entropy import NoiseSource
from hil_tests.bench import updates
from hil_tests.steps import Excused


@dataclass(slots=True)
class Attempts:
    """How many PINs the drive was made to look at: between `least` and `most`."""

    least: int = 0
    most: int = 0


@dataclass(slots=True)
class Memory:
    """What the bench remembers of a run, besides the worlds."""

    numbers: dict[bytes, int] = field(default_factory=dict)  # content of a block -> its number
    erased_numbers: set[int] = field(default_factory=set)  # written before the last erase only
    secrets: dict[str, bytes] = field(default_factory=dict)  # keys that were seen, by what they are
    salts: set[bytes] = field(default_factory=set)  # of the stretching of PINs
    pins: set[str] = field(default_factory=set)  # that were entered or set
    recovery: tuple[str, ...] = ()
    used_recovery: str | None = None
    noted_flash: FlashImage | None = None
    recorded: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    is_tampered: bool = False
    fail_noise: Callable[[NoiseSource], NoiseSource] | None = None  # how the drive's fails
    excused: frozenset[Excused] = frozenset()  # what the faults of this run may cost
    losable: set[int] = field(default_factory=set)  # blocks that a disturbed command was to store
    may_lose_all: bool = False  # what keeps account of where blocks stand was disturbed
    state: str | None = None  # as the drive last told it
    erased_by: str | None = None
    idle_s: int = 0
    changed_pin: bool = False
    attempts: Attempts = field(default_factory=Attempts)
    evidence: tuple[int, int] | None = None  # attempts and records the drive last signed for
    firmware: updates.FirmwareSeen = field(default_factory=updates.FirmwareSeen)

    def copy(self) -> Memory:
        """Return the same memory once more: what one of them learns, the other does not."""
        return replace(
            self,
            numbers=self.numbers.copy(),
            erased_numbers=self.erased_numbers.copy(),
            secrets=self.secrets.copy(),
            salts=self.salts.copy(),
            pins=self.pins.copy(),
            recorded=self.recorded.copy(),
            losable=self.losable.copy(),
            attempts=replace(self.attempts),
            firmware=self.firmware.copy(),
        )
