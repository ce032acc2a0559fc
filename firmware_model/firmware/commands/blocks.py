"""Reading, writing and comparing blocks. Source: SBC-3 section 5."""

from dataclasses import replace
from typing import Final

from firmware_model.firmware.commands.reply import (
    DONE,
    Reply,
    Runs,
    answered,
    ended,
    refused,
)
from firmware_model.firmware.controllers import Controller
from firmware_model.firmware.medium import Unreadable
from firmware_model.wire import scsi
from firmware_model.wire.scsi import BLOCK_BYTES
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    LBA_OUT_OF_RANGE,
    MISCOMPARE,
    UNRECOVERED_READ,
    Sense,
)

VERIFIED_BLOCKS: Final = 256  # read at a time, where no more than the verdict is wanted


class Blocks:
    """The commands that move or compare blocks of the open medium."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.runs: Runs = {
            scsi.Read: self._read,
            scsi.Write: self._write,
            scsi.Verify: self._verify,
            scsi.WriteAndVerify: self._write_and_verify,
            scsi.CompareAndWrite: self._compare_and_write,
            scsi.OrWrite: self._or_write,
            scsi.PreFetch: self._pre_fetch,
            scsi.SynchronizeCache: self._synchronize,
        }

    def _is_within(self, lba: int, block_count: int) -> bool:
        return lba + block_count <= self._controller.block_count

    def _read(self, command: scsi.Read, data_out: bytes) -> Reply:
        if not self._is_within(command.lba, command.block_count):
            return refused(LBA_OUT_OF_RANGE)
        if not command.block_count:
            return DONE
        if command.fua:
            self._controller.flush()
        return answered(self._stored(command.lba, command.block_count))

    def _write(self, command: scsi.Write, data_out: bytes) -> Reply:
        if not self._is_within(command.lba, command.block_count):
            return refused(LBA_OUT_OF_RANGE)
        length = command.block_count * BLOCK_BYTES
        if len(data_out) < length:
            return refused(INVALID_FIELD_IN_CDB)
        sense = self._controller.write(command.lba, data_out[:length])
        if command.fua and sense is None:
            self._controller.flush()
        return ended(sense)

    def _verify(self, command: scsi.Verify, data_out: bytes) -> Reply:
        lba, count = command.lba, command.block_count
        if not self._is_within(lba, count):
            return refused(LBA_OUT_OF_RANGE)
        if len(data_out) < (command.transfer.length or 0):
            return refused(INVALID_FIELD_IN_CDB)
        if command.repeats:
            data_out = data_out[:BLOCK_BYTES] * VERIFIED_BLOCKS
        for first in range(lba, lba + count, VERIFIED_BLOCKS):
            stored = self._stored(first, min(VERIFIED_BLOCKS, lba + count - first))
            if isinstance(stored, Sense):
                return refused(stored)
            at = 0 if command.repeats else (first - lba) * BLOCK_BYTES
            if command.compares and stored != data_out[at : at + len(stored)]:
                return refused(MISCOMPARE)
        return DONE

    def _write_and_verify(self, command: scsi.WriteAndVerify, data_out: bytes) -> Reply:
        lba, count = command.lba, command.block_count
        written = self._write(scsi.Write(lba, count, command.size, fua=True), data_out)
        if written.sense is not None:
            return written
        return self._verify(scsi.Verify(lba, count, command.size, command.compares), data_out)

    def _compare_and_write(self, command: scsi.CompareAndWrite, data_out: bytes) -> Reply:
        lba, count = command.lba, command.block_count
        if not self._is_within(lba, count):
            return refused(LBA_OUT_OF_RANGE)
        length = count * BLOCK_BYTES
        if len(data_out) < 2 * length:
            return refused(INVALID_FIELD_IN_CDB)
        stored = self._stored(lba, count)
        if isinstance(stored, Sense):
            return refused(stored)
        if stored != data_out[:length]:
            return refused(replace(MISCOMPARE, information=_first_difference(stored, data_out)))
        new = data_out[length : 2 * length]
        return self._write(scsi.Write(lba, count, 16, command.fua), new)

    def _or_write(self, command: scsi.OrWrite, data_out: bytes) -> Reply:
        lba, count = command.lba, command.block_count
        if not self._is_within(lba, count):
            return refused(LBA_OUT_OF_RANGE)
        length = count * BLOCK_BYTES
        if len(data_out) < length:
            return refused(INVALID_FIELD_IN_CDB)
        if not count:
            return DONE
        stored = self._stored(lba, count)
        if isinstance(stored, Sense):
            return refused(stored)
        both = int.from_bytes(stored, "big") | int.from_bytes(data_out[:length], "big")
        new = both.to_bytes(length, "big")
        return self._write(scsi.Write(lba, count, 16, command.fua), new)

    def _pre_fetch(self, command: scsi.PreFetch, data_out: bytes) -> Reply:
        """Fetch nothing: CONDITION MET is for a cache that has room for the blocks (5.8)."""
        return ended(
            None if self._is_within(command.lba, command.block_count) else LBA_OUT_OF_RANGE
        )

    def _synchronize(self, command: scsi.SynchronizeCache, data_out: bytes) -> Reply:
        if not self._is_within(command.lba, command.block_count):
            return refused(LBA_OUT_OF_RANGE)
        self._controller.flush()
        return DONE

    def _stored(self, lba: int, block_count: int) -> bytes | Sense:
        """Return blocks; where one can't be read, the refusal names the first (SBC-3 4.18)."""
        try:
            return self._controller.read(lba, block_count)
        except Unreadable:
            return replace(UNRECOVERED_READ, information=self._first_unreadable(lba, block_count))

    def _first_unreadable(self, lba: int, block_count: int) -> int:
        for at in range(lba, lba + block_count - 1):
            try:
                self._controller.read(at, 1)
            except Unreadable:
                return at
        return lba + block_count - 1


def _first_difference(stored: bytes, sent: bytes) -> int:
    """Return the offset of the first byte that is not the same."""
    return next(at for at, byte in enumerate(stored) if byte != sent[at])
