"""What a drive answers for a logical unit that it does not have. Source: SPC-4 6.6, 6.39."""

from firmware_model.firmware.commands.reply import Reply, refused
from firmware_model.wire import scsi
from firmware_model.wire.cdb import decode_cdb
from firmware_model.wire.inquiry import StandardInquiry
from firmware_model.wire.sense import LOGICAL_UNIT_NOT_SUPPORTED, Sense

NOT_CAPABLE = 0x7F  # peripheral qualifier 011b, device type 1Fh: no unit can be here


class AbsentUnit:
    """Every LUN but the first."""

    def __init__(self) -> None:
        inquiry = StandardInquiry("", "", "", is_removable=False, device_type=NOT_CAPABLE)
        self._inquiry = inquiry.encode()

    def transfer(self, cdb: bytes) -> scsi.Transfer:
        """Return what the command would move; nothing where it is refused anyway."""
        match decode_cdb(cdb):
            case scsi.Inquiry() | scsi.RequestSense() as command:
                return command.transfer
        return scsi.NOTHING

    def execute(self, cdb: bytes, data_out: bytes) -> Reply:
        """Say in INQUIRY and REQUEST SENSE that there is no such unit, and refuse all else."""
        refusal = LOGICAL_UNIT_NOT_SUPPORTED
        match decode_cdb(cdb):
            case scsi.Inquiry(page=None) as inquiry:
                return Reply(self._inquiry[: inquiry.allocation_length])
            case scsi.RequestSense(wants_descriptor=True) as request:
                return Reply(refusal.encode_descriptor()[: request.allocation_length])
            case scsi.RequestSense() as request:
                return Reply(refusal.encode_fixed()[: request.allocation_length])
        return refused(refusal)

    def sense_data(self, sense: Sense) -> bytes:
        """Return sense data as it goes with a status."""
        return sense.encode_fixed()
