"""What changes the drive itself: security protocols, firmware, and the end of all data."""

from firmware_model.firmware.commands.reply import DONE, Reply, Runs, answered, ended, refused
from firmware_model.firmware.controllers import Controller
from firmware_model.wire import scsi
from firmware_model.wire.sense import INVALID_FIELD_IN_CDB, INVALID_OPCODE


class Ownership:
    """The commands behind which policy stands: the controller decides on each of them."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.runs: Runs = {
            scsi.SecurityProtocolIn: self._security_in,
            scsi.SecurityProtocolOut: self._security_out,
            scsi.ReadBufferDescriptor: self._describe_buffer,
            scsi.DownloadMicrocode: self._download,
            scsi.ActivateMicrocode: self._activate,
            scsi.FormatUnit: self._erase,
            scsi.Sanitize: self._erase,
            scsi.ExitFailureMode: self._exit_failure_mode,
        }

    def _security_in(self, command: scsi.SecurityProtocolIn, data_out: bytes) -> Reply:
        answer = self._controller.security_in(command.protocol, command.specific, command.length)
        return answered(answer)

    def _security_out(self, command: scsi.SecurityProtocolOut, data_out: bytes) -> Reply:
        if len(data_out) < command.length:
            return refused(INVALID_FIELD_IN_CDB)
        data = data_out[: command.length]
        return ended(self._controller.security_out(command.protocol, command.specific, data))

    def _describe_buffer(self, command: scsi.ReadBufferDescriptor, data_out: bytes) -> Reply:
        descriptor = self._controller.buffer
        if descriptor is None:
            return refused(INVALID_OPCODE)
        return Reply(descriptor.encode()[: command.allocation_length])

    def _download(self, command: scsi.DownloadMicrocode, data_out: bytes) -> Reply:
        if len(data_out) < command.length:
            return refused(INVALID_FIELD_IN_CDB)
        return ended(self._controller.download(command.offset, data_out[: command.length]))

    def _activate(self, command: scsi.ActivateMicrocode, data_out: bytes) -> Reply:
        return ended(self._controller.activate())

    def _erase(self, command: scsi.FormatUnit | scsi.Sanitize, data_out: bytes) -> Reply:
        """Erase, at once: one step of the element does it, so nobody can ask how far it is."""
        return ended(self._controller.sanitize())

    def _exit_failure_mode(self, command: scsi.ExitFailureMode, data_out: bytes) -> Reply:
        """Do nothing: a drive that could not erase trusts itself no more, and is not left so."""
        return DONE
