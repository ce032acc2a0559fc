"""The thirteen cases of Bulk-Only by target: in this process, over USB/IP, through a kernel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.ours import PIN, UsbRedir, Vhci, sedlab, served
from hil_tests.kernel.outcome import BULK_ONLY_CASE, Outcome, Verdict
from hil_tests.kernel.usbipd import given_away

SEEN = ("data_bytes", "residue", "status", "halt", "verdict", "said")
# A block is less than a packet there, and so ends the transfer: the halt is met by the next one.
HALTS_AT_SUPER_SPEED = {"hi_gt_di": "status"}
REDIRECTED = UsbRedir("cases usbredir")
EXPORTED = Vhci("cases usbip")
GIVEN_AWAY = UsbRedir("cases usbipd")
IN_PROCESS, OVER_USBIP, OVER_LIBUSB = "model:native", "usbip://", "usb: in the machine"
OVER_USBIPD = "usbip:// of Linux"
VERDICTS = {
    "as specified": Verdict.PASSED,
    "tolerated": Verdict.DIFFERS,
    "broken": Verdict.FAILED,
    "not exercised": Verdict.NOT_EXERCISED,
}

pytestmark = pytest.mark.xdist_group("bulk_only")


def over_usbip(machine: KernelMachine) -> str:
    url = served(machine, EXPORTED, "--usbip", "127.0.0.1:0")["url"]
    return sedlab(machine, "bot-cases", url, "--json", SEDLAB_PIN_USER=PIN)


def over_libusb(machine: KernelMachine) -> str:
    with PluggedDrive(machine, REDIRECTED) as drive:
        drive.attach()
        options = ("--destroys-data", "--json")
        return drive.sedlab("bot-cases", drive.url, *options, SEDLAB_PIN_USER=drive.way_in.pin)


def over_usbipd(machine: KernelMachine) -> str:
    with PluggedDrive(machine, GIVEN_AWAY) as drive:
        drive.attach()
        options = ("--destroys-data", "--serial", drive.serial, "--json")
        with given_away(drive) as url:
            return drive.sedlab("bot-cases", url, *options, SEDLAB_PIN_USER=PIN)


@pytest.mark.parametrize(
    ("target", "run"),
    [(OVER_USBIP, over_usbip), (OVER_LIBUSB, over_libusb), (OVER_USBIPD, over_usbipd)],
    ids=["usbip", "libusb", "usbipd"],
)
def test_device_ends_each_case_as_in_process(
    machine: KernelMachine,
    target: str,
    run: Callable[[KernelMachine], str],
    record_property: Callable[[str, object], None],
) -> None:
    expected = json.loads(sedlab(machine, "bot-cases", "model:native", "--json"))
    document = json.loads(run(machine))
    for name, told in ((IN_PROCESS, expected), (target, document)):
        for case in told["cases"]:
            record_property(BULK_ONLY_CASE, outcome(name, case).record())

    assert {case["case"] for case in expected["cases"]} == set(range(1, 14))
    for case in expected["cases"]:
        case["halt"] = HALTS_AT_SUPER_SPEED.get(case["name"], case.get("halt"))

    assert seen(document) == seen(expected)
    assert document["recoveries"] == expected["recoveries"]


def seen(document: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return what was seen of each case, by its name."""
    return {each["name"]: tuple(each.get(key) for key in SEEN) for each in document["cases"]}


def outcome(target: str, case: dict[str, Any]) -> Outcome:
    """Return a case as the table shows it."""
    name = f"{case['case']:>2}  {case['host']:<8} {case['device']:<8} {case['command']}"
    return Outcome(name, target, VERDICTS[case["verdict"]], "; ".join(case["said"]))
