"""The board: which parts, soldered how. It survives what the firmware does not: a power cut."""

from collections.abc import Callable
from dataclasses import dataclass

from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.entropy import Entropy, NoiseSource
from firmware_model.hardware.keypad import Keypad
from firmware_model.hardware.nand import Cells, Geometry, MemoryCells, Nand
from firmware_model.hardware.secure_element import SecureElement
from firmware_model.hardware.supply import Supply


@dataclass(frozen=True, slots=True)
class FlashImage:
    """Everything a chip reader takes off the board: NAND with spare areas, and serial flash."""

    pages: dict[int, tuple[bytes, bytes]]
    external: bytes


def _kept_nowhere() -> None:
    """There is no file."""


@dataclass(slots=True)
class Board:
    """The parts, wired to one supply and one clock."""

    supply: Supply
    clock: Clock
    timing: Timing
    nand: Nand
    element: SecureElement
    entropy: Entropy
    keypad: Keypad
    sync: Callable[[], None] = _kept_nowhere  # has the host's file system keep what was stored

    @classmethod
    def in_memory(
        cls, geometry: Geometry, element: ElementState, noise: NoiseSource, timing: Timing
    ) -> "Board":
        """Return a new board that is kept nowhere."""
        supply, clock = Supply(), Clock()
        return cls(
            supply,
            clock,
            timing,
            Nand(geometry, MemoryCells(), supply, clock, timing),
            SecureElement(element, supply, clock, timing),
            Entropy(noise),
            Keypad(),
        )

    def copy(self) -> "Board":
        """Return the same board once more, in memory; what happens to one spares the other."""
        supply, clock = Supply(), Clock(self.clock.now_us)
        supply.is_on = self.supply.is_on
        return Board(
            supply,
            clock,
            self.timing,
            self.nand.on(_in_memory(self.nand.cells), supply, clock),
            self.element.on(supply, clock),
            self.entropy.copy(),
            Keypad(),
        )

    def flash_image(self) -> FlashImage:
        """Read the flash out, with or without power."""
        pages = {page: (data, spare) for page, data, spare in self.nand.dump()}
        return FlashImage(pages, self.element.external.value)

    def with_flash(self, image: FlashImage) -> "Board":
        """Return a copy of this board whose flash is `image`: the chip was exchanged."""
        other = self.copy()
        cells = MemoryCells(dict(image.pages))
        other.nand = Nand(self.nand.geometry, cells, other.supply, other.clock, self.timing)
        other.element.external.value = image.external
        return other


def _in_memory(cells: Cells) -> MemoryCells:
    if isinstance(cells, MemoryCells):
        return cells.copy()
    found = ((page, cells.get(page)) for page in cells.programmed())
    return MemoryCells({page: content for page, content in found if content is not None})
