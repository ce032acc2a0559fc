"""A drive, and each way by which a host may use it."""

from collections.abc import Callable
from functools import cache

import usb.core

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire.usb import Speed
from hil_tests.actions import PINS
from hil_tests.uas.host import UasHost
from host_driver.attachment import Attachment
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.drive import Drive
from host_driver.known_drives import IdentityCheck, KnownDrives, default_path
from host_driver.transport import DEFAULT_TIMEOUT_MS, CommandTransport, Completion
from host_driver.uas import UasTransport

PIN = PINS[0]
BLOCK = bytes(range(256)) * 2
SPEEDS = (Speed.HIGH, Speed.SUPER)


class Queued:
    """A command transport over a host that could queue."""

    def __init__(self, host: UasHost) -> None:
        self.host = host

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run one command."""
        ended = self.host.execute(cdb, data_out, data_in_length)
        assert ended.status is not None
        residue = data_in_length - len(ended.data)
        return Completion(ended.status, ended.sense, ended.data, residue)

    def close(self) -> None:
        """There is nothing to let go of."""


Way = Callable[[EmulatedDrive], CommandTransport]


def by_pyusb(kind: type[BulkOnlyTransport] | type[UasTransport], speed: Speed) -> Way:
    def way(drive: EmulatedDrive) -> CommandTransport:
        return kind(usb.core.find(backend=InProcess([drive], speed=speed)))

    return way


def by_queue(speed: Speed) -> Way:
    return lambda drive: Queued(UasHost(drive, speed))


BULK_ONLY = by_pyusb(BulkOnlyTransport, Speed.HIGH)
WAYS: dict[str, Way] = {
    "bulk-only at SuperSpeed": by_pyusb(BulkOnlyTransport, Speed.SUPER),
    "uas": by_pyusb(UasTransport, Speed.HIGH),
    "uas, queued": by_queue(Speed.HIGH),
    "uas, on streams": by_queue(Speed.SUPER),
}


def host_of(drive: EmulatedDrive, transport: CommandTransport) -> Drive:
    """Return the driver over a transport."""
    check = IdentityCheck(drive.serial, KnownDrives(default_path()), is_trusted=True)
    attachment = Attachment(transport, drive, True, drive.serial, True, lambda: None)
    return Drive(attachment, check, lambda count: bytes(count))


@cache
def provisioned(profile: str) -> EmulatedDrive:
    """Return a drive that has a PIN and something stored, without power."""
    drive = EmulatedDrive.new(profiles.load(profile), SeededNoise(b"uas"), kdf_iterations=1)
    drive.power_on()
    host = host_of(drive, BULK_ONLY(drive))
    if profile != "plain":
        host.set_pin(PIN)
        host.unlock(PIN)
    host.write(0, BLOCK * 64)
    drive.power_off()
    return drive


def made(way: Way, profile: str = "native", is_open: bool = True) -> tuple[EmulatedDrive, Drive]:
    """Return a copy of the provisioned drive, and the driver over one way to it."""
    drive = provisioned(profile).fork()
    drive.power_on()
    host = host_of(drive, way(drive))
    if is_open and profile != "plain":
        host.unlock(PIN)
    return drive, host


def queueing(speed: Speed) -> tuple[EmulatedDrive, UasHost, Drive]:
    """Return an open drive that has no more to say of that, and a host that queues."""
    drive, host = made(by_queue(speed))
    assert isinstance(host.disk.transport, Queued)
    host.read(0, 1)
    return drive, host.disk.transport.host, host
