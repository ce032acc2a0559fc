"""The command transport: what SCSI and every SCSI dialect know of the way to a drive."""

from dataclasses import dataclass
from typing import Protocol

from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import Sense

__all__ = ["DEFAULT_TIMEOUT_MS", "CommandTransport", "Completion", "ScsiStatus"]

DEFAULT_TIMEOUT_MS = 30_000  # what Linux allows a disk command (SD_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Completion:
    """How one command ended."""

    status: ScsiStatus
    sense: Sense | None  # of a CHECK CONDITION, where the drive gave it
    data: bytes  # data-in that counts, without what only fills the transfer
    residue: int  # bytes announced and not processed


class CommandTransport(Protocol):
    """Carry CDBs to one logical unit. One caller at a time; the caller owns any lock."""

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run one command that moves data one way or none; raise DriveError when it got no end.

        A refusal by the drive is a Completion with CHECK_CONDITION, not an exception.
        `data_out` and `data_in_length` exclude each other: giving both raises ValueError.
        """
        ...

    def close(self) -> None:
        """Let go of the drive; a second call does nothing."""
        ...
