"""The logical unit: one CDB in, data or sense data out. Source: SPC-4, SBC-3, SAM-5 5.14.

What each command does is in `firmware.commands`; here is what comes before it: unit attentions,
whether the medium is there, and what the host may not write.
"""

from collections.abc import Sequence
from typing import Final

from firmware_model.firmware.commands.blocks import Blocks
from firmware_model.firmware.commands.modes import ModePages
from firmware_model.firmware.commands.ownership import Ownership
from firmware_model.firmware.commands.provisioning import ThinMedium
from firmware_model.firmware.commands.reply import Reply, Run, answered, refused
from firmware_model.firmware.commands.reservations import Reservations
from firmware_model.firmware.commands.traits import TRAITS, Traits, within_limits
from firmware_model.firmware.commands.unit import Identification, Identity, Readiness, Reports
from firmware_model.firmware.controllers import Controller
from firmware_model.firmware.medium import MediumError, Unreadable
from firmware_model.wire import cdb as cdbs
from firmware_model.wire import scsi
from firmware_model.wire.sense import (
    INTERNAL_TARGET_FAILURE,
    INVALID_OPCODE,
    NEXUS_LOSS,
    NO_SENSE,
    POWER_ON_RESET,
    SOFTWARE_WRITE_PROTECTED,
    UNRECOVERED_READ,
    WRITE_ERROR,
    WRITE_PROTECTED,
    Sense,
)

VENDOR_SPECIFIC: Final = 0xC0  # operation codes from here on are the maker's
_WITH_CONFLICTS: Final = (scsi.PersistentReserveIn, scsi.PersistentReserveOut)


class LogicalUnit:
    """LUN 0 of a drive."""

    def __init__(self, identity: Identity, controller: Controller) -> None:
        self._controller = controller
        self._modes = ModePages(controller)
        self._reservations = Reservations(controller)
        self._readiness = Readiness(controller)
        self._sense = NO_SENSE  # of the last command
        self._attentions = [POWER_ON_RESET]
        runs: dict[type, Run] = {scsi.RequestSense: self._request_sense}
        for commands in (
            Identification(identity, controller),
            Reports(self._forms),
            self._readiness,
            self._modes,
            self._reservations,
            Blocks(controller),
            ThinMedium(controller),
            Ownership(controller),
        ):
            runs |= commands.runs
        self._run: dict[type, tuple[Traits, Run]] = {
            kind: (TRAITS[kind], run)
            for kind, run in runs.items()
            if kind not in controller.lacking
        }
        self.use_statuses(False)

    def reset(self, attention: Sense = POWER_ON_RESET) -> None:
        """Begin anew after a reset, and tell the next host that there was one (SAM-5 6.3)."""
        self._readiness.reset()
        self._modes.reset()
        self._reservations.reset()
        self._sense = NO_SENSE
        self.attention(attention)

    def lose_nexus(self) -> None:
        """End what the host held as long as it was there (SAM-5 6.3.4); mode pages stay."""
        self._readiness.lose_nexus()
        self._reservations.reset()
        self._sense = NO_SENSE
        self.attention(NEXUS_LOSS)

    @property
    def pending_attentions(self) -> Sequence[Sense]:
        """The unit attentions that wait to be told, first the next."""
        return self._attentions

    def attention(self, sense: Sense) -> None:
        """Queue a UNIT ATTENTION for the next command that reports one."""
        if sense not in self._attentions:
            self._attentions.append(sense)

    def refuse_late(self, sense: Sense) -> None:
        """Have the last command, whose data was still on its way, end in a refusal."""
        self._sense = sense

    def use_statuses(self, has_conflicts: bool) -> None:
        """Take notice of whether the transport can say RESERVATION CONFLICT.

        Bulk-Only can't: without that status, persistent reservations would be told half.
        """
        self._has_conflicts = has_conflicts
        self._opcodes = {form.opcode for form in self._forms()}
        self._last_cdb = b""
        self._last_command: scsi.Command | Sense = INVALID_OPCODE

    def sense_data(self, sense: Sense) -> bytes:
        """Return sense data as it goes with a status, for a transport that has room for it.

        The host has heard it then: REQUEST SENSE does not tell it again.
        """
        self._sense = NO_SENSE
        is_descriptor = self._modes.has_descriptor_sense
        return sense.encode_descriptor() if is_descriptor else sense.encode_fixed()

    def transfer(self, cdb: bytes) -> scsi.Transfer:
        """Return what the command would move; what the host announces, for a vendor's."""
        if cdb and cdb[0] >= VENDOR_SPECIFIC:
            return scsi.Transfer(None, None)
        command = self._decoded(cdb)
        if isinstance(command, Sense):
            return scsi.NOTHING
        traits, run = self._run[type(command)]
        if traits.writes and self._write_refusal() is not None:
            return scsi.NOTHING
        if not traits.is_repeatable:
            return command.transfer
        if traits.needs_medium and self._readiness.refusal() is not None:
            return scsi.NOTHING
        # What it has to say, not the room that there is.
        return scsi.Transfer(scsi.Direction.IN, len(run(command, b"").data))

    def execute(self, cdb: bytes, data_out: bytes) -> Reply:
        """Run one command; its sense data is kept for REQUEST SENSE."""
        try:
            reply = self._reply(cdb, data_out)
        except Unreadable:
            reply = refused(UNRECOVERED_READ)
        except MediumError:
            reply = refused(WRITE_ERROR)
        self._sense = reply.sense or NO_SENSE
        return reply

    def _reply(self, cdb: bytes, data_out: bytes) -> Reply:
        self._controller.poll()
        if cdb and cdb[0] >= VENDOR_SPECIFIC:
            answer = self._controller.vendor(cdb, data_out)
            return answered(INVALID_OPCODE if answer is None else answer)
        command = self._decoded(cdb)
        return refused(command) if isinstance(command, Sense) else self._obey(command, data_out)

    def _decoded(self, cdb: bytes) -> scsi.Command | Sense:
        """Decode once for `transfer` and `execute`."""
        if cdb != self._last_cdb:
            is_known = bool(cdb) and cdb[0] in self._opcodes
            command = within_limits(cdbs.decode_cdb(cdb)) if is_known else INVALID_OPCODE
            self._last_cdb, self._last_command = cdb, command
        return self._last_command

    def _has(self, kind: type) -> bool:
        return kind in self._run and (self._has_conflicts or kind not in _WITH_CONFLICTS)

    def _obey(self, command: scsi.Command, data_out: bytes) -> Reply:
        traits, run = self._run[type(command)]
        if self._attentions and not traits.is_heedless:
            return refused(self._attentions.pop(0))
        if traits.needs_medium:
            refusal = self._readiness.refusal()
            if refusal is None and traits.writes:
                refusal = self._write_refusal()
            if refusal is not None:
                return refused(refusal or INTERNAL_TARGET_FAILURE)
        return run(command, data_out)

    def _write_refusal(self) -> Sense | None:
        """Return why nothing may be written; before anything is compared, or any data sent."""
        if self._modes.is_write_protected:
            return SOFTWARE_WRITE_PROTECTED
        if not self._controller.may_write:
            return WRITE_PROTECTED
        return None

    def _forms(self) -> Sequence[cdbs.Form]:
        return [form for form in cdbs.FORMS if self._has(form.command)]

    def _request_sense(self, command: scsi.RequestSense, data_out: bytes) -> Reply:
        """Tell the last command's sense data, or else a unit attention that waits (SPC-4 6.39)."""
        sense = self._sense
        if sense is NO_SENSE and self._attentions:
            sense = self._attentions.pop(0)
        wants_descriptor = command.wants_descriptor
        data = sense.encode_descriptor() if wants_descriptor else sense.encode_fixed()
        return Reply(data[: command.allocation_length])
