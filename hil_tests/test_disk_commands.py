"""The commands of a disk in the hands of one who has no right to: what gives a drive away."""

import pytest

from firmware_model.wire import scsi
from firmware_model.wire.sense import LOCKED, MISCOMPARE
from hil_tests.bench.disk_commands import NOBODYS, obeyed, telling
from host_driver.transport import Completion, ScsiStatus

STORED = bytes(range(256)) * 2
REFUSED = Completion(ScsiStatus.CHECK_CONDITION, LOCKED, b"", 0)
DONE = Completion(ScsiStatus.GOOD, None, b"", 0)


def test_drive_that_refuses_all_of_it_alike_gives_nothing_away() -> None:
    assert list(obeyed(lambda command, data_out: REFUSED)) == []
    assert telling(lambda command, data_out: REFUSED, STORED) == []


@pytest.mark.parametrize(
    "kind",
    [
        scsi.Read,
        scsi.Verify,
        scsi.PreFetch,
        scsi.SynchronizeCache,
        scsi.GetLbaStatus,
        scsi.Write,
        scsi.WriteAndVerify,
        scsi.WriteSame,
        scsi.OrWrite,
        scsi.CompareAndWrite,
        scsi.Unmap,
        scsi.FormatUnit,
        scsi.Sanitize,
    ],
)
def test_drive_that_obeys_one_of_them_is_found_out(kind: type) -> None:
    def obeys_one(command: scsi.Command, data_out: bytes) -> Completion:
        return DONE if isinstance(command, kind) else REFUSED

    assert len(list(obeyed(obeys_one))) > 0


@pytest.mark.parametrize("kind", [scsi.Verify, scsi.WriteAndVerify, scsi.CompareAndWrite])
def test_drive_that_tells_content_apart_is_found_out(kind: type) -> None:
    def compares(command: scsi.Command, data_out: bytes) -> Completion:
        if isinstance(command, kind) and data_out and data_out[:512] != STORED:
            return Completion(ScsiStatus.CHECK_CONDITION, MISCOMPARE, b"", 0)
        return REFUSED

    found = telling(compares, STORED)
    assert found and all("tells whether it was sent what is stored" in each for each in found)
    assert telling(compares, NOBODYS) == []
