"""Our own ways in: `sedlab serve` as a process of its own beside the machine, as a stranger would.

A drive and its server last as long as the machine; plugging in is a matter of the machine alone.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from hil_tests.command_line import FAST, Server, environment
from hil_tests.kernel.machine import HOST_LOOPBACK, KernelMachine
from hil_tests.kernel.way_in import (
    BULK_ONLY,
    HIGH_SPEED,
    SUPER_SPEED,
    UAS,
    Unplug,
    WayIn,
)
from host_driver.operator_socket import OperatorSocket

DISK_BYTES: Final = 128 << 20
SETTINGS: Final = (*FAST, "--capacity", f"{DISK_BYTES >> 20} MiB")
PIN: Final = "8402957136"
OF_VHCI: Final = {  # vhci_hcd_suspend() answers EBUSY
    "outlives a sleep of the machine": "vhci_hcd lets no machine sleep that has something attached"
}


@dataclass(frozen=True, slots=True)
class UsbRedir:
    """QEMU's usb-redir, which calls our server at a Unix socket."""

    name: str = "usbredir UAS"
    driver: str = UAS
    speed_mbps: int = SUPER_SPEED
    disk_bytes: int = DISK_BYTES
    pin: str = PIN
    departures: Mapping[str, str] = field(default_factory=dict)
    profile: str = "native"
    defect: str = ""

    def plug(self, machine: KernelMachine) -> Unplug:
        drive = drive_file(machine, self)
        socket = drive.with_suffix(".redir")
        served(machine, self, "--usbredir", str(socket))
        return _with_its_power(drive, machine.plug_usbredir(socket))


@dataclass(frozen=True, slots=True)
class Vhci:
    """Linux's own vhci_hcd, which attaches what our USB/IP server has."""

    name: str = "vhci BOT"
    driver: str = BULK_ONLY
    speed_mbps: int = SUPER_SPEED
    disk_bytes: int = DISK_BYTES
    pin: str = PIN
    departures: Mapping[str, str] = field(default_factory=lambda: OF_VHCI)
    profile: str = "native"
    defect: str = ""

    def plug(self, machine: KernelMachine) -> Unplug:
        attach = served(machine, self, "--usbip", "127.0.0.1:0")["attach"]
        return _with_its_power(drive_file(machine, self), attached_by_vhci(machine, attach))


# USB/IP has no streams, and so no UAS at SuperSpeed.
OURS: Final[tuple[WayIn, ...]] = (
    UsbRedir(),
    UsbRedir("usbredir BOT", BULK_ONLY),
    Vhci(),
    Vhci("vhci UAS", UAS, HIGH_SPEED),
)


def attached_by_vhci(machine: KernelMachine, attach: str) -> Unplug:
    """Attach what a USB/IP server has by the command that it names for its own machine."""
    ports = "ls /run/vhci_hcd 2>/dev/null || true"
    before = machine.output_of(f"modprobe vhci-hcd; {ports}").split()
    machine.output_of(attach.replace("127.0.0.1", HOST_LOOPBACK))
    port = next(each for each in machine.output_of(ports).split() if each not in before)

    def unplug() -> None:
        machine.output_of(f"usbip detach -p {port.removeprefix('port')}")

    return unplug


def _with_its_power(drive: Path, unplug: Unplug) -> Unplug:
    """Return what takes a drive out as `unplug` does; it has no power but that of its plug."""

    def pull() -> None:
        unplug()
        with closing(OperatorSocket(str(drive))) as operator:
            operator.power_off()
            operator.power_on()

    return pull


class OurWayIn(WayIn, Protocol):
    """One that has a drive of ours."""

    @property
    def profile(self) -> str:
        """What the drive is made as."""


def drive_path(machine: KernelMachine, way_in: OurWayIn) -> Path:
    """Return where a way in has its drive, for whoever makes it himself."""
    return machine.folder / f"{way_in.name.replace(' ', '-')}.sed"


def drive_file(machine: KernelMachine, way_in: OurWayIn) -> Path:
    """Return the file of a drive that is locked by its PIN; it is made at the first time."""
    path = drive_path(machine, way_in)
    if not path.exists():
        sedlab(machine, "new", path.name, "--profile", way_in.profile, *SETTINGS)
        if way_in.pin:
            sedlab(machine, "set-pin", path.name, SEDLAB_NEW_PIN=way_in.pin)
    return path


def served(machine: KernelMachine, way_in: UsbRedir | Vhci, *how: str) -> dict[str, Any]:
    """Return what `sedlab serve` said of a way in's drive; it is started at the first time."""
    drive = drive_file(machine, way_in)
    speed = "high" if way_in.speed_mbps == HIGH_SPEED else "super"
    transports = ("--no-uas",) if way_in.driver == BULK_ONLY else ()
    said = drive.with_suffix(".json")
    if not said.exists():
        target = f"model:{drive.name}+{way_in.defect}" if way_in.defect else drive.name
        server = Server(machine.folder, target, *how, "--speed", speed, *transports, "--json")
        machine.ends_with_it.callback(server.ends, signal.SIGTERM)
        server.drives()
        said.write_text(server.said)
    drives: list[dict[str, Any]] = json.loads(said.read_text())["drives"]
    return drives[0]


def sedlab(machine: KernelMachine, *arguments: str, **variables: str) -> str:
    """Return what a command of ours prints outside of the machine, in the folder of both."""
    return subprocess.run(
        [sys.executable, "-m", "host_driver", *arguments],
        cwd=machine.folder,
        env=environment(machine.folder) | variables,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
