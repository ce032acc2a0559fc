"""INQUIRY data and vital product data. Source: SPC-4 6.6.2, 7.8; SBC-3 6.6."""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi import TRANSFER_BLOCKS_MAX
from firmware_model.wire.unmap import DESCRIPTORS_MAX

SPC_4: Final = 0x06


def _padded(text: str, width: int) -> bytes:
    return text.encode("ascii", "replace")[:width].ljust(width)


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class StandardInquiry:
    """Standard INQUIRY data of a removable direct-access device, 36 bytes."""

    vendor: str  # 8 characters
    product: str  # 16 characters
    revision: str  # 4 characters
    is_removable: bool = True
    device_type: int = 0x00
    version: int = SPC_4

    LAYOUT: ClassVar[Struct] = Struct(">BBBBB3x8s16s4s")

    def encode(self) -> bytes:
        """Return the 36 bytes."""
        return self.LAYOUT.pack(
            self.device_type,
            0x80 * self.is_removable,
            self.version,
            0x02,
            self.LAYOUT.size - 5,
            _padded(self.vendor, 8),
            _padded(self.product, 16),
            _padded(self.revision, 4),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `data` begins with; raise DecodeError when it is shorter than 36 bytes."""
        if len(data) < cls.LAYOUT.size:
            raise DecodeError(f"INQUIRY data has at least 36 bytes, these are {len(data)}")
        kind, removable, version, _, _, vendor, product, revision = cls.LAYOUT.unpack_from(data)
        return cls(
            _text(vendor), _text(product), _text(revision), bool(removable & 0x80), kind, version
        )


@dataclass(frozen=True, slots=True)
class VpdPage:
    """One page of vital product data."""

    code: int
    payload: bytes

    def encode(self) -> bytes:
        """Return header and payload."""
        return bytes((0, self.code)) + len(self.payload).to_bytes(2, "big") + self.payload

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the page in `data`; raise DecodeError when it ends early."""
        length = int.from_bytes(data[2:4], "big")
        if len(data) < 4 + length:
            raise DecodeError(f"a VPD page of {length} bytes ends after {len(data)}")
        return cls(data[1], data[4 : 4 + length])


def vpd_pages(
    vendor: str, product: str, serial: str, takes_firmware: bool = False
) -> dict[int, VpdPage]:
    """Return the pages of a drive: 00h, 80h, 83h, 86h and the block device's B0h, B1h, B2h."""
    designator = _padded(vendor, 8) + _padded(product, 16) + serial.encode("ascii", "replace")
    limits = bytearray(0x3C)
    limits[0x02:0x04] = (256).to_bytes(2, "big")  # granularity: what hosts send in one command
    limits[0x04:0x08] = TRANSFER_BLOCKS_MAX.to_bytes(4, "big")
    limits[0x10:0x14] = (0xFFFF_FFFF).to_bytes(4, "big")  # blocks of one UNMAP
    limits[0x14:0x18] = DESCRIPTORS_MAX.to_bytes(4, "big")
    extended = bytearray(0x3C)
    extended[8] = 0x80 * takes_firmware  # POA_SUP: a power on activates deferred microcode
    characteristics = bytearray(0x3C)
    characteristics[1] = 1  # non-rotating medium
    pages = {
        0x80: serial.encode("ascii", "replace"),
        0x83: bytes((0x02, 0x01, 0, len(designator))) + designator,
        0x86: bytes(extended),
        0xB0: bytes(limits),
        0xB1: bytes(characteristics),
        0xB2: bytes((0, 0x80 | 0x04, 0x02, 0)),  # LBPU, LBPRZ; thin provisioned
    }
    codes = bytes((0x00, *pages))
    return {code: VpdPage(code, data) for code, data in {0x00: codes, **pages}.items()}
