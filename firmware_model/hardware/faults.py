"""Named ways a part misbehaves, for whoever puts them on a board. No part knows of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from firmware_model.hardware.attempt_counter import ElementCells
from firmware_model.hardware.cells import RECORD_BYTES
from firmware_model.hardware.ecc import MARK_BYTES, SECTOR_BYTES
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.embedded_element import EmbeddedElement
from firmware_model.hardware.entropy import NoiseSource
from firmware_model.hardware.nand import Nand
from firmware_model.hardware.secure_element import ElementError, SecureElement

SPREAD: Final = 131  # bits from one flip to the next; odd, so that no bit comes twice

COMMANDS: Final = tuple(
    name
    for name, member in vars(SecureElement).items()
    if callable(member) and not name.startswith("_")
)


class StuckNoise:
    """A noise source whose every sample is the same."""

    def __init__(self, value: int) -> None:
        self._value = value
        self.given = 0  # samples so far

    def samples(self, count: int) -> bytes:
        """Return the next `count` samples."""
        self.given += count
        return bytes((self._value,)) * count

    def copy(self) -> "StuckNoise":
        """Return a source that will give the same noise."""
        return self


class RepeatingNoise:
    """A noise source that gives the same samples over and over."""

    def __init__(self, samples: bytes, given: int = 0) -> None:
        self._samples = samples
        self.given = given  # samples so far

    @classmethod
    def of(cls, source: NoiseSource, period: int) -> "RepeatingNoise":
        """Return a source that repeats what another gives next."""
        return cls(source.samples(period))

    def samples(self, count: int) -> bytes:
        """Return the next `count` samples."""
        begin = self.given % len(self._samples)
        self.given += count
        times = (begin + count) // len(self._samples) + 1
        return (self._samples * times)[begin : begin + count]

    def copy(self) -> "RepeatingNoise":
        """Return a source that will give the same noise."""
        return RepeatingNoise(self._samples, self.given)


FailingNoise = StuckNoise | RepeatingNoise


class ElementLine:
    """The line to an element, which breaks before or after a command and stays so until power-up.

    It is put between the element and whoever holds it already.
    """

    def __init__(self, element: EmbeddedElement) -> None:
        self.count = 0  # of commands since `break_at`
        self._wanted: int | None = None
        self._is_late = False
        self._is_broken = False
        self.was_broken = False  # since `break_at`
        for name in COMMANDS:
            setattr(element, name, partial(self._send, name, getattr(element, name)))

    def break_at(self, number: int | None, is_late: bool = False) -> None:
        """Count commands from here, and break at the `number`-th; 0 or None: at none.

        Late is when it was obeyed, and the answer is on its way.
        """
        self.count, self._wanted, self._is_late = 0, number, is_late
        self.was_broken = False

    def _send(self, name: str, command: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._is_broken = self._is_broken and name != "power_on"
        self.count += not self._is_broken
        if self._is_broken or self.count != self._wanted:
            if self._is_broken:
                raise ElementError("the element does not answer")
            return command(*args, **options)
        self._is_broken = self.was_broken = True
        if self._is_late:
            command(*args, **options)
        raise ElementError("the element does not answer")


class StuckCells(ElementCells):
    """Cells whose try counters no longer fall; all else is kept as it should be."""

    stuck = 0  # how often one was to fall, and did not

    def commit(self, name: str, state: ElementState) -> None:
        """Replace the state, but for tries that were to fall."""
        user, admin, recovery = map(max, self.state.tries, state.tries)
        self.stuck += (user, admin, recovery) != state.tries
        super().commit(name, replace(state, tries=(user, admin, recovery)))


def stick_counter(element: EmbeddedElement) -> StuckCells:
    """Have an element's try counters stick where they are."""
    cells = element._cells
    stuck = StuckCells(cells.state, cells._supply, cells._store, element.external)
    element._cells = stuck
    return stuck


def flip_data(nand: Nand, page: int, count: int) -> None:
    """Flip bits in each codeword of a page's data."""
    page_bytes = nand.geometry.page_bytes
    codeword_bits = 8 * min(page_bytes, SECTOR_BYTES)
    firsts = range(0, 8 * page_bytes, codeword_bits)
    spread = [number * SPREAD % codeword_bits for number in range(count)]
    nand.flip(page, [first + bit for first in firsts for bit in spread])


def flip_record(nand: Nand, page: int, count: int) -> None:
    """Flip bits in the firmware's record in a page's spare area."""
    first = 8 * (nand.geometry.page_bytes + MARK_BYTES)
    bits = 8 * RECORD_BYTES
    nand.flip(page, [first + number * SPREAD % bits for number in range(count)])
