"""What a soak knows of each block, and who writes by it."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from firmware_model.emulated_drive import EmulatedDrive
from hil_tests.soak.account import BLOCK_BYTES, Account, Fault, Kind, block, content
from hil_tests.soak.block_device import TRANSFER_BLOCKS_MAX, Gone, Transfers
from hil_tests.soak.worker import Writer
from hil_tests.targets import ModelName, powered
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.scsi import ScsiDisk

SEED = 7
FIRST, COUNT = 100, 8


@pytest.fixture
def account() -> Account:
    return Account(SEED, FIRST, COUNT)


def written(account: Account, lba: int, block_count: int = 1) -> bytes:
    """Return what a write that was acknowledged has put there."""
    data = account.begin(lba, block_count)
    account.acknowledge(lba, block_count)
    return data


def judged(account: Account, lba: int, data: bytes) -> list[Fault]:
    return list(account.judge(lba, data))


def test_block_differs_with_run_and_place_and_write() -> None:
    blocks = {block(*each) for each in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4))}

    assert {len(each) for each in blocks} == {BLOCK_BYTES}
    assert len(blocks) == 4


def test_block_that_was_never_written_holds_zeros(account: Account) -> None:
    assert not judged(account, FIRST, bytes(COUNT * BLOCK_BYTES))


def test_acknowledged_write_must_be_there(account: Account) -> None:
    data = written(account, FIRST, COUNT)

    assert not judged(account, FIRST, data)


def test_acknowledged_write_that_is_not_there_is_lost(account: Account) -> None:
    old = written(account, FIRST)
    written(account, FIRST)
    (fault,) = judged(account, FIRST, old)

    assert fault.kind is Kind.LOST
    assert str(fault) == "lost: LBA 100 must hold write 2, and holds write 1"


def test_first_write_that_is_not_there_is_lost(account: Account) -> None:
    written(account, FIRST)
    (fault,) = judged(account, FIRST, bytes(BLOCK_BYTES))

    assert fault.kind is Kind.LOST


def test_loss_is_told_once(account: Account) -> None:
    old = written(account, FIRST)
    written(account, FIRST)
    told = [len(judged(account, FIRST, old)) for _ in range(2)]

    assert told == [1, 0]


def test_unanswered_write_may_be_old_or_new_block_by_block(account: Account) -> None:
    old = written(account, FIRST, 2)
    new = account.begin(FIRST, 2)
    found = new[:BLOCK_BYTES] + old[BLOCK_BYTES:]

    assert account.unanswered == 2
    assert not judged(account, FIRST, found)
    assert account.unanswered == 0


def test_unanswered_write_stays_what_it_was_found_to_be(account: Account) -> None:
    old = written(account, FIRST)
    new = account.begin(FIRST, 1)
    first = judged(account, FIRST, new)
    (then,) = judged(account, FIRST, old)

    assert not first
    assert then.kind is Kind.LOST


def test_write_that_turns_up_after_the_old_content_was_read_is_a_fault(account: Account) -> None:
    old = written(account, FIRST)
    new = account.begin(FIRST, 1)
    first = judged(account, FIRST, old)
    (then,) = judged(account, FIRST, new)

    assert not first
    assert then.kind is Kind.OTHER


def test_unanswered_write_may_not_be_torn_inside_a_block(account: Account) -> None:
    old = written(account, FIRST)
    new = account.begin(FIRST, 1)
    (fault,) = judged(account, FIRST, new[:256] + old[256:])

    assert fault.kind is Kind.OTHER
    assert "garbage" in fault.found


def test_block_of_another_place_is_named(account: Account) -> None:
    data = written(account, FIRST, 2)
    (fault,) = judged(account, FIRST, data[BLOCK_BYTES:])

    assert fault.kind is Kind.OTHER
    assert fault.found == "write 1 of LBA 101"


def test_block_of_another_run_is_named(account: Account) -> None:
    written(account, FIRST)
    (fault,) = judged(account, FIRST, content(SEED + 1, FIRST, 1, 1))

    assert fault.found == "write 1 of another run"


@given(st.binary(min_size=BLOCK_BYTES, max_size=BLOCK_BYTES).filter(any))
def test_no_other_bytes_pass_for_a_block(data: bytes) -> None:
    account = Account(SEED, FIRST, COUNT)
    written(account, FIRST)

    assert len(judged(account, FIRST, data)) == 1


class AnyDrive(RuleBasedStateMachine):
    """A drive that keeps what it acknowledged, under cuts: there is never a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(SEED, FIRST, COUNT)
        self.medium = [bytes(BLOCK_BYTES)] * COUNT

    def put(self, at: int, data: bytes, is_kept: list[bool]) -> None:
        for number in range(len(data) // BLOCK_BYTES):
            if is_kept[number]:
                part = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
                self.medium[at + number] = part

    @rule(at=st.integers(0, COUNT - 1), count=st.integers(1, COUNT))
    def write(self, at: int, count: int) -> None:
        count = min(count, COUNT - at)
        self.put(at, written(self.account, FIRST + at, count), [True] * count)

    @rule(
        at=st.integers(0, COUNT - 1),
        is_kept=st.lists(st.booleans(), min_size=1, max_size=COUNT),
    )
    def cut_during_a_write(self, at: int, is_kept: list[bool]) -> None:
        count = min(len(is_kept), COUNT - at)
        self.put(at, self.account.begin(FIRST + at, count), is_kept)

    @rule()
    def verify(self) -> None:
        assert not judged(self.account, FIRST, b"".join(self.medium))

    @invariant()
    def what_is_unanswered_can_be_named(self) -> None:
        spans = self.account.unanswered_spans()

        assert sum(count for _, count in spans) == self.account.unanswered


TestAnyDrive = AnyDrive.TestCase


def plugged_in(drive: EmulatedDrive) -> ScsiDisk:
    return ScsiDisk(BulkOnlyTransport(usb.core.find(backend=InProcess([drive]))))


def faults_after_a_power_cut(name: str) -> list[Fault]:
    """Return what the account says of a drive that lost its supply after two writes."""
    account = Account(SEED, FIRST, COUNT)
    with ExitStack() as stack:
        drive = powered(ModelName.parse(name), stack)
        disk = plugged_in(drive)
        for _ in range(2):
            disk.write(FIRST, account.begin(FIRST, COUNT))
            account.acknowledge(FIRST, COUNT)
        drive.power_off()
        drive.power_on()
        return judged(account, FIRST, plugged_in(drive).read(FIRST, COUNT))


def test_drive_that_answers_too_early_has_lost_the_last_write() -> None:
    faults = faults_after_a_power_cut("plain+answered-write-lost")

    assert [fault.kind for fault in faults] == [Kind.LOST] * COUNT
    assert not faults_after_a_power_cut("plain")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file that stands for a disk, open."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(TRANSFER_BLOCKS_MAX * BLOCK_BYTES))
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


def worked(file: int, tally: Counter[str]) -> Writer:
    """Return a writer that has made a hundred transfers."""
    account = Account(SEED, 0, TRANSFER_BLOCKS_MAX)
    writer = Writer(account, random.Random(SEED), tally)
    going_on = iter([True] * 100 + [False])
    writer.work(Transfers(file), lambda: next(going_on))
    return writer


def test_writer_finds_what_it_wrote(file: int) -> None:
    tally = Counter[str]()
    writer = worked(file, tally)
    writer.verify(Transfers(file), is_whole=True)

    assert tally["written"] and tally["read"]
    assert not tally[Kind.LOST] and not tally[Kind.OTHER]


def test_writer_tells_what_is_gone(file: int) -> None:
    tally = Counter[str]()
    writer = worked(file, tally)
    os.pwrite(file, bytes(2 * BLOCK_BYTES), 0)
    writer.verify(Transfers(file), is_whole=True)

    assert tally[Kind.LOST] == 2
    assert writer.faults[0].startswith("lost: LBA 0 must hold write")


def test_transfer_that_fails_is_the_end_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(BLOCK_BYTES))
    fd = os.open(path, os.O_RDONLY)
    transfers = Transfers(fd)
    with pytest.raises(Gone, match="write of LBA 0: Bad file descriptor"):
        transfers.write(0, bytes(BLOCK_BYTES))
    with pytest.raises(Gone, match="read of LBA 1: only a part was read"):
        transfers.read(1, 1)
    os.close(fd)
