"""A disk in memory as a gadget on a device port in memory, whose host has configured it."""

from __future__ import annotations

from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.wire.bot import Cbw, Csw
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.setup import SetupPacket, Speed
from hil_tests.emulated_port import EmulatedPort
from hil_tests.ram_disk import RamDrive

CONFIGURE = SetupPacket(0, 9, 1, 0, 0)
RESET = SetupPacket(0x21, 0xFF, 0, 0, 0)
CLEAR_IN = SetupPacket(0x02, 1, 0, ENDPOINT_IN, 0)
CLEAR_OUT = SetupPacket(0x02, 1, 0, ENDPOINT_OUT, 0)
BLOCKS = 3000


class Plugged:
    """The drive, its port, and what its host does with it."""

    def __init__(self, drive: RamDrive | None = None, speed: Speed = Speed.HIGH) -> None:
        self.drive = drive or RamDrive(block_count=BLOCKS)
        self.host = EmulatedPort(self.drive, speed)
        assert self.host.control(CONFIGURE) == 0
        self.host.run()
        self.drive.heard.clear()

    def command(self, cdb: bytes, data: bytes = b"", length: int = 0) -> bytes:
        """Run a command that must pass; return its data."""
        cbw = Cbw(7, length or len(data), length > 0, 0, cdb).encode()
        assert self.host.transfer_out(ENDPOINT_OUT, cbw) == len(cbw)
        came: bytes | Handshake = b""
        if data:
            assert self.host.transfer_out(ENDPOINT_OUT, data) == len(data)
        elif length:
            came = self.host.transfer_in(ENDPOINT_IN, length)
        status = self.host.transfer_in(ENDPOINT_IN, 13)
        assert isinstance(status, bytes) and isinstance(came, bytes)
        assert Csw.decode(status) == Csw(7, 0, Csw.decode(status).status)
        return came

    def recover(self) -> None:
        """Reset Recovery."""
        for setup in (RESET, CLEAR_IN, CLEAR_OUT):
            assert self.host.control(setup) == 0

    @property
    def heard(self) -> list[BusEvent]:
        """What the drive has heard of the bus."""
        return [event for event, _ in self.drive.heard[::2]]  # each is told twice
