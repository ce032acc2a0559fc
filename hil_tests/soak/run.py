"""A machine, two drives at full load, and plugs that are pulled until the time is up."""

from __future__ import annotations

import json
import random
import shlex
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hil_tests.command_line import ROOT
from hil_tests.kernel.kernel_log import FAULT
from hil_tests.kernel.machine import HOST_LOOPBACK, CommandFailed, KernelMachine, MachineFault
from hil_tests.kernel.ours import UsbRedir, Vhci
from hil_tests.kernel.qemu import QemuError
from hil_tests.soak.account import Kind
from hil_tests.soak.memory import Usage, growth
from hil_tests.soak.served_drive import ServedDrive
from hil_tests.soak.worker import Order, State
from host_driver.errors import DriveError

NATIVE: Final = UsbRedir("soak usbredir UAS")
KEYPAD: Final = Vhci("soak vhci BOT", profile="keypad", pin="")
THREADS: Final = 4  # of each drive: as many commands are queued
BLOCKS: Final = 2048  # of each thread
PATIENCE_S: Final = 240  # for what must happen; the kernel itself waits 30 s, several times
WARM_UP: Final = 0.5  # of the time, before memory is looked at
LOOKS: Final = 20  # at memory, a second apart
WORKING_MAX_S: Final = 2.0  # between two plugs
FAULTS = (CommandFailed, DriveError, MachineFault, QemuError, OSError, ValueError)

Show = Callable[[str, int, int], None]  # what to say, seconds that have passed, of how many


class Failed(Exception):
    """Something that must happen did not."""


@dataclass(slots=True)
class DriveOutcome:
    """What became of one drive."""

    name: str
    written_bytes: int = 0
    read_bytes: int = 0  # and held to the account
    lost: int = 0  # blocks
    other: int = 0
    replugs: dict[str, int] = field(default_factory=dict)  # by how the plug was pulled
    faults: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    before: Usage | None = None  # half-way
    replugs_before: int = 0
    after: Usage | None = None
    is_verified: bool = False  # all of it, at the end

    @property
    def was_at_work(self) -> bool:
        """Whether it was written to and read, and its plug was pulled."""
        return bool(self.written_bytes and self.read_bytes and sum(self.replugs.values()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of all."""

    seed: int
    minutes: float
    drives: tuple[DriveOutcome, ...]
    kernel: tuple[str, ...]  # what its log complains of

    @property
    def is_good(self) -> bool:
        """Whether all was looked at, nothing was lost, and nothing else went wrong."""
        return not self.kernel and all(
            each.was_at_work and each.is_verified and not (each.lost or each.other or each.errors)
            for each in self.drives
        )

    @property
    def document(self) -> dict[str, Any]:
        """All of it, for a program."""
        return {"passed": self.is_good, **asdict(self)}


class Reports:
    """What a worker in the machine tells of itself."""

    def __init__(self, listener: socket.socket, log: Path) -> None:
        self._listener = listener
        self._log = log
        self._line: socket.socket | None = None
        self._changed = threading.Condition()
        self._last: dict[str, Any] = {"state": State.LOOKING, "why": "", "plugs": 0, "losses": 0}
        self._has_left = False

    @property
    def last(self) -> dict[str, Any]:
        """The last report."""
        with self._changed:
            return self._last

    def begin(self, order: Order) -> None:
        """Wait for the worker to call, and tell it what to do; raise Failed if it does not."""
        try:
            self._line, _ = self._listener.accept()
        except TimeoutError:
            raise Failed(
                f"the worker has not begun: {self._last_words('it said nothing')}"
            ) from None
        self._line.sendall(json.dumps(asdict(order)).encode() + b"\n")
        threading.Thread(target=self._receive, daemon=True).start()

    def end(self) -> None:
        """Have it verify all and end."""
        assert self._line is not None
        self._line.shutdown(socket.SHUT_WR)

    def wait(self, what: str, has_come: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until a report says so; raise Failed if it does not come to that."""
        with self._changed:
            self._changed.wait_for(lambda: has_come(self._last) or self._has_left, PATIENCE_S)
            if not has_come(self._last):
                state, why = self._last["state"], self._last["why"] or "no error"
                how = f"is {state} after {PATIENCE_S} s; {why}"
                if self._has_left:
                    how = f"has ended: {self._last_words(why)}"
                raise Failed(f"{what}: the worker {how}")

    def _last_words(self, otherwise: str) -> str:
        """Return the last line of what it said outside its reports."""
        said = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return (said or [otherwise])[-1]

    def _receive(self) -> None:
        assert self._line is not None
        with suppress(OSError, ValueError):  # its last line may be half a one
            for line in self._line.makefile("rb"):
                with self._changed:
                    self._last = json.loads(line)
                    self._changed.notify_all()
        with self._changed:
            self._has_left = True
            self._changed.notify_all()


class Soaked:
    """One drive, its worker in the machine, and the hand that pulls its plug."""

    def __init__(self, drive: ServedDrive, reports: Reports, chance: random.Random) -> None:
        self.drive = drive
        self.outcome = DriveOutcome(drive.way_in.name)
        self._reports = reports
        self._chance = chance
        self._replugs: Counter[str] = Counter()

    @property
    def is_opening(self) -> bool:
        """Whether its first plug has not led to work yet."""
        return not self._reports.last["plugs"]

    def run(self, ends: threading.Event) -> None:
        """Pull the plug until it ends; have all verified then."""
        try:
            self.drive.plug()
            self._becomes_open(1)
            while not ends.wait(self._chance.uniform(0, WORKING_MAX_S)):
                self._replug()
            self._reports.end()
            self._reports.wait("not verified", lambda told: told["state"] == State.DONE)
            self.outcome.is_verified = True
        except (Failed, *FAULTS) as failed:
            self.outcome.errors.append(f"{type(failed).__name__}: {failed}")
            self.outcome.errors += [f"its server said: {line}" for line in self.drive.said]

    def report(self) -> DriveOutcome:
        """Return what has become of it so far."""
        last, outcome = self._reports.last, self.outcome
        outcome.written_bytes, outcome.read_bytes = last.get("written", 0), last.get("read", 0)
        outcome.lost, outcome.other = last.get(Kind.LOST, 0), last.get(Kind.OTHER, 0)
        outcome.faults = last.get("faults", [])
        outcome.replugs = dict(self._replugs)
        return outcome

    def _replug(self) -> None:
        told = self._reports.last
        if told["losses"] == told["plugs"]:
            raise Failed(f"the drive was lost with its plug in: {told['why']}")
        how, pull = self._chance.choice(tuple(self.drive.pulls.items()))
        pull(self._chance)
        plugs = told["plugs"]
        self._reports.wait(f"{how}, unnoticed", lambda told: told["losses"] == plugs)
        self.drive.replug(how)
        self._becomes_open(plugs + 1)
        self._replugs[how] += 1

    def _becomes_open(self, plugs: int) -> None:
        """Open the drive if that takes a hand, and wait until the worker works."""
        self.drive.unlock()
        self._reports.wait("not open", lambda told: told["plugs"] == plugs)


class Run:
    """The whole of it."""

    def __init__(self, minutes: float, seed: int, defect: str, show: Show) -> None:
        self._minutes = minutes
        self._seed = seed
        self._defect = defect
        self._show = show

    def outcome(self) -> Outcome:
        """Boot, soak, verify; raise NoImage or MachineFault where there is no machine.

        Raises Failed where a worker does not begin.
        """
        self._show("booting", 0, 1)
        with KernelMachine.boot() as machine:
            lock = threading.Lock()
            both: list[Soaked] = []
            ways_in: tuple[UsbRedir | Vhci, ...] = (NATIVE, KEYPAD)
            for number, way_in in enumerate(ways_in):
                drive = ServedDrive(machine, lock, way_in, self._defect if number else "")
                reports = _hired(machine, self._order(machine, drive, number))
                chance = random.Random(f"{self._seed}:{number}")
                both.append(Soaked(drive, reports, chance))
            self._soak(both)
            kernel = complaints(machine.qemu.console_log.read_text(errors="replace"))
            return Outcome(self._seed, self._minutes, tuple(each.report() for each in both), kernel)

    def _order(self, machine: KernelMachine, drive: ServedDrive, number: int) -> Order:
        known = machine.folder / "sedlab" / "known_drives"
        pin = drive.way_in.pin
        return Order(drive.serial, pin, str(known), self._seed + number, THREADS, BLOCKS)

    def _soak(self, both: list[Soaked]) -> None:
        """Let it go on for the time, and look at memory half-way and at its end."""
        ends = threading.Event()
        hands = [threading.Thread(target=each.run, args=(ends,), daemon=True) for each in both]
        for hand in hands:
            hand.start()
        while any(each.is_opening for each in both) and all(each.is_alive() for each in hands):
            time.sleep(1)
        began, of = time.monotonic(), self._minutes * 60

        def work_until(until: float) -> None:
            while (passed := time.monotonic() - began) < until:
                if not all(each.is_alive() for each in hands):
                    break
                self._show(line(each.report() for each in both), int(passed), int(of))
                time.sleep(1)

        work_until(of * WARM_UP)
        for soaked, usage in zip(both, looked_at([each.drive for each in both]), strict=True):
            soaked.outcome.before = usage
            soaked.outcome.replugs_before = sum(soaked.report().replugs.values())
        work_until(of)
        for soaked, usage in zip(both, looked_at([each.drive for each in both]), strict=True):
            soaked.outcome.after = usage
        self._show("verifying all", int(of), int(of))
        ends.set()
        for hand in hands:
            hand.join()
        for soaked in both:
            outcome = soaked.report()
            replugs = sum(outcome.replugs.values()) - outcome.replugs_before
            outcome.errors += growth(outcome.before, outcome.after, replugs)


def _hired(machine: KernelMachine, order: Order) -> Reports:
    """Start a worker in the machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        port = listener.getsockname()[1]
        worker = f"{sys.executable} -m hil_tests.soak.worker {HOST_LOOPBACK} {port}"
        log = machine.folder / f"worker-{port}.log"
        machine.output_of(f"cd {shlex.quote(str(ROOT))} && nohup {worker} >{log} 2>&1 &")
        reports = Reports(listener, log)
        reports.begin(order)
    return reports


def looked_at(drives: Sequence[ServedDrive]) -> list[Usage | None]:
    """Return what each drive's server has, at least; None for one that does not tell."""
    looks: list[list[Usage | None]] = []
    for _ in range(LOOKS):
        looks.append([drive.usage for drive in drives])
        if None in looks[-1]:
            break
        time.sleep(1)
    told = ([usage for usage in of_drive if usage] for of_drive in zip(*looks, strict=True))
    return [Usage.least(usages) if len(usages) == len(looks) else None for usages in told]


def complaints(log: str) -> tuple[str, ...]:
    """Return the lines of a kernel's log that tell of a fault of the kernel."""
    return tuple(line.strip() for line in log.splitlines() if FAULT.search(line))


def line(outcomes: Iterable[DriveOutcome]) -> str:
    """Return in a line how far it is."""
    total: Counter[str] = Counter()
    for each in outcomes:
        total.update(
            written=each.written_bytes,
            read=each.read_bytes,
            plugs=sum(each.replugs.values()),
            lost=each.lost + each.other,
        )
    return (
        f"{total['written'] / 1e6:.0f} MB written, {total['read'] / 1e6:.0f} MB verified, "
        f"{total['plugs']} re-plugs, {total['lost']} blocks lost"
    )
