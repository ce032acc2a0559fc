"""The two bulk endpoints of a mass-storage device, a transfer at a time, over any pyusb backend."""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar

import usb.core
import usb.util

from firmware_model.wire.bot import BulkOnlyRequest, Cbw, Csw, CswStatus
from firmware_model.wire.sense import SenseKey
from firmware_model.wire.usb import DIRECTION_IN, Feature, Request
from host_driver.bulk_only import BULK_ONLY
from host_driver.errors import NotFound
from host_driver.mass_storage import MASS_STORAGE, SCSI_TRANSPARENT, failure

T = TypeVar("T")
TIMEOUT_MS: Final = 1000
CONTROL_TIMEOUT_MS: Final = 5000
CSW_BYTES: Final = Csw.LAYOUT.size
COMMAND_TAG: Final = 0x5ED1AA00
ATTENTIONS_MAX: Final = 4
TEST_UNIT_READY, REQUEST_SENSE = bytes(6), bytes.fromhex("030000001200")
SENSE_BYTES: Final = 18
TO_ENDPOINT, OF_ENDPOINT, CLASS_TO_INTERFACE = 0x02, 0x82, 0x21  # bmRequestType


class Stop(Enum):
    """What a transfer ends in when it does not move what it should."""

    HALT = "halt"
    SILENCE = "silence"  # neither data nor a halt, in time
    BABBLE = "too much"  # more than there was room for


class RawLink:
    """What a host can do on these endpoints, without any of what it should do in which order.

    Raises DriveError where the device is gone or can't be reached, and NotFound where it has no
    Bulk-Only interface.
    """

    def __init__(self, device: usb.core.Device) -> None:
        self._device = device
        interface = next(
            (
                found
                for configuration in device
                for found in usb.util.find_descriptor(
                    configuration,
                    find_all=True,
                    bInterfaceClass=MASS_STORAGE,
                    bInterfaceSubClass=SCSI_TRANSPARENT,
                    bInterfaceProtocol=BULK_ONLY,
                )
            ),
            None,
        )
        endpoints = {} if interface is None else {_is_in(each): each for each in interface}
        if interface is None or len(endpoints) != 2:
            raise NotFound("the device has no Bulk-Only mass-storage interface (08/06/50)")
        self._interface = int(interface.bInterfaceNumber)
        self._addresses = {way: int(each.bEndpointAddress) for way, each in endpoints.items()}
        self.packet_bytes = int(endpoints[True].wMaxPacketSize) & 0x7FF

    def send(self, data: bytes) -> int | Stop:
        """Send one transfer; return how much of it the device took."""
        return self._moved(
            lambda: int(self._device.write(self._addresses[False], data, TIMEOUT_MS))
        )

    def receive(self, length: int) -> bytes | Stop:
        """Ask for one transfer of at most `length` bytes."""
        return self._moved(
            lambda: bytes(self._device.read(self._addresses[True], length, TIMEOUT_MS))
        )

    def command(self, cdb: bytes, data: bytes = b"", length: int = 0) -> tuple[int | None, bytes]:
        """Run a command as leniently as any host; return its status byte, and the data that came.

        Tags and residues are not looked at. The status is None where none came; then, and after a
        phase error, the device has been recovered.
        """
        self.send(Cbw(COMMAND_TAG, length or len(data), length > 0, 0, cdb).encode())
        came: bytes | int | Stop = b""
        if length:
            came = self.receive(length)
        elif data:
            came = self.send(data)
        if came is Stop.HALT:
            self.clear_halt(is_in=length > 0)
        status = self.receive(CSW_BYTES)
        if status is Stop.HALT:
            self.clear_halt(is_in=True)
        if status is Stop.HALT or status == b"":
            status = self.receive(CSW_BYTES)
        is_status = isinstance(status, bytes) and len(status) == CSW_BYTES
        ended = status[CSW_BYTES - 1] if is_status and isinstance(status, bytes) else None
        if ended not in (CswStatus.PASSED, CswStatus.FAILED):
            self.recover()
        return ended, came if isinstance(came, bytes) else b""

    def settle(self) -> None:
        """Hear what UNIT ATTENTION there is: no check is about that."""
        for _ in range(ATTENTIONS_MAX):
            status, _ = self.command(TEST_UNIT_READY)
            if status == CswStatus.PASSED:
                return
            _, sense = self.command(REQUEST_SENSE, length=SENSE_BYTES)
            if len(sense) < 3 or sense[2] & 0x0F != SenseKey.UNIT_ATTENTION:
                return

    def clear_halt(self, is_in: bool) -> None:
        """Clear the halt of an endpoint, whether or not there is one."""
        self._done(lambda: self._device.clear_halt(self._addresses[is_in]), "CLEAR FEATURE")

    def set_halt(self, is_in: bool) -> None:
        """Have the device halt an endpoint."""
        self._control(
            TO_ENDPOINT, Request.SET_FEATURE, Feature.ENDPOINT_HALT, self._addresses[is_in]
        )

    def reset(self) -> None:
        """Bulk-Only Mass Storage Reset, and nothing else (BOT 3.1)."""
        self._control(CLASS_TO_INTERFACE, BulkOnlyRequest.RESET, 0, self._interface)

    def recover(self) -> None:
        """Reset Recovery (BOT 5.3.4)."""
        self.reset()
        self.clear_halt(is_in=True)
        self.clear_halt(is_in=False)

    def is_halted(self, is_in: bool) -> bool | None:
        """Return what the device says of an endpoint; None where it says nothing."""
        address = self._addresses[is_in]
        try:
            told = self._device.ctrl_transfer(
                OF_ENDPOINT, Request.GET_STATUS, 0, address, 2, CONTROL_TIMEOUT_MS
            )
        except usb.core.USBError as error:
            if error.errno == errno.EPIPE:
                return None
            raise failure(error, "GET STATUS") from error
        return bool(told[0] & 1) if len(told) == 2 else None

    def _control(self, request_type: int, request: int, value: int, index: int) -> None:
        self._done(
            lambda: self._device.ctrl_transfer(
                request_type, request, value, index, None, CONTROL_TIMEOUT_MS
            ),
            f"request {request:02X}h",
        )

    @staticmethod
    def _done(run: Callable[[], object], what: str) -> None:
        try:
            run()
        except usb.core.USBError as error:
            raise failure(error, what) from error

    @staticmethod
    def _moved(run: Callable[[], T]) -> T | Stop:
        try:
            return run()
        except usb.core.USBTimeoutError:
            return Stop.SILENCE
        except usb.core.USBError as error:
            stops = {errno.EPIPE: Stop.HALT, errno.EOVERFLOW: Stop.BABBLE}
            if error.errno in stops:
                return stops[error.errno]
            raise failure(error, "a bulk transfer") from error


def _is_in(endpoint: Any) -> bool:
    return bool(endpoint.bEndpointAddress & DIRECTION_IN)
