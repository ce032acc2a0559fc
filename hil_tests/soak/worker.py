"""Runs inside the machine: writes, reads back and verifies one drive as fast as it goes.

`python -m hil_tests.soak.worker HOST PORT`. It is told by a line of JSON which drive, and tells by
such lines how it fares; when the other end stops talking, it verifies all and ends. When the drive
goes, it waits until there is one of that serial number again, opens it if it has the PIN, and holds
what it finds to its account before it writes on.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from hil_tests.soak.account import BLOCK_BYTES, Account, Kind
from hil_tests.soak.block_device import TRANSFER_BLOCKS_MAX, Gone, Transfers, opened
from host_driver.linux_disks import LinuxDisk

LENGTHS: Final = (1, 8, 8, 32, 128, 256)  # blocks of a transfer
RECENT: Final = 4  # writes of each thread that are looked at after every plug
PLUGS_BETWEEN_WHOLE: Final = 10  # after so many, all is looked at
FAULTS_MAX: Final = 20  # that are told; the rest is counted
LOOKING_S: Final = 0.05
TELLING_S: Final = 1.0
TOLD: Final = ("written", "read", *Kind)  # of what is counted


class State(StrEnum):
    """What a worker is doing."""

    LOOKING = "looking"  # for its drive
    OPENING = "opening"  # it: a locked drive has no medium
    VERIFYING = "verifying"
    WORKING = "working"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Order:
    """Which drive, and how it is to be used."""

    serial: str
    pin: str  # empty: somebody else opens it
    known_drives: str  # file of pinned identities
    seed: int
    threads: int
    blocks: int  # of each thread


class Writer:
    """A thread's own span of the drive, and what it does there."""

    def __init__(self, account: Account, chance: random.Random, tally: Counter[str]) -> None:
        self.account = account
        self.faults: deque[str] = deque(maxlen=FAULTS_MAX)
        self._chance = chance
        self._tally = tally
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT)
        self._filled = account.lba_first  # all before it has been written once

    def work(self, transfers: Transfers, goes_on: Callable[[], bool]) -> None:
        """Write and read back until told to stop; raise Gone when the drive goes."""
        while goes_on():
            lba, block_count = self._place()
            if self._filled <= lba or self._chance.random() < 0.5:
                self._write(transfers, lba, block_count)
            else:
                self._verify(transfers, lba, block_count)

    def verify(self, transfers: Transfers, is_whole: bool) -> None:
        """Hold the drive to the account: what is new or in doubt, or all of it."""
        account = self.account
        spans = (*account.unanswered_spans(), *self._recent)
        if is_whole:
            end = account.lba_first + account.block_count
            starts = range(account.lba_first, end, TRANSFER_BLOCKS_MAX)
            spans = tuple((lba, min(TRANSFER_BLOCKS_MAX, end - lba)) for lba in starts)
        for lba, block_count in spans:
            self._verify(transfers, lba, block_count)

    def _place(self) -> tuple[int, int]:
        """Return where to go next: to what was never written, then anywhere."""
        first, count = self.account.lba_first, self.account.block_count
        if self._filled < first + count:
            return self._filled, min(TRANSFER_BLOCKS_MAX, first + count - self._filled)
        length = self._chance.choice(LENGTHS)
        return first + self._chance.randrange(count - length + 1), length

    def _write(self, transfers: Transfers, lba: int, block_count: int) -> None:
        transfers.write(lba, self.account.begin(lba, block_count))
        self.account.acknowledge(lba, block_count)
        self._recent.append((lba, block_count))
        self._filled = max(self._filled, lba + block_count)
        self._tally["written"] += block_count * BLOCK_BYTES

    def _verify(self, transfers: Transfers, lba: int, block_count: int) -> None:
        data = transfers.read(lba, block_count)
        self._tally["read"] += len(data)
        for fault in self.account.judge(lba, data):
            self._tally[fault.kind] += 1
            self.faults.append(str(fault))


Act = Callable[[Writer, Transfers, Callable[[], bool]], None]


class Worker:
    """All threads of one drive."""

    def __init__(self, order: Order, line: socket.socket) -> None:
        self._order = order
        self._line = line
        self._says = threading.Lock()
        self._tallies = [Counter[str]() for _ in range(order.threads)]
        self._writers: list[Writer] = []
        self._ends = threading.Event()
        self._plugs = 0  # that led to work
        self._losses = 0
        self._lost = 0  # inode of the disk that was lost last; the kernel may not have noticed yet
        self._state = State.LOOKING
        self._why = ""  # the drive was lost the last time

    def run(self) -> None:
        """Work until told to end, and through every plug that is pulled."""
        for task in (self._listen, self._report):
            threading.Thread(target=task, daemon=True).start()
        while self._state is not State.DONE:
            self._tell(State.LOOKING)
            inode, node = self._found()
            try:
                self._use(node)
            except Gone as gone:
                self._why = str(gone)
                if self._state is not State.OPENING:
                    self._losses += 1
                    self._lost = inode
                time.sleep(LOOKING_S)

    def _found(self) -> tuple[int, str]:
        """Wait for the drive; return the inode of its folder in sysfs, new at each plug, and node.

        Numbers of disks and SCSI hosts are given again.
        """
        while True:
            for folder in Path("/sys/block").glob("sd*/device"):
                with suppress(FileNotFoundError):
                    inode = folder.stat().st_ino
                    disk = LinuxDisk.in_folder(folder.resolve())
                    if disk.serial == self._order.serial and disk.block and inode != self._lost:
                        return inode, f"/dev/{disk.block}"
            time.sleep(LOOKING_S)

    def _use(self, node: str) -> None:
        """Verify and work until all is done; raise Gone when the drive goes, or does not open."""
        self._tell(State.OPENING)
        if self._order.pin:
            unlock(node, self._order)
        with opened(node) as fd:
            if not self._writers:
                self._begin(os.lseek(fd, 0, os.SEEK_END) // BLOCK_BYTES)
            self._tell(State.VERIFYING)
            is_whole = self._plugs % PLUGS_BETWEEN_WHOLE == PLUGS_BETWEEN_WHOLE - 1
            self._each(fd, lambda writer, transfers, _: writer.verify(transfers, is_whole))
            self._plugs += 1
            self._tell(State.WORKING)
            self._each(fd, lambda writer, transfers, goes_on: writer.work(transfers, goes_on))
            self._tell(State.VERIFYING)
            self._each(fd, lambda writer, transfers, _: writer.verify(transfers, is_whole=True))
            self._tell(State.DONE)

    def _begin(self, block_count: int) -> None:
        """Give each thread its span; the spans are spread over the drive."""
        order = self._order
        for number, tally in enumerate(self._tallies):
            account = Account(order.seed, number * block_count // order.threads, order.blocks)
            chance = random.Random(f"{order.seed}:{number}")
            self._writers.append(Writer(account, chance, tally))

    def _each(self, fd: int, act: Act) -> None:
        """Have each thread do something; one that loses the drive stops the others."""
        is_gone = threading.Event()

        def acts(writer: Writer) -> None:
            try:
                act(writer, Transfers(fd), lambda: not (is_gone.is_set() or self._ends.is_set()))
            except Gone:
                is_gone.set()
                raise

        with ThreadPoolExecutor(len(self._writers)) as threads:
            running = [threads.submit(acts, writer) for writer in self._writers]
        for each in running:
            each.result()

    def _listen(self) -> None:
        """Wait until the other end stops talking."""
        while self._line.recv(1):
            pass
        self._ends.set()

    def _report(self) -> None:
        """Tell how it fares while nothing else does."""
        while True:
            time.sleep(TELLING_S)
            self._tell()

    def _tell(self, state: State | None = None) -> None:
        """Tell how it fares, and that it is in another state if one is named."""
        with self._says:
            self._state = state or self._state
            document: dict[str, Any] = {
                "state": self._state,
                "plugs": self._plugs,
                "losses": self._losses,
                "why": self._why,
                "unanswered": sum(each.account.unanswered for each in self._writers),
                # Name by name: whoever counts may add one meanwhile.
                **{name: sum(each[name] for each in self._tallies) for name in TOLD},
                "faults": [fault for each in self._writers for fault in tuple(each.faults)],
            }
            self._line.sendall(json.dumps(document).encode() + b"\n")


def unlock(node: str, order: Order) -> None:
    """Open a drive as its owner does, past the kernel; raise Gone if it does not open."""
    from host_driver.drive import OpenOptions, open_drive  # slow, and not every drive takes it
    from host_driver.errors import DriveError

    options = OpenOptions(
        destroys_data=True, serial=order.serial, known_drives=Path(order.known_drives)
    )
    try:
        with open_drive(f"sg:{node}", options) as drive:
            drive.unlock(order.pin)
    except DriveError as refused:
        raise Gone(f"unlock: {type(refused).__name__}: {refused}") from refused


def main() -> None:
    """Work for whoever listens at the address that is given."""
    host, port = sys.argv[1:]
    with socket.create_connection((host, int(port))) as line:
        order = Order(**json.loads(line.makefile("rb", buffering=0).readline()))
        Worker(order, line).run()


if __name__ == "__main__":
    main()
