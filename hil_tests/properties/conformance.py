"""Conformance, robustness and evidence: what a host may rely on."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.actions import MALFORMED_KINDS
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
    if Capability.CUT_POWER in facts.capabilities:
        for cut in range(1, 7):
            yield join(LOST, f"unlock-user-1@{cut},evidence")


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
        sentence="Descriptors, capacity and the bulk-only transport are what the standards say.",
        block=Block.CONFORMANCE,
        check=found("transport_faults", "the drive breaks its transport", "check_transport"),
        scenarios=lambda facts: ["check_transport", join(STORED, "check_transport")],
        requirements=("F-SVC-1",),
        weaknesses=("firmware-changes-device-class",),
        capabilities=frozenset({Capability.SEE_BUS}),
    ),
)
