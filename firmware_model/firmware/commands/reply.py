"""How a command ends: with data, or with the sense data of a CHECK CONDITION."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import NO_SENSE, Sense


@dataclass(frozen=True, slots=True)
class Reply:
    """Data-in, or why there is none."""

    data: bytes = b""
    sense: Sense | None = None

    @property
    def status(self) -> ScsiStatus:
        """The status that says which (SAM-5 5.3)."""
        if self.sense is None:
            return ScsiStatus.GOOD
        is_conflict = self.sense is NO_SENSE
        return ScsiStatus.RESERVATION_CONFLICT if is_conflict else ScsiStatus.CHECK_CONDITION


DONE: Final = Reply()
# Bulk-Only has no such status: there it is a command that failed, and no more is to be learned.
CONFLICT: Final = Reply(sense=NO_SENSE)

Run = Callable[[Any, bytes], Reply]
Runs = Mapping[type, Run]  # by the class of the command


def refused(sense: Sense) -> Reply:
    """Return a CHECK CONDITION."""
    return Reply(b"", sense)


def ended(sense: Sense | None) -> Reply:
    """Return how a command without data-in ended."""
    return DONE if sense is None else refused(sense)


def answered(answer: bytes | Sense) -> Reply:
    """Return how a command with data-in ended."""
    return refused(answer) if isinstance(answer, Sense) else Reply(answer)
