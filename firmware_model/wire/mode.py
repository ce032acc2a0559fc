"""Mode pages and their headers. Source: SPC-4 7.5, SBC-3 6.5."""

from dataclasses import dataclass
from typing import Final, Self

from firmware_model.wire.codec import DecodeError

ALL_PAGES: Final = 0x3F
WRITE_PROTECT: Final = 0x80  # of the device-specific parameter (SBC-3 6.5.1)
SIZES: Final = {6: 4, 10: 8}  # header bytes by the size of the CDB

# Current values; none of them is changeable, and none is saved.
PAGES: Final = {
    0x01: bytes((0x01, 0x0A)) + bytes(10),  # read-write error recovery
    0x08: bytes((0x08, 0x12)) + bytes(18),  # caching: WCE 0, writes are durable when answered
    0x0A: bytes((0x0A, 0x0A)) + bytes(10),  # control: fixed format sense
    0x1C: bytes((0x1C, 0x0A)) + bytes(10),  # informational exceptions
}


def pages(code: int, is_changeable: bool = False) -> bytes | None:
    """Return one page, or all of them for 3Fh; None for a page that there is not."""
    wanted = PAGES if code == ALL_PAGES else {code: PAGES[code]} if code in PAGES else None
    if wanted is None:
        return None
    if is_changeable:
        return b"".join(page[:2] + bytes(len(page) - 2) for page in wanted.values())
    return b"".join(wanted.values())


@dataclass(frozen=True, slots=True)
class ModeParameters:
    """Header and pages, without block descriptors."""

    pages: bytes
    is_write_protected: bool = False

    def encode(self, size: int) -> bytes:
        """Return MODE SENSE data for the command of `size` 6 or 10."""
        specific = WRITE_PROTECT * self.is_write_protected
        if size == 6:
            return bytes((3 + len(self.pages), 0, specific, 0)) + self.pages
        return (
            (6 + len(self.pages)).to_bytes(2, "big") + bytes((0, specific, 0, 0, 0, 0)) + self.pages
        )

    @classmethod
    def decode(cls, data: bytes, size: int) -> Self:
        """Return header and pages in `data`, block descriptors left out; raise DecodeError."""
        header = SIZES[size]
        if len(data) < header:
            raise DecodeError(f"a mode header has {header} bytes, this one {len(data)}")
        specific = data[2] if size == 6 else data[3]
        descriptors = data[3] if size == 6 else int.from_bytes(data[6:8], "big")
        if len(data) < header + descriptors:
            raise DecodeError(f"block descriptors of {descriptors} bytes end early")
        return cls(data[header + descriptors :], bool(specific & WRITE_PROTECT))


def changes_nothing(list_: bytes, size: int) -> bool:
    """Tell whether a MODE SELECT list names only pages as they are, and no block descriptor.

    There is none to change: one that asks for another block length must not be thought obeyed.
    """
    try:
        rest = ModeParameters.decode(list_, size).pages
    except DecodeError:
        return False
    if len(rest) != len(list_) - SIZES[size]:
        return False
    while rest:
        if len(rest) < 2 or len(rest) < 2 + rest[1]:
            return False
        page, rest = rest[: 2 + rest[1]], rest[2 + rest[1] :]
        if PAGES.get(page[0] & 0x3F) != bytes((page[0] & 0x3F,)) + page[1:]:
            return False
    return True
