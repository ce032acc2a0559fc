"""Parts of a drive that fail from now on: flash that forgets, blocks and counters that wear out.

Done to a drive in this process, or by an operator to a unit that he serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.layout import Layout
from firmware_model.hardware.faults import flip_data, flip_record, stick_counter
from firmware_model.hardware.nand import Nand

CORRECTED_BITS: Final = 8  # of a codeword, which the ECC must carry: nothing may be lost by them

Met = Callable[[], bool]  # whether anything has met the fault by now
Fault = Callable[[EmulatedDrive, int], Met]


def put_into(drive: EmulatedDrive, name: str, number: int) -> Met:
    """Have a part of a drive fail; raise ValueError where no such part can be made to."""
    if name not in IN_DRIVE:
        raise ValueError(f"{name!r} is not one of {', '.join(IN_DRIVE)}")
    drive.is_disturbed |= may_stop_it(name, number)
    return IN_DRIVE[name](drive, number)


def may_stop_it(name: str, number: int) -> bool:
    """Whether a drive may stop working then; what it says is still held against it."""
    return name == "counter_sticks" or (name.startswith("flip_") and number > CORRECTED_BITS)


def _counter_sticks(drive: EmulatedDrive, number: int) -> Met:
    cells = stick_counter(drive.board.embedded)
    return lambda: cells.stuck > 0


def _flip(area: str, newest: int | None, in_records: bool) -> Fault:
    """Return what flips bits in pages of an area of the flash, the newest of them or all."""
    flip = flip_record if in_records else flip_data

    def fault(drive: EmulatedDrive, bits: int) -> Met:
        nand, pages = drive.board.nand, [*_pages(drive, area)]
        for page in pages if newest is None else pages[len(pages) - newest :]:
            flip(nand, page, bits)
        before = _reads(nand, in_records)
        return lambda: _reads(nand, in_records) > before

    return fault


def _reads(nand: Nand, in_records: bool) -> int:
    """Return how often flipped bits were read; a page is read with its record."""
    return nand.flipped_reads + (nand.flipped_record_reads if in_records else 0)


def _fail_blocks(area: str) -> Fault:
    """Return what has so many blocks of an area fail, the first that are programmed or erased."""

    def fault(drive: EmulatedDrive, count: int) -> Met:
        nand = drive.board.nand
        nand.fail_next(*_blocks(drive, area), count=count)
        return lambda: nand.failures_left < count

    return fault


def _blocks(drive: EmulatedDrive, area: str) -> range:
    return Layout.of(drive.profile.policy).areas[area]


def _pages(drive: EmulatedDrive, area: str) -> Iterator[int]:
    """Give the programmed pages of an area, those of blocks that are not full last."""
    nand = drive.board.nand
    pages = nand.geometry.block_pages
    for block in sorted(_blocks(drive, area), key=lambda block: nand.programmed_in(block) < pages):
        first = block * pages
        yield from range(first, first + nand.programmed_in(block))


IN_DRIVE: Final[dict[str, Fault]] = {
    "counter_sticks": _counter_sticks,
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
