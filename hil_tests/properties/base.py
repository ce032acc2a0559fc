"""What a property is: a claim that must hold for every sequence of actions on a target."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hil_tests.steps import Capability, Facts, Step


class Block(Enum):
    """The lines of the scorecard, in the order a reader asks."""

    ENCRYPTION = "Data is really encrypted, key bound to PIN and device"
    LIMIT = "Try limit holds under power cut, rollback, replay and roles"
    PATHS = "No other path to data or secrets"
    FIRMWARE = "Runs its maker's firmware only, and never an older one"
    ERASE = "Erase works and is final"
    LOCKING = "Locks when it should, opens when it may"
    RANDOMNESS = "Randomness and key derivation"
    EVIDENCE = "Evidence after loss"
    DURABILITY = "Keeps what it answered"
    CONFORMANCE = "Answers as the standards say"


Check = Callable[[Step], str | None]
Scenarios = Callable[[Facts], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Property:
    """A claim: what is checked after each step, and the sequences that try hardest to break it.

    `check` returns what was wrong, in a sentence, or None. `features` are optional things of a
    drive: without them the property is not exercised. Locking, a try limit, confidentiality at
    rest and erase are no features: every drive claims them, and one that lacks them fails.
    """

    id: str
    sentence: str
    block: Block
    check: Check
    scenarios: Scenarios
    requirements: tuple[str, ...] = ()  # rows of fixtures/requirements.toml
    weaknesses: tuple[str, ...] = ()  # published ones that it would have caught
    features: frozenset[str] = frozenset()
    capabilities: frozenset[Capability] = frozenset()

    def sequences(self, facts: Facts) -> list[str]:
        """Return the different scenarios for a target, less those that the bench can't do."""
        every = dict.fromkeys(self.scenarios(facts))
        return [text for text in every if needs(text, facts.dialect) <= facts.capabilities]

    def left_out(self, facts: Facts) -> int:
        """Return how many scenarios a bench that can do all would have besides."""
        return len(set(self.scenarios(facts))) - len(self.sequences(facts))

    def reason_not_to_run(self, facts: Facts) -> str | None:
        """Return what is lacking to exercise this property, or None."""
        lacking = sorted(each.value for each in self.capabilities - facts.capabilities)
        if lacking:
            return f"the bench can't {' or '.join(lacking)}"
        offers = sorted(self.features - facts.features)
        if offers:
            return f"the drive offers no {' and no '.join(offers)}"
        if not self.sequences(facts):
            return "the bench can do none of its runs"
        return None


# What a bench must be able to do for an action, where that is more than a host can.
_NEEDS: Final = {
    Capability.OPERATE: ("power_cycle", "unplug", "suspend"),
    Capability.MOVE_CLOCK: ("wait",),
    Capability.FORK: (
        "compare_cuts",
        "compare_wrong",
        "forced_verdict",
        "guess_near",
        "store_register",
    ),
    Capability.DUMP_FLASH: (
        "glitch",  # it takes a copy of the code in this process
        "inspect_cipher",
        "note_flash",
        "open_remnants",
        "reprovision",
        "search_flash",
        "store_register",
        "transplant",
        "twin_keys",
        "wear_out_keys",
    ),
    Capability.RESTORE_FLASH: (
        "rollback_flash",
        "tamper_firmware",
        "transplant",
        "update_swapped",
        "wear_out_keys",
    ),
    Capability.SECOND_UNIT: ("reprovision", "transplant", "twin_keys"),
    Capability.PATCH_FIRMWARE: ("forced_verdict", "glitch", "measure_kdf"),
    Capability.SIGN_FIRMWARE: ("stage", "update", "update_swapped"),
    Capability.FAIL_PARTS: ("fault", "wear_out_keys"),
    Capability.CUT_POWER: ("compare_cuts",),
}
# What on a keypad drive only its keys do.
_KEYED: Final = frozenset(
    {
        "compare_wrong",
        "erase",
        "erase_by_code",
        "make_recovery",
        "record_unlock",
        "recover",
        "set_duress",
        "set_pin",
        "set_read_only",
        "unlock",
    }
)


def needs(text: str, dialect: str) -> frozenset[Capability]:
    """Return what a bench must be able to do for a sequence on a drive of that dialect."""
    verbs = {re.split("[-@]", step, maxsplit=1)[0] for step in text.split(",")}
    found = {capability for capability, some in _NEEDS.items() if not verbs.isdisjoint(some)}
    if "@" in text:
        found.add(Capability.CUT_POWER)
    if dialect == "keypad" and not verbs.isdisjoint(_KEYED):
        found.add(Capability.OPERATE)
    return frozenset(found)


def times(count: int, steps: str) -> str:
    return ",".join([steps] * count)


def join(*parts: str) -> str:
    """Return the sequence of all parts that are not empty."""
    return ",".join(part for part in parts if part)


def found(key: str, sentence: str, *probes: str) -> Check:
    """Return a check that fails when a verb reported anything under `key`.

    It fails too where one of `probes`, the verbs that look for it, could not be done: a drive
    that lets nobody look has not passed.
    """

    def check(step: Step) -> str | None:
        reported = step.seen.get(key)
        if not reported:
            is_undone = step.verb in probes and step.undone
            return f"{step.action} could not be done: {step.undone}" if is_undone else None
        shown = "; ".join(reported[:4]) if isinstance(reported, list) else str(reported)
        return f"{sentence}: {shown}"

    return check


def first_of(*checks: Check) -> Check:
    """Return a check that fails as the first of `checks` that does."""

    def check(step: Step) -> str | None:
        return next((said for each in checks if (said := each(step)) is not None), None)

    return check


# A drive with a user PIN, open, with 8 blocks of content in it.
STORED = "set_pin-user-0,unlock-user-0,write-0-0-8"
# The same, locked.
LOST = f"{STORED},lock"
CUTS = range(1, 13)  # an attempt, change or erase of the reference drive has fewer durable steps
