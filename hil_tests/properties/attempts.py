"""Attempts: how many guesses a thief really has."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.properties.base import CUTS, LOST, STORED, Block, Property, found, join, times
from hil_tests.steps import Capability, Facts, Outcome, Step

LIMIT_ROWS = ("AA/EE FCS_VAL_EXT.1.3", "63B-1", "63B-2", "F-AUTH-2")
POWER_VERBS = ("power_cycle", "unplug", "reset", "suspend", "bulk_reset", "malformed")


def _miscounts(step: Step) -> str | None:
    wrong = step.mismatch("tries")
    if wrong is None or step.is_tampered or _is_about_power(step):
        return None
    return f"after {step.action}, {wrong}"


def _is_about_power(step: Step) -> bool:
    return step.outcome is Outcome.CUT or step.verb in POWER_VERBS


def _forgets_tries(step: Step) -> str | None:
    wrong = step.mismatch("tries")
    if wrong is None or step.is_tampered or not _is_about_power(step):
        return None
    return f"after {step.action}, {wrong}"


def _exceeds_limit(step: Step) -> str | None:
    if step.verb not in ("unlock", "recover", "read"):
        return None
    if step.opened and (step.erased_by == "limit" or _is_blocked(step)):
        return f"{step.action} succeeded on a drive whose tries were used up"
    wrong = step.mismatch("state")
    is_reached = wrong and (step.erased_by == "limit" or set(wrong.expected) == {"blocked"})
    if wrong and is_reached and not step.is_tampered:
        return f"the last try was spent, and the drive is {wrong.seen}"
    return None


def _is_blocked(step: Step) -> bool:
    return all(world.state == "blocked" for world in step.before)


def _destroys_unasked(step: Step) -> str | None:
    wrong = step.mismatch("state")
    if wrong and wrong.seen in ("erased", "blocked", "failed") and not step.is_tampered:
        return f"{step.action} left the drive {wrong.seen}, which nothing allowed"
    return None


def _rolls_back(step: Step) -> str | None:
    if not step.is_tampered:
        return None
    if step.opened:
        return f"{step.action} succeeded after an old flash image was put back"
    wrong = step.mismatch("tries")
    if wrong and step.verb in ("unlock", "recover") and step.outcome is Outcome.OK:
        return f"{step.action} opened the drive after an old flash image was put back"
    if wrong and step.state != "failed":  # a drive that looks at no PIN takes no try
        return f"an old flash image gave tries back: {wrong}"
    return None


def _count_scenarios(facts: Facts) -> Iterator[str]:
    yield join(LOST, "unlock-user-1,unlock-user-1,unlock-user-0,lock,unlock-user-2,unlock-user-0")
    yield join(LOST, "unlock-user-6,unlock-user-7,unlock-user-8,unlock-user-9,unlock-user-1")
    yield join(LOST, "fault-counter_sticks-0,unlock-user-1,unlock-user-1")
    if "admin" in facts.features:
        owned = "set_pin-user-0,unlock-user-0,set_pin-admin-1,lock"
        yield join(owned, "unlock-user-2,unlock-admin-2,unlock-user-0,lock,unlock-admin-1")
        yield join(owned, "unlock-user-2,unlock-user-2,unlock-admin-1,lock,unlock-user-2")


def _power_scenarios(facts: Facts) -> Iterator[str]:
    for event in ("power_cycle", "unplug", "reset", "suspend", "bulk_reset"):
        yield join(LOST, f"unlock-user-1,unlock-user-1,{event},unlock-user-1,{event}")
    for cut in CUTS:
        spent = f"unlock-user-1,unlock-user-1@{cut},unlock-user-1@{cut}"
        yield join(LOST, spent, "unlock-user-0")


def _limit_scenarios(facts: Facts) -> Iterator[str]:
    limit = facts.limits.get("user") or 20
    wrong = "unlock-user-1"
    yield join(LOST, times(limit - 1, wrong), "unlock-user-0,read-0-8")
    yield join(LOST, times(limit, wrong), "unlock-user-0,read-0-8")
    yield join(LOST, times(limit + 10, wrong), "unlock-user-0,read-0-8")
    yield join(LOST, times(limit, f"{wrong},power_cycle"), "unlock-user-0")
    yield join(LOST, times(limit, f"{wrong},reset,bulk_reset"), "unlock-user-0")
    if "admin" in facts.features:
        admin = facts.limits.get("admin") or 20
        owned = "set_pin-user-0,unlock-user-0,set_pin-admin-1,write-0-0-8,lock"
        yield join(owned, times(admin, "unlock-admin-2"), "unlock-admin-1,unlock-user-0,read-0-8")
        yield join(owned, times(limit, "unlock-user-2"), "unlock-user-0,read-0-8,unlock-admin-1")


def _wrap_scenarios(facts: Facts) -> Iterator[str]:
    yield join(LOST, times(260, "unlock-user-1"), "unlock-user-0,read-0-8")


def _destroy_scenarios(facts: Facts) -> Iterator[str]:
    limit = facts.limits.get("user") or 10
    yield join(LOST, times(limit - 1, "unlock-user-1"), "power_cycle,unplug,reset,unlock-user-6")
    for cut in CUTS:
        yield join(STORED, f"set_pin-user-1@{cut},power_cycle@{cut},power_cycle")


def _rollback_scenarios(facts: Facts) -> Iterator[str]:
    limit = facts.limits.get("user") or 10
    wrong = "unlock-user-1"
    yield join(LOST, "note_flash", times(3, wrong), "rollback_flash,unlock-user-1")
    yield join(LOST, "note_flash", times(limit, wrong), "rollback_flash,unlock-user-0,read-0-8")
    yield join(LOST, times(limit - 1, f"note_flash,{wrong},rollback_flash"), wrong, "unlock-user-0")
    yield join(LOST, "note_flash,unlock-user-0,set_pin-user-1,lock,rollback_flash,unlock-user-0")
    yield join(LOST, "note_flash,erase_by_code,rollback_flash,unlock-user-0,read-0-8")


PROPERTIES = (
    Property(
        id="tries-count-down",
        sentence="A wrong PIN costs one try, a malformed one none; success restores only its role.",
        block=Block.LIMIT,
        check=_miscounts,
        scenarios=_count_scenarios,
        requirements=LIMIT_ROWS,
        weaknesses=(
            "oracle-outside-counter",
            "counter-write-failure-ignored",
            "published-code-extends-limit",
        ),
        features=frozenset({"PIN"}),
    ),
    Property(
        id="tries-survive-power",
        sentence="A spent try stays spent through power loss, resets and power cuts.",
        block=Block.LIMIT,
        check=_forgets_tries,
        scenarios=_power_scenarios,
        requirements=LIMIT_ROWS,
        weaknesses=("retry-counter-resets-on-power-cut", "counter-after-check"),
        features=frozenset({"PIN"}),
        capabilities=frozenset({Capability.OPERATE}),
    ),
    Property(
        id="limit-holds",
        sentence="N-1 wrong PINs leave the drive usable; after N or more nothing opens the data.",
        block=Block.LIMIT,
        check=_exceeds_limit,
        scenarios=lambda facts: [*_limit_scenarios(facts), *_wrap_scenarios(facts)],
        requirements=LIMIT_ROWS,
        weaknesses=("no-lockout-enforced", "limit-off-by-one", "counter-wraps"),
    ),
    Property(
        id="try-is-spent-before-pin-is-looked-at",
        sentence="Whatever can be seen before the try is spent is the same for right and wrong.",
        block=Block.LIMIT,
        check=found(
            "told_before_spent",
            "a wrong attempt that cost nothing differs from a right",
            "compare_cuts",
        ),
        scenarios=lambda facts: [join(LOST, "compare_cuts-user-1-0")],
        requirements=LIMIT_ROWS,
        weaknesses=("counter-after-check",),
        features=frozenset({"PIN"}),
        capabilities=frozenset({Capability.CUT_POWER, Capability.FORK}),
    ),
    Property(
        id="nothing-else-destroys",
        sentence="Only erase, the try limit and the duress PIN destroy data.",
        block=Block.DURABILITY,
        check=_destroys_unasked,
        scenarios=_destroy_scenarios,
        requirements=("F-SVC-1",),
        features=frozenset({"PIN"}),
        capabilities=frozenset({Capability.OPERATE}),
    ),
    Property(
        id="flash-rollback-gives-nothing",
        sentence="An old flash image put back gives no try, no erased drive and no old PIN back.",
        block=Block.LIMIT,
        check=_rolls_back,
        scenarios=_rollback_scenarios,
        requirements=LIMIT_ROWS,
        weaknesses=(
            "retry-counter-in-external-flash-rollback",
            "wear-leveled-old-key-blob",
            "old-pin-back-by-rollback",
        ),
        features=frozenset({"PIN"}),
        capabilities=frozenset({Capability.DUMP_FLASH, Capability.RESTORE_FLASH}),
    ),
)
