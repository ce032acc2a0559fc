"""Durability and its opposite: what was answered stays, and what was erased is gone."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.properties.base import (
    CUTS,
    LOST,
    STORED,
    Block,
    Property,
    first_of,
    found,
    join,
    times,
)
from hil_tests.steps import Capability, Facts, Step

CUT = frozenset({Capability.CUT_POWER})


def _loses_data(step: Step) -> str | None:
    if step.is_tampered:
        return None
    wrong = step.mismatch("data")
    if wrong:
        return f"{step.action}: {wrong}"
    if step.verb in ("read", "write", "flush") and step.was_refused:
        return f"{step.action} on an open drive was answered with {step.detail}"
    return None


def _half_changes(step: Step) -> str | None:
    if not step.seen.get("after_change") or step.is_tampered or step.verb != "unlock":
        return None
    if step.opened or step.was_refused:
        return f"after a change, {step.action} was answered with {step.outcome.value}"
    return None


def _survives_erase(step: Step) -> str | None:
    if step.erased_by != "command":
        return None
    if step.verb in ("unlock", "read", "recover") and step.opened:
        return f"{step.action} succeeded on an erased drive"
    wrong = step.mismatch("state")
    if wrong and set(wrong.expected) == {"erased"}:
        return f"the erased drive is {wrong.seen}"
    return None


def _ignores_erase(step: Step) -> str | None:
    if step.verb in ("erase", "erase_by_code", "sanitize") and step.was_refused:
        return None if step.is_tampered else f"{step.action} was answered with {step.detail}"
    return None


def _writes_when_read_only(step: Step) -> str | None:
    open_and_read_only = all(w.state == "unlocked" and w.is_read_only for w in step.before)
    if step.opened and open_and_read_only and step.verb in ("write", "sanitize"):
        return f"{step.action} succeeded on a read-only drive"
    return None


def _survives_duress(step: Step) -> str | None:
    if step.erased_by != "duress":
        return None
    if step.opened:
        return f"{step.action} succeeded after the duress PIN was entered"
    wrong = step.mismatch("state")
    if wrong and set(wrong.expected) == {"erased"}:
        return f"after the duress PIN, the drive is {wrong.seen}"
    return None


def _recovers_wrongly(step: Step) -> str | None:
    if step.verb != "recover" or step.is_tampered:
        return None
    if step.opened:
        return f"{step.action} opened with a recovery PIN that was wrong or used"
    if step.was_refused:
        return f"an unused recovery PIN was answered with {step.outcome.value} {step.detail}"
    return None


def _data_scenarios(facts: Facts) -> Iterator[str]:
    yield join(STORED, "write-6-20-16,read-6-16,power_cycle,unlock-user-0,read-0-8,read-6-16")
    yield join(STORED, times(12, "write-0-8-8,write-1-30-4"), "power_cycle,unlock-user-0,read-0-8")
    for cut in range(1, 7):
        yield join(STORED, f"write-1-40-5@{cut},unlock-user-0,read-0-8")
        yield join(STORED, f"read-0-8,lock,unlock-user-0,write-7-50-1@{cut},unlock-user-0,read-0-8")
    for bits in (8, 9):  # of a codeword: what the ECC carries, and one more
        yield join(STORED, f"fault-flip_data-{bits},read-0-8,power_cycle,unlock-user-0,read-0-8")


def _change_scenarios(facts: Facts) -> Iterator[str]:
    yield join(LOST, "unlock-user-0,set_pin-user-1,lock,unlock-user-0,unlock-user-1,read-0-8")
    for cut in CUTS:
        yield join(STORED, f"set_pin-user-1@{cut},unlock-user-0,lock,unlock-user-1,read-0-8")


def _erase_scenarios(facts: Facts) -> Iterator[str]:
    again = "set_pin-user-0,unlock-user-0,read-0-8"
    for command in ("erase", "erase_by_code", "sanitize"):
        yield join(STORED, command, "unlock-user-0,read-0-8", again)
        yield join(STORED, f"{command}@end,unlock-user-0,read-0-8", again)
    yield join(STORED, "note_flash,erase,rollback_flash,unlock-user-0,read-0-8")
    yield join(STORED, "note_flash,erase,set_pin-user-1,rollback_flash,unlock-user-0,read-0-8")
    for cut in CUTS:
        yield join(STORED, f"erase@{cut},unlock-user-0,read-0-8,power_cycle,unlock-user-0")


def _read_only_scenarios(facts: Facts) -> Iterator[str]:
    yield join(
        STORED,
        "set_read_only-on,write-0-9-8,write_ways,read-0-8,power_cycle",
        "unlock-user-0,write-1-9-4,sanitize,write_ways,read-0-8,set_read_only-off,write-1-9-1",
    )


def _duress_scenarios(facts: Facts) -> Iterator[str]:
    yield join(STORED, "set_duress-3,lock,unlock-user-3,unlock-user-0,read-0-8")
    yield join(STORED, "set_duress-0,set_duress-3,unlock-user-3,read-0-8")
    yield join(STORED, "set_duress-3,lock,unlock-user-3@end,unlock-user-0,read-0-8")
    yield join(STORED, "set_duress-3,lock,note_flash,unlock-user-3,rollback_flash,unlock-user-0")


def _recovery_scenarios(facts: Facts) -> Iterator[str]:
    yield join(STORED, "make_recovery,lock,recover-0-1,lock,recover-5-2,unlock-user-2")
    yield join(
        STORED,
        "make_recovery,lock,recover-3-2,recover-4-2,recover-1-2,lock",
        "unlock-user-0,unlock-user-2,read-0-8,make_recovery,lock,recover-2-3,lock,unlock-user-3",
    )


PROPERTIES = (
    Property(
        id="answered-data-survives",
        sentence="What a WRITE answered is read back, whatever happened to power afterwards.",
        block=Block.DURABILITY,
        check=_loses_data,
        scenarios=_data_scenarios,
        requirements=("F-SVC-1",),
    ),
    Property(
        id="pin-change-is-atomic",
        sentence="After a change of PIN, cut or not, exactly one of old and new opens.",
        block=Block.DURABILITY,
        check=_half_changes,
        scenarios=_change_scenarios,
        requirements=("FCS_CKM.4 / _EXT.4",),
        weaknesses=("pin-change-not-atomic", "wear-leveled-old-key-blob"),
        features=frozenset({"PIN"}),
    ),
    Property(
        id="erase-is-final",
        sentence="After an erase no PIN and no old flash image gives anything back.",
        block=Block.ERASE,
        check=first_of(
            _survives_erase,
            _ignores_erase,
            found("erased_data", "erased content was read back"),
        ),
        scenarios=_erase_scenarios,
        requirements=("F-ZERO-1", "88-2", "88-5", "FCS_CKM_EXT.6 / CKM.6/KEK"),
        weaknesses=("wipe-not-resumed", "wipe-order-key-last"),
    ),
    Property(
        id="erase-ends-the-key",
        sentence="The first PIN after an erase draws a key that the drive never had.",
        block=Block.ERASE,
        check=found(
            "same_key_after_erase", "the key of the data area outlived an erase", "reprovision"
        ),
        scenarios=lambda facts: ["set_pin-user-0,reprovision-2"],
        requirements=("F-ZERO-1", "88-2", "88-5", "FCS_CKM_EXT.6 / CKM.6/KEK"),
        weaknesses=("erase-does-not-rewrap",),
        features=frozenset({"PIN"}),
        capabilities=frozenset({Capability.DUMP_FLASH, Capability.SECOND_UNIT}),
    ),
    Property(
        id="read-only-holds",
        sentence="A read-only drive refuses every opcode that writes, and stays as it is.",
        block=Block.DURABILITY,
        check=first_of(
            _writes_when_read_only, found("written", "a write-like command wrote", "write_ways")
        ),
        scenarios=_read_only_scenarios,
        requirements=("F-SVC-1",),
        weaknesses=("read-only-bypass",),
        features=frozenset({"read-only"}),
    ),
    Property(
        id="duress-destroys",
        sentence="The duress PIN destroys before it answers, for good.",
        block=Block.ERASE,
        check=_survives_duress,
        scenarios=_duress_scenarios,
        requirements=("F-ZERO-1",),
        features=frozenset({"duress"}),
    ),
    Property(
        id="recovery-opens-once",
        sentence="Each recovery PIN opens once, to set a new user PIN, and never again.",
        block=Block.LIMIT,
        check=_recovers_wrongly,
        scenarios=_recovery_scenarios,
        requirements=("AA FCS_AFA_EXT.1",),
        weaknesses=("published-code-extends-limit",),
        features=frozenset({"recovery"}),
    ),
)
