"""How large a medium is. Source: SBC-3 5.15, 5.16; MMC-6 6.23."""

from dataclasses import dataclass
from typing import Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi import BLOCK_BYTES

LBPME, LBPRZ = 0x80, 0x40  # logical block provisioning management; unmapped reads as zero
ASK_16: Final = 0xFFFFFFFF  # the last LBA does not fit: READ CAPACITY(16) tells it


@dataclass(frozen=True, slots=True)
class Capacity:
    """The last LBA, and the bytes of a block."""

    lba_last: int
    block_bytes: int = BLOCK_BYTES

    def encode_10(self) -> bytes:
        """Return READ CAPACITY(10) data, 8 bytes."""
        return min(self.lba_last, ASK_16).to_bytes(4, "big") + self.block_bytes.to_bytes(4, "big")

    def encode_16(self) -> bytes:
        """Return READ CAPACITY(16) data, 32 bytes: no protection; unmapped blocks read as zeros."""
        head = self.lba_last.to_bytes(8, "big") + self.block_bytes.to_bytes(4, "big")
        return head + bytes((0, 0, LBPME | LBPRZ)) + bytes(17)

    @classmethod
    def decode_10(cls, data: bytes) -> Self:
        """Return the capacity in `data`; raise DecodeError when it has not 8 bytes."""
        if len(data) != 8:
            raise DecodeError(f"READ CAPACITY(10) data has 8 bytes, not {len(data)}")
        return cls(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big"))

    @classmethod
    def decode_16(cls, data: bytes) -> Self:
        """Return the capacity in `data`; raise DecodeError when it has not 32 bytes."""
        if len(data) != 32:
            raise DecodeError(f"READ CAPACITY(16) data has 32 bytes, not {len(data)}")
        return cls(int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big"))


def format_capacities(block_count: int | None) -> bytes:
    """Return READ FORMAT CAPACITIES data: one descriptor, of the medium or of none."""
    kind = 0x03 if block_count is None else 0x02  # no medium present; formatted medium
    count = min(block_count or 0, 0xFFFFFFFF).to_bytes(4, "big")
    return bytes((0, 0, 0, 8)) + count + bytes((kind,)) + BLOCK_BYTES.to_bytes(3, "big")
