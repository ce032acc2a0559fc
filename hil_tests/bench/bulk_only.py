"""The two ends of Bulk-Only set against each other: data phases, and recoveries.

Nothing above the wrappers takes part, so that what is wrong with them is seen as what it is.
"""

from __future__ import annotations

from hil_tests.bench.bench import Bench
from hil_tests.bot import cases, recovery
from hil_tests.bot.link import RawLink
from hil_tests.bot.medium import Medium
from hil_tests.steps import Step


def bot_case(bench: Bench, step: Step, name: str) -> None:
    """Run one of the thirteen cases, in one of its forms."""
    link, medium = _looked_at(bench)
    case = cases.BY_NAME[name]
    if cases.lacking(case, medium) is None:
        seen = cases.run(link, case, medium)
        if seen.faults:
            step.seen["case_faults"] = seen.faults


def bot_recovery(bench: Bench, step: Step, trouble: str, order: str) -> None:
    """Bring the transport into trouble, and recover in some order."""
    link, medium = _looked_at(bench)
    seen = recovery.recover(link, trouble, order, medium)
    if seen.faults:
        step.seen["recovery_faults"] = seen.faults


def _looked_at(bench: Bench) -> tuple[RawLink, Medium | None]:
    link = RawLink(bench.raw_device())
    medium = Medium.of(link)
    if medium is not None:
        bench.memory.idle_s = 0
    return link, medium
