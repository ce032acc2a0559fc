"""What one step did: the values that the bench hands to the properties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from hil_tests.actions import Action
from hil_tests.oracle import World

MAY_LOCK: Final = "may lock"  # said to the bench where a drive may have locked or not


class Capability(Enum):
    """What the bench can do to a target; a target that lacks one can't be judged by it."""

    DUMP_FLASH = "dump the flash"
    RESTORE_FLASH = "put an old flash image back"
    CUT_POWER = "cut power at a durable step"
    OPERATE = "switch supply, plug and keys"
    MOVE_CLOCK = "move the clock"
    SEE_BUS = "see the bus"
    FORK = "copy the drive as it is"
    SECOND_UNIT = "have a second unit"
    PATCH_FIRMWARE = "patch the firmware"
    SIGN_FIRMWARE = "sign firmware"
    FAIL_PARTS = "have parts fail"


class Excused(Enum):
    """What a fault may cost."""

    AVAILABILITY = "availability"
    DATA = "data"  # what the disturbed command was to store, and no other


class Outcome(Enum):
    """What the host was told."""

    OK = "ok"
    WRONG_PIN = "wrong PIN"
    REFUSED = "refused"
    NOT_SUPPORTED = "not supported"
    CUT = "power cut"
    FAULT = "transport fault"
    CRASH = "crash of the firmware"


REFUSALS = (Outcome.WRONG_PIN, Outcome.REFUSED, Outcome.NOT_SUPPORTED)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What was seen and fits no world.

    Facets: outcome, state, tries, data; and lost,
    for data that a fault may cost.
    """

    facet: str
    expected: tuple[Any, ...]
    seen: Any

    def __str__(self) -> str:
        wanted = " or ".join(dict.fromkeys(map(str, self.expected))) or "nothing"
        return f"{self.facet}: {self.seen}, where any drive must show {wanted}"


@dataclass(slots=True)
class Step:
    """One action and all that was seen of it."""

    number: int  # 1 is the first of the run
    action: Action
    before: tuple[World, ...]
    state_before: str | None = None  # as the drive last told it
    outcome: Outcome = Outcome.OK
    detail: str = ""  # the refusal or fault, in a line
    tells_fault: bool = False  # the refusal says that something in the drive is broken
    tries_told: int | None = None  # what a wrong-PIN answer said
    state: str | None = None  # None: not asked
    tries: Mapping[str, int] | None = None
    mismatches: list[Mismatch] = field(default_factory=list)
    is_tampered: bool = False  # the flash was exchanged earlier: the owner's promises are off
    is_faulty: bool = False  # something was made to go wrong in the drive while it ran
    is_over: bool = False  # it had been answered when supply failed
    is_severed: bool = False  # the cable was pulled while it ran
    excused: frozenset[Excused] = frozenset()  # what faults may cost, from the first of them on
    erased_by: str | None = None  # limit, duress or command, once every world is erased
    is_refused_by_all: bool = False  # every world refuses this command
    may_be_refused: bool = False  # some world does
    time_us: int = 0  # model time the step took
    step_names: tuple[str, ...] = ()  # durable effects, in order
    boots: tuple[tuple[str, ...], ...] = ()  # those of each start after a cut
    seen: dict[str, Any] = field(default_factory=dict)  # what a verb of the attacker found

    @property
    def verb(self) -> str:
        return self.action.verb

    def mismatch(self, facet: str) -> Mismatch | None:
        return next((each for each in self.mismatches if each.facet == facet), None)

    @property
    def opened(self) -> bool:
        """Whether a command succeeded that every drive must refuse."""
        wrong = self.mismatch("outcome")
        return wrong is not None and wrong.seen == "ok"

    @property
    def was_refused(self) -> bool:
        """Whether a command was refused that every drive must obey."""
        wrong = self.mismatch("outcome")
        return wrong is not None and wrong.seen != "ok"

    @property
    def undone(self) -> str | None:
        """Why the drive did not let the bench do what any drive must; None where it did."""
        if self.excused:  # by a fault that was put into it
            return None
        is_broken = self.outcome in (Outcome.FAULT, Outcome.CRASH)
        if is_broken or (self.outcome in REFUSALS and not self.may_be_refused):
            return f"{self.outcome.value} {self.detail}".rstrip()
        reason: str | None = self.seen.get("undone")
        return reason

    def line(self) -> str:
        """Return the step as one line for people."""
        parts = [f"{self.number:>3}  {self.action!s:<28} {self.outcome.value}"]
        if self.detail:
            parts.append(self.detail)
        if self.state is not None:
            parts.append(f"state {self.state}")
        if self.tries:
            parts.append("tries " + "/".join(f"{n}" for n in self.tries.values()))
        parts += [f"{name}: {value}" for name, value in self.seen.items() if _is_short(value)]
        return ", ".join(parts)


def _is_short(value: object) -> bool:
    return isinstance(value, int | str | bool) and len(str(value)) < 80


@dataclass(frozen=True, slots=True)
class Facts:
    """What a target is by its own documents: what scenarios are written from."""

    limits: Mapping[str, int]
    at_limit: str
    auto_lock_s: int | None
    features: frozenset[str]
    capabilities: frozenset[Capability]
    dialect: str
    block_count: int
    reset_code: str | None = None
    kdf_iterations: int = 0  # that the profile demands
    product: str = "none"  # that firmware images are for
