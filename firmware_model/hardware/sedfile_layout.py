"""What stands where in a FILE.sed, and what of it is believed.

    0         header: version, geometry, lengths and checksums
    64        the profile's text, at most 60 KiB
    64 KiB    element journal: two areas of 4 KiB, written in turn; the newest valid record counts
    72 KiB    page table: a byte a page, 00h erased or A5h programmed; filled up to 4 KiB
    then      pages, data and spare area side by side, as a chip reader writes them

Integers are big-endian.
"""

import zlib
from dataclasses import astuple, dataclass
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.hardware.element_state import (
    ENCODED_BYTES,
    ElementState,
    ElementStateError,
)
from firmware_model.hardware.nand import Geometry

VERSION: Final = 1
PROFILE_BYTES_MAX: Final = 60 * 1024
PAGES_MAX: Final = 1 << 24  # 64 GiB of 4 KiB pages, and 16 MiB of memory for their table
EXTERNAL_BYTES_MAX: Final = 2048

PROFILE_AT: Final = 64
JOURNAL_AT: Final = 64 * 1024
AREA_BYTES: Final = 4096
TABLE_AT: Final = JOURNAL_AT + 2 * AREA_BYTES
PROGRAMMED: Final = b"\xa5"  # no single flipped bit makes it an erased page, or one of that
_NUMBER_END: Final = 1 << 63  # of sequence numbers and microseconds: room to count on
_U32: Final = Struct(">I")


class Damage(ValueError):
    """What is wrong, before anybody has said with which file."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first 64 bytes."""

    profile_bytes: int
    profile_crc: int
    geometry: Geometry

    LAYOUT: ClassVar[Struct] = Struct(">8sHIIIIII")
    MAGIC: ClassVar[bytes] = b"\x93SED\r\n\x1a\n"  # as PNG's: transfers as text show

    def encode(self) -> bytes:
        """Return the header with its checksum."""
        numbers = (self.profile_bytes, self.profile_crc, *astuple(self.geometry))
        body = self.LAYOUT.pack(self.MAGIC, VERSION, *numbers)
        return body + _U32.pack(zlib.crc32(body))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the header in `data`, 64 bytes; raise Damage where there is none."""
        body, end = data[: cls.LAYOUT.size], data[cls.LAYOUT.size :]
        magic, version, profile_bytes, profile_crc, *shape = cls.LAYOUT.unpack(body)
        if magic != cls.MAGIC:
            raise Damage("not a .sed file")
        if version > VERSION:
            raise Damage(f"written in format {version}, this program knows {VERSION}")
        if end[:4] != _U32.pack(zlib.crc32(body)):
            raise Damage("damaged: the header's checksum does not match")
        if profile_bytes > PROFILE_BYTES_MAX:
            raise Damage(f"announces a profile of {profile_bytes} bytes")
        return cls(profile_bytes, profile_crc, _checked(Geometry(*shape)))


@dataclass(frozen=True, slots=True)
class Record:
    """What one journal area holds: the element, the serial flash beside it, and the time."""

    sequence: int
    now_us: int
    element: ElementState
    external: bytes

    LAYOUT: ClassVar[Struct] = Struct(">4sQQH")
    MAGIC: ClassVar[bytes] = b"SEJ1"

    def encode(self) -> bytes:
        """Return the record with its checksum."""
        head = self.LAYOUT.pack(self.MAGIC, self.sequence, self.now_us, len(self.external))
        body = head + self.element.encode() + self.external
        return body + _U32.pack(zlib.crc32(body))

    @classmethod
    def decode(cls, area: bytes, number: int) -> Self | None:
        """Return the record in area `number`, or None where a write did not end."""
        magic, sequence, now_us, external_bytes = cls.LAYOUT.unpack_from(area)
        if magic != cls.MAGIC or external_bytes > EXTERNAL_BYTES_MAX:
            return None
        middle = cls.LAYOUT.size + ENCODED_BYTES
        end = middle + external_bytes
        if area[end : end + 4] != _U32.pack(zlib.crc32(area[:end])):
            return None
        if sequence % 2 != number or max(sequence, now_us) >= _NUMBER_END:
            return None
        try:
            element = ElementState.decode(area[cls.LAYOUT.size : middle])
        except ElementStateError:
            return None
        return cls(sequence, now_us, element, area[middle:end])


def area_at(number: int) -> int:
    return JOURNAL_AT + number * AREA_BYTES


def pages_at(geometry: Geometry) -> int:
    return TABLE_AT + -(-geometry.page_count // 4096) * 4096


def file_bytes(geometry: Geometry) -> int:
    page_bytes = geometry.page_bytes + geometry.spare_bytes
    return pages_at(geometry) + geometry.page_count * page_bytes


def _checked(geometry: Geometry) -> Geometry:
    """Return a geometry that a file can have."""
    if min(astuple(geometry)) < 1:
        raise Damage("a geometry without pages or bytes")
    if geometry.page_count > PAGES_MAX or geometry.page_bytes + geometry.spare_bytes > 1 << 16:
        raise Damage(f"too big: {geometry.page_count} pages of {geometry.page_bytes} bytes")
    return geometry


def new_content(profile_text: str, geometry: Geometry, element: ElementState) -> bytes:
    """Return what a new file begins with; the rest is zeros."""
    profile = profile_text.encode()
    if len(profile) > PROFILE_BYTES_MAX:
        raise Damage(f"a profile has at most {PROFILE_BYTES_MAX} bytes, not {len(profile)}")
    header = Header(len(profile), zlib.crc32(profile), _checked(geometry)).encode()
    start = (header.ljust(PROFILE_AT, b"\0") + profile).ljust(JOURNAL_AT, b"\0")
    areas = [Record(n, 0, element, b"").encode().ljust(AREA_BYTES, b"\0") for n in (0, 1)]
    return start + b"".join(areas)
