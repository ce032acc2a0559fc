"""The host's side of Bulk-Only Transport, over any pyusb device. Source: BOT 1.0 sections 5, 6.

A halted data endpoint is cleared and the status read; a halted status is cleared and read once
more (6.7.2); whatever leaves the two sides apart ends in Reset Recovery (5.3.4) and an exception,
after which the next command finds the drive ready.
"""

import errno
from array import array

import usb.core
import usb.util

from firmware_model.wire.bot import BulkOnlyRequest, Cbw, Csw, CswStatus
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.sense import Sense
from host_driver.errors import BadCsw, Disconnected, DriveError, NotFound, WrongTag
from host_driver.mass_storage import claimed_interface, failure
from host_driver.transport import DEFAULT_TIMEOUT_MS, Completion, ScsiStatus

BULK_ONLY = 0x50
REQUEST_SENSE = bytes.fromhex("030000001200")
CSW_BYTES = Csw.LAYOUT.size
RECOVERY_TIMEOUT_MS = 5_000


class BulkOnlyTransport:
    """A command transport to logical unit 0 of a mass-storage device.

    Raises NotFound when the device has no Bulk-Only interface.
    """

    def __init__(self, device: usb.core.Device) -> None:
        self._device = device
        self._tag = 0
        self._buffer = array("B")  # of the last data phase: most that follow are as long
        interface = claimed_interface(device, BULK_ONLY, "Bulk-Only")
        self._interface = interface.bInterfaceNumber
        bulk = {
            usb.util.endpoint_direction(endpoint.bEndpointAddress): endpoint.bEndpointAddress
            for endpoint in interface
            if usb.util.endpoint_type(endpoint.bmAttributes) == usb.util.ENDPOINT_TYPE_BULK
        }
        if len(bulk) != 2:
            raise NotFound("the mass-storage interface lacks a bulk endpoint")
        self._in: int = bulk[usb.util.ENDPOINT_IN]
        self._out: int = bulk[usb.util.ENDPOINT_OUT]

    @property
    def device(self) -> usb.core.Device:
        """The device itself, for who speaks to it below any transport."""
        return self._device

    def get_max_lun(self) -> int:
        """Return the highest LUN; a drive with one may stall the request, which says 0 (3.2)."""
        try:
            answer = self._device.ctrl_transfer(
                0xA1, BulkOnlyRequest.GET_MAX_LUN, 0, self._interface, 1
            )
        except usb.core.USBError as error:
            if error.errno == errno.EPIPE:
                return 0
            raise failure(error, "GET MAX LUN") from error
        return answer[0] & 0x0F if len(answer) else 0

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run one command and, where it fails, fetch its sense data."""
        if data_out and data_in_length:
            raise ValueError("a Bulk-Only command moves data one way")
        csw, data = self._exchange(cdb, data_out, data_in_length, timeout_ms)
        if csw.status is CswStatus.PASSED:
            return Completion(ScsiStatus.GOOD, None, data, csw.residue)
        sense = None
        if cdb[0] != REQUEST_SENSE[0]:
            sense = self._request_sense(timeout_ms)
        return Completion(ScsiStatus.CHECK_CONDITION, sense, data, csw.residue)

    def close(self) -> None:
        """Release the interface and the handle, and keep no data."""
        self._buffer = array("B")
        usb.util.dispose_resources(self._device)

    def reset_recovery(self) -> None:
        """Bring the drive back to where it awaits a CBW (BOT 5.3.4)."""
        self._device.ctrl_transfer(
            0x21, BulkOnlyRequest.RESET, 0, self._interface, None, RECOVERY_TIMEOUT_MS
        )
        self._device.clear_halt(self._in)
        self._device.clear_halt(self._out)

    def _request_sense(self, timeout_ms: int) -> Sense | None:
        csw, data = self._exchange(REQUEST_SENSE, b"", REQUEST_SENSE[4], timeout_ms)
        if csw.status is not CswStatus.PASSED:
            return None
        try:
            return Sense.decode(data)
        except DecodeError:
            return None

    def _exchange(
        self, cdb: bytes, data_out: bytes, in_length: int, timeout_ms: int
    ) -> tuple[Csw, bytes]:
        """Send a CBW, move the data, and return the CSW with the data-in that counts."""
        self._tag = self._tag + 1 & 0xFFFF_FFFF
        length = in_length or len(data_out)
        cbw = Cbw(self._tag, length, in_length > 0, 0, cdb)
        try:
            self._device.write(self._out, cbw.encode(), timeout_ms)
            data = b""
            if in_length:
                data = self._read_data(in_length, timeout_ms)
            elif data_out:
                self._write_data(data_out, timeout_ms)
            status = self._read_status(timeout_ms)
        except usb.core.USBError as error:
            raise self._recovered(failure(error, f"command {cdb[0]:02X}h")) from error
        csw = self._checked(status, length)
        if in_length and csw.residue:
            data = data[: in_length - csw.residue]
        return csw, data

    def _read_data(self, length: int, timeout_ms: int) -> bytes:
        try:
            buffer = self._buffer_of(length)
            count = self._device.read(self._in, buffer, timeout_ms)
        except usb.core.USBError as error:
            if error.errno != errno.EPIPE:
                raise
            self._device.clear_halt(self._in)
            return b""
        return memoryview(buffer)[:count].tobytes()

    def _buffer_of(self, length: int) -> "array[int]":
        if len(self._buffer) != length:
            self._buffer = array("B", bytes(length))
        return self._buffer

    def _write_data(self, data: bytes, timeout_ms: int) -> None:
        try:
            buffer = self._buffer_of(len(data))
            memoryview(buffer)[:] = data
            self._device.write(self._out, buffer, timeout_ms)
        except usb.core.USBError as error:
            if error.errno != errno.EPIPE:
                raise
            self._device.clear_halt(self._out)

    def _read_status(self, timeout_ms: int) -> bytes:
        """Read the CSW, once more after a stall, or after the ZLP that some drives send first."""
        try:
            status: bytes = self._device.read(self._in, CSW_BYTES, timeout_ms).tobytes()
        except usb.core.USBError as error:
            if error.errno != errno.EPIPE:
                raise
            self._device.clear_halt(self._in)
            status = b""
        if not status:
            status = self._device.read(self._in, CSW_BYTES, timeout_ms).tobytes()
        return status

    def _checked(self, status: bytes, length: int) -> Csw:
        """Return the CSW if it is valid and meaningful (BOT 6.3)."""
        try:
            csw = Csw.decode(status)
        except DecodeError as error:
            raise self._recovered(BadCsw(str(error))) from error
        if csw.tag != self._tag:
            raise self._recovered(WrongTag(f"CSW answers tag {csw.tag}, expected {self._tag}"))
        if csw.status is CswStatus.PHASE_ERROR:
            raise self._recovered(BadCsw("the drive reports a phase error"))
        if csw.residue > length:
            raise self._recovered(BadCsw(f"CSW residue {csw.residue} exceeds {length} bytes"))
        return csw

    def _recovered(self, fault: DriveError) -> DriveError:
        """Return the fault to raise, after Reset Recovery."""
        if isinstance(fault, Disconnected):
            return fault
        try:
            self.reset_recovery()
        except usb.core.USBError as error:
            again = failure(error, "reset recovery")
            return again if isinstance(again, Disconnected) else fault
        return fault
