"""A drive without a PIN, judged in the machine: by pyusb over libusb, with nobody beside it.

It is the profile of the fewest runs: the machine is an emulated one. As its documents say, such a
drive fails what a lock would hold.
"""

from __future__ import annotations

import json
from subprocess import CalledProcessError

import pytest

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.inside import SEDLAB_S
from hil_tests.kernel.machine import CommandFailed, KernelMachine
from hil_tests.kernel.ours import UsbRedir, Vhci, drive_path, sedlab, served

PROFILE = "plain"
REDIRECTED = UsbRedir("evaluated over libusb", pin="", profile=PROFILE)
EXPORTED = Vhci("evaluated over USB-IP", pin="", profile=PROFILE)
UNDER_WAY = "until grep -qs scenarios /run/said; do sleep 0.1; done"
OPTIONS = ("--profile", PROFILE, "--depth", "survey", "--out")
PASSED = {
    "answers-hold-nothing-stale",
    "data-phases-end-as-they-must",
    "enumerates-as-told",
    "halts-end-as-they-must",
    "malformed-is-harmless",
}
FAILED = {
    "erase-is-final",
    "limit-holds",
    "locked-drive-gives-no-data",
    "no-command-opens",
}

pytestmark = pytest.mark.xdist_group("evaluate")


def verdicts(machine: KernelMachine, folder: str) -> dict[str, str]:
    """Return the verdict on each property, of a report in the folder of both sides."""
    report = json.loads((machine.folder / folder / "report.json").read_text("utf-8"))
    (evaluation,) = report["evaluations"]
    return {each["property_id"]: each["outcome"] for each in evaluation["verdicts"]}


def test_verdicts_over_libusb_are_those_over_usbip(machine: KernelMachine) -> None:
    for way_in in (REDIRECTED, EXPORTED):
        sedlab(machine, "new", drive_path(machine, way_in).name, "--profile", PROFILE)
    url = served(machine, EXPORTED, "--usbip", "127.0.0.1:0")["url"]
    with pytest.raises(CalledProcessError, match="exit status 1"):
        sedlab(machine, "evaluate", url, *OPTIONS, "beside")
    inside = str(machine.folder / "inside")
    with PluggedDrive.plugged(machine, REDIRECTED) as drive:
        with pytest.raises(CommandFailed, match="exited 1"):
            drive.sedlab("evaluate", drive.url, *OPTIONS, inside, "--destroys-data")
        driver = drive.do(f"basename $(readlink {drive.interface}/driver)").strip()
    found = verdicts(machine, "inside")

    assert driver == REDIRECTED.driver  # the kernel has it again
    assert found == verdicts(machine, "beside")
    assert {each for each, outcome in found.items() if outcome == "passed"} >= PASSED
    assert {each for each, outcome in found.items() if outcome == "failed"} == FAILED


def test_drive_that_is_unplugged_meanwhile_gets_no_verdict(machine: KernelMachine) -> None:
    with PluggedDrive.plugged(machine, REDIRECTED) as drive:
        command = " ".join(("evaluate", drive.url, *OPTIONS, "/run/report", "--destroys-data"))
        evaluates = f"python3 -m host_driver {command} 2>/run/said"
        evaluation = machine.start(evaluates, timeout_s=SEDLAB_S)
        machine.output_of(UNDER_WAY, timeout_s=SEDLAB_S)
    ended = evaluation.wait()
    *_, last = machine.output_of("cat /run/said").splitlines()

    assert (ended.status, ended.text) == (3, "")
    assert last.startswith("sedlab: ") and "gone" in last
