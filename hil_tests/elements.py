"""Elements on a bench, each kind with what a test of it needs: supply, clock, and a restart."""

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from firmware_model.hardware.attempt_counter import AttemptCounter, External, SpendFirst
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import ElementState, Slot
from firmware_model.hardware.embedded_element import EmbeddedElement
from firmware_model.hardware.secure_element import SecureElement
from firmware_model.hardware.supply import Supply
from firmware_model.hardware.tpm.element import TpmElement
from firmware_model.hardware.tpm.provisioning import connect, provision
from firmware_model.hardware.tpm.state import Counter, Half
from hil_tests.swtpm import Swtpm

LIMITS = (3, 4, 5)
RESET_CODE = b"reset code"
FRESH = ElementState.fresh(LIMITS, b"i" * 32, sha256(RESET_CODE).digest())


class ElementBench(Protocol):
    """One element, as it leaves the factory, and what happens to it from outside."""

    supply: Supply
    clock: Clock

    @property
    def element(self) -> SecureElement: ...

    @property
    def outside(self) -> External:
        """The serial flash beside the element: it stays what it is through restarts."""
        ...

    def restart(self) -> None:
        """Take power away and give it again, as a board does: only what is durable survives."""
        ...


MakeBench = Callable[[], ElementBench]


class EmbeddedBench:
    """The embedded element, kept in memory as FILE.sed keeps it."""

    def __init__(
        self,
        kind: type[EmbeddedElement] = EmbeddedElement,
        counter: Callable[[], AttemptCounter] = SpendFirst,
    ) -> None:
        self._kind, self._counter = kind, counter
        self.supply, self.clock, self.outside = Supply(), Clock(), External()
        self.stored = [FRESH]
        self.restart()

    def restart(self) -> None:
        self.supply.power_on()
        self.element = self._soldered()
        self.element.power_on(self._counter())

    def _soldered(self) -> EmbeddedElement:
        state, keep = self.stored[-1], self.stored.append
        return self._kind(state, self.supply, self.clock, Timing(), keep, self.outside)


class TpmBench:
    """An element with a TPM, which is cleared first."""

    def __init__(self, swtpm: Swtpm, kind: type[TpmElement] = TpmElement) -> None:
        swtpm.clear()
        self.swtpm, self._kind = swtpm, kind
        self.supply, self.clock, self.outside = Supply(), Clock(), External()
        self.chip = connect(swtpm.tcti)
        provision(self.chip, FRESH, self.outside)
        self.element = self._soldered()
        self.element.power_on(SpendFirst())

    def restart(self) -> None:
        """Begin anew over a new connection; the TPM itself goes on."""
        self.supply.power_on()
        self.close()
        self.chip = connect(self.swtpm.tcti)
        self.element = self._soldered()
        self.element.power_on(SpendFirst())

    def guess(self, pin: bytes, half: Half = Half.A) -> bytes | None:
        """Guess at the user's slot past the element: nothing counts but what the TPM counts."""
        era = self.chip.counters()[Counter.ERA]
        return self.chip.guess(Slot.USER, half, pin, era)

    def cut_all_power(self) -> None:
        """Restart, with the TPM losing its power without warning, too."""
        self.swtpm.cut_power()
        self.swtpm.start()
        self.restart()

    def close(self) -> None:
        """Let go of the TPM; once is enough."""
        self.chip.close()

    def _soldered(self) -> TpmElement:
        return self._kind(self.chip, self.supply, self.clock, Timing(), self.outside, lambda: None)
