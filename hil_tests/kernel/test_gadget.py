"""A drive as a gadget in a real kernel: its cases, its operator, and what is left of its server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.gadget import UDC, Gadget, Serving, load_port
from hil_tests.kernel.machine import CommandFailed, KernelMachine
from hil_tests.kernel.ours import PIN, sedlab
from hil_tests.kernel.outcome import BULK_ONLY_CASE
from hil_tests.kernel.test_bulk_only import outcome, seen
from hil_tests.kernel.way_in import HIGH_SPEED

WAY_IN = Gadget("gadget itself")
OTHER = "/sys/kernel/config/usb_gadget/other"
LEFT = (
    "ls -d /sys/kernel/config/usb_gadget/sedlab-* 2>/dev/null; grep functionfs /proc/mounts; true"
)
USB = {"SUBSYSTEM": "usb", "DEVTYPE": "usb_device"}

pytestmark = pytest.mark.xdist_group("gadget")


@pytest.fixture
def drive(machine: KernelMachine) -> Iterator[PluggedDrive]:
    """A drive that is in, and locked; it is taken out."""
    drive = PluggedDrive(machine, WAY_IN)
    drive.attach()
    yield drive
    with suppress(CommandFailed):
        drive.unplug()


def served(machine: KernelMachine) -> Serving:
    load_port(machine, HIGH_SPEED)
    return Serving(machine, WAY_IN)


def test_device_ends_each_case_as_in_process(
    machine: KernelMachine,
    drive: PluggedDrive,
    record_property: Callable[[str, object], None],
) -> None:
    expected = json.loads(sedlab(machine, "bot-cases", "model:native", "--json"))
    options = ("--destroys-data", "--json")
    try:
        cases = drive.sedlab("bot-cases", drive.url, *options, SEDLAB_PIN_USER=PIN)
    except CommandFailed as failed:  # recoveries: dummy_hcd's FIFO keeps what a reset takes back
        cases = failed.ended.text
    document = json.loads(cases)
    for case in document["cases"]:
        record_property(BULK_ONLY_CASE, outcome("usb: gadget", case).record())

    assert seen(document) == seen(expected)


def test_operator_unplugs_it_and_plugs_it_in(machine: KernelMachine, drive: PluggedDrive) -> None:
    path = f"/run/{WAY_IN.name.replace(' ', '-')}.sed"
    before = machine.moment()
    drive.sedlab("unplug", path)
    gone = machine.event_since(before, {"ACTION": "remove", **USB})
    drive.sedlab("plug", path)
    back = machine.event_since(before, {"ACTION": "bind", "SUBSYSTEM": "scsi", "DRIVER": "sd"})

    assert gone is not None and back is not None
    assert "green" in drive.sedlab("leds", path)


def test_nothing_is_left_of_a_server_that_ends(machine: KernelMachine) -> None:
    served(machine).end("INT")

    assert machine.output_of(LEFT) == ""


def test_next_server_removes_what_a_killed_one_left_and_nothing_else(
    machine: KernelMachine,
) -> None:
    machine.output_of(f"modprobe libcomposite; mkdir -p {OTHER}")
    served(machine).end("KILL")
    left = machine.output_of(LEFT)
    served(machine).end()

    assert f"sedlab-{UDC}" in left and "functionfs" in left
    assert "functionfs" not in machine.output_of(LEFT)
    assert machine.output_of(f"ls -d {OTHER} && rmdir {OTHER}").strip() == OTHER


def test_port_of_another_says_whose_it_is(machine: KernelMachine, drive: PluggedDrive) -> None:
    with pytest.raises(CommandFailed, match="in use by another sedlab serve"):
        machine.output_of("sedlab serve model:plain --gadget", timeout_s=120)
