"""The bench: one drive, the driver that talks to it, and the oracle that knows what it must do.

`run` takes one action and returns all that was seen of it. It judges nothing but whether what was
seen fits any world of the oracle; what that means is the business of the properties.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import usb.core
import usb.util
from usb.backend import IBackend

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.parts import ERRORS_OF_CODE
from firmware_model.hardware.faults import ElementLine
from firmware_model.wire.native import Status
from firmware_model.wire.sense import SenseKey
from hil_tests.actions import Action
from hil_tests.bench.cable import Cable
from hil_tests.bench.comparison import COUNTS, compare
from hil_tests.bench.faults import Armed
from hil_tests.bench.memory import Memory
from hil_tests.bench.unit import RemoteUnit
from hil_tests.content import BLOCK_BYTES, Content
from hil_tests.drive_faults import Met
from hil_tests.oracle import Oracle, World
from hil_tests.steps import Facts, Mismatch, Outcome, Step
from host_driver.attachment import Attachment
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.drive import Drive
from host_driver.errors import (
    CommandRefused,
    Disconnected,
    DriveError,
    NotSupported,
    SelfTestFailed,
    WrongPin,
)
from host_driver.known_drives import IdentityCheck, KnownDrives, default_path
from host_driver.trace import Recorded
from host_driver.transport import CommandTransport

BROKEN: Final = (SenseKey.MEDIUM_ERROR, SenseKey.HARDWARE_ERROR)
ZERO: Final = -1  # in place of a content's number: a block of zeros, as one that was trimmed
DEFAULT_LIMIT: Final = 10  # for a drive that tells none: the oracle has to count from something
AUTO_LOCK_MARGIN_S: Final = 60  # commands take model time too: closer to the limit, all is allowed


def _unwatched(backend: IBackend) -> IBackend:
    return backend


class Bench:
    """A target under test. `seed` decides the host's random bytes."""

    def __init__(
        self,
        unit: EmulatedDrive | RemoteUnit,
        facts: Facts,
        content: Content,
        seed: bytes = b"bench",
        watch: Callable[[IBackend], IBackend] = _unwatched,
    ) -> None:
        self.unit = unit
        self.facts = facts
        self.content = content
        self.memory = Memory()
        limits = {count: facts.limits.get(count, DEFAULT_LIMIT) for count in COUNTS}
        self.oracle = Oracle(limits, facts.at_limit)
        self.oracle.act("nothing")
        self.armed: list[Armed] = []  # what is to go wrong in the next action
        self.met: list[Met] = []  # of each fault, whether anything has met it
        self.count = 0  # of steps
        self._seed = seed
        self._drawn = 0
        self._expected: tuple[Any, ...] = ("nothing",)
        self._began_us = 0  # when the action that is running began
        self._watch = watch
        self._element_line: ElementLine | None = None
        self.recorder = Recorded(watch(self._bus(unit)))
        self.wrap_transport: Callable[[CommandTransport], CommandTransport] | None = None
        self._host: Drive | None = None
        self._device: usb.core.Device | None = None
        self._link: BulkOnlyTransport | None = None

    def _bus(self, unit: EmulatedDrive | RemoteUnit) -> IBackend:
        """Return a bus with the unit and nothing else; one in this process has a cable."""
        if isinstance(unit, RemoteUnit):
            return unit.backend()
        self.cable = Cable(unit)
        return InProcess([self.cable])

    @property
    def model(self) -> EmulatedDrive | None:
        """The unit as a model that can be opened; None where another process has it."""
        return None if isinstance(self.unit, RemoteUnit) else self.unit

    @property
    def drive(self) -> EmulatedDrive:
        """The same; raises TypeError where there is none: a capability is missing."""
        if self.model is None:
            raise TypeError("nobody but who serves this drive can look into it")
        return self.model

    @property
    def remote(self) -> RemoteUnit:
        """The unit as one that is not in this process; raises TypeError where it is."""
        if not isinstance(self.unit, RemoteUnit):
            raise TypeError("this drive is in this process")
        return self.unit

    # --- the way to the drive -------------------------------------------------------------------

    @property
    def worlds(self) -> tuple[World, ...]:
        """Every world that fits what was seen."""
        return tuple(world for _, world in self.oracle.branches)

    @property
    def is_open(self) -> bool:
        """Whether the drive is open in every world."""
        return all(world.state == "unlocked" for world in self.worlds)

    @property
    def may_be_open(self) -> bool:
        """Whether the drive is open in any world."""
        return any(world.state == "unlocked" for world in self.worlds)

    def host(self) -> Drive:
        """Return the driver's connection, opening one where there is none."""
        if self._host is None:
            self.reconnect()
            self._host = Drive(self.attachment(), self._check(), self.draw)
        return self._host

    def attachment(self) -> Attachment:
        """Return a fresh way to the drive."""
        self._device = find_device(self.recorder)
        self._link = BulkOnlyTransport(self._device)
        transport: CommandTransport = self._link
        if self.wrap_transport is not None:
            transport = self.wrap_transport(transport)
        return Attachment(transport, self.unit, True, self.unit.serial, True, lambda: None)

    def device(self) -> usb.core.Device:
        """Return the device that the host talks to."""
        self.host()
        assert self._device is not None
        return self._device

    def raw_device(self) -> usb.core.Device:
        """Return the device, of which nothing above its transport was asked yet."""
        if self._link is None:
            self.attachment()
        assert self._device is not None
        return self._device

    def link(self) -> BulkOnlyTransport:
        """Return the transport below the host's commands."""
        self.host()
        assert self._link is not None
        return self._link

    @property
    def element_line(self) -> ElementLine:
        """The line to the drive's element, put there when it is first asked for."""
        if self._element_line is None:
            self._element_line = ElementLine(self.drive.board.embedded)
        return self._element_line

    def reconnect(self) -> None:
        """Have the next command enumerate the drive anew."""
        if self._link is not None:
            self._link.close()
        elif self._device is not None:  # claimed, it may be, before no link came of it
            usb.util.dispose_resources(self._device)
        self._host, self._link, self._device = None, None, None

    def draw(self, count: int) -> bytes:
        """Return random bytes for the host, which the seed decides."""
        self._drawn += 1
        return hashlib.shake_128(self._seed + self._drawn.to_bytes(8, "big")).digest(count)

    def _check(self) -> IdentityCheck:
        return IdentityCheck(self.unit.serial, KnownDrives(default_path()), is_trusted=True)

    def restart(self, drive: EmulatedDrive) -> None:
        """Go on with another drive in the place of this one."""
        self.unit = drive
        payloads = self.recorder.payloads
        self.recorder = Recorded(self._watch(self._bus(drive)))
        self.recorder.payloads[:0] = payloads
        self.reconnect()

    def fork(self) -> Bench:
        """Return the same bench over a copy of the drive as it is without power."""
        other = Bench(self.unit.fork(), self.facts, self.content, self._seed)
        other.oracle = replace(self.oracle)
        other.memory = self.memory.copy()
        other.armed = self.armed.copy()
        other.count, other._drawn = self.count, self._drawn
        other._expected, other._began_us = self._expected, self._began_us
        return other

    def clone(self) -> Bench:
        """Return the same bench over a copy of the drive, which has just been powered up."""
        other = self.fork()
        other.unit.power_on()
        return other

    def begin_erased(self) -> None:
        """Take the drive for one that was erased before this run."""
        limits = self.oracle.limits
        self.oracle.branches = ((None, World(limits, "erased")),)
        self.memory.state = "erased"
        self.memory.erased_by = "command"

    # --- running --------------------------------------------------------------------------------

    def expect(self, verb: str, *args: Any) -> None:
        """Say what the oracle is to be told of the action that is running."""
        self._expected = (verb, *args)

    def run(self, action: Action) -> Step:
        """Do one thing to the drive, and return what was seen of it."""
        return self.finish(self.start(action))

    def start(self, action: Action) -> Step:
        """Do one thing to the drive, up to its end or to the moment when power is cut."""
        from hil_tests.bench.verbs import HANDLERS

        self.count += 1
        memory = self.memory
        step = Step(self.count, action, self.worlds, memory.state, is_tampered=memory.is_tampered)
        crashes = len(self.unit.crashes)
        self._began_us = self.unit.now_us
        self.expect("nothing")
        self.unit.begin_steps()
        self.plan_cut(action)
        armed, self.armed = self.armed, []
        step.is_faulty = bool(armed)
        for fault in armed:
            memory.excused |= fault.excused
            self.drive.is_disturbed = True
            fault.begin(self)
        self._attempt(step, lambda: HANDLERS[action.verb](self, step, *action.args))
        for fault in armed:
            self.met.append(partial(bool, fault.end(self, step)))
        if self.unit.crashes[crashes:]:
            step.outcome, step.detail = Outcome.CRASH, self.unit.crashes[-1]
        self.unit.cut_at(None)
        if action.ends_dark and self.unit.is_on:
            step.is_over = True
            self.unit.power_off()
        step.step_names = self.unit.step_names
        step.is_tampered = step.is_tampered or memory.is_tampered
        step.excused = memory.excused
        return step

    def finish(self, step: Step) -> Step:
        """Give power back where it was cut, and look at the drive."""
        was_cut = not self.unit.is_on or step.is_severed
        was_cut = was_cut and not step.is_over
        if was_cut and step.outcome is not Outcome.CRASH:
            step.outcome, step.detail = Outcome.CUT, ""
        if not self.unit.is_on:
            self._give_power(step)
        compare(self, step, self._expected, was_cut)
        step.time_us = self.unit.now_us - self._began_us
        return step

    def plan_cut(self, action: Action) -> None:
        """Have supply fail where the action is cut first, if it is cut."""
        for cut in action.cuts[:1] if not action.ends_dark else ():
            self.unit.cut_at(cut.number, cut.torn)

    def _give_power(self, step: Step) -> None:
        """Start the drive again, as often as the action has it cut while it starts."""
        for cut in (*step.action.cuts[1:], None):
            if self.unit.is_on:  # the start was over before the cut
                break
            self.unit.begin_steps()
            if cut is not None:
                self.unit.cut_at(cut.number, cut.torn)
            self.unit.power_on()
            self.unit.cut_at(None)
            step.boots += (self.unit.step_names,)
        self.reconnect()

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
            is_broken = refused.sense is not None and refused.sense.key in BROKEN
            step.tells_fault = is_broken or isinstance(refused, SelfTestFailed)
        except (DriveError, usb.core.USBError) as fault:  # the latter of single transfers
            step.outcome, step.detail = Outcome.FAULT, f"{type(fault).__name__}: {fault}"
            self.reconnect()
        except ERRORS_OF_CODE as crash:
            may_crash = (self.model and self.model.parts) or self.memory.excused
            if not may_crash:
                raise  # a reference part does not crash: it is the harness that is wrong
            step.outcome, step.detail = Outcome.CRASH, f"{type(crash).__name__}: {crash}"
            self.unit.power_off()

    # --- looking at the drive --------------------------------------------------------------------

    def status(self) -> Status | None:
        """Return what the drive says of itself; None where it says nothing."""
        try:
            return self.host().status()
        except Disconnected:
            self.reconnect()
            return self.host().status()

    # --- data -----------------------------------------------------------------------------------

    def number_of(self, block: bytes) -> int | None:
        """Return the number of the content a block holds, if this run wrote it."""
        return self.memory.numbers.get(block)

    def see(self, step: Step, lba: int, data: bytes) -> None:
        """Compare what was read with what may be there."""
        blocks = [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]
        seen = [self.number_of(block) if any(block) else ZERO for block in blocks]

        def fits(success: bool | None, world: World) -> bool:
            return all(
                number in world.data.get(block, (number,)) for block, number in enumerate(seen, lba)
            )

        if not any(fits(None, world) for world in self.worlds):
            held = self.worlds[0].data
            wrong = [block for block, n in enumerate(seen, lba) if n not in held.get(block, (n,))]
            is_excused = self.memory.may_lose_all or self.memory.losable.issuperset(wrong)
            facet = "lost" if is_excused else "data"
            step.mismatches.append(
                Mismatch(facet, ("what was written",), f"other content in blocks {wrong[:4]}")
            )
        else:
            self.oracle.narrow(fits)
        known = [number for number in seen if number is not None and number != ZERO]
        erased = [number for number in known if number in self.memory.erased_numbers]
        if known and not self.may_be_open:
            step.seen["leaked"] = f"content {known[:4]} from a drive that is not open"
        elif erased:
            step.seen["erased_data"] = f"content {erased[:4]} of before the erase"


def find_device(backend: IBackend) -> usb.core.Device:
    """Return the drive as pyusb finds it; raise Disconnected when it does not answer."""
    device = usb.core.find(backend=backend)
    if device is None:
        raise Disconnected("the drive does not answer")
    return device


def forked(bench: Bench, unit: EmulatedDrive | RemoteUnit | None = None) -> Bench:
    """Return a bench over a copy of the drive as it is in flash and element, just powered up.

    Or over another drive, whose crashes are told as those of this one.
    """
    if unit is not None and not isinstance(unit, RemoteUnit):
        unit.crashes = bench.drive.crashes
    unit = unit or bench.unit.fork()
    unit.power_on()
    other = Bench(unit, bench.facts, bench.content, b"fork")
    other.oracle = replace(bench.oracle)
    other.oracle.act("lock")
    other.memory.numbers = bench.memory.numbers
    return other
