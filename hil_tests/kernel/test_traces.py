"""What crosses the bus, recorded and read by others: no packet of ours is malformed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.ours import UsbRedir, Vhci, served
from hil_tests.kernel.way_in import BULK_ONLY

READ_S = 120
EVERY_BUS, NETWORK = "usbmon0", "eth0"
REDIRECTED = [  # and how tshark finds the statuses of its commands
    (UsbRedir("trace BOT", BULK_ONLY), "usbms.dCSWSignature"),
    (UsbRedir("trace UAS"), "uasp.sense.status"),
]
ATTACHED = Vhci("trace vhci")

pytestmark = pytest.mark.xdist_group("traces")


@contextmanager
def recorded(machine: KernelMachine, interface: str) -> Iterator[Path]:
    """Have the machine record what crosses an interface meanwhile, into a file for both sides."""
    ready, inside, trace = "/run/recording", f"/run/{interface}.pcap", f"{interface}.pcap"
    machine.output_of(f"modprobe usbmon; rm -f {ready}; mkfifo {ready}")
    recording = machine.start(
        f"exec dumpcap -q -i {interface} -w {inside} 2>{ready}", timeout_s=300
    )
    machine.output_of(f"grep -m 1 '^File:' {ready}")  # said when it records
    try:
        yield machine.folder / trace
    finally:
        machine.output_of("pkill -INT -x dumpcap")
        recording.wait()
        machine.output_of(f"mv {inside} {machine.folder}/{trace}")


def plug_and_use(drive: PluggedDrive) -> None:
    """Put it in, open it, read and write, and take it out again."""
    with drive:
        drive.plug()
        drive.do(f"mkfs.vfat {drive.block} && lsusb -v && sg_inq {drive.generic}")


def tshark(trace: Path, *arguments: str) -> list[str]:
    """Return the lines that tshark prints of a trace."""
    return subprocess.run(
        ["tshark", "-r", str(trace), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=READ_S,
    ).stdout.splitlines()


@pytest.mark.parametrize(("way_in", "status"), REDIRECTED, ids=["BOT", "UAS"])
def test_usbmon_saw_nothing_malformed_from_usbredir(
    machine: KernelMachine, way_in: UsbRedir, status: str
) -> None:
    with recorded(machine, EVERY_BUS) as trace:
        plug_and_use(PluggedDrive(machine, way_in))

    assert len(tshark(trace, "-Y", status)) > 20
    assert tshark(trace, "-Y", "_ws.malformed") == []


def test_network_saw_nothing_malformed_from_usbip(machine: KernelMachine) -> None:
    attach = served(machine, ATTACHED, "--usbip", "127.0.0.1:0")["attach"]
    port = attach.split()[attach.split().index("--tcp-port") + 1]
    with recorded(machine, NETWORK) as trace:
        plug_and_use(PluggedDrive(machine, ATTACHED))

    as_usbip = ("-d", f"tcp.port=={port},usbip")
    assert len(tshark(trace, *as_usbip, "-Y", "usbip")) > 40
    assert tshark(trace, *as_usbip, "-Y", "_ws.malformed") == []
