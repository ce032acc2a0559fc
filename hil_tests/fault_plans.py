"""Fault plans: what goes wrong, in the middle of which action, and what must hold afterwards.

A plan is a scenario and the faults armed before its action, so it is spelled by its actions alone,
and any of them can be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from firmware_model.hardware.supply import Torn
from hil_tests.actions import FAULTS, Action, Cut
from hil_tests.power import cuts_of
from hil_tests.properties.base import LOST, STORED, join, times
from hil_tests.snapshot import RESTART, Scenario
from hil_tests.steps import Capability, Facts, Step

CLOSED = join(LOST, RESTART)
OPENED = join(CLOSED, "unlock-user-0")
SMALL = ("capacity=1MiB", "flash.pages_per_block=16")  # so that the flash collects soon
# A thief looks, then the owner: and nobody has anything that he had not before.
STAYS_SHUT = f"read-0-8,unlock-user-1,read-0-8,{RESTART},read-0-8,unlock-user-0,read-0-8"


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes wrong in one run: faults before the action, and where it is cut."""

    faults: tuple[Action, ...] = ()
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of fault: where it is tried, and how.

    `measure` arms nothing, but has a run without a fault tell how many faults there are to choose
    from; `plans` gives the plans, from the step of the action in that run.
    """

    name: str
    sentence: str
    scenarios: Callable[[Facts], Iterator[Scenario]]
    measure: tuple[Action, ...]
    plans: Callable[[Step], Iterator[Plan]]


def attacks(facts: Facts) -> Iterator[Scenario]:
    """Give what a thief tries, or waits for, while he glitches the firmware."""
    limit = facts.limits.get("user", 10)
    last = join(LOST, times(limit - 1, "unlock-user-1"), RESTART)
    gone = f"unlock-user-0,read-0-8,{RESTART},unlock-user-0,read-0-8"
    yield Scenario("wrong-pin", CLOSED, "unlock-user-1", STAYS_SHUT)
    yield Scenario("last-wrong-pin", last, "unlock-user-1", gone)
    spent = join(last, "unlock-user-1@3")
    yield Scenario("start-after-last", spent, RESTART, gone)
    yield Scenario("start", CLOSED, RESTART, STAYS_SHUT)
    reads = "read-0-8,write-2-9-8,read-0-16"
    used = f"unlock-user-0,{reads},{RESTART},unlock-user-0,{reads}"
    yield Scenario("start-and-use", CLOSED, RESTART, used)
    yield Scenario("locked-read", CLOSED, "read-0-8", STAYS_SHUT)
    yield Scenario("locked-write", CLOSED, "write-0-9-8", "unlock-user-0,read-0-8")
    yield Scenario("right-pin", CLOSED, "unlock-user-0", f"lock,{STAYS_SHUT}")
    yield Scenario("set-pin", CLOSED, "set_pin-user-1", f"read-0-8,lock,{STAYS_SHUT}")
    yield Scenario("set-admin", CLOSED, "set_pin-admin-2", f"unlock-admin-2,{STAYS_SHUT}")
    yield Scenario("erase-unasked", CLOSED, "erase", STAYS_SHUT)
    yield Scenario("read-log", CLOSED, "read_log", STAYS_SHUT)
    used = "unlock-user-0,write-0-0-8,read-0-8"
    yield Scenario("provision", RESTART, "set_pin-user-0", f"lock,unlock-user-1,read-0-8,{used}")
    yield Scenario("store", OPENED, "write-0-9-8", f"lock,read-0-8,search_flash,{STAYS_SHUT}")
    for event in ("lock", "unplug", "reset", "suspend"):
        yield Scenario(event, OPENED, event, STAYS_SHUT)
    if facts.auto_lock_s:
        waited = join(OPENED, f"wait-{facts.auto_lock_s + 1}")
        yield Scenario("timer", waited, "read-0-8", STAYS_SHUT)
    erased = f"{gone},set_pin-user-2,unlock-user-2,read-0-8"
    yield Scenario("erase", join(OPENED, "note_flash"), "erase", erased)
    yield Scenario("erase-by-code", CLOSED, "erase_by_code", erased)
    yield Scenario("sanitize", OPENED, "sanitize", erased)
    yield Scenario("change-pin", OPENED, "set_pin-user-1", f"lock,{gone},unlock-user-1,read-0-8")
    admin = join(STORED, "set_pin-admin-1", RESTART, "unlock-user-0")
    yield Scenario("admin-by-user", admin, "set_pin-admin-2", f"{RESTART},unlock-admin-2,read-0-8")
    if Capability.SIGN_FIRMWARE in facts.capabilities:
        yield from _forgeries()
    if "duress" in facts.features:
        armed = join(STORED, "set_duress-3", RESTART)
        yield Scenario("duress", armed, "unlock-user-3", gone)
        yield Scenario("set-duress", CLOSED, "set_duress-3", STAYS_SHUT)
    if "read-only" in facts.features:
        guarded = join(OPENED, "set_read_only-on", RESTART, "unlock-user-0")
        kept = f"read-0-8,{RESTART},unlock-user-0,read-0-8"
        yield Scenario("read-only", guarded, "write-0-9-8", kept)
        closed = f"write-0-9-8,read-0-8,{RESTART},unlock-user-0,write-0-9-8,read-0-8"
        yield Scenario("set-read-only", OPENED, "set_read_only-on", closed)
        yield Scenario("writable-again", CLOSED, "set_read_only-off", STAYS_SHUT)
    if "recovery" in facts.features:
        given = join(STORED, "make_recovery", RESTART)
        taken = f"unlock-user-2,read-0-8,{STAYS_SHUT}"
        yield Scenario("recover", given, "recover-0-2", f"lock,recover-5-3,read-0-8,{STAYS_SHUT}")
        yield Scenario("recover-wrong", given, "recover-3-2", taken)
        used = join(STORED, "make_recovery,lock,recover-0-0", RESTART)
        yield Scenario("recover-used", used, "recover-5-2", taken)
        yield Scenario("make-recovery", CLOSED, "make_recovery", STAYS_SHUT)
    if "host unlock" in facts.features:
        recorded = join(LOST, "record_unlock-user-0", RESTART)
        yield Scenario("replay", recorded, "replay_unlock", STAYS_SHUT)


def _forgeries() -> Iterator[Scenario]:
    """Give images that no drive may take, and one that was altered in its flash."""
    images = {"unsigned": 4, "flipped": 8, "other-product": 12, "own-part": 13, "weakening": 14}
    for name, number in images.items():
        yield Scenario(f"update-{name}", OPENED, f"update-{number}", STAYS_SHUT)
    yield Scenario("update", OPENED, "update-1", f"unlock-user-0,update-0,{STAYS_SHUT}")
    newest = join(STORED, "update-1", RESTART, "unlock-user-0")
    yield Scenario("update-older", newest, "update-0", STAYS_SHUT)
    yield Scenario("tampered-firmware", newest, "tamper_firmware", STAYS_SHUT)


def _fault(name: str, number: int) -> Plan:
    return Plan((Action("fault", (name, number)),))


def _glitches(step: Step) -> Iterator[Plan]:
    for number in range(1, int(step.seen["choices"]) + 1):
        yield Plan((Action("glitch", (number,)),))


def _uses(facts: Facts) -> Iterator[Scenario]:
    """Give what an owner and a thief do while something is pulled or flickers."""
    opens = f"unlock-user-0,read-0-8,{RESTART},unlock-user-0,read-0-8"
    anew = join(opens, "set_pin-user-0,unlock-user-0,write-0-0-8,read-0-8")
    changed = "unlock-user-0,lock,unlock-user-1,lock,unlock-user-0,read-0-8"
    yield Scenario("provision", RESTART, "set_pin-user-0", anew)
    yield Scenario("unlock", CLOSED, "unlock-user-0", f"read-0-8,{opens}")
    yield Scenario("wrong-pin", CLOSED, "unlock-user-1", opens)
    yield Scenario("change-pin", OPENED, "set_pin-user-1", changed)
    yield Scenario("read", OPENED, "read-0-40", f"read-0-8,{opens}")
    yield Scenario("write", OPENED, "write-1-9-40", f"read-0-40,{opens}")
    yield Scenario("lock", OPENED, "lock", f"read-0-8,{opens}")
    yield Scenario("erase", OPENED, "erase", anew)
    if "recovery" in facts.features:
        given = join(STORED, "make_recovery", RESTART)
        after = "unlock-user-0,lock,unlock-user-2,lock,recover-1-3,read-0-8"
        yield Scenario("recover", given, "recover-0-2", after)


def _disconnects(step: Step) -> Iterator[Plan]:
    for number in range(1, int(step.seen["choices"]) + 1):
        for name in ("disconnect", "disconnect_late"):
            yield _fault(name, number)


def _flash_uses(facts: Facts) -> Iterator[Scenario]:
    """Give what reads each area of the flash, or moves what stands there."""
    opens = f"unlock-user-0,read-0-8,{RESTART},unlock-user-0,read-0-8"
    yield Scenario("read", OPENED, "read-0-8", f"read-0-8,{opens}")
    yield Scenario("start", CLOSED, RESTART, opens)
    yield Scenario("unlock", CLOSED, "unlock-user-0", f"read-0-8,{opens}")
    yield Scenario("write-part", OPENED, "write-1-9-4", f"read-0-8,write-0-20-8,read-0-8,{opens}")
    yield Scenario("trim", OPENED, "trim-1-4", f"read-0-8,{opens}")
    yield Scenario("change-pin", OPENED, "set_pin-user-1", f"lock,unlock-user-1,read-0-8,{RESTART}")
    yield Scenario("erase", OPENED, "erase", f"{opens},set_pin-user-0,{opens}")
    yield Scenario("read-log", OPENED, "read_log", f"evidence,{opens}")
    full = join("set_pin-user-0,unlock-user-0,fill-0,scatter-3000-64", RESTART, "unlock-user-0")
    yield Scenario(
        "collect", full, "scatter-4000-12", f"read_all,{RESTART},unlock-user-0,read_all", SMALL
    )


def _broken_lines(step: Step) -> Iterator[Plan]:
    for number in range(1, int(step.seen["choices"]) + 1):
        for name in ("element_deaf", "element_mute"):
            yield _fault(name, number)


def _guesses(facts: Facts) -> Iterator[Scenario]:
    """Give attempts of every kind, with the right PIN in the end."""
    limit = facts.limits.get("user", 10)
    last = join(LOST, times(limit - 1, "unlock-user-1"), RESTART)
    guesses = f"unlock-user-2,unlock-user-1,read-0-8,{RESTART},unlock-user-1,unlock-user-0,read-0-8"
    yield Scenario("wrong-pin", CLOSED, "unlock-user-1", guesses)
    yield Scenario("right-pin", CLOSED, "unlock-user-0", f"read-0-8,lock,{guesses}")
    yield Scenario("last-wrong-pin", last, "unlock-user-1", guesses)
    if "recovery" in facts.features:
        given = join(STORED, "make_recovery", RESTART)
        yield Scenario("recover-wrong", given, "recover-3-2", "recover-3-2,recover-0-2,read-0-8")
    if "duress" in facts.features:
        armed = join(STORED, "set_duress-3", RESTART)
        yield Scenario("duress", armed, "unlock-user-3", guesses)


def _stuck_counters(step: Step) -> Iterator[Plan]:
    yield _fault("counter_sticks", 0)


def _damages(step: Step) -> Iterator[Plan]:
    """Give flips that the ECC carries, the most it carries, one more, and many."""
    for name in FAULTS:
        if name.startswith("flip_"):
            for bits in (1, 8, 9, 30):
                yield _fault(name, bits)
        elif name.startswith("fail_"):
            for count in (1, 2):
                yield _fault(name, count)


def _brown_outs(step: Step) -> Iterator[Plan]:
    """Give supplies that sag inside a step of the flash, and again each time the drive starts."""
    for cut in cuts_of(step.step_names):
        for torn in Torn if cut.torn is not None else ():
            yield Plan(cuts=(cut, Cut(2, torn)))
            for again in (1, 2, 3):
                yield Plan(cuts=(cut, *[Cut(1, torn)] * again))


def _jumps(step: Step) -> Iterator[Plan]:
    for seconds in (1, 599, 601, 86_400, 2_000_000):
        for name in ("clock_forward", "clock_back"):
            yield _fault(name, seconds)


def _timed(facts: Facts) -> Iterator[Scenario]:
    """Give what time decides on: whether an open drive locks itself, how long an answer takes."""
    past = "wait-99999"  # so that there is a time to run back to
    opened, closed = join(past, OPENED), join(past, CLOSED)
    later = f"wait-{(facts.auto_lock_s or 600) + 1},read-0-8,{STAYS_SHUT}"
    yield Scenario("open", opened, "read-0-8", later)
    yield Scenario("wrong-pin", closed, "unlock-user-1", STAYS_SHUT)
    yield Scenario("unlock", closed, "unlock-user-0", later)
    yield Scenario("start", closed, RESTART, STAYS_SHUT)


def _failing_noise(step: Step) -> Iterator[Plan]:
    for value in (0, 0x55, 0xFF):
        yield _fault("noise_sticks", value)
    for period in (1, 2, 6, 16, 64, 100, 128, 256, 512, 1000):
        yield _fault("noise_repeats", period)


def _drawing(facts: Facts) -> Iterator[Scenario]:
    """Give what draws from the noise source: keys, PINs, and what makes a session its own."""
    yield Scenario("provision", RESTART, "set_pin-user-0", "twin_keys,unlock-user-0,write-0-0-8")
    yield Scenario("start", CLOSED, RESTART, f"twin_keys,{STAYS_SHUT}")
    yield Scenario("unlock", CLOSED, "unlock-user-0", f"twin_keys,lock,{STAYS_SHUT}")
    # What was drawn before is used up first.
    more = "set_pin-user-2,set_pin-user-3,set_pin-user-4,set_pin-user-5,set_pin-user-1"
    changed = f"{more},twin_keys,lock,unlock-user-1,read-0-8"
    yield Scenario("change-pin", OPENED, "set_pin-user-1", changed)
    yield Scenario("erase", OPENED, "erase", f"set_pin-user-0,unlock-user-0,{changed}")
    if "recovery" in facts.features:
        yield Scenario("make-recovery", OPENED, "make_recovery", f"twin_keys,lock,{STAYS_SHUT}")
    if "host unlock" in facts.features:
        again = f"lock,replay_unlock,read-0-8,{STAYS_SHUT}"
        yield Scenario("record", CLOSED, "record_unlock-user-0", again)


NOTHING: Final = ()
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "glitch",
            "One verdict of the firmware is turned, or one of its steps left out.",
            attacks,
            (Action("glitch", (0,)),),
            _glitches,
        ),
        Family(
            "flash",
            "Bits flip in data, key records, log and spare areas; blocks fail.",
            _flash_uses,
            NOTHING,
            _damages,
        ),
        Family(
            "element",
            "The element stops answering, before or after it obeys a command.",
            _uses,
            (Action("fault", ("element_deaf", 0)),),
            _broken_lines,
        ),
        Family("counter", "The try counters stick.", _guesses, NOTHING, _stuck_counters),
        Family(
            "noise",
            "The noise source sticks, or repeats itself.",
            _drawing,
            NOTHING,
            _failing_noise,
        ),
        Family(
            "brown-out",
            "The supply sags inside steps of the flash, again and again.",
            _uses,
            NOTHING,
            _brown_outs,
        ),
        Family("clock", "The clock jumps, forward and back.", _timed, NOTHING, _jumps),
        Family(
            "usb",
            "The cable is pulled before, and in the middle of, each transfer.",
            _uses,
            (Action("fault", ("disconnect", 0)),),
            _disconnects,
        ),
    )
}
