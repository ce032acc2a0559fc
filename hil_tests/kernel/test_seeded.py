"""The battery is seen to fail: on drives that are known to be at fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hil_tests.kernel import faulty_parts
from hil_tests.kernel.checks import Check
from hil_tests.kernel.checks.blocks import (
    fio_verifies_what_it_wrote,
    patterns_at_both_ends_are_read_back,
)
from hil_tests.kernel.checks.files import (
    ext4_outlives_a_plug_pulled_in_a_write,
    f3_finds_every_byte,
)
from hil_tests.kernel.checks.plugging import enumerates_without_a_warning
from hil_tests.kernel.drive import NotFound, PluggedDrive
from hil_tests.kernel.machine import CommandFailed, KernelMachine
from hil_tests.kernel.ours import UsbRedir
from hil_tests.kernel.way_in import BULK_ONLY


def faulty(part: type) -> UsbRedir:
    """Return a way in whose drive has a part of those that fail."""
    defect = f"{faulty_parts.__file__}:{part.__name__}"
    return UsbRedir(f"seeded {part.__name__}", profile="plain", pin="", defect=defect)


WORN = faulty(faulty_parts.WearsOut)
FORGETFUL = faulty(faulty_parts.IgnoresFlush)
ANSWERS_TO_NOBODY = UsbRedir("seeded tag", BULK_ONLY, defect="tag-not-echoed")

pytestmark = pytest.mark.xdist_group("seeded")


@pytest.fixture
def drive(machine: KernelMachine, request: pytest.FixtureRequest) -> Iterator[PluggedDrive]:
    """A drive of the way in that a test names."""
    drive = PluggedDrive(machine, request.param)
    yield drive
    drive.unplug()


@pytest.mark.parametrize(
    ("drive", "check"),
    [
        (WORN, patterns_at_both_ends_are_read_back),
        (WORN, fio_verifies_what_it_wrote),
        (WORN, f3_finds_every_byte),
        (FORGETFUL, ext4_outlives_a_plug_pulled_in_a_write),
        (ANSWERS_TO_NOBODY, enumerates_without_a_warning),
    ],
    ids=["badblocks", "fio", "f3", "pulled", "enumerates"],
    indirect=["drive"],
)
def test_check_finds_what_is_at_fault(
    drive: PluggedDrive, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hil_tests.kernel.drive.FINDING_S", 15)  # in vain, for one of them
    with pytest.raises((AssertionError, CommandFailed, NotFound)):
        drive.plug()
        check(drive)
