"""Locking: who gets data, and when the drive forgets that it was open."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.properties.base import LOST, STORED, Block, Property, first_of, found, join
from hil_tests.steps import Capability, Facts, Step

LOCKING_VERBS = ("lock", "power_cycle", "unplug", "reset", "suspend", "wait")
OWNER_VERBS = ("set_pin", "make_recovery", "set_duress", "set_read_only", "erase", "sanitize")
BY_OPERATOR = frozenset({Capability.OPERATE})


def _gives_data(step: Step) -> str | None:
    if step.verb in ("read", "write") and step.opened and not _is_read_only(step):
        return f"{step.verb} succeeded in state {_states(step)}"
    return None


def _is_read_only(step: Step) -> bool:
    return all(world.state == "unlocked" for world in step.before)


def _states(step: Step) -> str:
    return " or ".join(dict.fromkeys(world.state for world in step.before))


def _stays_open(step: Step) -> str | None:
    wrong = step.mismatch("state")
    if wrong and wrong.seen == "unlocked" and step.verb in LOCKING_VERBS:
        return f"still open after {step.action}"
    was_lost = all(world.state == "locked" for world in step.before)
    if step.verb == "read" and step.opened and was_lost:
        return f"{step.action} succeeded after what should have locked the drive"
    return None


def _opens_for_wrong(step: Step) -> str | None:
    if step.is_tampered or step.verb not in ("unlock", "recover"):
        return None
    wrong = step.mismatch("state")
    has_opened = wrong and wrong.seen == "unlocked" and step.state_before != "unlocked"
    if step.opened or (has_opened and step.is_refused_by_all):
        return f"{step.action} opened the drive in state {_states(step)}"
    return None


def _refuses_right(step: Step) -> str | None:
    if step.verb in ("unlock", "recover") and step.was_refused and not step.is_tampered:
        return f"the right PIN was answered with {step.outcome.value} {step.detail}".rstrip()
    return None


def _refuses_owner(step: Step) -> str | None:
    if step.verb in OWNER_VERBS and step.was_refused and not step.is_tampered:
        return f"{step.action}, from whoever may, was answered with {step.detail}"
    return None


def _obeys_stranger(step: Step) -> str | None:
    if step.verb in OWNER_VERBS and step.opened and not step.is_tampered:
        return f"{step.action} was obeyed in state {_states(step)} from whoever may not"
    return None


def _locked_scenarios(facts: Facts) -> Iterator[str]:
    yield "read-0-1"
    yield join(LOST, "read-0-8,write-0-9-8")
    yield join(STORED, "power_cycle,read-0-8,sweep")
    for event in ("lock", "suspend", "unplug", "reset"):
        yield join(STORED, event, "read-0-8,write-0-9-8")


def _event_scenarios(facts: Facts) -> Iterator[str]:
    events = ["lock", "power_cycle", "unplug", "suspend", "reset"]
    if facts.auto_lock_s:
        events.append(f"wait-{facts.auto_lock_s + 1}")
    for event in events:
        yield join(STORED, event, "read-0-8")


def _wrong_scenarios(facts: Facts) -> Iterator[str]:
    yield join(LOST, "unlock-user-1,unlock-user-2,unlock-admin-0,unlock-admin-1,read-0-1")
    yield join(LOST, "unlock-user-6,unlock-user-7,unlock-user-8,unlock-admin-6,read-0-1")
    for pin in (0, 5):  # of 12 digits and of 14
        yield f"set_pin-user-{pin},lock,guess_near"
    yield "set_pin-user-0,set_pin-user-1,lock,unlock-user-0,unlock-user-10,unlock-user-11"


def _right_scenarios(facts: Facts) -> Iterator[str]:
    for cut in range(1, 5):
        yield join(STORED, f"erase@{cut},unlock-user-0,set_pin-user-0,unlock-user-0")
    yield join(LOST, "unlock-user-0,read-0-8,power_cycle,unlock-user-1,unlock-user-0,read-0-8")
    yield "set_pin-user-0,unlock-user-0,set_pin-user-5,lock,unlock-user-0,unlock-user-5"
    yield join(
        "set_pin-user-0,unlock-user-0,set_pin-admin-1,lock,unlock-admin-1,set_pin-user-2",
        "power_cycle,unlock-user-2,power_cycle,unlock-admin-1,lock,unlock-user-0",
    )


def _owner_scenarios(facts: Facts) -> Iterator[str]:
    yield "set_pin-user-5,unlock-user-5,lock,unlock-user-5"
    yield "set_pin-user-10,set_pin-user-11,set_pin-user-7,set_pin-user-0,unlock-user-0"
    policy = [
        name
        for name, feature in (
            ("make_recovery", "recovery"),
            ("set_duress-3", "duress"),
            ("set_read_only-on,set_read_only-off", "read-only"),
        )
        if feature in facts.features
    ]
    yield join(STORED, *policy, "erase,set_pin-user-1,unlock-user-1,sanitize,set_pin-user-2")


def _stranger_scenarios(facts: Facts) -> Iterator[str]:
    yield join(LOST, "sweep,unlock-user-0,read-0-8")
    yield join(LOST, "set_pin-user-1,set_pin-admin-1,erase,sanitize,unlock-user-0,read-0-8")
    yield join(LOST, "make_recovery,set_duress-3,set_read_only-on,unlock-user-0,write-0-1-8")
    yield join(STORED, "set_pin-admin-1,lock,unlock-user-0,erase,set_duress-3,read-0-8")


PROPERTIES = (
    Property(
        id="locked-drive-gives-no-data",
        sentence="A drive that is not unlocked answers no READ and takes no WRITE.",
        block=Block.LOCKING,
        check=first_of(_gives_data, found("leaked", "a locked drive answered stored content")),
        scenarios=_locked_scenarios,
        requirements=("UFD-7", "AA/EE FCS_VAL_EXT.1.2", "F-SVC-1"),
        weaknesses=("unlock-verdict-on-host", "command-without-session", "access-control-only"),
    ),
    Property(
        id="locks-when-it-should",
        sentence="Command, timer, power loss, unplugging, suspend and a port reset lock the drive.",
        block=Block.LOCKING,
        check=_stays_open,
        scenarios=_event_scenarios,
        requirements=("AA FCS_AFA_EXT.2", "FPT_PWR_EXT.1/.2", "F-AUTH-6", "TCG-5"),
        weaknesses=("warm-replug-stays-unlocked", "session-survives-usb-reset"),
        capabilities=BY_OPERATOR,
    ),
    Property(
        id="wrong-pin-opens-nothing",
        sentence="No PIN but the one that was set opens the drive, in whatever role it is tried.",
        block=Block.LOCKING,
        check=first_of(
            _opens_for_wrong,
            found("opened_by_guess", "a PIN that was not set opened the drive", "guess_near"),
        ),
        scenarios=_wrong_scenarios,
        requirements=("UFD-7", "AA FCS_AFA_EXT.1"),
        weaknesses=("empty-or-default-master-credential", "unlock-verdict-on-host"),
        features=frozenset({"PIN"}),
    ),
    Property(
        id="right-pin-opens",
        sentence="The PIN that was set opens the drive as long as tries are left.",
        block=Block.LOCKING,
        check=_refuses_right,
        scenarios=_right_scenarios,
        requirements=("AA FCS_AFA_EXT.1",),
        features=frozenset({"PIN"}),
    ),
    Property(
        id="owner-is-obeyed",
        sentence="PINs, policy and erase work for whoever may use them.",
        block=Block.LOCKING,
        check=_refuses_owner,
        scenarios=_owner_scenarios,
        requirements=("EE FCS_CKM.1(DEK)", "F-SVC-1"),
        features=frozenset({"PIN"}),
    ),
    Property(
        id="no-command-opens",
        sentence="No command, known or not, opens or changes a drive for one without the PIN.",
        block=Block.PATHS,
        check=first_of(
            _obeys_stranger,
            found("commands_that_open", "the drive opened, or changed, without a PIN", "sweep"),
        ),
        scenarios=_stranger_scenarios,
        requirements=("F-SVC-1", "FMT_MOF.1 (AA)"),
        weaknesses=("command-without-session", "unlock-verdict-on-host"),
    ),
)
