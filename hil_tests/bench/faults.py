"""What goes wrong in a drive: each verb has one part fail, now or in the action that follows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import NoiseSource, SeededNoise
from firmware_model.hardware.faults import FailingNoise, RepeatingNoise, StuckNoise
from hil_tests import drive_faults
from hil_tests.actions import PINS
from hil_tests.drive_faults import Met
from hil_tests.steps import MAY_LOCK, Excused, Step
from host_driver.errors import DriveError

if TYPE_CHECKING:
    from hil_tests.bench.bench import Bench

# Glitched there, a drive may no longer know where data stands.
FLASH_LAYER: Final = frozenset(
    f"firmware/{name}.py"
    for name in ("block_use", "mounting", "page_map", "page_records", "translation")
)


class Armed(Protocol):
    """A fault that waits for the next action."""

    excused: ClassVar[frozenset[Excused]]  # what it may cost

    def begin(self, bench: Bench) -> None:
        """Let it happen from now on."""
        ...

    def end(self, bench: Bench, step: Step) -> bool:
        """The action is over: note what happened, and tell whether it did."""
        ...


@dataclass(frozen=True, slots=True)
class Glitched:
    """The `number`-th decision or step of the firmware goes the other way, or is left out."""

    number: int
    excused: ClassVar = frozenset(Excused)

    def begin(self, bench: Bench) -> None:
        from hil_tests.glitch.shadow import shadow

        if not isinstance(bench.drive, shadow().drive()):
            raise ValueError("the firmware of this drive can't be glitched")
        shadow().glitch.arm(self.number)

    def end(self, bench: Bench, step: Step) -> bool:
        from hil_tests.glitch.shadow import shadow

        glitch = shadow().glitch
        glitch.disarm()
        step.seen["glitch"] = str(glitch.hit or f"none: there are {glitch.count} to choose from")
        step.seen["choices"] = glitch.count
        hit = glitch.hit
        bench.memory.may_lose_all |= hit is not None and hit.file in FLASH_LAYER
        return hit is not None


@dataclass(frozen=True, slots=True)
class Pulled:
    """The cable is pulled at the `number`-th transfer: no more may be lost than by a power cut."""

    number: int
    is_late: bool
    excused: ClassVar[frozenset[Excused]] = frozenset()

    def begin(self, bench: Bench) -> None:
        bench.cable.pull_at(self.number, self.is_late)

    def end(self, bench: Bench, step: Step) -> bool:
        step.seen["choices"] = bench.cable.count
        step.is_severed = bench.cable.is_pulled
        bench.cable.pull_at(None)
        if step.is_severed:
            bench.drive.plug()
            bench.reconnect()
        return step.is_severed


@dataclass(frozen=True, slots=True)
class Silenced:
    """The line to the element breaks at the `number`-th command."""

    number: int
    is_late: bool
    excused: ClassVar = frozenset({Excused.AVAILABILITY})

    def begin(self, bench: Bench) -> None:
        bench.element_line.break_at(self.number, self.is_late)

    def end(self, bench: Bench, step: Step) -> bool:
        line = bench.element_line
        step.seen["choices"], was_broken = line.count, line.was_broken
        line.break_at(None)
        return was_broken


def glitch(bench: Bench, step: Step, number: int) -> None:
    """Turn one verdict of the next action, or leave one of its steps out."""
    bench.armed.append(Glitched(number))


def fault(bench: Bench, step: Step, name: str, number: int) -> None:
    """Have a part fail."""
    if name in drive_faults.IN_DRIVE:
        met = _in_drive(bench, name, number)
    else:
        met = FAULTS[name](bench, number)
    if met is not None:
        bench.met.append(met)


def twin_keys(bench: Bench, step: Step) -> None:
    """Have two units whose noise fails as this drive's does draw two keys each, and compare."""
    from hil_tests.bench.bench import forked

    keys: list[bytes] = []
    fail = bench.memory.fail_noise
    for number in range(2) if fail is not None else ():
        noise = SeededNoise(b"twin" + bytes((number,)))
        drive = EmulatedDrive.new(bench.drive.profile, noise, bench.drive.parts, 1)
        drive.power_on()
        drive.board.entropy.source = noise if fail is None else fail(noise)
        unit = forked(bench, drive)
        with suppress(DriveError):  # which draws no key from that
            for _ in range(2):
                unit.host().set_pin(PINS[0])
                unit.host().unlock(PINS[0])
                mek = drive.firmware.access.mek if drive.firmware is not None else None
                if mek is not None:
                    keys += (mek[:32], mek[32:])
                unit.host().erase()
    if len(keys) > len(set(keys)):
        step.seen["repeated_keys"] = ["a key was drawn twice from noise that fails"]


def _in_drive(bench: Bench, name: str, number: int) -> Met | None:
    if drive_faults.may_stop_it(name, number):
        bench.memory.excused |= {Excused.AVAILABILITY}
    if bench.model is not None:
        return drive_faults.put_into(bench.model, name, number)
    bench.remote.fail(name, number)
    return None


def _pull(is_late: bool) -> Fault:
    return lambda bench, number: bench.armed.append(Pulled(number, is_late))


def _silence(is_late: bool) -> Fault:
    return lambda bench, number: bench.armed.append(Silenced(number, is_late))


def _noise_sticks(bench: Bench, value: int) -> Met:
    return _fail_noise(bench, lambda source: StuckNoise(value & 0xFF))


def _noise_repeats(bench: Bench, period: int) -> Met:
    return _fail_noise(bench, lambda source: RepeatingNoise.of(source, max(period, 1)))


def _fail_noise(bench: Bench, fail: Callable[[NoiseSource], FailingNoise]) -> Met:
    _excuse(bench)
    bench.memory.fail_noise = fail
    failing = fail(bench.drive.board.entropy.source)
    bench.drive.board.entropy.source = failing
    return lambda: failing.given > 0


def _clock_forward(bench: Bench, seconds: int) -> None:
    bench.expect(MAY_LOCK)
    bench.drive.advance(seconds * 1_000_000)


def _clock_back(bench: Bench, seconds: int) -> Met:
    bench.expect(MAY_LOCK)
    clock = bench.drive.board.clock
    back_us = min(seconds * 1_000_000, clock.now_us)
    clock.now_us -= back_us
    bench.drive.advance(0)
    return lambda: back_us > 0


def _excuse(bench: Bench) -> None:
    """From here on, the drive may stop working; what it says is still held against it."""
    bench.memory.excused |= {Excused.AVAILABILITY}
    bench.drive.is_disturbed = True


Fault = Callable[["Bench", int], Met | None]  # None where it is yet to happen, or did
FAULTS: Final[dict[str, Fault]] = {
    "disconnect": _pull(False),
    "disconnect_late": _pull(True),
    "element_deaf": _silence(False),
    "element_mute": _silence(True),
    "noise_sticks": _noise_sticks,
    "noise_repeats": _noise_repeats,
    "clock_forward": _clock_forward,
    "clock_back": _clock_back,
}
