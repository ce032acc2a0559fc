"""What the commands of a logical unit have in common, and how much one may move."""

from typing import Final

from firmware_model.wire import scsi
from firmware_model.wire.sense import INVALID_FIELD_IN_CDB, Sense

# Commands that neither wait for nor report a unit attention (SPC-4 5.6; SECURITY PROTOCOL too,
# so that a drive can be opened before the host has heard that it was switched on).
HEEDLESS: Final = (
    scsi.Inquiry,
    scsi.ReportLuns,
    scsi.RequestSense,
    scsi.SecurityProtocolIn,
    scsi.SecurityProtocolOut,
)
MEDIUM: Final = (
    scsi.TestUnitReady,
    scsi.ReadCapacity,
    scsi.Read,
    scsi.Write,
    scsi.Unmap,
    scsi.Verify,
    scsi.SynchronizeCache,
    scsi.FormatUnit,
    scsi.Sanitize,
)
# Commands whose answer can be made twice: an allocation length is no more than an upper bound.
CONSTANT: Final = (
    scsi.Inquiry,
    scsi.ModeSense,
    scsi.ReadFormatCapacities,
    scsi.ReadCapacity,
    scsi.ReportLuns,
)


def within_limits(command: scsi.Command | Sense) -> scsi.Command | Sense:
    """Refuse what moves more blocks than the Block Limits page allows (SBC-3 6.6.3)."""
    match command:
        case scsi.Read() | scsi.Write() | scsi.Verify(compares=True):
            if command.block_count > scsi.TRANSFER_BLOCKS_MAX:
                return INVALID_FIELD_IN_CDB
    return command
