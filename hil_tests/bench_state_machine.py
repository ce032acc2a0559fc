"""How fast the state machine runs, beside Hypothesis with rules that do nothing.

    python -m hil_tests.bench_state_machine

Both run the same number of examples of as many steps, with rules that draw the same arguments. What
the machine adds is a whole drive: session, framing, SCSI, USB, element, flash, oracle, properties.
"""

from __future__ import annotations

import time
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from hil_tests.machines import DriveMachine, beginning_of, machine_settings
from hil_tests.runs import Target, applicable

EXAMPLES: Final = 300
ROUNDS: Final = 3
WANTED: Final = 0.25
_NUMBERS = st.integers(0, 9)


class EmptyMachine(RuleBasedStateMachine):
    """As many rules as the drive's machine, of as many arguments, with nothing in them."""

    steps_run = 0

    def _count(self) -> None:
        type(self).steps_run += 1

    @rule(a=_NUMBERS, b=_NUMBERS, c=_NUMBERS)
    def unlock(self, a: int, b: int, c: int) -> None:
        self._count()

    @rule()
    def unlock_rightly(self) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS, c=_NUMBERS)
    def set_pin(self, a: int, b: int, c: int) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS)
    def read(self, a: int, b: int) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS, c=_NUMBERS, d=_NUMBERS)
    def write(self, a: int, b: int, c: int, d: int) -> None:
        self._count()

    @rule(a=_NUMBERS)
    def event(self, a: int) -> None:
        self._count()

    @rule(a=_NUMBERS)
    def close(self, a: int) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS)
    def cut_event(self, a: int, b: int) -> None:
        self._count()

    @rule(a=_NUMBERS)
    def wait(self, a: int) -> None:
        self._count()

    @rule(a=_NUMBERS)
    def malformed(self, a: int) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS, c=_NUMBERS)
    def erase(self, a: int, b: int, c: int) -> None:
        self._count()

    @rule(a=_NUMBERS)
    def make_recovery(self, a: int) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS, c=_NUMBERS)
    def recover(self, a: int, b: int, c: int) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS)
    def set_duress(self, a: int, b: int) -> None:
        self._count()

    @rule(a=_NUMBERS, b=_NUMBERS)
    def set_read_only(self, a: int, b: int) -> None:
        self._count()

    @rule()
    def evidence(self) -> None:
        self._count()


def steps_per_second(machine: type[EmptyMachine] | type[DriveMachine]) -> float:
    """Run a machine and return how many steps it does in a second."""
    before = machine.steps_run
    began = time.perf_counter()
    run_state_machine_as_test(machine, settings=machine_settings(EXAMPLES))
    return float(machine.steps_run - before) / (time.perf_counter() - began)


def main() -> None:
    target = Target("model:native")
    bench, _ = beginning_of(target)

    class Machine(DriveMachine):
        beginning = bench
        properties = applicable(target.facts)

    ratios = []
    for _ in range(ROUNDS):
        empty = steps_per_second(EmptyMachine)
        drive = steps_per_second(Machine)
        ratios.append(drive / empty)
        print(f"empty rules {empty:8.0f} steps/s   drive {drive:8.0f} steps/s   {ratios[-1]:.3f}")
    best = sorted(ratios)[len(ratios) // 2]
    print(f"state machine on model:native, of Hypothesis alone: {best:.3f} (wanted {WANTED})")


if __name__ == "__main__":
    main()
