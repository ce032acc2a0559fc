"""What a logical unit has to know of a command before it runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from firmware_model.wire import scsi
from firmware_model.wire.reports import Timeouts
from firmware_model.wire.sense import Sense, invalid_field

_SHORT: Final = Timeouts(1, 30)
_LONG: Final = Timeouts(10, 120)  # as long as what it touches


@dataclass(frozen=True, slots=True)
class Traits:
    """One kind of command."""

    needs_medium: bool = False
    writes: bool = False  # what the medium holds, or whether it holds anything
    # SPC-4 5.6 has it wait for no unit attention. SECURITY PROTOCOL doesn't either, so that a drive
    # can be opened before the host has heard that it was switched on.
    is_heedless: bool = False
    is_repeatable: bool = False  # its answer can be made twice, to know how long it is
    timeouts: Timeouts = _SHORT


_PLAIN: Final = Traits()
_ASKS: Final = Traits(is_repeatable=True)
_HEEDLESS: Final = Traits(is_heedless=True)
_READS: Final = Traits(needs_medium=True)
_WRITES: Final = Traits(needs_medium=True, writes=True)
_ASKS_MEDIUM: Final = Traits(needs_medium=True, is_repeatable=True)

TRAITS: Final[Mapping[type, Traits]] = {
    scsi.TestUnitReady: _READS,
    scsi.RequestSense: _HEEDLESS,
    scsi.Inquiry: replace(_ASKS, is_heedless=True),
    scsi.ReportLuns: replace(_ASKS, is_heedless=True),
    scsi.ModeSense: _ASKS,
    scsi.ModeSelect: _PLAIN,
    scsi.StartStopUnit: _PLAIN,
    scsi.PreventAllow: _PLAIN,
    scsi.SendDiagnostic: replace(_PLAIN, timeouts=_LONG),
    scsi.ReadFormatCapacities: _ASKS,
    scsi.ReadCapacity: _ASKS_MEDIUM,
    scsi.GetLbaStatus: _ASKS_MEDIUM,
    scsi.ReadDefectData: _ASKS_MEDIUM,
    scsi.ReportSupportedOpcodes: _ASKS,
    scsi.ReportTaskFunctions: _ASKS,
    scsi.Read: _READS,
    scsi.Verify: replace(_READS, timeouts=_LONG),
    scsi.PreFetch: _READS,
    scsi.SynchronizeCache: replace(_READS, timeouts=_LONG),
    scsi.Write: _WRITES,
    scsi.WriteAndVerify: _WRITES,
    scsi.WriteSame: replace(_WRITES, timeouts=_LONG),
    scsi.Unmap: replace(_WRITES, timeouts=_LONG),
    scsi.CompareAndWrite: _WRITES,
    scsi.OrWrite: _WRITES,
    scsi.FormatUnit: replace(_WRITES, timeouts=_LONG),
    scsi.Sanitize: replace(_WRITES, timeouts=_LONG),
    scsi.ExitFailureMode: _READS,
    scsi.Reserve: _PLAIN,
    scsi.Release: _PLAIN,
    scsi.PersistentReserveIn: _ASKS,
    scsi.PersistentReserveOut: _PLAIN,
    scsi.SecurityProtocolIn: replace(_HEEDLESS, timeouts=_LONG),
    scsi.SecurityProtocolOut: replace(_HEEDLESS, timeouts=_LONG),
    scsi.ReadBufferDescriptor: _ASKS,
    scsi.DownloadMicrocode: replace(_PLAIN, timeouts=_LONG),
    scsi.ActivateMicrocode: replace(_PLAIN, timeouts=_LONG),
}


def within_limits(command: scsi.Command | Sense) -> scsi.Command | Sense:
    """Refuse what moves more blocks than the Block Limits page allows (SBC-3 6.6.3)."""
    match command:
        case (
            scsi.Read()
            | scsi.Write()
            | scsi.WriteAndVerify()
            | scsi.Verify(compares=True, repeats=False)
        ):
            size = command.size
        case scsi.OrWrite():
            size = 16
        case _:
            return command
    if command.block_count > scsi.TRANSFER_BLOCKS_MAX:
        return invalid_field(scsi.COUNT_AT[size])
    return command
