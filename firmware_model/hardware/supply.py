"""The supply: where power can be cut, by number and by name.

Every durable effect of the hardware announces itself here before it happens. So a cut at step n
means that effects 1 to n - 1 have happened, and nothing after them. Where a cut is to fall inside
an effect, the part concerned leaves what `torn` says of it.
"""

from enum import StrEnum
from typing import Final

NAMED: Final = 1 << 16  # effects whose names are kept: no drive remembers all that it ever did


class Torn(StrEnum):
    """What a cut inside a program or an erase of flash leaves, instead of nothing at all."""

    HALF = "half"  # half of it happened: what is there can't be read
    WEAK = "weak"  # it looks done, and does not stay


class PowerCut(BaseException):
    """Supply failed before a durable effect; firmware must not catch it, so no `Exception`."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(f"power cut at step {number}: {name}")
        self.number = number
        self.name = name


class Supply:
    """Power, and the record of durable effects since `begin`."""

    def __init__(self) -> None:
        self.is_on = True
        self.count = 0  # of effects since `begin`
        self.cut_name: str | None = None  # the effect that a cut since `begin` prevented
        self._names: list[str] | None = None  # nobody has asked for them
        self._left: int | None = None  # effects that still happen before the cut
        self._torn: Torn | None = None

    def step(self, name: str) -> None:
        """Announce a durable effect; raise PowerCut instead of letting it happen without power."""
        if not self.announce(name):
            raise self.failure(name)

    def announce(self, name: str, count: int = 1) -> int:
        """Announce effects of one name, and return how many of them happen.

        Where that is fewer, supply has failed: let those happen, tear the next as `take_torn`
        says, and raise `failure`.
        """
        if not self.is_on:
            return 0
        happening = count
        if self._left is not None:
            happening = min(count, self._left - 1)
            self._left -= happening
            if happening < count:
                self.is_on, self._left, self.cut_name = False, None, name
        self.count += happening
        if self._names is not None:
            self._names.extend([name] * happening)
            if self.count > NAMED:
                self._names = None
        return happening

    @property
    def names(self) -> list[str]:
        """The effects since `begin`, in order; raises ValueError where they are too many.

        And where nobody has begun: a drive that just works keeps no record of what it does.
        """
        if self._names is None:
            raise ValueError(f"effects are named from `begin` on, and up to {NAMED}")
        return self._names

    def failure(self, name: str) -> PowerCut:
        """Return what to raise instead of the effect `name`, once supply has failed."""
        return PowerCut(self.count + 1, name)

    def take_torn(self) -> Torn | None:
        """Return, once, what the cut that has just happened leaves of the effect it fell into."""
        torn, self._torn = self._torn, None
        return torn

    def begin(self) -> None:
        """Count and name steps from here."""
        self.count, self._names = 0, []
        self.cut_name = None

    def cut_at(self, number: int | None, torn: Torn | None = None) -> None:
        """Fail at the `number`-th step from now (1 is the next), or not at all."""
        if number is not None and number < 1:
            raise ValueError(f"steps are counted from 1, not {number}")
        self._left, self._torn = number, torn

    def power_on(self) -> None:
        """Give supply."""
        self.is_on = True

    def power_off(self) -> None:
        """Take supply away, and forget a planned cut."""
        self.is_on = False
        self._left = self._torn = None
