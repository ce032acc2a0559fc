"""What stands where in a FILE.sed, and what of it is believed.

    0         header: version, geometry, lengths and checksums
    64        the profile's text, at most 60 KiB; zeros behind it
    64 KiB    element journal: two areas of 4 KiB, written in turn
    72 KiB    which area counts, in 4 KiB
    76 KiB    block table: 32 bytes a block; filled up to 4 KiB
    then      for each block: its page table, 64 bytes a page; the data of its pages, as they stand
              in flash; another place for each of them; and two for its spare area. Raw bits are put
              where the page does not stand yet, before the table names that place

Integers are big-endian. What is all zeros was never written. Each entry of a table has a checksum,
and names what it belongs to: a block's pages count only if they name the number of erases the
block table has. So an erase is one write, and everything that counts is covered by a checksum. No
entry and no record crosses a boundary of 4 KiB: a killed process leaves each as it was or as it was
to be, since the operating system takes over whole pages of its cache.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from struct import Struct
from typing import ClassVar, Final, Self

import numpy as np

from firmware_model.hardware.cells import RECORD_BYTES, BlockState
from firmware_model.hardware.element_state import (
    ENCODED_BYTES,
    ElementState,
    ElementStateError,
)
from firmware_model.hardware.nand import Geometry

VERSION: Final = 3
PROFILE_BYTES_MAX: Final = 60 * 1024
BLOCKS_MAX: Final = 1 << 20
BLOCK_PAGES_MAX: Final = 1 << 14
EXTERNAL_BYTES_MAX: Final = 2048

PROFILE_AT: Final = 64
JOURNAL_AT: Final = 64 * 1024
AREA_BYTES: Final = 4096
POINTER_AT: Final = JOURNAL_AT + 2 * AREA_BYTES
TABLE_AT: Final = POINTER_AT + AREA_BYTES
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

    LAYOUT: ClassVar[Struct] = Struct(">8sHIIIIIII")
    MAGIC: ClassVar[bytes] = b"\x93SED\r\n\x1a\n"  # as PNG's: transfers as text show

    def encode(self) -> bytes:
        """Return the header with its checksum."""
        numbers = (self.profile_bytes, self.profile_crc, *astuple(self.geometry))
        return _checked(self.LAYOUT.pack(self.MAGIC, VERSION, *numbers)).ljust(PROFILE_AT, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the header in `data`, 64 bytes; raise Damage where there is none."""
        magic, version, profile_bytes, profile_crc, *shape = cls.LAYOUT.unpack_from(data)
        if magic != cls.MAGIC:
            raise Damage("not a .sed file")
        if version > VERSION:
            raise Damage(f"written in format {version}, this program knows {VERSION}")
        if version < VERSION:
            raise Damage(f"written in format {version}, which this program no longer knows")
        header = cls(profile_bytes, profile_crc, Geometry(*shape))
        if header.encode() != data:
            raise Damage("damaged: the header's checksum does not match")
        if profile_bytes > PROFILE_BYTES_MAX:
            raise Damage(f"announces a profile of {profile_bytes} bytes")
        _check(header.geometry)
        return header


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


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which record of the journal counts: the one of this sequence number."""

    sequence: int

    LAYOUT: ClassVar[Struct] = Struct(">4sQ")
    MAGIC: ClassVar[bytes] = b"SEP2"

    def encode(self) -> bytes:
        """Return the pointer with its checksum."""
        return _checked(self.LAYOUT.pack(self.MAGIC, self.sequence))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the pointer that `data` begins with; raise Damage where there is none."""
        magic, sequence = cls.LAYOUT.unpack_from(data)
        if magic != cls.MAGIC or cls(sequence).encode() != data[: cls.LAYOUT.size + 4]:
            raise Damage("damaged: nothing says which copy of the secure element counts")
        return cls(sequence)


BLOCK_ENTRY: Final = Struct(">IQQBB6x")  # erases, reads, time, flags, 1
BLOCK_ENTRY_BYTES: Final = 32
PAGE_ENTRY_BYTES: Final = 64
CLEAN, RAW, RAW_WEAK = 1, 2, 3  # kinds of pages
PAGE_ENTRY: Final = np.dtype(
    [
        ("kind", "u1"),
        ("reads_left", "u1"),  # of a weak page
        ("page", ">u8"),
        ("erases", ">u4"),  # of its block when it was programmed
        ("record", f"V{RECORD_BYTES}"),
        ("data_crc", ">u4"),
        ("spare_crc", ">u4"),  # of a page that is raw bits
        ("slot", "u1"),  # which of its two places a page stands in
        ("unused", "V5"),
        ("crc", ">u4"),
    ]
)


def encode_block(block: int, state: BlockState) -> bytes:
    """Return the entry of a block in the block table."""
    flags = state.is_bad | state.is_weak << 1
    body = BLOCK_ENTRY.pack(state.erase_count, state.reads, state.programmed_at_us, flags, 1)
    return _checked(body, block)


def decode_block(block: int, entry: bytes) -> BlockState:
    """Return what an entry of the block table says; raise Damage where it says nothing."""
    erases, reads, at_us, flags, _ = BLOCK_ENTRY.unpack_from(entry)
    state = BlockState(erases, reads, at_us, bool(flags & 1), bool(flags & 2))
    if encode_block(block, state) != entry or max(reads, at_us) >= _NUMBER_END or erases >> 31:
        raise Damage(f"damaged: the state of block {block} does not match its checksum")
    return state


def page_checksum(entry: bytes) -> int:
    """Return the checksum an entry of a page table ends in."""
    return zlib.crc32(entry[: PAGE_ENTRY_BYTES - 4])


def area_at(number: int) -> int:
    return JOURNAL_AT + number * AREA_BYTES


def block_entry_at(block: int) -> int:
    return TABLE_AT + block * BLOCK_ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class BlockPlaces:
    """Where the parts of blocks stand."""

    geometry: Geometry

    @property
    def first(self) -> int:
        return TABLE_AT + -(-self.geometry.block_count * BLOCK_ENTRY_BYTES // 4096) * 4096

    @property
    def stride(self) -> int:
        """Bytes a block takes."""
        page_bytes = PAGE_ENTRY_BYTES + 2 * (self.geometry.page_bytes + self.geometry.spare_bytes)
        return -(-self.geometry.block_pages * page_bytes // 4096) * 4096

    def entries(self, block: int, index: int = 0) -> int:
        return self.first + block * self.stride + index * PAGE_ENTRY_BYTES

    def data(self, block: int, index: int, slot: int = 0) -> int:
        pages = self.geometry.block_pages
        return self.entries(block, pages) + (slot * pages + index) * self.geometry.page_bytes

    def spare(self, block: int, index: int, slot: int) -> int:
        datas = self.data(block, 0, 2)
        return datas + (2 * index + slot) * self.geometry.spare_bytes

    @property
    def end(self) -> int:
        """Bytes the whole file has."""
        return self.first + self.geometry.block_count * self.stride


def _checked(body: bytes, number: int = 0) -> bytes:
    return body + _U32.pack(zlib.crc32(body, number))


def _check(geometry: Geometry) -> None:
    """Raise Damage for a geometry that no file has."""
    if min(astuple(geometry)) < 1:
        raise Damage("a geometry without pages or bytes")
    page_bytes = geometry.page_bytes + geometry.spare_bytes
    is_big = geometry.block_count > BLOCKS_MAX or geometry.block_pages > BLOCK_PAGES_MAX
    if is_big or page_bytes > 1 << 16:
        raise Damage(f"too big: {geometry.page_count} pages of {geometry.page_bytes} bytes")


def new_content(
    profile_text: str,
    geometry: Geometry,
    element: ElementState,
    bad_blocks: Iterable[int],
) -> Iterator[tuple[int, bytes]]:
    """Give what a new file holds, and where; the rest is zeros."""
    profile = profile_text.encode()
    if len(profile) > PROFILE_BYTES_MAX:
        raise Damage(f"a profile has at most {PROFILE_BYTES_MAX} bytes, not {len(profile)}")
    _check(geometry)
    yield 0, Header(len(profile), zlib.crc32(profile), geometry).encode() + profile
    yield area_at(0), Record(0, 0, element, b"").encode()
    yield POINTER_AT, Pointer(0).encode()
    for block in bad_blocks:
        yield block_entry_at(block), encode_block(block, BlockState(is_bad=True))
