"""What the logical unit asks of the firmware: the medium, security protocols, vendor commands."""

from collections.abc import Mapping, Sequence
from typing import Final

from firmware_model.firmware.firmware import Firmware
from firmware_model.firmware.native import NativeChannels
from firmware_model.firmware.parts import LockCause
from firmware_model.wire import native
from firmware_model.wire.function import BusEvent
from firmware_model.wire.native import Role, State
from firmware_model.wire.scsi.buffer import BufferDescriptor
from firmware_model.wire.security import (
    NO_CERTIFICATE,
    NO_COMPLIANCE,
    SecurityProtocol,
    SupportedProtocols,
)
from firmware_model.wire.sense import (
    ACCESS_NOT_AUTHORIZED,
    COMMAND_SEQUENCE_ERROR,
    LOCKED,
    SANITIZE_FAILED,
    SELF_TEST_FAILED,
    WRITE_PROTECTED,
    Sense,
    invalid_field,
)
from firmware_model.wire.unmap import Extent

_CAUSES: Final = {
    BusEvent.SUSPEND: LockCause.SUSPEND,
    BusEvent.RESET: LockCause.RESET,
    BusEvent.DETACH: LockCause.DISCONNECT,
}

_INFORMATION: Final[Mapping[int, bytes | Sense]] = {
    0x0000: SupportedProtocols((0, native.PROTOCOL)).encode(),
    0x0001: NO_CERTIFICATE,
    0x0002: NO_COMPLIANCE,
}


class DriveController:
    """The controller of a self-encrypting drive."""

    lacking: tuple[type, ...] = ()

    def __init__(self, firmware: Firmware, channels: NativeChannels) -> None:
        self._firmware = firmware
        self._channels = channels
        self._access = firmware.access
        self.block_count = firmware.policy.block_count
        self.policy = firmware.policy
        self.settings = firmware.settings

    @property
    def state(self) -> State:
        return self._firmware.state

    @property
    def is_write_protected(self) -> bool:
        return self._firmware.board.element.state.is_read_only

    @property
    def may_write(self) -> bool:
        return self._firmware.parts.write_guard.allows(self.is_write_protected)

    def poll(self) -> None:
        """Run the timers that have run out."""
        self._firmware.poll()

    def read(self, lba: int, block_count: int) -> bytes | Sense:
        """Return blocks of the open medium."""
        return self._access.read(lba, block_count)

    # Whether the medium may change is asked twice: no single verdict, and no step, allows it.

    def write(self, lba: int, data: bytes) -> Sense | None:
        """Store blocks in the open medium."""
        if not self.may_write:
            return WRITE_PROTECTED
        if not self.may_write:
            return WRITE_PROTECTED
        self._access.write(lba, data)
        return None

    def trim(self, extents: Sequence[Extent]) -> Sense | None:
        """Forget blocks of the open medium."""
        if not self.may_write:
            return WRITE_PROTECTED
        if not self.may_write:
            return WRITE_PROTECTED
        for each in extents:
            self._access.trim(each.lba, each.block_count)
        return None

    def provisioning(self, lba: int, most: int) -> list[tuple[int, bool]] | Sense:
        """Return which blocks of the open medium hold anything."""
        return self._access.provisioning(lba, self.block_count, most)

    def sanitize(self) -> Sense | None:
        """Erase cryptographically."""
        if not self.may_write:
            return WRITE_PROTECTED
        if not self.may_write:
            return WRITE_PROTECTED
        if not self._firmware.sanitize():
            return SANITIZE_FAILED
        return None

    def flush(self) -> None:
        """Have everything answered in flash."""
        self._access.flush()
        self._firmware.board.sync()

    def security_in(self, protocol: int, specific: int, length: int) -> bytes | Sense:
        """Answer SECURITY PROTOCOL IN, cut to what was asked for."""
        if protocol == SecurityProtocol.INFORMATION:
            answer = _INFORMATION.get(specific, invalid_field(2))
        elif protocol == native.PROTOCOL:
            answer = self._channels.send(specific)
        else:
            return invalid_field(1)
        if isinstance(answer, Sense):
            return answer
        return self._firmware.parts.replies.clip(answer, length)

    def security_out(self, protocol: int, specific: int, data: bytes) -> Sense | None:
        """Take SECURITY PROTOCOL OUT."""
        if protocol != native.PROTOCOL:
            return invalid_field(1)
        return self._channels.receive(specific, data)

    @property
    def buffer(self) -> BufferDescriptor:
        """How firmware is to be cut."""
        return self._firmware.update.descriptor

    def download(self, offset: int, piece: bytes) -> Sense | None:
        """Take a piece of firmware; with the first it matters who sends it, and the drive locks."""
        firmware = self._firmware
        if firmware.state is State.FAILED:
            return SELF_TEST_FAILED
        if not piece:
            return None  # SPC-4 6.49: no data is no error
        if not offset and not firmware.parts.updating.allows(firmware.is_owned):
            firmware.update.drop()
            return ACCESS_NOT_AUTHORIZED if self.is_open else LOCKED
        return firmware.update.receive(offset, piece)

    def activate(self) -> Sense | None:
        """Begin with the firmware that was saved, as at a power-up."""
        if not self._firmware.update.is_deferred:
            return COMMAND_SEQUENCE_ERROR
        self._firmware.close()
        self._firmware.restart_is_due = True
        return None

    def vendor(self, cdb: bytes, data_out: bytes) -> bytes | Sense | None:
        """Run a vendor's command, if there is one."""
        return self._firmware.parts.commands.run(cdb, data_out, self)

    def eject(self) -> None:
        """Lock, as a host asks with START STOP UNIT."""
        self._firmware.lock()

    def load(self) -> None:
        """Do nothing: what was locked takes a PIN."""

    def bus_event(self, event: BusEvent, is_configured: bool) -> None:
        """Lock on what the policy says; resets before configuration are part of enumeration."""
        if event in (BusEvent.ATTACH, BusEvent.DETACH, BusEvent.RESET):
            self._channels.end_session()
            self._firmware.update.drop()
        policy = self._firmware.policy
        if event is BusEvent.SUSPEND and not policy.lock_on_suspend:
            return
        if event is BusEvent.RESET and not (policy.lock_on_reset and is_configured):
            return
        if event in _CAUSES:
            self._firmware.lock(_CAUSES[event])

    # --- the door of vendor commands ------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._access.is_open

    def open(self, mek: bytes) -> None:
        """Open the medium as the user, as only a vendor's command would without a PIN."""
        self._access.open(mek, Role.USER)
