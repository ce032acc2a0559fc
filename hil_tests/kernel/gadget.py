"""Our drive as a USB device of the machine itself, on a device port that the same kernel emulates.

The server runs in the machine, as on a board; pulling the plug is killing it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

from hil_tests.kernel.inside import begin_sedlab
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.ours import DISK_BYTES, PIN, drive_file
from hil_tests.kernel.way_in import BULK_ONLY, HIGH_SPEED, SUPER_SPEED, Unplug

UDC: Final = "dummy_udc.0"
STARTING_S: Final = 300  # Python, on a processor that is emulated
ENDING_S: Final = 60


@dataclass(frozen=True, slots=True)
class Gadget:
    """Linux's FunctionFS on dummy_hcd, which our server in the machine answers for."""

    name: str = "gadget BOT"
    driver: str = BULK_ONLY
    speed_mbps: int = HIGH_SPEED  # faster, dummy_hcd loses data of any gadget: Linux's own, too
    disk_bytes: int = DISK_BYTES
    pin: str = PIN
    departures: Mapping[str, str] = field(default_factory=dict)
    profile: str = "native"

    def plug(self, machine: KernelMachine) -> Unplug:
        load_port(machine, self.speed_mbps)
        return partial(Serving(machine, self).end, "KILL")  # as by a loss of power


class Serving:
    """A server in the machine, until it is ended."""

    def __init__(self, machine: KernelMachine, way_in: Gadget) -> None:
        self._machine = machine
        made = drive_file(machine, way_in)
        self.drive = PurePosixPath("/run", made.name)
        self._said = self.drive.with_suffix(".json")
        machine.output_of(f"cp --no-clobber {made} {self.drive}")
        arguments = ("serve", str(self.drive), "--gadget", "--json")
        self._pid = begin_sedlab(machine, str(self._said), *arguments)
        machine.output_of(
            f"""until [ -s {self._said} ]; do
                kill -0 {self._pid} || {{ cat {self._said}.err; exit 1; }}
                sleep 0.1
            done""",
            timeout_s=STARTING_S,
        )

    @property
    def document(self) -> dict[str, Any]:
        """What it said of the drive."""
        drives: list[dict[str, Any]] = json.loads(self._machine.output_of(f"cat {self._said}"))[
            "drives"
        ]
        return drives[0]

    def end(self, signal: str = "TERM") -> None:
        """End it by a signal, and wait until it has."""
        self._machine.output_of(
            f"""kill -{signal} {self._pid}
            while kill -0 {self._pid} 2>/dev/null; do sleep 0.05; done""",
            timeout_s=ENDING_S,
        )


def load_port(machine: KernelMachine, speed_mbps: int) -> None:
    """Give the machine a device port of that speed."""
    wanted = "Y" if speed_mbps == SUPER_SPEED else "N"
    machine.output_of(
        f"""set -e
        modprobe -a libcomposite usb_f_fs
        is_super=/sys/module/dummy_hcd/parameters/is_super_speed
        [ "$(cat $is_super 2>/dev/null)" = {wanted} ] && exit
        modprobe -r dummy_hcd || true
        modprobe dummy_hcd is_super_speed={wanted}"""
    )
