"""Every command that reads, compares, writes or erases, as one may try it who has no right to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from firmware_model.wire import scsi
from firmware_model.wire.scsi import Direction
from firmware_model.wire.unmap import Extent, encode_unmap_list
from hil_tests.bench.bench import Bench
from hil_tests.content import BLOCK_BYTES
from hil_tests.steps import Step
from host_driver.errors import CommandRefused, DriveError
from host_driver.transport import Completion, ScsiStatus

Ask = Callable[[scsi.Command, bytes], Completion | None]
NOBODYS: Final = bytes(i * 7 + 3 & 0xFF for i in range(BLOCK_BYTES))  # content nobody stored
_UNMAP: Final = encode_unmap_list([Extent(0, 1)])
# What is about block 0; each takes as much of one block, over and over, as it moves.
_ABOUT_A_BLOCK: Final[tuple[scsi.Command, ...]] = (
    *(scsi.Read(0, 1, size) for size in (6, 10, 12, 16)),
    *(scsi.Verify(0, 1, size) for size in (10, 12, 16)),
    *(scsi.Verify(0, 1, size, compares=True) for size in (10, 12, 16)),
    *(scsi.Verify(0, 8, size, compares=True, repeats=True) for size in (10, 12, 16)),
    *(scsi.PreFetch(0, 1, size) for size in (10, 16)),
    *(scsi.SynchronizeCache(0, 1, size) for size in (10, 16)),
    scsi.GetLbaStatus(0),
    *(scsi.Write(0, 1, size) for size in (6, 10, 12, 16)),
    *(scsi.WriteAndVerify(0, 1, size) for size in (10, 12, 16)),
    *(scsi.WriteAndVerify(0, 1, size, compares=True) for size in (10, 12, 16)),
    *(scsi.WriteSame(0, 1, size) for size in (10, 16)),
    scsi.WriteSame(0, 1, 16, unmaps=True, has_zeros=True),
    scsi.OrWrite(0, 1),
    scsi.CompareAndWrite(0, 1),
)
_ERASES: Final[tuple[scsi.Command, ...]] = (scsi.FormatUnit(), scsi.Sanitize())


def _commands(block: bytes) -> Iterator[tuple[scsi.Command, bytes]]:
    """Give the commands, with the data that goes with each."""
    for command in _ABOUT_A_BLOCK:
        is_sent = command.transfer.direction is Direction.OUT
        length = (command.transfer.length or 0) if is_sent else 0
        yield command, block * (length // BLOCK_BYTES)
    yield scsi.Unmap(len(_UNMAP)), _UNMAP
    for command in _ERASES:
        yield command, b""


def answer(bench: Bench, command: scsi.Command, data_out: bytes) -> Completion | None:
    """Return how a command ended; None if not even that could be learned."""
    is_asked = command.transfer.direction is Direction.IN
    length = (command.transfer.length or 0) if is_asked else 0
    try:
        return bench.link().execute(command.encode(), data_out, length)
    except DriveError:
        bench.reconnect()
        return None


def obeyed(ask: Ask) -> Iterator[bytes]:
    """Send all of them to a drive that is closed, and give the CDBs it obeyed."""
    for command, data_out in _commands(NOBODYS):
        told = ask(command, data_out)
        if told is not None and told.status is ScsiStatus.GOOD:
            yield command.encode()


def telling(ask: Ask, stored: bytes) -> list[str]:
    """Send a closed drive a block that is stored, and one that is not: it answers both alike."""
    answers = [
        [ask(command, data_out) for command, data_out in _commands(block)]
        for block in (stored, NOBODYS)
    ]
    return [
        f"CDB {command.encode()[:10].hex()} tells whether it was sent what is stored"
        for (command, _), right, wrong in zip(_commands(NOBODYS), *answers, strict=True)
        if right != wrong
    ]


def stored_block(bench: Bench) -> bytes | None:
    """Return the content of block 0, as far as this run knows it."""
    numbers = {number for world in bench.worlds for number in world.data.get(0, ())}
    blocks = {number: block for block, number in bench.memory.numbers.items()}
    return next((blocks[number] for number in numbers if number in blocks), None)


def write_ways(bench: Bench, step: Step) -> None:
    """Send every command that writes to a read-only drive, and look whether a block changed."""
    if not all(world.is_read_only and world.state == "unlocked" for world in bench.worlds):
        return
    try:
        before = bench.host().read(0, 1)
    except CommandRefused as refused:
        step.seen["undone"] = f"block 0 can't be read: {refused}"
        return
    written = []
    for command, data_out in _commands(NOBODYS):
        if isinstance(command, scsi.CompareAndWrite):
            data_out = before + NOBODYS  # so that it compares
        told = answer(bench, command, data_out)
        after = bench.host().read(0, 1)
        if after != before:
            written.append(f"opcode {command.encode()[0]:02X}h changed block 0")
            before = after
        elif command in _ERASES and told is not None and told.status is ScsiStatus.GOOD:
            written.append(f"opcode {command.encode()[0]:02X}h was obeyed")
    if written:
        step.seen["written"] = written
