"""The ECC of a flash controller: a binary BCH code that corrects 8 bits in 512 bytes.

A codeword is bytes, most significant bit first, followed by 13 bytes of parity: the remainder of
the data polynomial times x^104 by the generator, whose roots are the first 16 powers of a primitive
element of GF(2^13). Shorter codewords stand for longer ones that begin with zeros. Parity is stored
with those bits inverted that make an erased codeword, all ones, a right one.
Source: Lin, Costello, Error Control Coding, chapter 6.
"""

from dataclasses import dataclass
from functools import cache, reduce
from operator import xor
from typing import Final

import numpy as np
import numpy.typing as npt

SECTOR_BYTES: Final = 512  # of data in a codeword, at most
PARITY_BYTES: Final = 13
CORRECTABLE_BITS: Final = 8  # of a codeword
MARK_BYTES: Final = 1  # of a spare area, for the bad block mark
_DEGREE: Final = 13
_PRIMITIVE: Final = 0x201B  # x^13 + x^4 + x^3 + x + 1
_ORDER: Final = (1 << _DEGREE) - 1
_PARITY_BITS: Final = 8 * PARITY_BYTES
_ONES: Final = (1 << _PARITY_BITS) - 1
_PIECE: Final = 4096  # codewords at a time: their table look-ups fit the cache

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Corrected:
    """Data as it was programmed, and how many bits of its worst codeword had flipped."""

    data: bytes
    worst: int


def parity(data: Bytes) -> Bytes:
    """Return the parity of codewords: (n, k) bytes of data, k at most 512, give (n, 13)."""
    count, length = data.shape
    high, low = _tables()
    places = np.arange(SECTOR_BYTES - length, SECTOR_BYTES) * 256
    inverted = _inversion(length)
    result = np.empty((count, 2), ">u8")
    for first in range(0, count, _PIECE):
        index = data[first : first + _PIECE] + places
        piece = result[first : first + _PIECE]
        piece[:, 0] = np.bitwise_xor.reduce(high[index], axis=1)
        piece[:, 1] = np.bitwise_xor.reduce(low[index], axis=1)
    result ^= np.array((inverted >> 64, inverted & 0xFFFF_FFFF_FFFF_FFFF), ">u8")
    return result.view(np.uint8)[:, 16 - PARITY_BYTES :]


def decode(data: bytes, stored: bytes) -> Corrected | None:
    """Return what a codeword was, or None when more bits have flipped than can be corrected."""
    computed = parity(np.frombuffer(data, np.uint8).reshape(1, -1))[0].tobytes()
    if computed == stored:
        return Corrected(data, 0)
    difference = int.from_bytes(computed, "big") ^ int.from_bytes(stored, "big")
    places = _error_places(difference, 8 * len(data) + _PARITY_BITS)
    if places is None:
        return None
    mended = int.from_bytes(data, "big")
    for place in places:
        if place >= _PARITY_BITS:
            mended ^= 1 << place - _PARITY_BITS
    return Corrected(mended.to_bytes(len(data), "big"), len(places))


class PageCode:
    """How a page is protected. Spare area: mark, record, its parity, parity of each sector."""

    def __init__(self, page_bytes: int, record_bytes: int) -> None:
        self._page_bytes = page_bytes
        self._record_bytes = record_bytes
        self._sector_bytes = min(page_bytes, SECTOR_BYTES)
        self._sectors = page_bytes // self._sector_bytes
        self._record_parity = MARK_BYTES + record_bytes
        self._data_parity = self._record_parity + PARITY_BYTES
        self.spare_bytes = self._data_parity + self._sectors * PARITY_BYTES

    def encode(self, pages: Bytes, records: Bytes) -> Bytes:
        """Return the spare areas of pages: (n, page) and (n, record) bytes give (n, spare)."""
        count = len(pages)
        spares = np.full((count, self.spare_bytes), 0xFF, np.uint8)
        spares[:, MARK_BYTES : self._record_parity] = records
        spares[:, self._record_parity : self._data_parity] = parity(records)
        sectors = parity(pages.reshape(count * self._sectors, self._sector_bytes))
        spares[:, self._data_parity :] = sectors.reshape(count, -1)
        return spares

    def decode_data(self, data: bytes, spare: bytes) -> Corrected | None:
        """Return the data of a page, or None when one of its sectors can't be corrected."""
        sectors, worst = [], 0
        for number in range(self._sectors):
            at = number * self._sector_bytes
            parity_at = self._data_parity + number * PARITY_BYTES
            stored = spare[parity_at : parity_at + PARITY_BYTES]
            found = decode(data[at : at + self._sector_bytes], stored)
            if found is None:
                return None
            sectors.append(found.data)
            worst = max(worst, found.worst)
        return Corrected(b"".join(sectors), worst)

    def decode_record(self, spare: bytes) -> bytes | None:
        """Return the record in a spare area, or None when it can't be corrected."""
        stored = spare[self._record_parity : self._data_parity]
        found = decode(spare[MARK_BYTES : self._record_parity], stored)
        return None if found is None else found.data


def _error_places(difference: int, length: int) -> list[int] | None:
    """Return the flipped bits, counted from the last of a codeword of `length` bits, or None."""
    powers, logs = _field()
    bits = np.array([bit for bit in range(_PARITY_BITS) if difference >> bit & 1])
    syndromes = [
        int(np.bitwise_xor.reduce(powers[bits * j % _ORDER]))
        for j in range(1, 2 * CORRECTABLE_BITS + 1)
    ]
    locator = _locator(syndromes)
    if len(locator) - 1 > CORRECTABLE_BITS:
        return None
    places = np.arange(length)
    values = np.zeros(length, np.int64)
    for degree, coefficient in enumerate(locator):
        if coefficient:
            values ^= powers[(logs[coefficient] - degree * places) % _ORDER]
    roots: list[int] = np.flatnonzero(values == 0).tolist()
    return roots if len(roots) == len(locator) - 1 else None


def _locator(syndromes: list[int]) -> list[int]:
    """Return the error locator polynomial, lowest coefficient first (Berlekamp and Massey)."""
    current, previous = [1], [1]
    length, gap, last = 0, 1, 1
    for step in range(len(syndromes)):
        discrepancy = 0
        for degree in range(min(length, len(current) - 1) + 1):
            discrepancy ^= _product(current[degree], syndromes[step - degree])
        if not discrepancy:
            gap += 1
            continue
        factor = _product(discrepancy, _inverse(last))
        shifted = [0] * gap + [_product(factor, each) for each in previous]
        size = max(len(current), len(shifted))
        padded = current + [0] * (size - len(current))
        shifted += [0] * (size - len(shifted))
        grown = [a ^ b for a, b in zip(padded, shifted, strict=True)]
        if 2 * length <= step:
            length, previous, last, gap = step + 1 - length, current, discrepancy, 1
        else:
            gap += 1
        current = grown
    while not current[-1]:
        current.pop()
    return current


def _product(a: int, b: int) -> int:
    powers, logs = _field()
    return int(powers[(logs[a] + logs[b]) % _ORDER]) if a and b else 0


def _inverse(a: int) -> int:
    powers, logs = _field()
    return int(powers[-logs[a] % _ORDER])


@cache
def _field() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the powers of the primitive element, and the logarithms of all elements but 0."""
    powers, logs = np.zeros(_ORDER, np.int64), np.zeros(_ORDER + 1, np.int64)
    element = 1
    for exponent in range(_ORDER):
        powers[exponent], logs[element] = element, exponent
        element <<= 1
        if element >> _DEGREE:
            element ^= _PRIMITIVE
    return powers, logs


@cache
def generator() -> int:
    """Return the generator polynomial, bit i for x^i: the product of 8 minimal polynomials."""
    powers, _ = _field()
    product = 1
    for root in range(1, 2 * CORRECTABLE_BITS, 2):
        minimal = [1]  # the product of x + each conjugate of the root
        for conjugate in {root * 2**i % _ORDER for i in range(_DEGREE)}:
            element = int(powers[conjugate])
            times_x, times_root = [0, *minimal], [_product(element, each) for each in minimal]
            minimal = [a ^ b for a, b in zip(times_x, [*times_root, 0], strict=True)]
        factor = sum(coefficient << degree for degree, coefficient in enumerate(minimal))
        product = reduce(
            xor,
            (product << degree for degree in range(factor.bit_length()) if factor >> degree & 1),
        )
    return product


@cache
def _tables() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the remainder of each byte at each place of a codeword, as two halves of 64 bits."""
    remainder = [_remainder(byte << _PARITY_BITS) for byte in range(256)]
    next_remainder = [_remainder(byte << _PARITY_BITS) for byte in range(256)]
    rows = []
    for _ in range(SECTOR_BYTES):
        rows.append(remainder)
        remainder = [
            (each << 8 & _ONES) ^ next_remainder[each >> _PARITY_BITS - 8] for each in remainder
        ]
    flat = [each for row in reversed(rows) for each in row]
    low = np.array([each & 0xFFFF_FFFF_FFFF_FFFF for each in flat], np.uint64)
    return np.array([each >> 64 for each in flat], np.uint64), low


@cache
def _inversion(length: int) -> int:
    """Return what is added to the parity of `length` bytes: for all ones it makes all ones."""
    return _remainder(((1 << 8 * length) - 1) << _PARITY_BITS) ^ _ONES


def _remainder(polynomial: int) -> int:
    divisor = generator()
    while (over := polynomial.bit_length() - divisor.bit_length()) >= 0:
        polynomial ^= divisor << over
    return polynomial
