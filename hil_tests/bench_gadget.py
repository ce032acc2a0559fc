"""What it costs that a gadget is in user space: `python -m hil_tests.bench_gadget [high|super]`.

In one boot of the kernel lab, on a device port that the same kernel emulates (dummy_hcd): a disk in
memory that Linux's own f_mass_storage gives away, one that we do, and our plain drive, which keeps
what is written in the model of a flash. Rounds alternate, and each number is that of the round that
was disturbed least: MB/s of 1 MiB at once, and reads of 4 KiB a second, both past the page cache.
The ratio is to f_mass_storage.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from typing import Final

from hil_tests.kernel.gadget import UDC, load_port
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.packages import MACHINE, missing
from hil_tests.kernel.references import LinuxGadget
from hil_tests.kernel.way_in import HIGH_SPEED, SUPER_SPEED

ROUNDS: Final = 3
DISK_MIB: Final = 32
FINDING_S: Final = 300
ATTACHED: Final = {"ACTION": "bind", "SUBSYSTEM": "scsi", "DRIVER": "sd"}
GONE: Final = {"ACTION": "remove", "SUBSYSTEM": "usb", "DEVTYPE": "usb_device"}
KINDS: Final = ("read MB/s", "write MB/s", "4 KiB reads/s")
SERVE: Final = f"""
import signal, sys
from collections import deque
from contextlib import ExitStack
from threading import Event
from firmware_model.serve.gadget import given_to
from firmware_model.serve.port import Port
from hil_tests.ram_disk import RamDrive
from hil_tests.targets import ModelName, powered
ended = Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
with ExitStack() as stack:
    if sys.argv[1] == "ram":
        drive = RamDrive(block_count={DISK_MIB << 11})
        drive.disk.executed = deque(maxlen=1)
    else:
        drive = powered(ModelName.parse(sys.argv[1]), stack)
    with given_to({UDC!r}, Port(drive), print, ended.set):
        ended.wait()
"""
MEASURE: Final = """
import json, mmap, os, sys, time
disk = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
def fastest(move, size, places, count):
    page = mmap.mmap(-1, size)
    times = []
    for number in range(count):
        began = time.perf_counter()
        move(disk, [page], number * 7 % places * size)
        times.append(time.perf_counter() - began)
    times.sort()
    return sum(times[: count // 2]) / (count // 2)
big = fastest(os.preadv, 1 << 20, 16, 12), fastest(os.pwritev, 1 << 20, 16, 12)
small = fastest(os.preadv, 4096, 4096, 60)
print(json.dumps([1.048576 / big[0], 1.048576 / big[1], 1 / small]))
"""


@dataclass(frozen=True, slots=True)
class Ours:
    """What we serve: a disk in memory, or a model."""

    drive: str

    def plug(self, machine: KernelMachine) -> str:
        """Start it; return the command that ends it."""
        machine.output_of(
            f"python -c {shlex.quote(SERVE)} {self.drive} >/run/serve.log 2>&1 & echo $! >/run/pid"
        )
        return "kill $(cat /run/pid); while kill -0 $(cat /run/pid) 2>/dev/null; do sleep 0.1; done"


def measured(machine: KernelMachine, drive: str, speed: int) -> list[float]:
    """Return the three numbers of what is plugged in and out again."""
    before = machine.moment()
    if drive == "f_mass_storage":
        unplug = LinuxGadget(speed_mbps=speed).plug(machine)
    else:
        command = Ours(drive).plug(machine)

        def unplug() -> None:
            machine.output_of(command)

    disk = machine.event_since(before, ATTACHED, FINDING_S)
    if disk is None:
        raise SystemExit(machine.output_of("cat /run/serve.log"))
    name = machine.output_of(f"ls /sys{disk['DEVPATH']}/block").strip()
    said = machine.output_of(
        f"udevadm settle 2>/dev/null; python -c {shlex.quote(MEASURE)} /dev/{name}", timeout_s=300
    )
    before = machine.moment()
    unplug()
    machine.event_since(before, GONE)
    numbers: list[float] = json.loads(said)
    return numbers


def main() -> None:
    """Measure, and print a table."""
    if lacking := missing(MACHINE):
        print(lacking)
        return
    speed = HIGH_SPEED if sys.argv[1:] == ["high"] else SUPER_SPEED
    drives = ("f_mass_storage", "ram", "plain")
    best = {drive: [0.0] * len(KINDS) for drive in drives}
    with KernelMachine.boot(lambda line: print(line, file=sys.stderr)) as machine:
        load_port(machine, speed)
        for number in range(ROUNDS):
            for drive in drives:
                found = measured(machine, drive, speed)
                best[drive] = [max(pair) for pair in zip(best[drive], found, strict=True)]
                print(f"round {number + 1}: {drive}", file=sys.stderr)
    print(f"{speed} Mbit/s".ljust(16), *(kind.rjust(20) for kind in KINDS))
    for drive, numbers in best.items():
        cells = (
            f"{number:.1f} ({number / reference:.2f})".rjust(20)
            for number, reference in zip(numbers, best[drives[0]], strict=True)
        )
        print(drive.ljust(16), *cells)


if __name__ == "__main__":
    main()
