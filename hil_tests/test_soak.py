"""The bookkeeping of the soak, which needs no kernel."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from firmware_model.emulated_drive import EmulatedDrive
from hil_tests.soak.account import BLOCK_BYTES, Account, Fault, Kind, block, content
from hil_tests.soak.block_device import TRANSFER_BLOCKS_MAX, Gone, Transfers
from hil_tests.soak.run import (
    MORE,
    DriveOutcome,
    Failed,
    Outcome,
    Reports,
    complaints,
    growth,
)
from hil_tests.soak.served_drive import Usage
from hil_tests.soak.server import AskedServer, InUse
from hil_tests.soak.worker import Order, Writer
from hil_tests.targets import ModelName, powered
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.operator_socket import OperatorSocket
from host_driver.scsi import ScsiDisk

SEED = 7
FIRST, COUNT = 100, 8
ORDER = Order("0123456789AB", "", "", SEED, threads=1, blocks=COUNT)
USAGE = Usage(heap_kib=12_000, blocks=200_000, anonymous_kib=40_000, files=10, threads=4)
POWER_CYCLES = 20
# A drive whose every power-up costs memory for good: 16 KiB, and 1,000 objects.
HOARDER = """
from firmware_model.firmware.reference import ConstantTime

hoard = []

class Hoarder(ConstantTime):
    part = "pacing"

    def __init__(self):
        hoard.append([bytes(16 << 10), [object() for _ in range(1000)]])
"""


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


def test_worker_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Traceback\nKeyError: 3\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reports = Reports(listener, log)
        with socket.create_connection(listener.getsockname()) as worker:
            reports.begin(ORDER)
            worker.sendall(b'{"state": "working", "plugs": 1, "losses": 0, "why": ""}\n{"st')
            reports.wait("not open", lambda told: told["plugs"] == 1)
        with pytest.raises(Failed, match="not open: the worker has ended: KeyError: 3"):
            reports.wait("not open", lambda told: told["plugs"] == 2)


def test_worker_that_does_not_begin_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Traceback\nModuleNotFoundError: No module named 'click'\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        with pytest.raises(Failed, match="has not begun: ModuleNotFoundError: No module named"):
            Reports(listener, log).begin(ORDER)


def grown_in_use(folder: Path, target: str) -> InUse:
    """Return what a served drive has more in use after some power cycles."""
    with ExitStack() as stack:
        server = AskedServer(folder, target, "--usbip", "127.0.0.1:0", "--json")
        stack.enter_context(closing(server))
        operator = OperatorSocket(server.drives()[0]["operator"])
        stack.enter_context(closing(operator))
        looks: list[InUse] = []
        for _ in range(3):  # what is made once, is made in the first
            for _ in range(POWER_CYCLES):
                operator.power_off()
                operator.power_on()
            in_use = server.in_use()
            assert in_use
            looks.append(in_use)
    _, before, after = looks
    return InUse(after.heap_kib - before.heap_kib, after.blocks - before.blocks)


def test_memory_in_use_does_not_grow_with_power_cycles(tmp_path: Path) -> None:
    grown = grown_in_use(tmp_path, "model:plain")

    assert grown.heap_kib < POWER_CYCLES
    assert grown.blocks < 100 * POWER_CYCLES


def test_memory_that_a_drive_hoards_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "hoarder.py").write_text(HOARDER)
    grown = grown_in_use(tmp_path, "model:plain+hoarder.py:Hoarder")

    assert grown.heap_kib >= 16 * POWER_CYCLES
    assert grown.blocks >= 1000 * POWER_CYCLES


def test_server_that_has_ended_has_nothing_in_use(tmp_path: Path) -> None:
    with closing(AskedServer(tmp_path, "model:plain", "--usbip", "127.0.0.1:0")) as server:
        server.ends(signal.SIGKILL)

        assert server.in_use() is None


def test_usage_of_this_process_is_read() -> None:
    in_use = InUse.here()
    usage = Usage.of(os.getpid(), in_use)

    assert (usage.heap_kib, usage.blocks) == (in_use.heap_kib, in_use.blocks)
    assert usage.anonymous_kib > usage.heap_kib > 0
    assert usage.files > 0
    assert usage.threads > 0


def test_least_of_several_looks_counts() -> None:
    assert Usage.least([replace(USAGE, blocks=7), replace(USAGE, files=3)]) == replace(
        USAGE, blocks=7, files=3
    )


@pytest.mark.parametrize("name", MORE)
def test_process_that_grows_is_told(name: str) -> None:
    then, (more, what) = getattr(USAGE, name), MORE[name]
    grown = [replace(USAGE, **{name: then + more + extra}) for extra in (0, 1)]

    assert [growth(USAGE, each) for each in grown] == [
        [],
        [f"the server has {then + more + 1} {what}, and had {then}"],
    ]


def test_process_that_was_not_looked_at_has_not_passed() -> None:
    assert growth(None, USAGE)


AT_WORK: dict[str, Any] = {
    "written_bytes": 4096,
    "read_bytes": 4096,
    "replugs": {"unplugged": 1},
    "is_verified": True,
}
IDLE: dict[str, Any] = {"written_bytes": 0, "read_bytes": 0, "replugs": {}, "is_verified": False}


def passes(**seen: Any) -> bool:
    return Outcome(SEED, 30, (DriveOutcome("one", **AT_WORK | seen),), ()).is_good


@pytest.mark.parametrize("name", AT_WORK)
def test_drive_that_was_not_at_work_or_not_verified_has_not_passed(name: str) -> None:
    assert passes()
    assert not passes(**{name: IDLE[name]})


def test_kernel_that_waits_too_long_or_stumbles_is_told() -> None:
    log = """\
[   12.5] usb 2-1: USB disconnect, device number 2
[  140.0] INFO: task kworker/0:1:10 blocked for more than 120 seconds.
[  150.0] BUG: kernel NULL pointer dereference, address: 0000000000000010
"""

    assert len(complaints(log)) == 2
