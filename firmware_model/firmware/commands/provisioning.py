"""What the medium has room for and what it holds: capacity, unmapping. Source: SBC-3 4.7, 5."""

from typing import Final

from firmware_model.firmware.commands.reply import Reply, Runs, answered, ended, refused
from firmware_model.firmware.controllers import Controller
from firmware_model.wire import scsi
from firmware_model.wire.capacity import Capacity, format_capacities
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.inquiry import SAME_BLOCKS_MAX
from firmware_model.wire.native import State
from firmware_model.wire.reports import (
    LBA_DESCRIPTORS_MAX,
    LbaStatus,
    Provisioning,
    encode_defects,
    encode_lba_statuses,
)
from firmware_model.wire.scsi import BLOCK_BYTES
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETERS,
    LBA_OUT_OF_RANGE,
    PARAMETER_LIST_LENGTH_ERROR,
    Sense,
    invalid_field,
)
from firmware_model.wire.unmap import UNMAP_HEADER_BYTES, Extent, decode_unmap_list

WRITTEN_BLOCKS: Final = 2048  # at a time, of WRITE SAME
_ZEROS: Final = bytes(BLOCK_BYTES)


class ThinMedium:
    """The commands about a medium of which only what was written takes room."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.runs: Runs = {
            scsi.ReadCapacity: self._read_capacity,
            scsi.ReadFormatCapacities: self._format_capacities,
            scsi.ReadDefectData: self._defects,
            scsi.GetLbaStatus: self._lba_status,
            scsi.Unmap: self._unmap,
            scsi.WriteSame: self._write_same,
        }

    def _read_capacity(self, command: scsi.ReadCapacity, data_out: bytes) -> Reply:
        capacity = Capacity(self._controller.block_count - 1)
        if command.size == 10:
            return Reply(capacity.encode_10())
        return Reply(capacity.encode_16()[: command.allocation_length])

    def _format_capacities(self, command: scsi.ReadFormatCapacities, data_out: bytes) -> Reply:
        is_open = self._controller.state is State.UNLOCKED
        answer = format_capacities(self._controller.block_count if is_open else None)
        return Reply(answer[: command.allocation_length])

    def _defects(self, command: scsi.ReadDefectData, data_out: bytes) -> Reply:
        """Tell of no defects: bad blocks of flash are at no address a host could mean."""
        wanted = 0x10 * command.wants_primary | 0x08 * command.wants_grown | command.list_format
        return Reply(encode_defects(command.size, wanted)[: command.allocation_length])

    def _lba_status(self, command: scsi.GetLbaStatus, data_out: bytes) -> Reply:
        """Tell which blocks hold anything; at least one descriptor is made (5.4)."""
        if command.lba >= self._controller.block_count:
            return refused(LBA_OUT_OF_RANGE)
        room = (command.allocation_length - 8) // LbaStatus.LAYOUT.size
        most = min(max(room, 1), LBA_DESCRIPTORS_MAX)
        runs = self._controller.provisioning(command.lba, most)
        if isinstance(runs, Sense):
            return refused(runs)
        statuses = []
        lba = command.lba
        for count, is_mapped in runs:
            status = Provisioning.MAPPED if is_mapped else Provisioning.DEALLOCATED
            statuses.append(LbaStatus(lba, count, status))
            lba += count
        return answered(encode_lba_statuses(statuses)[: command.allocation_length])

    def _unmap(self, command: scsi.Unmap, data_out: bytes) -> Reply:
        if len(data_out) < command.list_length:
            return refused(INVALID_FIELD_IN_CDB)
        if 0 < command.list_length < UNMAP_HEADER_BYTES:
            return refused(PARAMETER_LIST_LENGTH_ERROR)
        try:
            extents = decode_unmap_list(data_out[: command.list_length])
        except DecodeError:
            return refused(INVALID_FIELD_IN_PARAMETERS)
        if any(each.lba + each.block_count > self._controller.block_count for each in extents):
            return refused(LBA_OUT_OF_RANGE)
        return ended(self._controller.trim(extents))

    def _write_same(self, command: scsi.WriteSame, data_out: bytes) -> Reply:
        if command.unmaps and command.size == 10:  # LBPWS10: what is sent is written
            return refused(invalid_field(1, 3))
        lba, end = command.lba, self._controller.block_count
        count = command.block_count or max(end - lba, 0)
        if lba + count > end or lba >= end:
            return refused(LBA_OUT_OF_RANGE)
        if count > SAME_BLOCKS_MAX:
            return refused(invalid_field(scsi.COUNT_AT[command.size]))
        if len(data_out) < BLOCK_BYTES and not command.has_zeros:
            return refused(INVALID_FIELD_IN_CDB)
        block = _ZEROS if command.has_zeros else data_out[:BLOCK_BYTES]
        if command.unmaps and block == _ZEROS:  # what it reads as when nothing is there (LBPRZ)
            return ended(self._controller.trim((Extent(lba, count),)))
        for first in range(lba, lba + count, WRITTEN_BLOCKS):
            sense = self._controller.write(first, block * min(WRITTEN_BLOCKS, lba + count - first))
            if sense is not None:
                return refused(sense)
        return ended(None)
