"""Somebody else's conformance suite: libiscsi's, over SG_IO, on an ordinary disk of ours.

No PIN stands before its medium, so that the suite can eject it, load it again and sanitize it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import pytest

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.libiscsi import Judged, judged, summary
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.ours import UsbRedir
from hil_tests.kernel.outcome import CONFORMANCE
from hil_tests.kernel.way_in import BULK_ONLY

WAYS: Final = (
    UsbRedir("conformance UAS", profile="plain", pin=""),
    UsbRedir("conformance BOT", BULK_ONLY, profile="plain", pin=""),
)
SUITE_S: Final = 900

# Whoever has sdX open, the kernel prevents the removal of its medium, which these suites want.
THROUGH_SG: Final = ("NoMedia", "StartStopUnit")
FAULTS_OF_THE_SUITE: Final = {
    "Sanitize.CryptoErase": "it looks for the block erase's WABEREQ, not for WACEREQ",
    "Sanitize.OverwriteReserved": "it looks for a session of iSCSI, and crashes",
}

pytestmark = pytest.mark.xdist_group("conformance")


@pytest.mark.parametrize("way_in", WAYS, ids=lambda way_in: way_in.name)
def test_libiscsis_suite_finds_nothing(
    machine: KernelMachine, record_property: Callable[[str, object], None], way_in: UsbRedir
) -> None:
    with PluggedDrive.plugged(machine, way_in) as drive:
        found, tests = _judged_by_all(drive)
    record_property(CONFORMANCE, f"{way_in.name}: {summary(found)}")

    assert [each for each in found if not each.has_passed] == []
    assert {each.name for each in found} == tests
    assert sum(not each.is_skipped for each in found) > len(found) // 2


def _judged_by_all(drive: PluggedDrive) -> tuple[list[Judged], set[str]]:
    """Return what each test says, and the names of those that must have said anything."""
    listed = drive.do("iscsi-test-cu --list").split()
    names = [each.removeprefix("SCSI.") for each in listed if each.startswith("SCSI.")]
    tests = [each for each in names if "." in each]
    left_out = {each.split(".")[0] for each in FAULTS_OF_THE_SUITE}
    whole = [each for each in names if "." not in each and each not in left_out]
    single = [
        each for each in tests if each.split(".")[0] in left_out and each not in FAULTS_OF_THE_SUITE
    ]
    through_sg = [each for each in whole if each in THROUGH_SG]
    through_block = [each for each in (*whole, *single) if each not in THROUGH_SG]
    found = _run(drive, drive.block, through_block) + _run(drive, drive.generic, through_sg)
    return found, set(tests) - set(FAULTS_OF_THE_SUITE)


def _run(drive: PluggedDrive, device: str, names: Sequence[str]) -> list[Judged]:
    options = "--dataloss --allow-sanitize"
    tests = ",".join(f"SCSI.{each}" for each in names)
    return judged(drive.do(f"iscsi-test-cu {options} --test {tests} {device}; true", SUITE_S))
