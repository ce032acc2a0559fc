"""What a drive still has to keep when something in it went wrong.

A fault may cost availability: commands are refused, tries are lost, the drive stops or is erased.
It gives nobody anything: no content, no open drive, no right, no try. Whether data may be lost is
said by the fault: a glitch in the owner's own command may lose what that command stored, while bits
that flip in flash must be corrected or told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hil_tests.steps import Mismatch, Step

# What is claimed of a drive that works, and of no other.
OF_A_WORKING_DRIVE: Final = frozenset(
    {
        "cut-update-leaves-one",
        "malformed-is-harmless",
        "nothing-else-destroys",
        "owner-is-obeyed",
        "right-pin-opens",
    }
)


def without_losses(step: Step) -> Step:
    """Return a step as if it had cost nothing that its fault may cost."""
    kept = [each for each in step.mismatches if _is_harm(each)]
    return replace(step, mismatches=kept)


def _is_harm(wrong: Mismatch) -> bool:
    """Tell whether a mismatch gives more than any drive may."""
    match wrong.facet:
        case "outcome":
            return bool(wrong.seen == "ok")
        case "state":
            is_gone = set(wrong.expected) <= {"erased", "blocked"}
            stays = wrong.seen not in ("erased", "blocked", "failed")
            return wrong.seen == "unlocked" or (is_gone and stays)
        case "tries":
            return _gives_tries(wrong)
    return wrong.facet != "lost"


def _gives_tries(wrong: Mismatch) -> bool:
    """Tell whether more tries are left of any count than in every world."""
    if str(wrong.seen).endswith("told"):
        return False
    seen = [int(count) for count in str(wrong.seen).split("/")]
    worlds = [[int(count) for count in str(each).split("/")] for each in wrong.expected]
    return any(
        count > most for count, most in zip(seen, map(max, zip(*worlds, strict=True)), strict=True)
    )
