"""INQUIRY data and vital product data. Source: SPC-4 6.6.2, 7.8; SBC-3 6.6."""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi import TRANSFER_BLOCKS_MAX
from firmware_model.wire.unmap import DESCRIPTORS_MAX

SPC_4: Final = 0x06
CMDQUE: Final = 0x02  # commands may be queued, where the transport can
# What the drive claims to obey (SPC-4 table 142): SAM-5, SPC-4, SBC-3, USB 2.0, Bulk-Only, UAS.
STANDARDS: Final = (0x00A0, 0x0460, 0x04C0, 0x1729, 0x1730, 0x1740)
LEAST_BYTES: Final = 36  # of standard data
COMPARED_BLOCKS_MAX: Final = 255  # of one COMPARE AND WRITE: more its CDB can't say
UGAVALID: Final = 0x8000_0000  # where units of unmapping begin is told
SAME_BLOCKS_MAX: Final = 0xFFFF  # of one WRITE SAME: what is written within a host's patience


def _padded(text: str, width: int) -> bytes:
    return text.encode("ascii", "replace")[:width].ljust(width)


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class StandardInquiry:
    """Standard INQUIRY data of a removable direct-access device (SPC-4 6.6.2)."""

    vendor: str  # 8 characters
    product: str  # 16 characters
    revision: str  # 4 characters
    is_removable: bool = True
    device_type: int = 0x00
    version: int = SPC_4

    LAYOUT: ClassVar[Struct] = Struct(">BBBBBxxB8s16s4s")
    VERSIONS: ClassVar[Struct] = Struct(">22x8H")

    def encode(self) -> bytes:
        """Return the 36 bytes that every device has, and 38 with the standards it obeys."""
        rest = self.VERSIONS.pack(*STANDARDS, *bytes(8 - len(STANDARDS)))
        return (
            self.LAYOUT.pack(
                self.device_type,
                0x80 * self.is_removable,
                self.version,
                0x02,
                LEAST_BYTES + len(rest) - 5,
                CMDQUE,
                _padded(self.vendor, 8),
                _padded(self.product, 16),
                _padded(self.revision, 4),
            )
            + rest
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `data` begins with; raise DecodeError when it is shorter than 36 bytes."""
        if len(data) < LEAST_BYTES:
            raise DecodeError(f"INQUIRY data has at least 36 bytes, these are {len(data)}")
        kind, removable, version, _, _, _, *texts = cls.LAYOUT.unpack_from(data)
        vendor, product, revision = texts
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
    vendor: str, product: str, serial: str, takes_firmware: bool, page_blocks: int
) -> dict[int, VpdPage]:
    """Return the pages of a drive: 00h, 80h, 83h, 86h and the block device's B0h, B1h, B2h.

    `page_blocks` are what the medium takes and drops as one.
    """
    designator = _padded(vendor, 8) + _padded(product, 16) + serial.encode("ascii", "replace")
    pages = {
        0x80: serial.encode("ascii", "replace"),
        0x83: bytes((0x02, 0x01, 0, len(designator))) + designator,
        0x86: _extended_inquiry(takes_firmware),
        0xB0: _block_limits(page_blocks),
        0xB1: _block_device_characteristics(),
        0xB2: bytes((0, 0x80 | 0x40 | 0x04, 0x02, 0)),  # LBPU, LBPWS, LBPRZ; thin
    }
    codes = bytes((0x00, *pages))
    return {code: VpdPage(code, data) for code, data in {0x00: codes, **pages}.items()}


def _extended_inquiry(takes_firmware: bool) -> bytes:
    page = bytearray(0x3C)
    page[1] = 0x07  # HEADSUP, ORDSUP, SIMPSUP: task attributes
    page[8] = 0x80 * takes_firmware  # POA_SUP: a power on activates deferred microcode
    return bytes(page)


def _block_limits(page_blocks: int) -> bytes:
    page = bytearray(0x3C)
    page[0x01] = COMPARED_BLOCKS_MAX
    page[0x02:0x04] = page_blocks.to_bytes(2, "big")  # granularity of transfers
    page[0x04:0x08] = TRANSFER_BLOCKS_MAX.to_bytes(4, "big")
    page[0x10:0x14] = (0xFFFF_FFFF).to_bytes(4, "big")  # blocks of one UNMAP
    page[0x14:0x18] = DESCRIPTORS_MAX.to_bytes(4, "big")
    page[0x18:0x1C] = page_blocks.to_bytes(4, "big")  # granularity of unmapping
    page[0x1C:0x20] = UGAVALID.to_bytes(4, "big")  # which begins at LBA 0
    page[0x20:0x28] = SAME_BLOCKS_MAX.to_bytes(8, "big")
    return bytes(page)


def _block_device_characteristics() -> bytes:
    page = bytearray(0x3C)
    page[1] = 1  # non-rotating medium
    page[3] = 0x10  # WACEREQ: what is read after a cryptographic erase is no error
    page[4] = 0x01  # VBULS: blocks that hold nothing can be verified
    return bytes(page)
