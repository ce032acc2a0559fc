"""A unit under test that is not in this process: all that a bench asks of any drive.

What only a model in this process lets anybody do, with its flash, its element and its firmware, is
no part of it; the properties that need that say so by their capabilities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

from usb.backend import IBackend

from firmware_model.hardware.supply import Torn
from hil_tests.opened_firmware import Stretching


class RemoteUnit(ABC):
    """A drive on a bus of its own, the hands beside it, and an account of its durable steps.

    A model in this process can do the same, and has no bus until one is made for it.
    """

    serial: str  # the USB serial number

    @abstractmethod
    def backend(self) -> IBackend:
        """Return pyusb's way to a bus with this drive and nothing else."""

    @abstractmethod
    def power_on(self) -> None:
        """Give it its supply."""

    @abstractmethod
    def power_off(self) -> None:
        """Take its supply away."""

    @abstractmethod
    def plug(self) -> None:
        """Connect it to the host."""

    @abstractmethod
    def unplug(self) -> None:
        """Disconnect it from the host."""

    @abstractmethod
    def press(self, keys: str) -> None:
        """Press keys, one after the other, in the keypad's notation."""

    @abstractmethod
    def leds(self) -> Mapping[str, str]:
        """Return what each light does, by its colour."""

    @abstractmethod
    def advance(self, us: int) -> None:
        """Move its clock on."""

    @property
    @abstractmethod
    def is_on(self) -> bool:
        """Whether its firmware runs."""

    @property
    @abstractmethod
    def now_us(self) -> int:
        """What its clock says."""

    @property
    @abstractmethod
    def crashes(self) -> Sequence[str]:
        """How its firmware crashed, each time it did, in copies too."""

    @property
    @abstractmethod
    def step_names(self) -> tuple[str, ...]:
        """The durable steps since `begin_steps`; raises ValueError where they are too many."""

    @property
    @abstractmethod
    def cut_name(self) -> str | None:
        """The step that a cut since then prevented."""

    @abstractmethod
    def begin_steps(self) -> None:
        """Count and name durable steps from here."""

    @abstractmethod
    def cut_at(self, step: int | None, torn: Torn | None = None) -> None:
        """Have supply fail at the `step`-th durable step from now, or inside it; None: at none."""

    @abstractmethod
    def suspend(self) -> None:
        """Have the bus fall silent."""

    @abstractmethod
    def resume(self) -> None:
        """Wake the bus."""

    @abstractmethod
    def fail(self, fault: str, number: int) -> None:
        """Have a part of it fail, as `drive_faults` says; raise ValueError where that can't be."""

    @abstractmethod
    def patch(self) -> None:
        """Have it call every PIN right from its next start on; it is without power."""

    @abstractmethod
    def measure(self, iterations: int) -> Stretching:
        """Measure one stretching of a PIN beside the reference's at the same cost."""

    @abstractmethod
    def fork(self) -> Self:
        """Return the same drive once more, without power: what happens to it spares this one."""
