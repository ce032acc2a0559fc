"""The cable between host and drive, which can be pulled in the middle of a transfer."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import SetupPacket, Speed

PACKET_BYTES: Final = 512


class Cable:
    """A UsbFunction: what the host sees of a drive at the end of a cable."""

    def __init__(self, drive: EmulatedDrive) -> None:
        self._drive = drive
        self.count = 0  # of transfers since `pull_at`
        self.is_pulled = False  # since then
        self._wanted: int | None = None
        self._is_late = False

    def pull_at(self, number: int | None, is_late: bool = False) -> None:
        """Count transfers from here, and pull the cable at the `number`-th; 0 or None: at none.

        Late is when half of what goes out has arrived, or before the host has what comes in.
        """
        self.count, self._wanted, self._is_late, self.is_pulled = 0, number, is_late, False

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        """Run a control transfer."""
        if self._is_due():
            return self._pull(lambda: self._drive.control(setup, data))
        return self._drive.control(setup, data)

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        """Take a transfer from the host."""
        if self._is_due():
            half = len(data) // 2 // PACKET_BYTES * PACKET_BYTES or len(data)
            return self._pull(lambda: self._drive.transfer_out(endpoint, data[:half], stream))
        return self._drive.transfer_out(endpoint, data, stream)

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        """Give a transfer to the host."""
        if self._is_due():
            return self._pull(lambda: self._drive.transfer_in(endpoint, length, stream))
        return self._drive.transfer_in(endpoint, length, stream)

    def cancel(self, endpoint: int, stream: int = 0) -> None:
        """Forget a transfer that was answered NAK."""
        self._drive.cancel(endpoint, stream)

    def bus(self, event: BusEvent, speed: Speed = Speed.HIGH) -> None:
        """Take notice of what happens on the bus."""
        self._drive.bus(event, speed)

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever a transfer answered NAK may now end differently."""
        self._drive.on_ready(callback)

    def ready(self) -> Set[tuple[int, int]] | None:
        """Return which those are, by endpoint and stream; None stands for any."""
        return self._drive.ready()

    def _is_due(self) -> bool:
        self.count += 1
        return self.count == self._wanted

    def _pull(self, transfer: Callable[[], object]) -> Handshake:
        if self._is_late:
            transfer()
        self._drive.unplug()
        self.is_pulled = True
        return Handshake.DETACHED
