"""The board: which parts, soldered how. It survives what the firmware does not: a power cut."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from firmware_model.hardware.cells import BlockState, MemoryCells, copied
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.embedded_element import EmbeddedElement
from firmware_model.hardware.endurance import Endurance
from firmware_model.hardware.entropy import Entropy, NoiseSource
from firmware_model.hardware.keypad import Keypad
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.secure_element import SecureElement
from firmware_model.hardware.supply import Supply


@dataclass(frozen=True, slots=True)
class FlashImage:
    """Everything a chip reader takes off the board: NAND with spare areas, and serial flash."""

    geometry: Geometry
    cells: MemoryCells
    external: bytes

    def raw_pages(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Give page number, data and spare area of every page that is not erased, as bits."""
        return self.part().raw_pages()

    def part(self) -> Nand:
        """Return the flash part in the reader's socket."""
        return Nand(self.geometry, self.cells, Supply(), Clock(), Timing())


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
        cls,
        geometry: Geometry,
        element: ElementState,
        noise: NoiseSource,
        timing: Timing,
        endurance: Endurance | None = None,
        bad_blocks: Iterable[int] = (),
    ) -> "Board":
        """Return a new board that is kept nowhere."""
        supply, clock = Supply(), Clock()
        cells = MemoryCells(geometry.page_bytes)
        for block in bad_blocks:
            cells.set_state(block, BlockState(is_bad=True))
        return cls(
            supply,
            clock,
            timing,
            Nand(geometry, cells, supply, clock, timing, endurance),
            EmbeddedElement(element, supply, clock, timing),
            Entropy(noise),
            Keypad(),
        )

    @property
    def embedded(self) -> EmbeddedElement:
        """The element as a thing that can be opened and copied; raise TypeError if it can't be."""
        if not isinstance(self.element, EmbeddedElement):
            raise TypeError(f"{type(self.element).__name__} can be neither opened nor copied")
        return self.element

    def copy(self) -> "Board":
        """Return the same board once more, in memory; what happens to one spares the other.

        Its steps are named from the first on: a copy is made to see what becomes of it.
        """
        supply, clock = Supply(), Clock(self.clock.now_us)
        supply.begin()
        supply.is_on = self.supply.is_on
        return Board(
            supply,
            clock,
            self.timing,
            self.nand.on(supply, clock),
            self.embedded.on(supply, clock),
            self.entropy.copy(),
            Keypad(),
        )

    def flash_image(self) -> FlashImage:
        """Read the flash out, with or without power."""
        cells = copied(self.nand.cells)
        return FlashImage(self.nand.geometry, cells, self.element.external.value)

    def with_flash(self, image: FlashImage) -> "Board":
        """Return a copy of this board whose flash is `image`: the chip was exchanged."""
        other = self.copy()
        other.nand = self.nand.on(other.supply, other.clock, image.cells.copy())
        other.element.external.value = image.external
        return other
