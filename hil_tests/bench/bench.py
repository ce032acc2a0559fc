"""The bench: one drive, the driver that talks to it, and the oracle that knows what it must do.

`run` takes one action and returns all that was seen of it. It judges nothing but whether what was
seen fits any world of the oracle; what that means is the business of the properties.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import usb.core
from usb.backend import IBackend

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.parts import ERRORS_OF_CODE
from firmware_model.hardware.board import FlashImage
from firmware_model.wire.native import State, Status
from hil_tests.actions import PIN_TABLE, Action
from hil_tests.bench import updates
from hil_tests.content import BLOCK_BYTES, Content
from hil_tests.oracle import Oracle, World
from hil_tests.steps import MAY_LOCK, Facts, Mismatch, Outcome, Step
from host_driver.attachment import Attachment
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.drive import Drive
from host_driver.errors import (
    CommandRefused,
    Disconnected,
    DriveError,
    NotSupported,
    WrongPin,
)
from host_driver.known_drives import IdentityCheck, KnownDrives, default_path
from host_driver.trace import Recorded
from host_driver.transport import CommandTransport

_TOLD: Final = {
    Outcome.OK: True,
    Outcome.CUT: None,
    Outcome.FAULT: None,
    Outcome.CRASH: None,
}
COUNTS: Final = ("user", "admin", "recovery")
DEFAULT_LIMIT: Final = 10  # for a drive that tells none: the oracle has to count from something
AUTO_LOCK_MARGIN_S: Final = 60  # commands take model time too: closer to the limit, all is allowed


def _unwatched(backend: IBackend) -> IBackend:
    return backend


class Attempts:
    """How many PINs the drive was made to look at: between `least` and `most`."""

    def __init__(self) -> None:
        self.least = 0
        self.most = 0


@dataclass(slots=True)
class Memory:
    """What the bench remembers of a run, besides the worlds."""

    numbers: dict[bytes, int] = field(default_factory=dict)  # content of a block -> its number
    erased_numbers: set[int] = field(default_factory=set)  # written before the last erase only
    secrets: dict[str, bytes] = field(default_factory=dict)  # keys that were seen, by what they are
    pins: set[str] = field(default_factory=set)  # that were entered or set
    recovery: tuple[str, ...] = ()
    used_recovery: str | None = None
    noted_flash: FlashImage | None = None
    recorded: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    is_tampered: bool = False
    state: str | None = None  # as the drive last told it
    erased_by: str | None = None
    idle_s: int = 0
    changed_pin: bool = False
    attempts: Attempts = field(default_factory=Attempts)
    evidence: tuple[int, int] | None = None  # attempts and records the drive last signed for
    firmware: updates.FirmwareSeen = field(default_factory=updates.FirmwareSeen)


class Bench:
    """A target under test. `seed` decides the host's random bytes."""

    def __init__(
        self,
        drive: EmulatedDrive,
        facts: Facts,
        content: Content,
        seed: bytes = b"bench",
        watch: Callable[[IBackend], IBackend] = _unwatched,
    ) -> None:
        self.drive = drive
        self.facts = facts
        self.content = content
        self.memory = Memory()
        limits = {count: facts.limits.get(count, DEFAULT_LIMIT) for count in COUNTS}
        self.oracle = Oracle(limits, facts.at_limit)
        self.oracle.act("nothing")
        self.count = 0  # of steps
        self._seed = seed
        self._drawn = 0
        self._expected: tuple[Any, ...] = ("nothing",)
        self._watch = watch
        self.recorder = Recorded(watch(InProcess([drive])))
        self.wrap_transport: Callable[[CommandTransport], CommandTransport] | None = None
        self._host: Drive | None = None
        self._device: usb.core.Device | None = None
        self._link: BulkOnlyTransport | None = None

    # --- the way to the drive -------------------------------------------------------------------

    @property
    def worlds(self) -> tuple[World, ...]:
        """Every world that fits what was seen."""
        return tuple(world for _, world in self.oracle.branches)

    @property
    def is_open(self) -> bool:
        """Whether the drive is open in every world."""
        return all(world.state == "unlocked" for world in self.worlds)

    def host(self) -> Drive:
        """Return the driver's connection, opening one where there is none."""
        if self._host is None:
            self.reconnect()
            self._host = Drive(self.attachment(), self._check(), self.draw)
        return self._host

    def attachment(self) -> Attachment:
        """Return a fresh way to the drive."""
        self._device = find_device(self.drive, self.recorder)
        self._link = BulkOnlyTransport(self._device)
        transport: CommandTransport = self._link
        if self.wrap_transport is not None:
            transport = self.wrap_transport(transport)
        return Attachment(transport, self.drive, True, self.drive.serial, True, lambda: None)

    def device(self) -> usb.core.Device:
        """Return the device that the host talks to."""
        self.host()
        assert self._device is not None
        return self._device

    def link(self) -> BulkOnlyTransport:
        """Return the transport below the host's commands."""
        self.host()
        assert self._link is not None
        return self._link

    def reconnect(self) -> None:
        """Have the next command enumerate the drive anew."""
        if self._link is not None:
            self._link.close()
        self._host, self._link = None, None

    def draw(self, count: int) -> bytes:
        """Return random bytes for the host, which the seed decides."""
        self._drawn += 1
        return hashlib.shake_128(self._seed + self._drawn.to_bytes(8, "big")).digest(count)

    def _check(self) -> IdentityCheck:
        return IdentityCheck(self.drive.serial, KnownDrives(default_path()), is_trusted=True)

    def restart(self, drive: EmulatedDrive) -> None:
        """Go on with another drive in the place of this one."""
        self.drive = drive
        payloads = self.recorder.payloads
        self.recorder = Recorded(self._watch(InProcess([drive])))
        self.recorder.payloads[:0] = payloads
        self.reconnect()

    def clone(self) -> Bench:
        """Return the same bench over a copy of the drive, which has just been powered up."""
        drive = self.drive.fork()
        drive.power_on()
        other = Bench(drive, self.facts, self.content, self._seed)
        other.oracle = replace(self.oracle)
        other.memory = copy.deepcopy(self.memory)
        other.count = self.count
        return other

    # --- running --------------------------------------------------------------------------------

    def expect(self, verb: str, *args: Any) -> None:
        """Say what the oracle is to be told of the action that is running."""
        self._expected = (verb, *args)

    def run(self, action: Action) -> Step:
        """Do one thing to the drive, and return what was seen of it."""
        from hil_tests.bench.verbs import HANDLERS

        self.count += 1
        memory = self.memory
        step = Step(self.count, action, self.worlds, memory.state, is_tampered=memory.is_tampered)
        board, crashes = self.drive.board, len(self.drive.crashes)
        began_us, first_payload = board.clock.now_us, len(self.recorder.payloads)
        self.expect("nothing")
        board.supply.begin()
        if action.cut is not None:
            self.drive.cut_at(action.cut)
        self._attempt(step, lambda: HANDLERS[action.verb](self, step, *action.args))
        if self.drive.crashes[crashes:]:
            step.outcome, step.detail = Outcome.CRASH, self.drive.crashes[-1]
        self.drive.cut_at(None)
        step.step_names = tuple(board.supply.names)
        was_cut = not self.drive.is_on
        if was_cut:
            if step.outcome is not Outcome.CRASH:
                step.outcome, step.detail = Outcome.CUT, ""
            self.drive.power_on()
            self.reconnect()
        step.is_tampered = step.is_tampered or self.memory.is_tampered
        self._judge(step, was_cut)
        step.time_us = board.clock.now_us - began_us
        step.bus = tuple(self.recorder.payloads[first_payload:])
        return step

    def run_all(self, actions: Sequence[Action]) -> list[Step]:
        """Do one thing after the other."""
        return [self.run(action) for action in actions]

    def _attempt(self, step: Step, handler: Callable[[], None]) -> None:
        """Run a handler, and sort what it raises into outcomes."""
        try:
            handler()
        except WrongPin as wrong:
            step.outcome, step.tries_told = Outcome.WRONG_PIN, wrong.tries_left
        except NotSupported as refused:
            step.outcome, step.detail = Outcome.NOT_SUPPORTED, str(refused)
        except CommandRefused as refused:
            step.outcome, step.detail = Outcome.REFUSED, str(refused)
        except DriveError as fault:
            step.outcome, step.detail = Outcome.FAULT, f"{type(fault).__name__}: {fault}"
            self.reconnect()
        except ERRORS_OF_CODE as crash:
            if not self.drive.parts:
                raise  # a reference part does not crash: it is the harness that is wrong
            step.outcome, step.detail = Outcome.CRASH, f"{type(crash).__name__}: {crash}"
            self.drive.power_off()

    # --- judging --------------------------------------------------------------------------------

    def _judge(self, step: Step, was_cut: bool) -> None:
        """Tell the oracle what happened, then narrow its worlds by what can be seen."""
        oracle, (verb, *args) = self.oracle, self._expected
        may_lock = verb == MAY_LOCK
        verb = "lock" if may_lock else verb
        before = oracle.branches
        if step.outcome in (Outcome.FAULT, Outcome.CRASH):
            self._judge_broken(step, verb, *args)
        oracle.act(verb, *args, was_cut=was_cut, may_fail=step.is_tampered)
        if may_lock:
            oracle.branches += tuple((None, world) for _, world in before)
        told = {success for success, _ in oracle.branches}
        step.is_refused_by_all = told == {False}
        step.may_be_refused = False in told
        success = _TOLD.get(step.outcome, False)
        if success is not None and not oracle.narrow(lambda s, w: s in (None, success)):
            expected = tuple("ok" if each else "refused" for each in told if each is not None)
            seen = "ok" if success else step.outcome.value
            step.mismatches.append(Mismatch("outcome", expected, seen))
            if success and verb in ("erase", "write"):  # what was stored is changed, by anybody
                oracle.branches = tuple((s, replace(w, data={})) for s, w in oracle.branches)
        self._look(step)
        self._note_erase(step)

    def _judge_broken(self, step: Step, verb: str, *args: Any) -> None:
        """No answer at all is no answer to a command that every drive must obey."""
        promised = replace(self.oracle)
        promised.act(verb, *args)
        if all(success for success, _ in promised.branches):
            step.mismatches.append(Mismatch("outcome", ("ok",), step.outcome.value))

    def _look(self, step: Step) -> None:
        """Ask the drive for its state, and compare."""
        try:
            status = self.status()
        except DriveError as fault:
            if step.outcome is not Outcome.CRASH:
                told = f"status: {type(fault).__name__}: {fault}"
                step.outcome, step.detail = Outcome.FAULT, told
            self.reconnect()
            return
        if status is None:
            return
        step.state = self.memory.state = status.state.name.lower()
        step.tries = dict(zip(COUNTS, status.tries, strict=True))
        updates.judge(self, step, status)
        oracle, tries = self.oracle, step.tries
        if step.is_tampered and status.state is State.FAILED:
            # Without its own flash it may refuse to work: then nothing happens, whatever is asked.
            oracle.branches = tuple((None, world.locked()) for world in step.before)
            return
        if not oracle.narrow(lambda s, w: w.state == step.state):
            states = tuple(world.state for world in self.worlds)
            step.mismatches.append(Mismatch("state", states, step.state))
        if not oracle.narrow(lambda s, w: _fits(w.tries, tries, step.is_tampered)):
            expected = tuple(_spelled(world.tries) for world in self.worlds)
            step.mismatches.append(Mismatch("tries", expected, _spelled(tries)))
        elif step.tries_told is not None and step.state in ("locked", "unlocked", "blocked"):
            self._compare_told(step)

    def _compare_told(self, step: Step) -> None:
        """A wrong-PIN answer says how many tries are left; it must be what the status says."""
        count = "recovery" if step.verb == "recover" else str(step.action.args[0])
        if step.tries is not None and step.tries_told != step.tries[count]:
            expected = (f"{step.tries[count]} told",)
            step.mismatches.append(Mismatch("tries", expected, f"{step.tries_told} told"))

    def status(self) -> Status | None:
        """Return what the drive says of itself; None where it says nothing."""
        try:
            return self.host().status()
        except Disconnected:
            self.reconnect()
            return self.host().status()

    def _note_erase(self, step: Step) -> None:
        """Keep by what the drive was erased, as long as it is."""
        memory = self.memory
        if not all(world.state == "erased" for world in self.worlds):
            memory.erased_by = None
        elif memory.erased_by is None:
            memory.erased_numbers |= set(memory.numbers.values())
            pin = PIN_TABLE[int(step.action.args[1])] if step.verb == "unlock" else ""
            is_duress = any(pin and world.pins.get("duress") == pin for world in step.before)
            by_try = step.verb in ("unlock", "recover", "record_unlock")
            memory.erased_by = "duress" if is_duress else "limit" if by_try else "command"
        step.erased_by = memory.erased_by

    # --- data -----------------------------------------------------------------------------------

    def number_of(self, block: bytes) -> int | None:
        """Return the number of the content a block holds, if this run wrote it."""
        return self.memory.numbers.get(block)

    def see(self, step: Step, lba: int, data: bytes) -> None:
        """Compare what was read with what may be there."""
        blocks = [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]
        seen = [self.number_of(block) for block in blocks]

        def fits(success: bool | None, world: World) -> bool:
            return all(
                number in world.data.get(block, (number,)) for block, number in enumerate(seen, lba)
            )

        if not any(fits(None, world) for world in self.worlds):
            held = self.worlds[0].data
            wrong = [block for block, n in enumerate(seen, lba) if n not in held.get(block, (n,))]
            step.mismatches.append(
                Mismatch("data", ("what was written",), f"other content in blocks {wrong[:4]}")
            )
        else:
            self.oracle.narrow(fits)
        known = [number for number in seen if number is not None]
        erased = [number for number in known if number in self.memory.erased_numbers]
        if known and not self.is_open:
            step.seen["leaked"] = f"content {known[:4]} from a drive that is not open"
        elif erased:
            step.seen["erased_data"] = f"content {erased[:4]} of before the erase"


def find_device(drive: EmulatedDrive, backend: IBackend) -> usb.core.Device:
    """Return the drive as pyusb finds it; raise Disconnected when it does not answer."""
    usb_id = drive.profile.usb
    device = usb.core.find(backend=backend, idVendor=usb_id.vendor_id, idProduct=usb_id.product_id)
    if device is None:
        raise Disconnected("the drive does not answer")
    return device


def forked(bench: Bench, drive: EmulatedDrive | None = None) -> Bench:
    """Return a bench over a copy of the drive as it is in flash and element, just powered up."""
    other_drive = bench.drive.fork() if drive is None else drive
    other_drive.crashes = bench.drive.crashes
    other_drive.power_on()
    other = Bench(other_drive, bench.facts, bench.content, b"fork")
    other.oracle = replace(bench.oracle)
    other.oracle.act("lock")
    other.memory.numbers = bench.memory.numbers
    return other


def _fits(expected: Any, seen: Any, is_tampered: bool) -> bool:
    """Whether the tries seen are those expected; exchanged flash may cost some, but give none."""
    if is_tampered:
        return all(seen[count] <= expected[count] for count in COUNTS)
    return bool(expected == seen)


def _spelled(tries: Any) -> str:
    return "/".join(str(tries[count]) for count in COUNTS)
