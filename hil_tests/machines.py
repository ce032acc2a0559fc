"""The state machine: Hypothesis draws what happens to a drive, until something breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hil_tests.actions import IMAGES, MALFORMED_KINDS, PIN_TABLE, PINS, Action, Cut, parse_steps
from hil_tests.bench.bench import Bench
from hil_tests.properties.base import LOST, Property
from hil_tests.runs import Failure, Target, UnsteadyDrive, judge
from hil_tests.steps import Capability, Step

# Where every example begins: provisioned, with content, without power for a moment.
BEGINNING: Final = f"{LOST},power_cycle"
STEPS: Final = 24

_ROLES = st.sampled_from(("user", "admin"))
_PINS = st.sampled_from((0, 0, 0, 1, 1, 2, 3, *range(len(PIN_TABLE))))
_GOOD_PINS = st.integers(0, len(PINS) - 1)
_CUTS = st.one_of(st.none(), st.none(), st.integers(1, 9))
_LBAS = st.integers(0, 7)


class PropertyBroken(AssertionError):
    """A step of an example broke a property."""


class DriveMachine(RuleBasedStateMachine):
    """One drive and what may happen to it. Subclassed for each target, by `machine_for`."""

    beginning: Bench
    properties: Sequence[Property]
    last_failure: Failure | None = None
    steps_run = 0

    def __init__(self) -> None:
        super().__init__()
        self.bench = self.beginning.clone()
        self.steps: list[Step] = []

    def do(self, verb: str, *args: Any, cut: int | None = None) -> None:
        """Run one action, and raise PropertyBroken if it broke a property."""
        step = self.bench.run(Action(verb, args, () if cut is None else (Cut(cut),)))
        self.steps.append(step)
        kind = type(self)
        kind.steps_run += 1
        for property_id, said in judge(step, self.properties):
            kind.last_failure = Failure(property_id, said, tuple(self.steps))
            raise PropertyBroken(f"{property_id}: {said}")

    def offers(self, feature: str) -> bool:
        return feature in self.bench.facts.features

    @rule(role=_ROLES, pin=_PINS, cut=_CUTS)
    def unlock(self, role: str, pin: int, cut: int | None) -> None:
        self.do("unlock", role, pin, cut=cut)

    @rule()
    def unlock_rightly(self) -> None:
        """Try the PIN that is set, so that much of a run happens on an open drive."""
        pins = [world.pins.get("user") for world in self.bench.worlds]
        self.do("unlock", "user", PIN_TABLE.index(pins[0]) if pins[0] else 0)

    @rule(role=_ROLES, pin=_PINS, cut=_CUTS)
    def set_pin(self, role: str, pin: int, cut: int | None) -> None:
        self.do("set_pin", role, pin, cut=cut)

    @rule(lba=_LBAS, count=st.integers(1, 24))
    def read(self, lba: int, count: int) -> None:
        self.do("read", lba, count)

    @rule(lba=_LBAS, content=st.integers(0, 200), count=st.integers(1, 24), cut=_CUTS)
    def write(self, lba: int, content: int, count: int, cut: int | None) -> None:
        self.do("write", lba, content, count, cut=cut)

    @rule(verb=st.sampled_from(("lock", "flush", "power_cycle", "unplug", "reset", "suspend")))
    def event(self, verb: str) -> None:
        self.do(verb)

    @precondition(lambda self: self.bench.is_open)
    @rule(verb=st.sampled_from(("suspend", "unplug", "reset", "power_cycle", "lock")))
    def close(self, verb: str) -> None:
        """Do to an open drive what must close it, as `event` too seldom does."""
        self.do(verb)

    @rule(verb=st.sampled_from(("bulk_reset", "power_cycle")), cut=st.integers(1, 6))
    def cut_event(self, verb: str, cut: int) -> None:
        self.do(verb, cut=cut)

    @rule(seconds=st.sampled_from((1, 100, 700)))
    def wait(self, seconds: int) -> None:
        self.do("wait", seconds)

    @rule(kind=st.integers(0, MALFORMED_KINDS - 1))
    def malformed(self, kind: int) -> None:
        self.do("malformed", kind)

    @rule(
        verb=st.sampled_from(("erase", "erase_by_code", "sanitize")),
        cut=_CUTS,
        is_meant=st.integers(0, 5),
    )
    def erase(self, verb: str, cut: int | None, is_meant: int) -> None:
        if is_meant == 5 or verb == "erase":  # an erase ends most of what a run could find
            self.do(verb, cut=cut)

    @precondition(lambda self: self.offers("recovery"))
    @rule(cut=_CUTS)
    def make_recovery(self, cut: int | None) -> None:
        self.do("make_recovery", cut=cut)

    @precondition(lambda self: self.offers("recovery"))
    @rule(number=st.integers(0, 5), pin=_GOOD_PINS, cut=_CUTS)
    def recover(self, number: int, pin: int, cut: int | None) -> None:
        self.do("recover", number, pin, cut=cut)

    @precondition(lambda self: self.offers("duress"))
    @rule(pin=_GOOD_PINS, cut=_CUTS)
    def set_duress(self, pin: int, cut: int | None) -> None:
        self.do("set_duress", pin, cut=cut)

    @precondition(lambda self: self.offers("read-only"))
    @rule(setting=st.sampled_from(("on", "off")), cut=_CUTS)
    def set_read_only(self, setting: str, cut: int | None) -> None:
        self.do("set_read_only", setting, cut=cut)

    @precondition(lambda self: self.offers("firmware update"))
    @rule(number=st.sampled_from((0, 1, 2, *range(IMAGES))), cut=_CUTS)
    def update(self, number: int, cut: int | None) -> None:
        self.do("update", number, cut=cut)

    @precondition(lambda self: self.offers("log"))
    @rule()
    def evidence(self) -> None:
        self.do("evidence")

    def teardown(self) -> None:
        """Search the flash once, when the run is over, where it can be had."""
        is_broken = self.steps and judge(self.steps[-1], self.properties)
        can_dump = Capability.DUMP_FLASH in self.bench.facts.capabilities
        if self.steps and not is_broken and can_dump:
            self.do("search_flash")


def beginning_of(target: Target) -> tuple[Bench, list[Step]]:
    """Return a bench where examples begin, and the steps that led there."""
    bench = target.bench()
    steps = bench.run_all(parse_steps(BEGINNING))
    return bench, steps


def search(
    target: Target, properties: Sequence[Property], examples: int
) -> tuple[Failure | None, int]:
    """Run the machine; return the failure it ended in, if any, and how many steps it ran.

    Raises UnsteadyDrive where the same example went one way and then another, and broke nothing.
    """
    bench, steps = beginning_of(target)

    class Machine(DriveMachine):
        beginning = bench

    Machine.properties = properties
    Machine.__name__ = "DriveMachine"
    try:
        run_state_machine_as_test(Machine, settings=machine_settings(examples))
    except (PropertyBroken, Flaky) as ended:
        found = Machine.last_failure
        if found is None:
            told = f"{target.url} does not do the same twice, so nothing can be said of it"
            raise UnsteadyDrive(told) from ended
        return Failure(found.property_id, found.said, (*steps, *found.steps)), Machine.steps_run
    return None, Machine.steps_run


def machine_settings(examples: int) -> settings:
    """Return settings under which the same machine does the same every time."""
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        verbosity=Verbosity.quiet,  # what is printed is the report
        # `runs.shortened` leaves out whole steps: far sooner done than shrinking what was drawn.
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
