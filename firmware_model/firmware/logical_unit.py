"""The logical unit: one CDB in, data or sense data out. Source: SPC-4, SBC-3, SAM-5 5.14."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from firmware_model.firmware import commands
from firmware_model.firmware.controllers import Controller
from firmware_model.firmware.medium import MediumError, Unreadable
from firmware_model.wire import buffer, mode, scsi
from firmware_model.wire import cdb as cdbs
from firmware_model.wire.capacity import Capacity, format_capacities
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.inquiry import StandardInquiry, vpd_pages
from firmware_model.wire.native import State
from firmware_model.wire.sense import (
    INTERNAL_TARGET_FAILURE,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETERS,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    LOCKED,
    MISCOMPARE,
    NO_SENSE,
    PARAMETER_LIST_LENGTH_ERROR,
    POWER_ON_RESET,
    REMOVAL_PREVENTED,
    SAVING_NOT_SUPPORTED,
    SELF_TEST_FAILED,
    UNRECOVERED_READ,
    WRITE_ERROR,
    Sense,
)
from firmware_model.wire.unmap import UNMAP_HEADER_BYTES, decode_unmap_list

VERIFIED_BLOCKS: Final = 256  # read at a time, where no more than the verdict is wanted
VENDOR_SPECIFIC: Final = 0xC0  # operation codes from here on are the maker's


@dataclass(frozen=True, slots=True)
class Identity:
    """What INQUIRY says."""

    vendor: str
    product: str
    revision: str
    serial: str


@dataclass(frozen=True, slots=True)
class Reply:
    """How a command ended: with data, or with the sense data of a CHECK CONDITION."""

    data: bytes = b""
    sense: Sense | None = None

    @property
    def status(self) -> scsi.ScsiStatus:
        """What a transport that carries statuses tells."""
        return scsi.ScsiStatus.CHECK_CONDITION if self.sense else scsi.ScsiStatus.GOOD


DONE: Final = Reply()


class LogicalUnit:
    """LUN 0 of a drive."""

    def __init__(self, identity: Identity, controller: Controller) -> None:
        self._controller = controller
        self._inquiry = StandardInquiry(identity.vendor, identity.product, identity.revision)
        takes_firmware = controller.buffer is not None
        self._pages = vpd_pages(identity.vendor, identity.product, identity.serial, takes_firmware)
        self._sense = NO_SENSE  # of the last command
        self._attentions = [POWER_ON_RESET]
        self._prevents_removal = False
        self._last_cdb = b""
        self._last_command: scsi.Command | Sense = INVALID_OPCODE
        self._run: dict[type, Callable[[Any, bytes], Reply]] = {
            scsi.TestUnitReady: lambda command, data: DONE,
            scsi.RequestSense: self._request_sense,
            scsi.Inquiry: self._answer_inquiry,
            scsi.ModeSense: self._mode_sense,
            scsi.ModeSelect: self._mode_select,
            scsi.StartStopUnit: self._start_stop,
            scsi.PreventAllow: self._prevent_allow,
            scsi.SendDiagnostic: self._send_diagnostic,
            scsi.ReadFormatCapacities: self._format_capacities,
            scsi.ReadCapacity: self._read_capacity,
            scsi.Read: self._read,
            scsi.Write: self._write,
            scsi.Unmap: self._unmap,
            scsi.Verify: self._verify,
            scsi.SynchronizeCache: self._synchronize,
            scsi.ReportLuns: self._report_luns,
            scsi.FormatUnit: self._erase,
            scsi.Sanitize: self._erase,
            scsi.SecurityProtocolIn: self._security_in,
            scsi.SecurityProtocolOut: self._security_out,
            buffer.ReadBufferDescriptor: self._describe_buffer,
            buffer.DownloadMicrocode: self._download,
            buffer.ActivateMicrocode: self._activate,
        }

    def reset(self, attention: Sense = POWER_ON_RESET) -> None:
        """Begin anew after a reset, and tell the next host that there was one (SAM-5 6.3)."""
        self._prevents_removal = False
        self._sense = NO_SENSE
        self.attention(attention)

    def attention(self, sense: Sense) -> None:
        """Queue a UNIT ATTENTION for the next command that reports one."""
        if sense not in self._attentions:
            self._attentions.append(sense)

    def refuse_late(self, sense: Sense) -> None:
        """Have the last command, whose data was still on its way, end in a refusal."""
        self._sense = sense

    def autosense(self, sense: Sense) -> bytes:
        """Return sense data to go with the status; REQUEST SENSE then has none (SAM-5 5.14)."""
        self._sense = NO_SENSE
        return sense.encode_fixed()

    def transfer(self, cdb: bytes) -> scsi.Transfer:
        """Return what the command would move; what the host announces, for a vendor's."""
        if cdb and cdb[0] >= VENDOR_SPECIFIC:
            return scsi.Transfer(None, None)
        command = self._decoded(cdb)
        if isinstance(command, Sense):
            return scsi.NOTHING
        if isinstance(command, commands.CONSTANT):  # what it has to say, not the room that there is
            return scsi.Transfer(
                scsi.Direction.IN, len(self._run[type(command)](command, b"").data)
            )
        return cdbs.transfer_of(command)

    def execute(self, cdb: bytes, data_out: bytes) -> Reply:
        """Run one command; its sense data is kept for REQUEST SENSE."""
        try:
            reply = self._reply(cdb, data_out)
        except Unreadable:
            reply = Reply(sense=UNRECOVERED_READ)
        except MediumError:
            reply = Reply(sense=WRITE_ERROR)
        self._sense = reply.sense or NO_SENSE
        return reply

    def _reply(self, cdb: bytes, data_out: bytes) -> Reply:
        self._controller.poll()
        if cdb and cdb[0] >= VENDOR_SPECIFIC:
            return self._vendor(cdb, data_out)
        command = self._decoded(cdb)
        return Reply(sense=command) if isinstance(command, Sense) else self._obey(command, data_out)

    def _decoded(self, cdb: bytes) -> scsi.Command | Sense:
        """Decode once for `transfer` and `execute`."""
        if cdb != self._last_cdb:
            self._last_cdb, self._last_command = cdb, commands.within_limits(cdbs.decode_cdb(cdb))
        return self._last_command

    def _obey(self, command: scsi.Command, data_out: bytes) -> Reply:
        kind = type(command)
        if self._attentions and kind not in commands.HEEDLESS:
            return Reply(sense=self._attentions.pop(0))
        if kind in commands.MEDIUM:
            refusal = self._not_ready()
            if refusal is not None:
                return Reply(sense=refusal or INTERNAL_TARGET_FAILURE)
        return self._run[kind](command, data_out)

    def _not_ready(self) -> Sense | None:
        match self._controller.state:
            case State.UNLOCKED:
                return None
            case State.FAILED:
                return SELF_TEST_FAILED
        return LOCKED

    def _vendor(self, cdb: bytes, data_out: bytes) -> Reply:
        answer = self._controller.vendor(cdb, data_out)
        if answer is None:
            return Reply(sense=INVALID_OPCODE)
        return Reply(sense=answer) if isinstance(answer, Sense) else Reply(answer)

    # --- the medium -----------------------------------------------------------------------------

    def _is_within(self, lba: int, block_count: int) -> bool:
        return lba + block_count <= self._controller.block_count

    def _read(self, command: scsi.Read, data_out: bytes) -> Reply:
        if not self._is_within(command.lba, command.block_count):
            return Reply(sense=LBA_OUT_OF_RANGE)
        if not command.block_count:
            return DONE
        data = self._controller.read(command.lba, command.block_count)
        return Reply(sense=data) if isinstance(data, Sense) else Reply(data)

    def _write(self, command: scsi.Write, data_out: bytes) -> Reply:
        if not self._is_within(command.lba, command.block_count):
            return Reply(sense=LBA_OUT_OF_RANGE)
        length = command.block_count * scsi.BLOCK_BYTES
        if len(data_out) < length:
            return Reply(sense=INVALID_FIELD_IN_CDB)
        return Reply(sense=self._controller.write(command.lba, data_out[:length]))

    def _unmap(self, command: scsi.Unmap, data_out: bytes) -> Reply:
        if len(data_out) < command.list_length:
            return Reply(sense=INVALID_FIELD_IN_CDB)
        if 0 < command.list_length < UNMAP_HEADER_BYTES:
            return Reply(sense=PARAMETER_LIST_LENGTH_ERROR)
        try:
            extents = decode_unmap_list(data_out[: command.list_length])
        except DecodeError:
            return Reply(sense=INVALID_FIELD_IN_PARAMETERS)
        if not all(self._is_within(each.lba, each.block_count) for each in extents):
            return Reply(sense=LBA_OUT_OF_RANGE)
        return Reply(sense=self._controller.trim(extents))

    def _verify(self, command: scsi.Verify, data_out: bytes) -> Reply:
        if not self._is_within(command.lba, command.block_count):
            return Reply(sense=LBA_OUT_OF_RANGE)
        end = command.lba + command.block_count
        for first in range(command.lba, end, VERIFIED_BLOCKS):
            count = min(VERIFIED_BLOCKS, end - first)
            stored = self._controller.read(first, count)  # raises where it can't be read
            if isinstance(stored, Sense):
                return Reply(sense=stored)
            at = (first - command.lba) * scsi.BLOCK_BYTES
            if command.compares and stored != data_out[at : at + len(stored)]:
                return Reply(sense=MISCOMPARE)
        return DONE

    def _synchronize(self, command: scsi.SynchronizeCache, data_out: bytes) -> Reply:
        if not self._is_within(command.lba, command.block_count):
            return Reply(sense=LBA_OUT_OF_RANGE)
        self._controller.flush()
        return DONE

    def _erase(self, command: scsi.FormatUnit | scsi.Sanitize, data_out: bytes) -> Reply:
        return Reply(sense=self._controller.sanitize())

    def _read_capacity(self, command: scsi.ReadCapacity, data_out: bytes) -> Reply:
        capacity = Capacity(self._controller.block_count - 1)
        if command.size == 10:
            return Reply(capacity.encode_10())
        return Reply(capacity.encode_16()[: command.allocation_length])

    def _format_capacities(self, command: scsi.ReadFormatCapacities, data_out: bytes) -> Reply:
        is_open = self._controller.state is State.UNLOCKED
        answer = format_capacities(self._controller.block_count if is_open else None)
        return Reply(answer[: command.allocation_length])

    # --- the unit -------------------------------------------------------------------------------

    def _request_sense(self, command: scsi.RequestSense, data_out: bytes) -> Reply:
        """Tell the last command's sense data, or else a unit attention that waits (SPC-4 6.39)."""
        sense = self._sense
        if sense is NO_SENSE and self._attentions:
            sense = self._attentions.pop(0)
        wants_descriptor = command.wants_descriptor
        data = sense.encode_descriptor() if wants_descriptor else sense.encode_fixed()
        return Reply(data[: command.allocation_length])

    def _answer_inquiry(self, command: scsi.Inquiry, data_out: bytes) -> Reply:
        if command.page is None:
            return Reply(self._inquiry.encode()[: command.allocation_length])
        page = self._pages.get(command.page)
        if page is None:
            return Reply(sense=INVALID_FIELD_IN_CDB)
        return Reply(page.encode()[: command.allocation_length])

    def _report_luns(self, command: scsi.ReportLuns, data_out: bytes) -> Reply:
        luns = b"" if command.select == 1 else bytes(8)  # 1: well-known units, of which is none
        return Reply((len(luns).to_bytes(4, "big") + bytes(4) + luns)[: command.allocation_length])

    def _mode_sense(self, command: scsi.ModeSense, data_out: bytes) -> Reply:
        if command.control == 3:
            return Reply(sense=SAVING_NOT_SUPPORTED)
        pages = mode.pages(command.page, is_changeable=command.control == 1)
        if pages is None or command.subpage not in (0x00, 0xFF):
            return Reply(sense=INVALID_FIELD_IN_CDB)
        parameters = mode.ModeParameters(pages, self._controller.is_write_protected)
        return Reply(parameters.encode(command.size)[: command.allocation_length])

    def _mode_select(self, command: scsi.ModeSelect, data_out: bytes) -> Reply:
        if command.saves:
            return Reply(sense=INVALID_FIELD_IN_CDB)
        if not command.list_length:
            return DONE  # SPC-4 6.9: a length of zero is not an error
        list_ = data_out[: command.list_length]
        if len(list_) < mode.SIZES[command.size]:
            return Reply(sense=PARAMETER_LIST_LENGTH_ERROR)
        if not mode.changes_nothing(list_, command.size):
            return Reply(sense=INVALID_FIELD_IN_PARAMETERS)
        return DONE

    def _start_stop(self, command: scsi.StartStopUnit, data_out: bytes) -> Reply:
        if command.starts:
            return Reply(sense=self._not_ready())
        if command.loads_or_ejects:
            if self._prevents_removal:
                return Reply(sense=REMOVAL_PREVENTED)
            self._controller.eject()
        return DONE

    def _prevent_allow(self, command: scsi.PreventAllow, data_out: bytes) -> Reply:
        self._prevents_removal = command.prevents
        return DONE

    def _send_diagnostic(self, command: scsi.SendDiagnostic, data_out: bytes) -> Reply:
        return Reply(sense=SELF_TEST_FAILED if self._controller.state is State.FAILED else None)

    # --- security -------------------------------------------------------------------------------

    def _security_in(self, command: scsi.SecurityProtocolIn, data_out: bytes) -> Reply:
        answer = self._controller.security_in(command.protocol, command.specific, command.length)
        return Reply(sense=answer) if isinstance(answer, Sense) else Reply(answer)

    def _security_out(self, command: scsi.SecurityProtocolOut, data_out: bytes) -> Reply:
        if len(data_out) < command.length:
            return Reply(sense=INVALID_FIELD_IN_CDB)
        data = data_out[: command.length]
        return Reply(sense=self._controller.security_out(command.protocol, command.specific, data))

    # --- firmware -------------------------------------------------------------------------------

    def _describe_buffer(self, command: buffer.ReadBufferDescriptor, data_out: bytes) -> Reply:
        descriptor = self._controller.buffer
        if descriptor is None:
            return Reply(sense=INVALID_OPCODE)
        return Reply(descriptor.encode()[: command.allocation_length])

    def _download(self, command: buffer.DownloadMicrocode, data_out: bytes) -> Reply:
        if len(data_out) < command.length:
            return Reply(sense=INVALID_FIELD_IN_CDB)
        return Reply(sense=self._controller.download(command.offset, data_out[: command.length]))

    def _activate(self, command: buffer.ActivateMicrocode, data_out: bytes) -> Reply:
        return Reply(sense=self._controller.activate())
