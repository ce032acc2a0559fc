"""The ECC of a NAND controller: a binary BCH code that corrects 8 bits in 512 bytes.

A codeword is up to 512 data bytes and 13 parity bytes, bits in the order of transmission: bit 7
of the first byte is the highest power of x. Parity is the remainder of data times x^104 by the
generator, the least polynomial with roots alpha^1 to alpha^16, alpha a root of x^13 + x^4 + x^3 +
x + 1. Shorter data is the code shortened: as if zeros came before it.

An erased codeword, all ones, has to be a right one, so parity is stored with a constant added
(XOR), one for each length of data. Eight flipped bits are then also corrected in an erased page.
Sources: Lin and Costello, Error Control Coding, 2nd edition, chapter 6; Linux's software BCH for
raw NAND (m = 13, t = 8), whose parity bytes these are.
"""

from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Final

import numpy as np
import numpy.typing as npt

SECTOR_BYTES: Final = 512  # of data in a codeword, at most
PARITY_BYTES: Final = 13
CORRECTABLE_BITS: Final = 8  # of a codeword, parity included
MARK_BYTES: Final = 1  # at the start of a spare area: the bad block mark, FFh where good (ONFI)

_PRIMITIVE: Final = 0x201B
_ORDER: Final = (1 << 13) - 1  # of alpha: the powers after which it is 1 again
_GENERATOR: Final = 0x115_F914E07B_0C138741_C5C4FB23  # of degree 104
_PARITY_BITS: Final = 8 * PARITY_BYTES
_CODEWORD_BITS: Final = 8 * SECTOR_BYTES + _PARITY_BITS
# 16 bytes are gathered at once, as fast as 8: a remainder is padded to that.
_REMAINDER: Final = np.dtype("V16")
_BATCH: Final = 128  # codewords; what is gathered for them stays in the cache

Bytes = npt.NDArray[np.uint8]
Elements = npt.NDArray[np.uint16]  # of GF(2^13)
Integers = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Corrected:
    """Data of a codeword as it was encoded, and how many bits of the codeword had flipped."""

    data: bytes
    flipped: int


@dataclass(frozen=True, slots=True)
class DecodedPage:
    """A page as far as it can be corrected; a codeword that can't be is given as it was read."""

    data: bytes
    record: bytes
    corrected: int  # bits, in all codewords
    worst: int  # most bits corrected in one codeword
    is_data_readable: bool
    is_record_readable: bool


def encode(data: Bytes) -> Bytes:
    """Return the stored parity of codewords: (n, k) data bytes give (n, 13).

    Raises ValueError unless k is from 1 to 512.
    """
    count, length = data.shape
    _check_length(length)
    table = _remainders().reshape(-1)
    place = np.arange(SECTOR_BYTES - length, SECTOR_BYTES)[:, np.newaxis] * 256
    batch = min(count, _BATCH)
    index_scratch = np.empty(batch * length, np.intp)
    gathered_scratch = np.empty(batch * length, _REMAINDER)
    sums = np.empty((count, 2), np.uint64)
    for first in range(0, count, _BATCH):
        piece = data[first : first + _BATCH]
        index = index_scratch[: piece.size].reshape(length, -1)
        gathered = gathered_scratch[: piece.size].reshape(length, -1)
        np.add(piece.T, place, out=index)
        table.take(index, out=gathered, mode="clip")  # "raise" would copy through a buffer
        words = sums[first : first + _BATCH].reshape(-1)
        np.bitwise_xor.reduce(gathered.view(np.uint64), axis=0, out=words)
    stored: Bytes = sums.view(np.uint8)[:, :PARITY_BYTES] ^ _mask(length)
    return stored


def decode(data: bytes, parity: bytes) -> Corrected | None:
    """Return what a codeword was before at most 8 of its bits flipped; None if it was none.

    After more flips the answer is None or, seldom, another codeword: a code of this distance
    can't tell. Raises ValueError unless data has 1 to 512 bytes, and stored parity 13.
    """
    _check_length(len(data))
    if len(parity) != PARITY_BYTES:
        raise ValueError(f"parity has {len(parity)} bytes, expected {PARITY_BYTES}")
    return _decode(data, parity, _encode_one(data))


class PageCode:
    """The code of a page: a codeword for each 512 data bytes, and one for the record.

    Spare area: bad block mark, record, parity of the record, parity of each sector in turn. The
    mark has no parity: it is written over whatever the block holds.
    """

    def __init__(self, page_bytes: int, record_bytes: int) -> None:
        """Raise ValueError unless a page is whole sectors, or a short one, and a record fits."""
        self._sector_bytes = min(page_bytes, SECTOR_BYTES)
        if page_bytes < 1 or page_bytes % self._sector_bytes:
            raise ValueError(f"a page of {page_bytes} bytes is not made of sectors of 512")
        if not 1 <= record_bytes <= SECTOR_BYTES:
            raise ValueError(f"a record of {record_bytes} bytes is not one codeword of 1 to 512")
        self._page_bytes = page_bytes
        self._sectors = page_bytes // self._sector_bytes
        self._record = slice(MARK_BYTES, MARK_BYTES + record_bytes)
        self._record_parity = slice(self._record.stop, self._record.stop + PARITY_BYTES)
        self.spare_bytes: Final = self._record_parity.stop + self._sectors * PARITY_BYTES
        self._data_parity = slice(self._record_parity.stop, self.spare_bytes)

    def encode_pages(self, datas: Bytes, records: Bytes) -> Bytes:
        """Return the spare areas of pages: (n, page) and (n, record) give (n, `spare_bytes`)."""
        count = len(datas)
        spares = np.full((count, self.spare_bytes), 0xFF, np.uint8)
        spares[:, self._record] = records
        spares[:, self._record_parity] = encode(records)
        sectors = datas.reshape(count * self._sectors, self._sector_bytes)
        spares[:, self._data_parity] = encode(sectors).reshape(count, self._sectors * PARITY_BYTES)
        return spares

    def decode_page(self, raw_data: bytes, raw_spare: bytes) -> DecodedPage:
        """Return what was programmed; the spare area may be longer than `spare_bytes`.

        Raises ValueError if it is shorter, or if the data is not a page.
        """
        if len(raw_data) != self._page_bytes or len(raw_spare) < self.spare_bytes:
            raise ValueError(
                f"a page has {self._page_bytes} bytes and at least {self.spare_bytes} of spare "
                f"area, not {len(raw_data)} and {len(raw_spare)}"
            )
        sectors = np.frombuffer(raw_data, np.uint8).reshape(self._sectors, self._sector_bytes)
        computed = encode(sectors).tobytes()
        stored = raw_spare[self._data_parity]
        pieces = [raw_data] if computed == stored else []
        found: list[Corrected | None] = []
        for number in range(0 if pieces else self._sectors):
            data = raw_data[number * self._sector_bytes :][: self._sector_bytes]
            place = slice(number * PARITY_BYTES, (number + 1) * PARITY_BYTES)
            sector = _decode(data, stored[place], computed[place])
            found.append(sector)
            pieces.append(data if sector is None else sector.data)
        record = self.decode_record(raw_spare)
        flipped = [each.flipped for each in (*found, record) if each is not None]
        return DecodedPage(
            data=b"".join(pieces),
            record=raw_spare[self._record] if record is None else record.data,
            corrected=sum(flipped),
            worst=max(flipped, default=0),
            is_data_readable=None not in found,
            is_record_readable=record is not None,
        )

    def decode_record(self, raw_spare: bytes) -> Corrected | None:
        """Return the record in a spare area without its page, or None if it can't be corrected."""
        return decode(raw_spare[self._record], raw_spare[self._record_parity])


def _check_length(length: int) -> None:
    if not 1 <= length <= SECTOR_BYTES:
        raise ValueError(f"a codeword has 1 to {SECTOR_BYTES} data bytes, not {length}")


def _encode_one(data: bytes) -> bytes:
    return encode(np.frombuffer(data, np.uint8).reshape(1, -1)).tobytes()


def _decode(data: bytes, stored: bytes, computed: bytes) -> Corrected | None:
    if stored == computed:
        return Corrected(data, 0)
    # The difference is the remainder of the flipped bits: the mask is in both and falls out.
    difference = int.from_bytes(stored, "big") ^ int.from_bytes(computed, "big")
    places = _places_to_flip(difference, 8 * len(data) + _PARITY_BITS)
    flips = sum(1 << place for place in places)
    codeword = int.from_bytes(data + stored, "big") ^ flips
    mended = codeword.to_bytes(len(data) + PARITY_BYTES, "big")
    # The verdict is not the search's own: with these at most 8 bits flipped it is a codeword.
    if _encode_one(mended[: len(data)]) != mended[len(data) :]:
        return None
    return Corrected(mended[: len(data)], len(places))


def _places_to_flip(remainder: int, codeword_bits: int) -> list[int]:
    """Return the at most 8 powers of x that leave this remainder by the generator, if any do.

    If none do, what is returned leaves another remainder.
    """
    field = _field()
    bits = [place for place in range(_PARITY_BITS) if remainder >> place & 1]
    syndromes = np.bitwise_xor.reduce(_powers_of_places()[bits], axis=0).tolist()
    # The locator's value at alpha^-place, for all places of the codeword at once (Chien search).
    # Exponents end at degree 8, and so does the search: more than 8 flips can't be located.
    values = np.ones(codeword_bits, np.uint16)
    for coefficient, exponents in zip(_locator(syndromes)[1:], _search_exponents(), strict=False):
        if coefficient:
            values ^= field.powers[exponents[:codeword_bits] + field.logs[coefficient]]
    places: list[int] = np.flatnonzero(values == 0).tolist()
    return places


def _locator(syndromes: list[int]) -> list[int]:
    """Return the error locator polynomial, lowest coefficient first.

    Berlekamp and Massey. A binary code's even syndromes are squares of earlier ones and never
    tell more, so only every second is looked at.
    """
    locator, previous = [1], [1]
    length, gap, previous_discrepancy = 0, 1, 1
    for step in range(0, len(syndromes), 2):
        discrepancy = 0
        for degree in range(min(length, len(locator) - 1) + 1):
            discrepancy ^= _product(locator[degree], syndromes[step - degree])
        if discrepancy:
            factor = _quotient(discrepancy, previous_discrepancy)
            change = [0] * gap + [_product(factor, each) for each in previous]
            grown = [a ^ b for a, b in zip_longest(locator, change, fillvalue=0)]
            if 2 * length <= step:
                length = step + 1 - length
                previous, previous_discrepancy, gap = locator, discrepancy, 0
            locator = grown
        gap += 2
    return locator


@dataclass(frozen=True, slots=True)
class _Field:
    """GF(2^13): powers of alpha twice over, so that a sum of two logarithms needs no modulo."""

    powers: Elements
    logs: Integers


@cache
def _field() -> _Field:
    powers = np.empty(2 * _ORDER, np.uint16)
    element = 1
    for exponent in range(_ORDER):
        powers[exponent] = element
        element = element << 1 ^ (_PRIMITIVE if element >> 12 else 0)
    powers[_ORDER:] = powers[:_ORDER]
    logs = np.zeros(_ORDER + 1, np.intp)
    logs[powers[:_ORDER]] = np.arange(_ORDER)
    return _Field(powers, logs)


def _product(a: int, b: int) -> int:
    field = _field()
    return int(field.powers[field.logs[a] + field.logs[b]]) if a and b else 0


def _quotient(a: int, b: int) -> int:
    field = _field()
    return int(field.powers[field.logs[a] - field.logs[b] + _ORDER]) if a else 0


@cache
def _powers_of_places() -> Elements:
    """Return alpha^(place * j) for places of the parity and j from 1 to 16: (104, 16)."""
    exponents = np.outer(np.arange(_PARITY_BITS), np.arange(1, 2 * CORRECTABLE_BITS + 1))
    return _field().powers[exponents % _ORDER]


@cache
def _search_exponents() -> Integers:
    """Return -degree * place for degrees 1 to 8 and all places of a codeword: (8, 4200)."""
    degrees = np.arange(1, CORRECTABLE_BITS + 1)
    return np.outer(-degrees, np.arange(_CODEWORD_BITS)) % _ORDER


@cache
def _remainders() -> npt.NDArray[np.void]:
    """Return what each byte at each place of 512 adds to the parity: (512, 256) of 16 bytes."""
    remainder = _GENERATOR ^ 1 << _PARITY_BITS  # of x^104: that of the last data bit
    of_bits = []
    for _ in range(8 * SECTOR_BYTES):
        of_bits.append(remainder.to_bytes(PARITY_BYTES, "big").ljust(_REMAINDER.itemsize, b"\0"))
        remainder <<= 1
        if remainder >> _PARITY_BITS:
            remainder ^= _GENERATOR
    bits = np.frombuffer(b"".join(of_bits), np.uint64).reshape(SECTOR_BYTES, 8, 2)[::-1]
    table = np.zeros((SECTOR_BYTES, 256, 2), np.uint64)
    for bit in range(8):
        table[:, 1 << bit : 2 << bit] = table[:, : 1 << bit] ^ bits[:, bit : bit + 1]
    return table.view(_REMAINDER)


@cache
def _mask(length: int) -> Bytes:
    """Return what is added to the parity of `length` bytes, so that all ones have all ones."""
    all_ones = _remainders().view(np.uint64).reshape(SECTOR_BYTES, 256, 2)[-length:, 255]
    mask: Bytes = ~np.bitwise_xor.reduce(all_ones, axis=0).view(np.uint8)[:PARITY_BYTES]
    return mask
