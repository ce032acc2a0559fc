"""Commands on blocks. Source: SBC-3 section 5.

LBA and count stand at the same place in every command of one size, in bytes. DPO and the group
number are taken and of no use: there is no cache to spare, and nobody counts (SBC-3 4.15, 4.22).
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from firmware_model.wire.scsi.opcodes import Opcode
from firmware_model.wire.scsi.transfer import (
    BLOCK_BYTES,
    NOTHING,
    Direction,
    Listed,
    NoData,
    Transfer,
)
from firmware_model.wire.sense import Sense, invalid_field

FUA: Final = 0x08
COUNT_AT: Final = {6: 4, 10: 7, 12: 6, 16: 10}  # where the block count stands, by size
_IMMED: Final = 0x02
_LAYOUTS: Final = {10: Struct(">BBIxHx"), 12: Struct(">BBIIxx"), 16: Struct(">BBQIxx")}
_READS: Final = {6: Opcode.READ_6, 10: Opcode.READ_10, 12: Opcode.READ_12, 16: Opcode.READ_16}
_WRITES: Final = {6: Opcode.WRITE_6, 10: Opcode.WRITE_10, 12: Opcode.WRITE_12, 16: Opcode.WRITE_16}
_VERIFIES: Final = {10: Opcode.VERIFY_10, 12: Opcode.VERIFY_12, 16: Opcode.VERIFY_16}
_WRITES_AND_VERIFIES: Final = {
    10: Opcode.WRITE_AND_VERIFY_10,
    12: Opcode.WRITE_AND_VERIFY_12,
    16: Opcode.WRITE_AND_VERIFY_16,
}


def block_cdb(opcode: int, size: int, flags: int, lba: int, count: int) -> bytes:
    """Return the CDB of a command on blocks; raise where a field is too small for its number."""
    if size == 6:
        return bytes((opcode,)) + lba.to_bytes(3, "big") + bytes((0 if count == 256 else count, 0))
    return _LAYOUTS[size].pack(opcode, flags, lba, count)


def blocks_of(cdb: bytes) -> tuple[int, int, int, int]:
    """Return byte 1, LBA, block count and size of the CDB of a command on blocks."""
    size = len(cdb)
    if size == 6:
        return 0, int.from_bytes(cdb[1:4], "big") & 0x1FFFFF, cdb[4] or 256, 6
    _, flags, lba, count = _LAYOUTS[size].unpack(cdb)
    return flags, lba, count, size


@dataclass(frozen=True, slots=True)
class Read:
    """SBC-3 5.11 to 5.14, by `size` 6, 10, 12 or 16."""

    lba: int
    block_count: int
    size: int = 10
    fua: bool = False

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.IN, self.block_count * BLOCK_BYTES)

    def encode(self) -> bytes:
        flags = FUA * self.fua
        return block_cdb(_READS[self.size], self.size, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        flags, lba, count, size = blocks_of(cdb)
        return cls(lba, count, size, bool(flags & FUA))


@dataclass(frozen=True, slots=True)
class Write:
    """SBC-3 5.32 to 5.35, by `size` 6, 10, 12 or 16."""

    lba: int
    block_count: int
    size: int = 10
    fua: bool = False

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.OUT, self.block_count * BLOCK_BYTES)

    def encode(self) -> bytes:
        flags = FUA * self.fua
        return block_cdb(_WRITES[self.size], self.size, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        flags, lba, count, size = blocks_of(cdb)
        return cls(lba, count, size, bool(flags & FUA))


@dataclass(frozen=True, slots=True)
class Verify:
    """SBC-3 5.29 to 5.31, by `size` 10, 12 or 16.

    `compares` has the host send the blocks to compare with, or just one for all with `repeats`.
    """

    lba: int
    block_count: int
    size: int = 10
    compares: bool = False
    repeats: bool = False

    @property
    def transfer(self) -> Transfer:
        if not self.compares or not self.block_count:
            return NOTHING
        blocks = 1 if self.repeats else self.block_count
        return Transfer(Direction.OUT, blocks * BLOCK_BYTES)

    def encode(self) -> bytes:
        flags = 2 * self.compares | 4 * self.repeats
        return block_cdb(_VERIFIES[self.size], self.size, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        flags, lba, count, size = blocks_of(cdb)
        if flags & 6 == 4:  # BYTCHK 10b is reserved
            return invalid_field(1, 2)
        return cls(lba, count, size, bool(flags & 2), bool(flags & 4))


@dataclass(frozen=True, slots=True)
class WriteAndVerify:
    """SBC-3 5.36 to 5.38, by `size` 10, 12 or 16; `compares` checks more than that it reads."""

    lba: int
    block_count: int
    size: int = 10
    compares: bool = False

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.OUT, self.block_count * BLOCK_BYTES)

    def encode(self) -> bytes:
        opcode, flags = _WRITES_AND_VERIFIES[self.size], 2 * self.compares
        return block_cdb(opcode, self.size, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        flags, lba, count, size = blocks_of(cdb)
        return cls(lba, count, size, bool(flags & 2))


@dataclass(frozen=True, slots=True)
class CompareAndWrite:
    """SBC-3 5.3: the blocks to compare with are sent first, those to write behind them.

    A count of 0 is refused, though the standard has it do nothing: it is what 256 blocks look like.
    """

    lba: int
    block_count: int  # 1 to 255
    fua: bool = False

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.OUT, 2 * self.block_count * BLOCK_BYTES)

    def encode(self) -> bytes:
        flags = FUA * self.fua
        return block_cdb(Opcode.COMPARE_AND_WRITE, 16, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        flags, lba, count, _ = blocks_of(cdb)
        return cls(lba, count, bool(flags & FUA)) if count else invalid_field(13)


@dataclass(frozen=True, slots=True)
class OrWrite:
    """SBC-3 5.7, ORWRITE(16): what is sent is or-ed into what is stored."""

    lba: int
    block_count: int
    fua: bool = False

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.OUT, self.block_count * BLOCK_BYTES)

    def encode(self) -> bytes:
        flags = FUA * self.fua
        return block_cdb(Opcode.ORWRITE_16, 16, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        flags, lba, count, _ = blocks_of(cdb)
        return cls(lba, count, bool(flags & FUA))


@dataclass(frozen=True, slots=True)
class WriteSame:
    """SBC-3 5.43 and 5.44, by `size` 10 or 16; 0 blocks reach to the end.

    By 16 alone, `unmaps` allows to unmap what would read the same, and with `has_zeros` (NDOB) no
    block is sent, and zeros are written.
    """

    lba: int
    block_count: int
    size: int = 10
    unmaps: bool = False
    has_zeros: bool = False

    @property
    def transfer(self) -> Transfer:
        return NOTHING if self.has_zeros else Transfer(Direction.OUT, BLOCK_BYTES)

    def encode(self) -> bytes:
        opcode = Opcode.WRITE_SAME_10 if self.size == 10 else Opcode.WRITE_SAME_16
        flags = 8 * self.unmaps | self.has_zeros
        return block_cdb(opcode, self.size, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        flags, lba, count, size = blocks_of(cdb)
        return cls(lba, count, size, bool(flags & 8), bool(flags & 1))


@dataclass(frozen=True, slots=True)
class Unmap(Listed):
    """SBC-3 5.28; which blocks is in the parameter list (`wire.unmap`)."""

    list_length: int

    def encode(self) -> bytes:
        return bytes((Opcode.UNMAP, *bytes(6))) + self.list_length.to_bytes(2, "big") + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(int.from_bytes(cdb[7:9], "big"))


@dataclass(frozen=True, slots=True)
class PreFetch(NoData):
    """SBC-3 5.8 and 5.9, by `size` 10 or 16; 0 blocks reach to the end."""

    lba: int
    block_count: int
    size: int = 10
    is_immediate: bool = False

    def encode(self) -> bytes:
        opcode = Opcode.PRE_FETCH_10 if self.size == 10 else Opcode.PRE_FETCH_16
        flags = _IMMED * self.is_immediate
        return block_cdb(opcode, self.size, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        flags, lba, count, size = blocks_of(cdb)
        return cls(lba, count, size, bool(flags & _IMMED))


@dataclass(frozen=True, slots=True)
class SynchronizeCache(NoData):
    """SBC-3 5.22 and 5.23, by `size` 10 or 16; 0 blocks reach to the end."""

    lba: int = 0
    block_count: int = 0
    size: int = 10
    is_immediate: bool = False

    def encode(self) -> bytes:
        opcode = Opcode.SYNCHRONIZE_CACHE_10 if self.size == 10 else Opcode.SYNCHRONIZE_CACHE_16
        flags = _IMMED * self.is_immediate
        return block_cdb(opcode, self.size, flags, self.lba, self.block_count)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        flags, lba, count, size = blocks_of(cdb)
        return cls(lba, count, size, bool(flags & _IMMED))
