"""What carrying a drive over USB/IP costs: `python -m hil_tests.bench_usbip`.

The same commands to the same plain drive, in this process and served by another one over loopback;
and to a disk in memory, ours and that of the PyPI package usbip, where it is installed. Two numbers
for each: microseconds until a command has ended, of the round that was disturbed least, and those
that the server computed for it, which other work on the machine does not touch.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from time import perf_counter, process_time
from typing import Final

import usb.core

from host_driver.attachment import OpenOptions
from host_driver.backends.usbip import UsbIp
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.drive import attach
from host_driver.transport import CommandTransport
from host_driver.usbip_link import UsbIpName, import_device

ROUNDS: Final = 20
COMMANDS: Final = 60  # of each kind, a round
BIG: Final = 128 << 10
DISK_BYTES: Final = 32 << 20

ANSWER: Final = """
import sys, time
def answer():
    for line in sys.stdin:
        print(time.process_time(), flush=True)
"""
OURS: Final = f"""
from collections import deque
from hil_tests.ram_disk import RamDrive
from hil_tests.served import serving
drive = RamDrive(block_count={DISK_BYTES // 512})
drive.disk.executed = deque(maxlen=1)
with serving([drive]) as served:
    print(served.url(), flush=True)
    answer()
"""
THEIRS: Final = f"""
import socket, usbip
from usbip.classes.device.msc import MSC
class Store:
    block_size, num_blocks = 512, {DISK_BYTES // 512}
    data = bytearray({DISK_BYTES})
    def read(self, lba, count):
        return bytes(self.data[lba * 512 : (lba + count) * 512])
    def write(self, lba, count, data):
        self.data[lba * 512 : (lba + count) * 512] = data
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
device = usbip.USBDevice(0x1209, 0x0002)
device.set_speed(usbip.SPEED_HIGH)
device.add(MSC(Store()))
with device.plug(via=usbip.USBIP("127.0.0.1", port)):
    print(f"usbip://127.0.0.1:{{port}}/1-1", flush=True)
    answer()
"""
PLAIN: Final = """
from contextlib import ExitStack
from hil_tests.served import serving
from hil_tests.targets import ModelName, powered
with ExitStack() as stack:
    with serving([powered(ModelName.parse("plain"), stack)]) as served:
        print(served.url(), flush=True)
        answer()
"""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a drive, and how many seconds its other end has computed."""

    transport: CommandTransport
    cpu_s: Callable[[], float]


@contextmanager
def reached(program: str | None) -> Iterator[Way]:
    """Give the way to a drive that a program serves; None: to a plain one in this process."""
    if program is None:
        attachment = attach("model:plain", OpenOptions())
        yield Way(attachment.transport, process_time)
        attachment.close()
        return
    server = subprocess.Popen(
        [sys.executable, "-c", ANSWER + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stdin, stdout = server.stdin, server.stdout
    assert stdin is not None and stdout is not None

    def cpu_s() -> float:
        stdin.write("\n")
        stdin.flush()
        return float(stdout.readline())

    url = stdout.readline().strip()
    try:
        link = import_device(UsbIpName.parse(url.removeprefix("usbip:")))
        yield Way(BulkOnlyTransport(usb.core.find(backend=UsbIp(link))), cpu_s)
        link.close()
    finally:
        server.communicate()


def cdb(opcode: int, lba: int, block_count: int) -> bytes:
    """Return a READ(10) or WRITE(10)."""
    return struct.pack(">BBIBHB", opcode, 0, lba, 0, block_count, 0)


def times_us(way: Way, command: Callable[[int], object]) -> str:
    """Return how long one command takes, and how long its server computes."""
    times, before = [], way.cpu_s()
    for _ in range(ROUNDS):
        began = perf_counter()
        for number in range(COMMANDS):
            command(number)
        times.append((perf_counter() - began) / COMMANDS)
    computed = (way.cpu_s() - before) / ROUNDS / COMMANDS
    return f"{min(times) * 1e6:>6.0f} {computed * 1e6:>5.0f}"


def measure(way: Way) -> tuple[str, ...]:
    """Return the times of a write and a read of 128 KiB, a read of 4 KiB, and no data."""
    data = bytes(range(256)) * (BIG // 256)
    execute = way.transport.execute
    for _ in range(3):
        execute(bytes(6))  # unit attentions
    return (
        times_us(way, lambda number: execute(cdb(0x2A, number * 256, 256), data)),
        times_us(way, lambda number: execute(cdb(0x28, number * 256, 256), b"", BIG)),
        times_us(way, lambda number: execute(cdb(0x28, number * 8, 8), b"", 4096)),
        times_us(way, lambda number: execute(bytes(6))),
    )


def main() -> None:
    titles = "".join(f"{each:>13}" for each in ("write 128K", "read 128K", "read 4K", "no data"))
    print(f"{'us a command: all, server':<32}{titles}")
    programs: dict[str, str | None] = {
        "plain drive, in this process": None,
        "plain drive, over USB/IP": PLAIN,
        "disk in memory, over USB/IP": OURS,
    }
    if find_spec("usbip") is None:
        print("without the rival: the PyPI package usbip is not installed")
    else:
        programs["disk in memory of PyPI's usbip"] = THEIRS
    for name, program in programs.items():
        with reached(program) as way:
            print(f"{name:<32}{''.join(f'{each:>13}' for each in measure(way))}", flush=True)


if __name__ == "__main__":
    main()
