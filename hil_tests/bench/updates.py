"""Firmware updates: what the owner and an attacker do with images, and what then runs.

The oracle knows no firmware: which one may run follows from the table of images, here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from firmware_model.wire.native import State
from firmware_model.wire.scsi.buffer import DownloadMicrocode
from hil_tests.firmware_images import TAMPERED, Image, images, with_version
from hil_tests.steps import MAY_LOCK, Outcome, Step
from host_driver import firmware_update

if TYPE_CHECKING:
    from firmware_model.hardware.board import Board
    from firmware_model.wire.native import Status
    from hil_tests.bench.bench import Bench

Firmware = tuple[str, int]  # version and security version, as a drive tells them


@dataclass(slots=True)
class FirmwareSeen:
    """What is known of a drive's firmware in a run."""

    running: Firmware | None = None  # None: nobody has asked yet
    genuine: set[str] = field(default_factory=set)  # versions that may run
    floor: int = 0  # the highest security version that ran
    given: Image | None = None  # in the step that is running
    waiting: set[Firmware] = field(default_factory=set)  # that a power-up may begin with
    was_updated: bool = False  # somebody tried to

    def copy(self) -> FirmwareSeen:
        """Return the same knowledge once more."""
        return replace(self, genuine=self.genuine.copy(), waiting=self.waiting.copy())


def update(bench: Bench, step: Step, number: int) -> None:
    """Give the drive an image, and have it begin with it."""
    data = _give(bench, step, number)
    bench.host().update(data)
    bench.reconnect()


def stage(bench: Bench, step: Step, number: int) -> None:
    """Give the drive an image, and leave it to the next power-up to begin with it."""
    data = _give(bench, step, number)
    firmware_update.download(bench.host().disk, data, lambda sent, of: None)


def update_swapped(bench: Bench, step: Step, number: int) -> None:
    """Give the drive an image, and alter what is staged of it before the last piece is sent."""
    data = _give(bench, step, number)
    bench.memory.firmware.given = None  # it is not what the drive will find
    bench.memory.is_tampered = True
    disk = bench.host().disk
    size = 1 << firmware_update.buffer_descriptor(disk).boundary
    for offset in range(0, len(data), size):
        piece = data[offset : offset + size]
        if offset + size >= len(data):
            _overwrite_version(bench.drive.board, data[:size])
        disk.command(DownloadMicrocode(offset, len(piece)).encode(), piece)
    firmware_update.activate(disk)
    bench.reconnect()


def tamper_firmware(bench: Bench, step: Step) -> None:
    """With supply off, write another version over the header of every image in flash."""
    bench.expect("lock")
    bench.memory.is_tampered = True
    bench.drive.power_off()
    for image in images(bench.facts.product):
        _overwrite_version(bench.drive.board, image.data)
    bench.drive.power_on()
    bench.reconnect()


def _give(bench: Bench, step: Step, number: int) -> bytes:
    image = images(bench.facts.product)[number]
    bench.expect(MAY_LOCK)  # at the first piece; one that is refused there leaves it open
    step.seen["image"] = image.name
    bench.memory.firmware.given = image
    bench.memory.firmware.was_updated = True
    return image.data


def _overwrite_version(board: Board, image: bytes) -> None:
    """Write another version into the page that holds the beginning of an image, if one does.

    As whoever has the chip in a programmer does it: erase the block, and program it anew.
    """
    nand, cells = board.nand, board.nand.cells
    for page, data, _ in list(nand.contents()):
        if data and image.startswith(data):
            block, index = divmod(page, nand.geometry.block_pages)
            before, records = cells.data(block, 0, cells.page_count(block)), cells.records(block)
            at = index * cells.page_bytes
            changed = with_version(data, TAMPERED)
            cells.erase(block, cells.state(block))
            cells.append(block, bytes(before[:at]) + changed + before[at + len(data) :], records)


def judge(bench: Bench, step: Step, status: Status) -> None:
    """Hold what the drive tells of its firmware against what may run."""
    seen = bench.memory.firmware
    given, seen.given = seen.given, None
    if step.verb == "update_swapped" and step.outcome is Outcome.OK:
        step.seen["ran"] = "an image was accepted that was altered after it had come"
    if status.state is State.FAILED:
        if seen.was_updated and not step.is_tampered:
            step.seen["left_without"] = f"after {step.action} no firmware may run"
        return
    now = (str(status.version), status.security_version)
    before = seen.running
    if before is None:
        before = now
        seen.genuine |= {now[0], *_genuine_versions(bench)}
        seen.floor = now[1]
    if now[0] not in seen.genuine:
        step.seen["ran"] = f"firmware {_spelled(now)} runs, which nobody signed for this drive"
    if now[1] < seen.floor:
        step.seen["downgrade"] = f"firmware {_spelled(now)} runs, after security {seen.floor}"
    if given is not None:
        _judge_update(step, given, before, now, seen)
    elif now not in {before, *seen.waiting} and not step.is_tampered:
        step.seen["left_without"] = f"{_spelled(now)} runs after {step.action}, no update"
    if now != before:
        seen.waiting = set()
    seen.running, seen.floor = now, max(seen.floor, now[1])


def _judge_update(
    step: Step, image: Image, before: Firmware, now: Firmware, seen: FirmwareSeen
) -> None:
    """Judge how an update ended: whether it was obeyed, and what runs now."""
    may = any(world.is_owned for world in step.before)
    must = all(world.is_owned for world in step.before) and not step.is_tampered
    is_high_enough = image.security_version >= seen.floor
    is_good = image.is_genuine and is_high_enough
    runs_at_once = step.verb == "update" or step.is_over
    if step.outcome is Outcome.CUT:
        allowed = {before, *seen.waiting, *([image.firmware] if is_good and may else ())}
        if now not in allowed and not step.is_tampered:
            step.seen["left_without"] = f"{_spelled(now)} runs after a cut of {step.action}"
    elif step.outcome is Outcome.OK:
        if not may:
            step.seen["ran"] = "an update was obeyed from whoever may not"
        elif not image.is_genuine:
            step.seen["ran"] = f"an image {image.name} was accepted"
        elif not is_high_enough:
            step.seen["downgrade"] = f"an image of security {image.security_version} was accepted"
        elif now != (image.firmware if runs_at_once else before):
            step.seen["left_without"] = f"{_spelled(now)} runs after {step.action} was done"
    elif step.outcome is Outcome.REFUSED and now != before:
        step.seen["ran"] = f"{_spelled(now)} runs after {step.action} was refused"
    elif step.outcome is Outcome.REFUSED and is_good and must and not seen.waiting:
        step.seen["left_without"] = f"an image {image.name} was refused: {step.detail}"
    if is_good and may and step.outcome in (Outcome.OK, Outcome.CUT):
        seen.waiting.add(image.firmware)


def _genuine_versions(bench: Bench) -> set[str]:
    return {each.version for each in images(bench.facts.product) if each.is_genuine}


def _spelled(firmware: Firmware) -> str:
    return f"{firmware[0]} (security {firmware[1]})"
