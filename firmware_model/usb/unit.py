"""The logical unit as the transports see it."""

from collections.abc import Sequence
from typing import Protocol

from firmware_model.wire.scsi import ScsiStatus, Transfer
from firmware_model.wire.sense import Sense


class Answer(Protocol):
    """How a logical unit ended a command."""

    @property
    def data(self) -> bytes:
        """Data-in, at most what `transfer` announced."""
        ...

    @property
    def sense(self) -> Sense | None:
        """Why the command was refused; None when it was not."""
        ...

    @property
    def status(self) -> ScsiStatus:
        """The status that says so, where the transport carries one."""
        ...


class Unit(Protocol):
    """What runs commands."""

    def transfer(self, cdb: bytes) -> Transfer:
        """What the command would move; a length of None stands for all the host announces."""
        ...

    def execute(self, cdb: bytes, data_out: bytes) -> Answer:
        """Run the command."""
        ...

    def sense_data(self, sense: Sense) -> bytes:
        """Return sense data that goes with the status, which REQUEST SENSE then tells no more."""
        ...


class FirstUnit(Unit, Protocol):
    """LUN 0, the one that there is."""

    def use_statuses(self, has_conflicts: bool) -> None:
        """Take notice of whether the transport can say RESERVATION CONFLICT."""
        ...

    def refuse_late(self, sense: Sense) -> None:
        """Have the last command, whose data was still on its way, end in a refusal."""
        ...

    def reset(self, attention: Sense) -> None:
        """Begin anew, and tell the next command so."""
        ...

    def lose_nexus(self) -> None:
        """End what the host held as long as it was there, and tell the next command so."""
        ...

    @property
    def pending_attentions(self) -> Sequence[Sense]:
        """The unit attentions that wait to be told, first the next."""
        ...
