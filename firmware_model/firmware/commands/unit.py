"""What the unit is, whether its medium is there, and what it can do. Source: SPC-4, SBC-3."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from firmware_model.firmware.commands.reply import DONE, Reply, Runs, ended, refused
from firmware_model.firmware.commands.traits import TRAITS
from firmware_model.firmware.controllers import Controller
from firmware_model.wire import scsi
from firmware_model.wire.cdb import Form
from firmware_model.wire.inquiry import StandardInquiry, vpd_pages
from firmware_model.wire.native import State
from firmware_model.wire.reports import (
    CommandDescriptor,
    Timeouts,
    encode_all_commands,
    encode_one_command,
    encode_task_functions,
)
from firmware_model.wire.sense import (
    LOCKED,
    REMOVAL_PREVENTED,
    SELF_TEST_FAILED,
    START_REQUIRED,
    Sense,
    invalid_field,
)

ONE_OPCODE: Final = 1  # REPORTING OPTIONS (SPC-4 table 200)
ONE_ACTION: Final = 2


@dataclass(frozen=True, slots=True)
class Identity:
    """What INQUIRY says."""

    vendor: str
    product: str
    revision: str
    serial: str


class Identification:
    """INQUIRY and REPORT LUNS."""

    def __init__(self, identity: Identity, controller: Controller) -> None:
        standard = StandardInquiry(identity.vendor, identity.product, identity.revision)
        self._standard = standard.encode()
        self._pages = vpd_pages(
            identity.vendor,
            identity.product,
            identity.serial,
            takes_firmware=controller.buffer is not None,
            page_blocks=controller.policy.flash.page_blocks,
        )
        self.runs: Runs = {scsi.Inquiry: self._inquiry, scsi.ReportLuns: self._report_luns}

    def _inquiry(self, command: scsi.Inquiry, data_out: bytes) -> Reply:
        if command.page is None:
            return Reply(self._standard[: command.allocation_length])
        page = self._pages.get(command.page)
        if page is None:
            return refused(invalid_field(2))
        return Reply(page.encode()[: command.allocation_length])

    def _report_luns(self, command: scsi.ReportLuns, data_out: bytes) -> Reply:
        luns = b"" if command.select == 1 else bytes(8)  # 1: well-known units, of which is none
        return Reply((len(luns).to_bytes(4, "big") + bytes(4) + luns)[: command.allocation_length])


class Readiness:
    """Whether the medium is there and the unit is started; who may take it out."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._prevents_removal = False
        self._is_stopped = False
        self.runs: Runs = {
            scsi.TestUnitReady: lambda command, data_out: DONE,
            scsi.StartStopUnit: self._start_stop,
            scsi.PreventAllow: self._prevent_allow,
            scsi.SendDiagnostic: self._send_diagnostic,
        }

    def reset(self) -> None:
        """Prevent nothing any more, and be started."""
        self.lose_nexus()
        self._is_stopped = False

    def lose_nexus(self) -> None:
        """Prevent nothing any more (SBC-3 5.13); whether it is started is not the nexus's."""
        self._prevents_removal = False

    def refusal(self) -> Sense | None:
        """Return why there is no access to the medium; None where there is."""
        match self._controller.state:
            case State.UNLOCKED:
                return START_REQUIRED if self._is_stopped else None
            case State.FAILED:
                return SELF_TEST_FAILED
        return LOCKED

    def _start_stop(self, command: scsi.StartStopUnit, data_out: bytes) -> Reply:
        """Start, stop, load or eject (SBC-3 5.25).

        A drive in which nothing turns has one power condition, and stays in it whichever is asked
        for; it is stopped only where the profile has it that a stopped drive must be started.
        """
        if command.power_condition:
            return DONE
        if command.starts:
            if command.loads_or_ejects and self.refusal() is not None:
                if self._prevents_removal:
                    return refused(REMOVAL_PREVENTED)
                self._controller.load()
            self._is_stopped = False
            return ended(self.refusal())
        if not command.loads_or_ejects:
            self._controller.flush()
            self._is_stopped = self._controller.policy.start_after_stop
            return DONE
        if self._prevents_removal:
            return refused(REMOVAL_PREVENTED)
        self._controller.flush()
        self._controller.eject()
        return DONE

    def _prevent_allow(self, command: scsi.PreventAllow, data_out: bytes) -> Reply:
        self._prevents_removal = command.prevents
        return DONE

    def _send_diagnostic(self, command: scsi.SendDiagnostic, data_out: bytes) -> Reply:
        has_failed = command.tests_itself and self._controller.state is State.FAILED
        return ended(SELF_TEST_FAILED if has_failed else None)


class Reports:
    """Which commands and task management functions there are; `forms` gives the commands."""

    def __init__(self, forms: Callable[[], Sequence[Form]]) -> None:
        self._forms = forms
        self.runs: Runs = {
            scsi.ReportSupportedOpcodes: self._supported_opcodes,
            scsi.ReportTaskFunctions: self._task_functions,
        }

    def _supported_opcodes(self, command: scsi.ReportSupportedOpcodes, data_out: bytes) -> Reply:
        if not command.options:
            descriptors = [
                CommandDescriptor(
                    form.opcode,
                    form.service_action,
                    len(form.usage),
                    _timeouts(form) if command.wants_timeouts else None,
                )
                for form in self._forms()
            ]
            return Reply(encode_all_commands(descriptors)[: command.allocation_length])
        found = [form for form in self._forms() if form.opcode == command.opcode]
        has_actions = any(form.service_action is not None for form in found)
        # An option that doesn't go with the opcode is refused, where there is the opcode (6.34.2).
        if found and command.options == (ONE_OPCODE if has_actions else ONE_ACTION):
            return refused(invalid_field(2, 2))
        wanted = command.service_action if has_actions else None
        form = next((each for each in found if each.service_action == wanted), None)
        if form is not None and not has_actions and command.options > ONE_ACTION:
            form = None if command.service_action else form
        timeouts = _timeouts(form) if form is not None and command.wants_timeouts else None
        answer = encode_one_command(None if form is None else form.usage, timeouts)
        return Reply(answer[: command.allocation_length])

    def _task_functions(self, command: scsi.ReportTaskFunctions, data_out: bytes) -> Reply:
        return Reply(encode_task_functions(command.is_extended)[: command.allocation_length])


def _timeouts(form: Form) -> Timeouts:
    return TRAITS[form.command].timeouts
