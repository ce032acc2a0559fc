"""The properties of a drive, judged in the machine: by pyusb over libusb, with nobody beside it."""

from __future__ import annotations

import json

import pytest

from hil_tests.command_line import FAST
from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.ours import UsbRedir, Vhci, drive_path, sedlab, served

REDIRECTED = UsbRedir("evaluated over libusb", pin="")
EXPORTED = Vhci("evaluated over USB-IP", pin="")
OPTIONS = ("--profile", "native", "--depth", "survey", "--json", "--out")
EXERCISED_MIN = 11

pytestmark = pytest.mark.xdist_group("evaluate")


def made(machine: KernelMachine, way_in: UsbRedir | Vhci) -> str:
    """Make the drive of a way in, and return its reset code."""
    name = drive_path(machine, way_in).name
    said = sedlab(machine, "new", name, "--profile", way_in.profile, *FAST, "--json")
    return str(json.loads(said)["reset_code"])


def verdicts(report: str) -> dict[str, str]:
    """Return the verdict on each property."""
    (evaluation,) = json.loads(report)["evaluations"]
    return {each["property_id"]: each["outcome"] for each in evaluation["verdicts"]}


def test_verdicts_over_libusb_are_those_over_usbip(machine: KernelMachine) -> None:
    codes = [made(machine, way_in) for way_in in (REDIRECTED, EXPORTED)]
    url = served(machine, EXPORTED, "--usbip", "127.0.0.1:0")["url"]
    beside = sedlab(machine, "evaluate", url, *OPTIONS, "beside", SEDLAB_RESET_CODE=codes[1])
    drive = PluggedDrive.plugged(machine, REDIRECTED)
    options = (*OPTIONS, "/run/report", "--destroys-data")
    inside = drive.sedlab("evaluate", drive.url, *options, SEDLAB_RESET_CODE=codes[0])
    drive.unplug()
    found = verdicts(inside)

    assert found == verdicts(beside)
    assert sum(each == "passed" for each in found.values()) >= EXERCISED_MIN
