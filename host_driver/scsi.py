"""SCSI as a host speaks it to a disk, over any command transport. Source: SPC-4, SBC-3."""

from __future__ import annotations

from typing import Final, TypeVar

from firmware_model.wire import scsi
from firmware_model.wire.capacity import ASK_16, Capacity
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.inquiry import StandardInquiry
from firmware_model.wire.mode import ALL_PAGES, ModeParameters
from firmware_model.wire.security import SecurityProtocol, SupportedProtocols
from firmware_model.wire.sense import (
    ACCESS_NOT_AUTHORIZED,
    LOCKED,
    SELF_TEST_FAILED,
    WRITE_PROTECTED,
    Sense,
    SenseKey,
)
from firmware_model.wire.unmap import Extent, encode_unmap_list
from host_driver.attachment import TRANSFER_BYTES
from host_driver.errors import (
    CommandRefused,
    Locked,
    NotSupported,
    ProtocolError,
    SelfTestFailed,
    ShortData,
)
from host_driver.transport import CommandTransport, Completion, ScsiStatus

MAX_ATTENTIONS: Final = 4

BLOCKS_OF_EXTENT: Final = 0xFFFF_FFFF
T = TypeVar("T")


class ScsiDisk:
    """Logical unit 0 behind a transport. A refusal is raised; see `host_driver.errors`.

    One command moves `transfer_bytes` at most.
    """

    def __init__(self, transport: CommandTransport, transfer_bytes: int = TRANSFER_BYTES) -> None:
        self.transport = transport
        self._chunk_blocks = max(transfer_bytes // scsi.BLOCK_BYTES, 1)

    def command(self, cdb: bytes, data_out: bytes = b"", data_in_length: int = 0) -> bytes:
        """Run a command and return its data-in; a unit attention is heard and the command repeated.

        Raises CommandRefused, or the kind of it that the sense data stands for.
        """
        completion = self._settled(cdb, data_out, data_in_length)
        if completion.status is ScsiStatus.GOOD:
            return completion.data
        raise refusal(completion)

    def _settled(self, cdb: bytes, data_out: bytes, data_in_length: int) -> Completion:
        for _ in range(MAX_ATTENTIONS):
            completion = self.transport.execute(cdb, data_out, data_in_length)
            sense = completion.sense
            if sense is None or sense.key is not SenseKey.UNIT_ATTENTION:
                break
        return completion

    def inquiry(self) -> StandardInquiry:
        """Return who made the drive."""
        data = self.command(scsi.Inquiry(36).encode(), data_in_length=36)
        return _decoded(StandardInquiry.decode(data) if len(data) == 36 else None, data, 36)

    def test_unit_ready(self) -> Sense | None:
        """Return why the medium is not ready; None when it is."""
        return self._settled(scsi.TestUnitReady().encode(), b"", 0).sense

    def capacity(self) -> tuple[int, int]:
        """Return how many blocks there are, and the bytes of one; raise Locked, as others do."""
        data = self.command(scsi.ReadCapacity().encode(), data_in_length=8)
        capacity = _decoded(Capacity.decode_10(data) if len(data) == 8 else None, data, 8)
        if capacity.lba_last == ASK_16:
            data = self.command(scsi.ReadCapacity(16).encode(), data_in_length=32)
            capacity = _decoded(Capacity.decode_16(data) if len(data) == 32 else None, data, 32)
        return capacity.lba_last + 1, capacity.block_bytes

    def read(self, lba: int, block_count: int) -> bytes:
        """Return blocks of 512 bytes."""
        parts = []
        for first in range(lba, lba + block_count, self._chunk_blocks):
            count = min(self._chunk_blocks, lba + block_count - first)
            cdb = scsi.Read(first, count, _size(first + count)).encode()
            length = count * scsi.BLOCK_BYTES
            data = self.command(cdb, data_in_length=length)
            if len(data) != length:
                raise ShortData(f"READ of {count} blocks at {first} gave {len(data)} bytes")
            parts.append(data)
        return b"".join(parts)

    def write(self, lba: int, data: bytes) -> None:
        """Store whole blocks; raise ValueError for a part of a block."""
        if len(data) % scsi.BLOCK_BYTES:
            raise ValueError(f"{len(data)} bytes are not whole blocks of {scsi.BLOCK_BYTES}")
        step = self._chunk_blocks * scsi.BLOCK_BYTES
        for at in range(0, len(data), step):
            piece = data[at : at + step]
            first, count = lba + at // scsi.BLOCK_BYTES, len(piece) // scsi.BLOCK_BYTES
            self.command(scsi.Write(first, count, _size(first + count)).encode(), piece)

    def trim(self, lba: int, block_count: int) -> None:
        """Tell the drive that blocks are no longer needed (UNMAP); they read as zeros then."""
        while block_count:
            count = min(block_count, BLOCKS_OF_EXTENT)
            data = encode_unmap_list([Extent(lba, count)])
            self.command(scsi.Unmap(len(data)).encode(), data)
            lba, block_count = lba + count, block_count - count

    def flush(self) -> None:
        """Have the drive store what it may hold in a cache (SYNCHRONIZE CACHE)."""
        self.command(scsi.SynchronizeCache().encode())

    def is_write_protected(self) -> bool:
        """Return the WP bit of MODE SENSE(6)."""
        data = self.command(scsi.ModeSense(ALL_PAGES).encode(), data_in_length=192)
        try:
            return ModeParameters.decode(data, 6).is_write_protected
        except DecodeError as wrong:
            raise ProtocolError(f"MODE SENSE(6): {wrong}") from wrong

    def start_stop(self, starts: bool, loads_or_ejects: bool = False) -> None:
        """Start the unit, stop it, or eject its medium."""
        self.command(scsi.StartStopUnit(starts, loads_or_ejects).encode())

    def sanitize(self) -> None:
        """Erase cryptographically (SANITIZE)."""
        self.command(scsi.Sanitize().encode())

    def security_in(self, protocol: int, specific: int, length: int) -> bytes:
        """Return at most `length` bytes of SECURITY PROTOCOL IN."""
        cdb = scsi.SecurityProtocolIn(protocol, specific, length).encode()
        return self.command(cdb, data_in_length=length)

    def security_out(self, protocol: int, specific: int, data: bytes) -> None:
        """Send SECURITY PROTOCOL OUT."""
        cdb = scsi.SecurityProtocolOut(protocol, specific, len(data)).encode()
        self.command(cdb, data)

    def security_protocols(self) -> tuple[int, ...]:
        """Return the security protocols the drive lists."""
        data = self.security_in(SecurityProtocol.INFORMATION, 0, 256)
        try:
            return SupportedProtocols.decode(data).protocols
        except DecodeError as wrong:
            raise ProtocolError(f"the list of security protocols: {wrong}") from wrong


def refusal(completion: Completion) -> CommandRefused:
    """Return what a CHECK CONDITION is called in the tree of errors."""
    sense = completion.sense
    if sense is None:
        return CommandRefused(f"refused with status {completion.status.name} and no reason")
    match (sense.key, sense.asc, sense.ascq):
        case (LOCKED.key, LOCKED.asc, _) | (
            ACCESS_NOT_AUTHORIZED.key,
            ACCESS_NOT_AUTHORIZED.asc,
            _,
        ):
            return Locked("the drive is locked", sense)
        case (SELF_TEST_FAILED.key, SELF_TEST_FAILED.asc, _):
            return SelfTestFailed("the drive failed its self-test", sense)
        case (WRITE_PROTECTED.key, WRITE_PROTECTED.asc, _):
            return CommandRefused("the drive is read-only", sense)
        case (SenseKey.ILLEGAL_REQUEST, 0x20, 0x00):
            return NotSupported("the drive does not know that command", sense)
    return CommandRefused(f"refused: {sense}", sense)


def _size(lba_end: int) -> int:
    return 10 if lba_end <= 1 << 32 else 16


def _decoded(value: T | None, data: bytes, length: int) -> T:
    if value is None:
        raise ShortData(f"{len(data)} bytes came, where {length} were asked for")
    return value
