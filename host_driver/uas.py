"""The host's side of USB Attached SCSI, over any pyusb device below SuperSpeed. Source: UAS.

The drive says by READ READY or WRITE READY when the data of a command is due, and by SENSE how it
ended. Whatever leaves the two sides apart ends in ABORT TASK, or where the drive does not even
answer that, in selecting the alternate setting anew; and in an exception.
"""

import errno
from array import array
from typing import Final, assert_never

import usb.core
import usb.util

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import Sense
from firmware_model.wire.uas import (
    TAG_MAX,
    CommandIu,
    FromDrive,
    PipeId,
    PipeUsage,
    ReadyIu,
    ResponseCode,
    ResponseIu,
    SenseIu,
    TaskFunction,
    TaskManagementIu,
    decode_from_drive,
)
from host_driver.errors import (
    BadIu,
    Disconnected,
    DriveError,
    NotFound,
    TransportError,
    WrongTag,
)
from host_driver.mass_storage import claimed_interface, failure
from host_driver.transport import DEFAULT_TIMEOUT_MS, Completion

USB_ATTACHED_SCSI: Final = 0x62
UNIT_BYTES: Final = 512  # room for the longest unit, in whole packets
RECOVERY_TIMEOUT_MS: Final = 5_000
STALE_UNITS_MAX: Final = 4  # of the aborted command: two of readiness, its end, and one to spare


class UasTransport:
    """A command transport to logical unit 0 of a device that speaks UAS.

    Raises NotFound when it does not, and TransportError at SuperSpeed, where UAS takes streams.
    """

    def __init__(self, device: usb.core.Device) -> None:
        self._device = device
        self._tag = 0
        if (device.speed or 0) >= usb.util.SPEED_SUPER:
            raise TransportError(
                "at SuperSpeed UAS takes streams, which pyusb does not have: use "
                "--transport bulk-only, or a USB 2 port (of a model: serve --speed high)"
            )
        interface = claimed_interface(device, USB_ATTACHED_SCSI, "UAS")
        self._interface = interface.bInterfaceNumber
        self._setting = interface.bAlternateSetting
        pipes = _pipes(interface)
        self._command: int = pipes[PipeId.COMMAND]
        self._status: int = pipes[PipeId.STATUS]
        self._in: int = pipes[PipeId.DATA_IN]
        self._out: int = pipes[PipeId.DATA_OUT]

    @property
    def device(self) -> usb.core.Device:
        """The device itself, for who speaks to it below any transport."""
        return self._device

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run one command; its sense data comes with its status."""
        if data_out and data_in_length:
            raise ValueError("this transport moves the data of a command one way")
        tag = self._next_tag()
        data: bytes | None = None
        is_sent = False
        try:
            self._device.write(self._command, CommandIu(tag, cdb).encode(), timeout_ms)
            while True:
                match self._unit(tag, timeout_ms):
                    case ReadyIu(is_write=False) if data_in_length and data is None:
                        data = self._read(data_in_length, timeout_ms)
                    case ReadyIu(is_write=True) if data_out and not is_sent:
                        self._write(data_out, timeout_ms)
                        is_sent = True
                    case SenseIu() as ending:
                        return _completion(ending, data_out, data or b"", data_in_length)
                    case ReadyIu() as unexpected:
                        raise BadIu(f"the drive is ready for data that there is not: {unexpected}")
                    case ResponseIu() as refusal:
                        raise BadIu(f"the drive refused the command unit: {refusal.code.name}")
                    case never:
                        assert_never(never)
        except usb.core.USBError as error:
            raise self._recovered(failure(error, f"command {cdb[0]:02X}h"), tag) from error
        except (BadIu, WrongTag) as fault:
            raise self._recovered(fault, tag) from None

    def manage(self, function: TaskFunction, managed_tag: int = 0) -> ResponseCode:
        """Do a task management function on logical unit 0, and return how it ended.

        Raises DriveError when the drive gives no such answer.
        """
        tag = self._next_tag()
        unit = TaskManagementIu(tag, function, managed_tag)
        try:
            self._device.write(self._command, unit.encode(), RECOVERY_TIMEOUT_MS)
            for _ in range(1 + STALE_UNITS_MAX):
                match self._any_unit(RECOVERY_TIMEOUT_MS):
                    case ResponseIu() as response if response.tag == tag:
                        return response.code
        except usb.core.USBError as error:
            raise failure(error, function.name) from error
        raise BadIu(f"no answer to {function.name} among what the drive sends")

    def close(self) -> None:
        """Release the interface and the handle."""
        usb.util.dispose_resources(self._device)

    def _next_tag(self) -> int:
        self._tag = self._tag % TAG_MAX + 1
        return self._tag

    def _unit(self, tag: int, timeout_ms: int) -> FromDrive:
        unit = self._any_unit(timeout_ms)
        if unit.tag != tag:
            raise WrongTag(f"a unit is about tag {unit.tag}, expected {tag}")
        return unit

    def _any_unit(self, timeout_ms: int) -> FromDrive:
        data = self._device.read(self._status, UNIT_BYTES, timeout_ms).tobytes()
        try:
            return decode_from_drive(data)
        except DecodeError as error:
            raise BadIu(str(error)) from error

    def _read(self, length: int, timeout_ms: int) -> bytes:
        try:
            buffer = array("B", bytes(length))
            count = self._device.read(self._in, buffer, timeout_ms)
        except usb.core.USBError as error:
            self._clear(self._in, error)
            return b""
        return memoryview(buffer)[:count].tobytes()

    def _write(self, data: bytes, timeout_ms: int) -> None:
        try:
            self._device.write(self._out, data, timeout_ms)
        except usb.core.USBError as error:
            self._clear(self._out, error)

    def _clear(self, endpoint: int, error: usb.core.USBError) -> None:
        """Clear a halt, after which the status says what it was for; raise any other error."""
        if error.errno != errno.EPIPE:
            raise error
        self._device.clear_halt(endpoint)

    def _recovered(self, fault: DriveError, tag: int) -> DriveError:
        """Return the fault to raise, after the drive has forgotten the command."""
        if isinstance(fault, Disconnected):
            return fault
        try:
            if self.manage(TaskFunction.ABORT_TASK, tag) is ResponseCode.FUNCTION_COMPLETE:
                return fault
        except Disconnected as gone:
            return gone
        except DriveError:
            pass  # nor does it answer that
        try:
            self._device.set_interface_altsetting(self._interface, self._setting)
        except usb.core.USBError as error:
            again = failure(error, "recovery")
            return again if isinstance(again, Disconnected) else fault
        return fault


def _pipes(interface: usb.core.Interface) -> dict[PipeId, int]:
    """Return the address of each pipe; raise NotFound where one is lacking."""
    pipes: dict[PipeId, int] = {}
    for endpoint in interface:
        try:
            usage = PipeUsage.among(bytes(endpoint.extra_descriptors))
        except DecodeError:
            continue
        if usage is not None:
            pipes[usage.pipe] = endpoint.bEndpointAddress
    lacking = [pipe.name for pipe in PipeId if pipe not in pipes]
    if lacking:
        raise NotFound(f"the UAS interface has no pipe for {', '.join(lacking)}")
    return pipes


def _completion(ending: SenseIu, data_out: bytes, data: bytes, data_in_length: int) -> Completion:
    sense = None
    if ending.sense:
        try:
            sense = Sense.decode(ending.sense)
        except DecodeError:
            sense = None
    refused = len(data_out) if ending.status is not ScsiStatus.GOOD else 0
    return Completion(ending.status, sense, data, data_in_length - len(data) + refused)
