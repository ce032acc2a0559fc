"""Conformance, robustness and evidence: what a host may rely on."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.actions import BOT_CASES, BOT_ORDERS, BOT_TROUBLES, MALFORMED_KINDS
from hil_tests.properties.base import LOST, STORED, Block, Property, first_of, found, join
from hil_tests.steps import Capability, Facts, Outcome, Step


def _faults(step: Step) -> str | None:
    if step.outcome is Outcome.FAULT:
        return f"{step.action} ended in a transport fault: {step.detail}"
    if step.outcome is Outcome.CRASH:
        return f"{step.action} crashed the firmware: {step.detail}"
    return None


def _malformed_scenarios(facts: Facts) -> Iterator[str]:
    for kind in range(MALFORMED_KINDS):
        yield join(
            STORED, f"malformed-{kind},read-0-8,lock,malformed-{kind},unlock-user-0,read-0-8"
        )


def _evidence_scenarios(facts: Facts) -> Iterator[str]:
    yield join(
        "evidence",
        LOST,
        "evidence,unlock-user-1,evidence,unlock-user-0,evidence,power_cycle",
        "evidence,unlock-user-0,erase,evidence,set_pin-user-1,unlock-user-0,evidence",
    )
    for cut in range(1, 7):
        yield join(LOST, f"unlock-user-1@{cut},evidence")


def _case_scenarios(facts: Facts) -> Iterator[str]:
    """Each case on an open drive; and on a locked one, which has no medium and the same bus."""
    opening = STORED if "PIN" in facts.features else ""
    for case in BOT_CASES:
        yield join(opening, f"bot_case-{case}")
    if opening:
        yield join(LOST, *(f"bot_case-{case}" for case in BOT_CASES))


def _recovery_scenarios(facts: Facts) -> Iterator[str]:
    opening = STORED if "PIN" in facts.features else ""
    for trouble in BOT_TROUBLES:
        yield join(opening, *(f"bot_recovery-{trouble}-{order}" for order in BOT_ORDERS))


PROPERTIES = (
    Property(
        id="attempts-leave-evidence",
        sentence="Attempts are counted for good, and the count is signed over the asker's nonce.",
        block=Block.EVIDENCE,
        check=found("evidence_faults", "the evidence does not hold", "evidence"),
        scenarios=_evidence_scenarios,
        requirements=("GDPR-33", "63B-4"),
        weaknesses=("no-attempt-evidence", "counter-reset-hides-attack"),
        features=frozenset({"log"}),
    ),
    Property(
        id="malformed-is-harmless",
        sentence="Bytes that mean nothing are refused, cost nothing, and the drive goes on.",
        block=Block.CONFORMANCE,
        check=first_of(_faults, found("harm", "malformed bytes did harm")),
        scenarios=_malformed_scenarios,
        requirements=("F-SVC-1",),
        weaknesses=("length-check-bypassed-readout",),
    ),
    Property(
        id="enumerates-as-told",
        sentence="Descriptors and capacity are what the standards and the profile say.",
        block=Block.CONFORMANCE,
        check=found("transport_faults", "the drive is not what it says", "check_transport"),
        scenarios=lambda facts: ["check_transport", join(STORED, "check_transport")],
        requirements=("F-SVC-1",),
        weaknesses=("firmware-changes-device-class",),
        capabilities=frozenset({Capability.SEE_BUS}),
    ),
    Property(
        id="data-phases-end-as-they-must",
        sentence="All thirteen cases of what host and drive expect end as Bulk-Only says.",
        block=Block.CONFORMANCE,
        check=found("case_faults", "a data phase ended otherwise than BOT 6.7 says", "bot_case"),
        scenarios=_case_scenarios,
        requirements=("F-SVC-1",),
        capabilities=frozenset({Capability.SEE_BUS}),
    ),
    Property(
        id="halts-end-as-they-must",
        sentence="Halts, clear-halts and resets in any order leave the drive where Bulk-Only says.",
        block=Block.CONFORMANCE,
        check=found("recovery_faults", "a recovery led elsewhere", "bot_recovery"),
        scenarios=_recovery_scenarios,
        requirements=("F-SVC-1",),
        capabilities=frozenset({Capability.SEE_BUS}),
    ),
)
