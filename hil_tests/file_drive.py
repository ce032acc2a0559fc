"""A drive in a file: where that or its TPM fails, it is as dead as after a power cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Final

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.sedfile import SedFileError
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import SetupPacket
from host_driver.errors import TransportError

FAILURES: Final = (SedFileError, ElementError)


@contextmanager
def told() -> Iterator[None]:
    """Tell of a file or an element that fails as a driver does."""
    try:
        yield
    except FAILURES as failed:
        raise TransportError(str(failed)) from None


class FileDrive(EmulatedDrive):
    """Raises TransportError where its file fails, or tells `on_failure` where that is set."""

    on_failure: Callable[[str], None] | None = None

    def power_on(self) -> None:
        try:
            super().power_on()
        except FAILURES as failed:
            self._die(failed)

    def press(self, text: str) -> None:
        try:
            super().press(text)
        except FAILURES as failed:
            self._die(failed)

    def advance(self, us: int) -> None:
        try:
            super().advance(us)
        except FAILURES as failed:
            self._die(failed)

    def leds(self) -> dict[str, str]:
        try:
            return super().leds()
        except FAILURES as failed:
            self._die(failed)
            return super().leds()  # of a drive without power

    def _bus(self, event: BusEvent) -> None:
        try:
            super()._bus(event)
        except FAILURES as failed:
            self._die(failed)

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        try:
            return super().control(setup, data)
        except FAILURES as failed:
            return self._die(failed)

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        try:
            return super().transfer_out(endpoint, data, stream)
        except FAILURES as failed:
            return self._die(failed)

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        try:
            return super().transfer_in(endpoint, length, stream)
        except FAILURES as failed:
            return self._die(failed)

    def ready(self) -> Set[tuple[int, int]] | None:
        try:
            return super().ready()
        except FAILURES as failed:
            self._die(failed)
            return None

    def _die(self, failed: Exception) -> Handshake:
        self.power_off()
        if self.on_failure is None:
            raise TransportError(str(failed)) from None
        self.on_failure(str(failed))
        return Handshake.DETACHED
