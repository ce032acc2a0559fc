"""A drive in a machine, as the machine's kernel sees it."""

from __future__ import annotations

import re
from typing import Final, Self

from hil_tests.kernel import inside
from hil_tests.kernel.kernel_log import LogRecord
from hil_tests.kernel.machine import KernelMachine, Moment
from hil_tests.kernel.way_in import Unplug, WayIn

# A SCSI device behind a USB interface: /sys/devices/…/2-1/2-1:1.0/host0/target0:0:0/0:0:0:0
BEHIND_USB: Final = re.compile(r"(?P<device>.+)/(?P<interface>[^/]+)/host\d+/target[^/]+/[^/]+")
ATTACHED: Final = {"ACTION": "bind", "SUBSYSTEM": "scsi", "DRIVER": "sd"}
GONE: Final = {"ACTION": "remove", "SUBSYSTEM": "usb", "DEVTYPE": "usb_device"}
FINDING_S: Final = 60


class NotFound(Exception):
    """The kernel did not do with a device what it should."""


def disk_since(machine: KernelMachine, moment: Moment) -> str:
    """Return where sysfs has the disk that the kernel attached since; raise NotFound for none."""
    disk = machine.event_since(moment, ATTACHED, FINDING_S)
    if disk is None:
        logged = machine.log_since(moment)
        said = "; ".join(record.text for record in logged[-3:]) or "nothing"
        raise NotFound(f"the kernel attached no disk, and logged: {said}")
    return f"/sys{disk['DEVPATH']}"


class PluggedDrive:
    """The drive of a way in; it can be taken out and put in again.

    As a context, it is taken out at the end.
    """

    def __init__(self, machine: KernelMachine, way_in: WayIn) -> None:
        self.machine = machine
        self.way_in = way_in
        self._unplug: Unplug | None = None
        self.usb = self.interface = self.scsi = self.name = self.generic = ""
        self.log_of_plug: list[LogRecord] = []

    @classmethod
    def plugged(cls, machine: KernelMachine, way_in: WayIn) -> Self:
        """Return a drive that is in; raise NotFound if the kernel does not find a disk."""
        drive = cls(machine, way_in)
        drive.plug()
        return drive

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.unplug()

    @property
    def block(self) -> str:
        """The path of its block device."""
        return f"/dev/{self.name}"

    def plug(self) -> None:
        """Put it in, and unlock it."""
        self.attach()
        if self.way_in.pin:
            self.unlock()

    def attach(self) -> None:
        """Put it in as it comes, and wait until the kernel has it as a disk."""
        machine = self.machine
        if self.way_in.pin:
            inside.warm_up(machine)
        before = machine.moment()
        self._unplug = self.way_in.plug(machine)
        self.scsi = disk_since(machine, before)
        self.log_of_plug = machine.log_since(before)
        found = BEHIND_USB.fullmatch(self.scsi)
        if found is None:
            raise NotFound(f"the kernel attached another disk: {self.scsi}")
        self.usb = found["device"]
        self.interface = f"{self.usb}/{found['interface']}"
        self.name = self.do(f"ls {self.scsi}/block").strip()
        self.generic = f"/dev/{self.do(f'ls {self.scsi}/scsi_generic').strip()}"

    def unlock(self) -> str:
        """Open it as its owner does, in the machine; return what the command says."""
        return self.sedlab(*self.unlocking, SEDLAB_PIN_USER=self.way_in.pin)

    @property
    def unlocking(self) -> tuple[str, ...]:
        """The command that opens it: as a try is spent, it says which drive is meant."""
        return "unlock", f"sg:{self.generic}", "--destroys-data", "--serial", self.serial

    def lock(self) -> str:
        """Lock it, in the same way."""
        return self.sedlab("lock", f"sg:{self.generic}")

    @property
    def url(self) -> str:
        """What names it for a driver that takes it away from the kernel."""
        ids = (self.do(f"cat {self.usb}/{each}").strip() for each in ("idVendor", "idProduct"))
        return ":".join(("usb", *ids, self.serial))

    @property
    def serial(self) -> str:
        """The serial number that the kernel read."""
        return self.do(f"cat {self.usb}/serial").strip()

    def sedlab(self, *arguments: str, **variables: str) -> str:
        """Return what a command of ours says in the machine; raise CommandFailed if it fails."""
        return inside.sedlab(self.machine, *arguments, **variables)

    def unplug(self) -> None:
        """Take it out, whatever it is doing, and wait until the kernel has noticed."""
        if self._unplug is None:
            return
        before = self.machine.moment()
        unplug, self._unplug = self._unplug, None
        unplug()
        if self.machine.event_since(before, GONE, FINDING_S) is None:
            raise NotFound("the kernel did not notice that the device is gone")

    def do(self, command: str, timeout_s: float = 120) -> str:
        """Return what a command in the machine prints; raise CommandFailed if it fails."""
        return self.machine.output_of(command, timeout_s=timeout_s)

    def attribute(self, path: str) -> str:
        """Return an attribute of the block device in sysfs."""
        return self.do(f"cat /sys/block/{self.name}/{path}").strip()
