"""The supply: where power can be cut, by number and by name.

Every durable effect of the hardware announces itself here before it happens. So a cut at step n
means that effects 1 to n - 1 have happened, and nothing after them.
"""


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
        self.names: list[str] = []  # effects since `begin`, in order
        self.cut_name: str | None = None  # the effect that a cut since `begin` prevented
        self._left: int | None = None  # effects that still happen before the cut

    def step(self, name: str) -> None:
        """Announce a durable effect; raise PowerCut instead of letting it happen without power."""
        if not self.is_on:
            raise PowerCut(len(self.names) + 1, name)
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.power_off()
                self.cut_name = name
                raise PowerCut(len(self.names) + 1, name)
        self.names.append(name)

    def begin(self) -> None:
        """Count and name steps from here."""
        self.names = []
        self.cut_name = None

    def cut_at(self, number: int | None) -> None:
        """Fail at the `number`-th step from now (1 is the next), or not at all."""
        if number is not None and number < 1:
            raise ValueError(f"steps are counted from 1, not {number}")
        self._left = number

    def power_on(self) -> None:
        """Give supply."""
        self.is_on = True

    def power_off(self) -> None:
        """Take supply away, and forget a planned cut."""
        self.is_on = False
        self._left = None
