"""Commands that carry parameters: mode pages and security protocols. Source: SPC-4 section 6."""

from dataclasses import dataclass
from typing import Self

from firmware_model.wire.scsi.transfer import Allocated, Direction, Listed, Transfer, number
from firmware_model.wire.sense import Sense, invalid_field


@dataclass(frozen=True, slots=True)
class ModeSense(Allocated):
    """SPC-4 6.11 and 6.12, by `size` 6 or 10."""

    page: int
    allocation_length: int = 192
    size: int = 6
    control: int = 0  # PC: 0 current, 1 changeable, 2 default, 3 saved
    subpage: int = 0
    no_block_descriptors: bool = False

    def encode(self) -> bytes:
        fields = bytes((0x08 * self.no_block_descriptors, self.control << 6 | self.page))
        if self.size == 6:
            return b"\x1a" + fields + bytes((self.subpage, self.allocation_length, 0))
        length = self.allocation_length.to_bytes(2, "big")
        return b"\x5a" + fields + bytes((self.subpage, 0, 0, 0)) + length + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        length = cdb[4] if len(cdb) == 6 else number(cdb, 7, 2)
        return cls(cdb[2] & 0x3F, length, len(cdb), cdb[2] >> 6, cdb[3], bool(cdb[1] & 8))


@dataclass(frozen=True, slots=True)
class ModeSelect(Listed):
    """SPC-4 6.9 and 6.10, by `size` 6 or 10."""

    list_length: int
    size: int = 6
    saves: bool = False

    def encode(self) -> bytes:
        if self.size == 6:
            return bytes((0x15, 0x10 | self.saves, 0, 0, self.list_length, 0))
        length = self.list_length.to_bytes(2, "big")
        return bytes((0x55, 0x10 | self.saves, 0, 0, 0, 0, 0)) + length + b"\0"

    @classmethod
    def decode(cls, cdb: bytes) -> Self | Sense:
        if not cdb[1] & 0x10:  # PF: pages in a format of the maker's, of which there is none
            return invalid_field(1, 4)
        length = cdb[4] if len(cdb) == 6 else number(cdb, 7, 2)
        return cls(length, len(cdb), bool(cdb[1] & 1))


def _security_cdb(opcode: int, protocol: int, specific: int, inc_512: bool, length: int) -> bytes:
    count = length // 512 if inc_512 else length
    head = bytes((opcode, protocol)) + specific.to_bytes(2, "big") + bytes((0x80 * inc_512, 0))
    return head + count.to_bytes(4, "big") + bytes(2)


def _security_length(cdb: bytes) -> tuple[int, bool]:
    inc_512 = bool(cdb[4])
    return number(cdb, 6, 4) * (512 if inc_512 else 1), inc_512


@dataclass(frozen=True, slots=True)
class SecurityProtocolIn:
    """SPC-4 6.40; the length is in bytes, whatever unit the CDB counts in."""

    protocol: int
    specific: int
    length: int
    inc_512: bool = False

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.IN, self.length)

    def encode(self) -> bytes:
        return _security_cdb(0xA2, self.protocol, self.specific, self.inc_512, self.length)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(cdb[1], number(cdb, 2, 2), *_security_length(cdb))


@dataclass(frozen=True, slots=True)
class SecurityProtocolOut:
    """SPC-4 6.41; the length is in bytes, whatever unit the CDB counts in."""

    protocol: int
    specific: int
    length: int
    inc_512: bool = False

    @property
    def transfer(self) -> Transfer:
        return Transfer(Direction.OUT, self.length)

    def encode(self) -> bytes:
        return _security_cdb(0xB5, self.protocol, self.specific, self.inc_512, self.length)

    @classmethod
    def decode(cls, cdb: bytes) -> Self:
        return cls(cdb[1], number(cdb, 2, 2), *_security_length(cdb))
