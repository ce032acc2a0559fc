"""A disk in memory and a host that queues commands as Linux does, and what tests ask of them."""

from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.uas import ResponseCode
from firmware_model.wire.usb import Speed
from hil_tests.ram_disk import RamDrive, write10
from hil_tests.uas.host import Ended, UasHost

BLOCK = bytes(range(256)) * 2
GOOD, CHECK = ScsiStatus.GOOD, ScsiStatus.CHECK_CONDITION
SPEEDS = (Speed.HIGH, Speed.SUPER)
COMPLETE, SUCCEEDED = ResponseCode.FUNCTION_COMPLETE, ResponseCode.FUNCTION_SUCCEEDED


class Bench:
    """A disk and a host at one speed."""

    def __init__(self, speed: Speed) -> None:
        self.drive = RamDrive()
        self.disk = self.drive.disk
        self.host = UasHost(self.drive, speed)


def held(bench: Bench, tag: int = 32) -> None:
    """Have a command hold the drive: its data-out does not come."""
    bench.host.queue(tag, write10(0, 1), data_out=BLOCK, keeps_data=True)


def order(bench: Bench) -> list[int]:
    """Return which blocks were read, in what order."""
    return [cdb[5] for cdb, _ in bench.disk.executed if cdb[0] == 0x28]


def finish(on: Bench) -> list[Ended]:
    """Let what waits be obeyed, and return how the commands ended, but for the one that held."""
    on.host.give_data(32)
    on.host.take(32)
    return [on.host.take(tag) for tag in (1, 2, 3)]
