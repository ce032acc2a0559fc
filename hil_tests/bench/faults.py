"""What goes wrong in a drive: each verb has one part fail, now or in the action that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import NoiseSource, SeededNoise
from firmware_model.hardware.faults import (
    RepeatingNoise,
    StuckNoise,
    flip_data,
    flip_record,
    stick_counter,
)
from hil_tests.actions import PINS
from hil_tests.steps import MAY_LOCK, Excused, Step
from host_driver.errors import DriveError

if TYPE_CHECKING:
    from hil_tests.bench.bench import Bench

CORRECTED_BITS: Final = 8  # of a codeword, which the ECC must carry: nothing may be lost by them

# Glitched there, a drive may no longer know where data stands.
FLASH_LAYER: Final = frozenset(
    f"firmware/{name}.py" for name in ("mounting", "page_map", "translation")
)


class Armed(Protocol):
    """A fault that waits for the next action."""

    excused: ClassVar[frozenset[Excused]]  # what it may cost

    def begin(self, bench: Bench) -> None:
        """Let it happen from now on."""
        ...

    def end(self, bench: Bench, step: Step) -> None:
        """The action is over; tell what happened."""
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

    def end(self, bench: Bench, step: Step) -> None:
        from hil_tests.glitch.shadow import shadow

        glitch = shadow().glitch
        glitch.disarm()
        step.seen["glitch"] = str(glitch.hit or f"none: there are {glitch.count} to choose from")
        step.seen["choices"] = glitch.count
        hit = glitch.hit
        bench.memory.may_lose_all |= hit is not None and hit.file in FLASH_LAYER


@dataclass(frozen=True, slots=True)
class Pulled:
    """The cable is pulled at the `number`-th transfer: no more may be lost than by a power cut."""

    number: int
    is_late: bool
    excused: ClassVar[frozenset[Excused]] = frozenset()

    def begin(self, bench: Bench) -> None:
        bench.cable.pull_at(self.number, self.is_late)

    def end(self, bench: Bench, step: Step) -> None:
        step.seen["choices"] = bench.cable.count
        step.is_severed = bench.cable.is_pulled
        bench.cable.pull_at(None)
        if step.is_severed:
            bench.drive.plug()
            bench.reconnect()


@dataclass(frozen=True, slots=True)
class Silenced:
    """The line to the element breaks at the `number`-th command."""

    number: int
    is_late: bool
    excused: ClassVar = frozenset({Excused.AVAILABILITY})

    def begin(self, bench: Bench) -> None:
        bench.element_line.break_at(self.number, self.is_late)

    def end(self, bench: Bench, step: Step) -> None:
        step.seen["choices"] = bench.element_line.count
        bench.element_line.break_at(None)


def glitch(bench: Bench, step: Step, number: int) -> None:
    """Turn one verdict of the next action, or leave one of its steps out."""
    bench.armed.append(Glitched(number))


def fault(bench: Bench, step: Step, name: str, number: int) -> None:
    """Have a part fail."""
    FAULTS[name](bench, number)


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


def _pull(is_late: bool) -> Fault:
    return lambda bench, number: bench.armed.append(Pulled(number, is_late))


def _silence(is_late: bool) -> Fault:
    return lambda bench, number: bench.armed.append(Silenced(number, is_late))


def _counter_sticks(bench: Bench, number: int) -> None:
    _excuse(bench)
    stick_counter(bench.drive.board.embedded)


def _noise_sticks(bench: Bench, value: int) -> None:
    _fail_noise(bench, lambda source: StuckNoise(value & 0xFF))


def _noise_repeats(bench: Bench, period: int) -> None:
    _fail_noise(bench, lambda source: RepeatingNoise.of(source, max(period, 1)))


def _fail_noise(bench: Bench, fail: Callable[[NoiseSource], NoiseSource]) -> None:
    _excuse(bench)
    bench.memory.fail_noise = fail
    bench.drive.board.entropy.source = fail(bench.drive.board.entropy.source)


def _clock_forward(bench: Bench, seconds: int) -> None:
    bench.expect(MAY_LOCK)
    bench.drive.advance(seconds * 1_000_000)


def _clock_back(bench: Bench, seconds: int) -> None:
    bench.expect(MAY_LOCK)
    clock = bench.drive.board.clock
    clock.now_us = max(clock.now_us - seconds * 1_000_000, 0)
    bench.drive.advance(0)


def _flip(area: str, newest: int | None, in_records: bool) -> Fault:
    """Return what flips bits in pages of an area of the flash, the newest of them or all."""
    flip = flip_record if in_records else flip_data

    def fault(bench: Bench, bits: int) -> None:
        if bits > CORRECTED_BITS:
            _excuse(bench)
        pages = [*_pages(bench, area)]
        for page in pages if newest is None else pages[len(pages) - newest :]:
            flip(bench.drive.board.nand, page, bits)

    return fault


def _fail_blocks(area: str) -> Fault:
    """Return what has the next programs or erases fail, in so many of the newest blocks."""

    def fault(bench: Bench, count: int) -> None:
        nand = bench.drive.board.nand
        blocks = dict.fromkeys(page // nand.geometry.block_pages for page in _pages(bench, area))
        for block in [*blocks][len(blocks) - count :]:
            nand.fail_next(block)

    return fault


def _pages(bench: Bench, area: str) -> Iterator[int]:
    """Give the programmed pages of an area, in the order they stand."""
    from firmware_model.firmware.layout import Layout

    nand = bench.drive.board.nand
    for block in Layout.of(bench.drive.profile.policy).areas[area]:
        first = block * nand.geometry.block_pages
        yield from range(first, first + nand.programmed_in(block))


def _excuse(bench: Bench) -> None:
    """From here on, the drive may stop working; what it says is still held against it."""
    bench.memory.excused |= {Excused.AVAILABILITY}
    bench.drive.is_disturbed = True


Fault = Callable[["Bench", int], None]
FAULTS: Final[dict[str, Fault]] = {
    "disconnect": _pull(False),
    "disconnect_late": _pull(True),
    "element_deaf": _silence(False),
    "element_mute": _silence(True),
    "counter_sticks": _counter_sticks,
    "noise_sticks": _noise_sticks,
    "noise_repeats": _noise_repeats,
    "clock_forward": _clock_forward,
    "clock_back": _clock_back,
    "flip_data": _flip("data", None, False),
    "flip_keys": _flip("keys", None, False),
    "flip_one_key": _flip("keys", 1, False),
    "flip_log": _flip("log", None, False),
    "flip_data_records": _flip("data", None, True),
    "flip_key_records": _flip("keys", None, True),
    "flip_log_records": _flip("log", None, True),
    "fail_data": _fail_blocks("data"),
    "fail_keys": _fail_blocks("keys"),
    "fail_log": _fail_blocks("log"),
}
