"""Mode pages and their headers. Source: SPC-4 7.5, SBC-3 6.5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.sense import (
    PARAMETER_LIST_LENGTH_ERROR,
    Sense,
    invalid_parameter,
)

ALL_PAGES: Final = 0x3F
CONTROL_PAGE: Final = 0x0A
WRITE_PROTECT: Final = 0x80  # of the device-specific parameter (SBC-3 6.5.1)
DPOFUA: Final = 0x10
SIZES: Final = {6: 4, 10: 8}  # header bytes by the size of the CDB
D_SENSE: Final = (2, 0x04)  # of the control page: byte and bit
SWP: Final = (4, 0x08)
_PS: Final = 0x80  # of byte 0: the page can be saved
_SPF: Final = 0x40  # it is a subpage
_CODE: Final = 0x3F

# Default values. Blocks that fail are replaced by themselves, read and write (AWRE, ARRE); writes
# are durable when answered (WCE 0).
DEFAULTS: Final[Mapping[int, bytes]] = {
    0x01: bytes((0x01, 0x0A, 0xC0)) + bytes(9),  # read-write error recovery
    0x08: bytes((0x08, 0x12)) + bytes(18),  # caching
    0x0A: bytes((0x0A, 0x0A)) + bytes(10),  # control
    0x1C: bytes((0x1C, 0x0A)) + bytes(10),  # informational exceptions
}


def _changeable() -> dict[int, bytes]:
    pages = {code: bytearray(page[:2] + bytes(page[1])) for code, page in DEFAULTS.items()}
    for byte, bit in (D_SENSE, SWP):
        pages[CONTROL_PAGE][byte] |= bit
    return {code: bytes(page) for code, page in pages.items()}


CHANGEABLE: Final[Mapping[int, bytes]] = _changeable()


def is_set(pages: Mapping[int, bytes], place: tuple[int, int]) -> bool:
    """Return a bit of the control page."""
    byte, bit = place
    return bool(pages[CONTROL_PAGE][byte] & bit)


def encode_pages(code: int, pages: Mapping[int, bytes]) -> bytes | None:
    """Return one page, or all of them for 3Fh; None for a page that there is not."""
    wanted = pages if code == ALL_PAGES else {code: pages[code]} if code in pages else None
    if wanted is None:
        return None
    return b"".join(bytes((_PS | page[0],)) + page[1:] for page in wanted.values())


@dataclass(frozen=True, slots=True)
class ModeParameters:
    """Header and pages, without block descriptors."""

    pages: bytes
    is_write_protected: bool = False

    def encode(self, size: int) -> bytes:
        """Return MODE SENSE data for the command of `size` 6 or 10."""
        specific = WRITE_PROTECT * self.is_write_protected | DPOFUA
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
        descriptors = _descriptor_bytes(data, size)
        if len(data) < header + descriptors:
            raise DecodeError(f"block descriptors of {descriptors} bytes end early")
        return cls(data[header + descriptors :], bool(specific & WRITE_PROTECT))


def _descriptor_bytes(data: bytes, size: int) -> int:
    return data[3] if size == 6 else int.from_bytes(data[6:8], "big")


def selected(list_: bytes, size: int, pages: Mapping[int, bytes]) -> dict[int, bytes] | Sense:
    """Return the pages that a MODE SELECT list changes `pages` into, or why it is refused.

    It may change what is changeable, and must say everything else as it is. There is no block
    descriptor to change: one that asks for another block length must not be thought obeyed.
    """
    header = SIZES[size]
    if len(list_) < header:
        return PARAMETER_LIST_LENGTH_ERROR
    type_at, descriptors_at = (1, 3) if size == 6 else (2, 6)
    if list_[type_at]:
        return invalid_parameter(type_at)
    if _descriptor_bytes(list_, size):
        return invalid_parameter(descriptors_at)
    changed = dict(pages)
    at = header
    while at < len(list_):
        if len(list_) < at + 2 or len(list_) < at + 2 + list_[at + 1]:
            return PARAMETER_LIST_LENGTH_ERROR
        page = list_[at : at + 2 + list_[at + 1]]
        refusal = _page_refusal(page, at, changed)
        if refusal is not None:
            return refusal
        changed[page[0] & _CODE] = bytes((page[0] & _CODE,)) + page[1:]
        at += len(page)
    return changed


def _page_refusal(page: bytes, at: int, pages: Mapping[int, bytes]) -> Sense | None:
    """Return why a page that stands at `at` can't be taken: what in it is not to be changed."""
    code = page[0] & _CODE
    if page[0] & _SPF:
        return invalid_parameter(at, 6)
    if code not in pages:
        return invalid_parameter(at, 5)
    old, changeable = pages[code], CHANGEABLE[code]
    if len(page) != len(old):
        return invalid_parameter(at + 1)
    for index in range(2, len(page)):
        wrong = (page[index] ^ old[index]) & ~changeable[index]
        if wrong:
            return invalid_parameter(at + index, wrong.bit_length() - 1)
    return None


def decode_pages(data: bytes) -> dict[int, bytes]:
    """Return the pages in `data`, defaults where one is missing; raise DecodeError.

    What it says of fields that are not changeable must be what they are.
    """
    pages = selected(bytes(SIZES[6]) + data, 6, DEFAULTS)
    if isinstance(pages, Sense):
        raise DecodeError(f"no mode pages: {pages}")
    return pages
