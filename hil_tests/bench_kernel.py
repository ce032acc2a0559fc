"""What Linux gets from a drive by each way in: `python -m hil_tests.bench_kernel [usbredir|vhci]`.

In one boot of the kernel lab, beside the rival of each way: QEMU's own stick in C, and the mass
storage of the PyPI package usbip, where it is installed. Ours is a native drive that encrypts what
it keeps in the model of a flash; the rivals keep it in a file and in memory, as it is. What the way
itself costs, a disk in memory behind our server tells. fio writes and reads past the page cache, or
through it as `cp` does. All drives are in at once; rounds alternate, and each number is that of the
round that was disturbed least, in MB/s. The ratio is to the rival, which comes first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from hil_tests.bench_usbip import ANSWER, DISK_BYTES, OURS, THEIRS
from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.ours import UsbRedir, Vhci, attached_by_vhci
from hil_tests.kernel.packages import BATTERY, MACHINE, missing
from hil_tests.kernel.references import QemuDisk
from hil_tests.kernel.way_in import BULK_ONLY, HIGH_SPEED, SUPER_SPEED, UAS, Unplug, WayIn

ROUNDS: Final = 5
MEMORY_BYTES: Final = 32 << 20
DIRECT: Final = "--direct=1 --ioengine=libaio"
CACHED: Final = "--ioengine=psync --bs=128k"
WORKLOADS: Final = {
    "write 1M": f"{DIRECT} --rw=write --bs=1M",
    "read 1M": f"{DIRECT} --rw=read --bs=1M",
    "write, cached": f"{CACHED} --rw=write --end_fsync=1",
    "read, cached": f"{CACHED} --rw=read --invalidate=1",
    "read 4K": f"{DIRECT} --rw=randread --bs=4k --number_ios=1000 --norandommap",
    "read 4K x 32": f"{DIRECT} --rw=randread --bs=4k --number_ios=4000 --norandommap --iodepth=32",
}
FIO: Final = "fio --name=bench --output-format=json --size=24M --runtime=5"
IN_MEMORY: Final = f"""
import sys
from collections import deque
from pathlib import Path
from firmware_model.serve.port import Port
from firmware_model.serve.usbredir import UsbRedirServer
from firmware_model.wire.local_socket import listen_at
from firmware_model.wire.usb import Speed
from hil_tests.freed_memory import keep_freed_memory
from hil_tests.ram_disk import RamDrive
keep_freed_memory()
drive = RamDrive(block_count={MEMORY_BYTES >> 9})
drive.disk.executed = deque(maxlen=1)
server = UsbRedirServer(listen_at(Path(sys.argv[1])), Port(drive, Speed.SUPER))
print("listening", flush=True)
sys.stdin.read()
server.close()
"""
NAME_CHARACTERS: Final = 20


@dataclass(frozen=True, slots=True)
class DiskInMemory:
    """A disk without flash or keys behind our server, at a socket."""

    socket: Path
    name: str = "disk in memory UAS"
    driver: str = UAS
    speed_mbps: int = SUPER_SPEED
    disk_bytes: int = MEMORY_BYTES
    pin: str = ""
    departures: Mapping[str, str] = field(default_factory=dict)

    def plug(self, machine: KernelMachine) -> Unplug:
        return machine.plug_usbredir(self.socket)


@contextmanager
def disk_in_memory(folder: Path) -> Iterator[DiskInMemory]:
    """Serve it, as long as the context lasts."""
    with _listening(IN_MEMORY, str(folder / "memory.redir")):
        yield DiskInMemory(folder / "memory.redir")


@contextmanager
def _listening(script: str, *arguments: str) -> Iterator[str]:
    """Have a script run, and return the first line it prints."""
    server = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline()
    finally:
        server.communicate()


@dataclass(frozen=True, slots=True)
class UsbIpDisk:
    """A disk in memory that a program serves at a port of the host."""

    name: str
    port: int
    driver: str = BULK_ONLY
    speed_mbps: int = HIGH_SPEED
    disk_bytes: int = DISK_BYTES
    pin: str = ""
    departures: Mapping[str, str] = field(default_factory=dict)

    def plug(self, machine: KernelMachine) -> Unplug:
        return attached_by_vhci(machine, f"usbip --tcp-port {self.port} attach -r 127.0.0.1 -b 1-1")


@contextmanager
def usbip_disk(name: str, program: str) -> Iterator[UsbIpDisk]:
    """Have a program serve one, as long as the context lasts."""
    with _listening(ANSWER + program) as url:  # usbip://HOST:PORT/BUSID
        yield UsbIpDisk(name, int(url.rpartition(":")[2].partition("/")[0]))


def megabytes_per_s(drive: PluggedDrive, workload: str) -> float:
    """Return what one run of fio moved."""
    said = drive.do(f"{FIO} {workload} --filename={drive.block}")
    job = json.loads(said)["jobs"][0]
    return float(job["read"]["bw_bytes"] + job["write"]["bw_bytes"]) / 1e6


def compare(machine: KernelMachine, ways_in: list[WayIn], aim: str) -> None:
    """Measure, and print a table."""
    drives = [PluggedDrive.plugged(machine, each) for each in ways_in]
    print(f"{aim:<{NAME_CHARACTERS}}", *(kind.rjust(16) for kind in WORKLOADS))
    best = [dict.fromkeys(WORKLOADS, 0.0) for _ in drives]
    for number in range(ROUNDS):
        for drive, numbers in zip(drives, best, strict=True):
            for kind, workload in WORKLOADS.items():
                numbers[kind] = max(numbers[kind], megabytes_per_s(drive, workload))
            print(f"round {number + 1}: {drive.way_in.name}", file=sys.stderr)
    for drive, numbers in zip(drives, best, strict=True):
        cells = (
            f"{numbers[kind]:.1f} ({numbers[kind] / best[0][kind]:.2f})".rjust(16)
            for kind in WORKLOADS
        )
        print(f"{drive.way_in.name:<{NAME_CHARACTERS}}", *cells, flush=True)
        drive.unplug()


def main() -> None:
    """Do one comparison, or both."""
    wanted = sys.argv[1:] or ["usbredir", "vhci"]
    if lacking := missing({**MACHINE, **BATTERY}):
        print(lacking)
        return
    with ExitStack() as stack:
        machine = stack.enter_context(KernelMachine.boot(lambda line: print(line, file=sys.stderr)))
        if "usbredir" in wanted:
            memory = stack.enter_context(disk_in_memory(machine.folder))
            ours = UsbRedir(), UsbRedir("usbredir BOT", BULK_ONLY), memory
            compare(machine, [QemuDisk("QEMU usb-storage", BULK_ONLY), *ours], "aim 0.8")
        if "vhci" in wanted and find_spec("usbip") is None:
            print("without the rival: the PyPI package usbip is not installed")
        elif "vhci" in wanted:
            theirs = stack.enter_context(usbip_disk("PyPI usbip", THEIRS))
            disk = stack.enter_context(usbip_disk("disk in memory BOT", OURS))
            compare(machine, [theirs, Vhci(), disk], "aim 5.0")


if __name__ == "__main__":
    main()
