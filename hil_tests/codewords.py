"""Codewords made the slow way, by polynomials in Python's integers, and ways to damage them.

Nothing here comes from the ECC under test.
"""

from collections.abc import Iterable
from functools import cache
from hashlib import shake_128


def times(a: int, b: int) -> int:
    """Return a product in GF(2^13) of x^13 + x^4 + x^3 + x + 1."""
    product = 0
    for bit in range(13):
        product ^= (a << bit) * (b >> bit & 1)
    for bit in range(25, 12, -1):
        product ^= (0x201B << bit - 13) * (product >> bit & 1)
    return product


@cache
def powers() -> tuple[int, ...]:
    """Return alpha^0 to alpha^8190."""
    found = [1]
    while len(found) < 8191:
        found.append(times(found[-1], 2))
    return tuple(found)


@cache
def generator() -> int:
    """Return the product of x + root; a binary polynomial has the squares of its roots too."""
    exponents = {j * 2**i % 8191 for j in range(1, 17) for i in range(13)}
    coefficients = [1]
    for root in (powers()[exponent] for exponent in exponents):
        shifted, scaled = [0, *coefficients], [*(times(root, c) for c in coefficients), 0]
        coefficients = [a ^ b for a, b in zip(shifted, scaled, strict=True)]
    assert set(coefficients) <= {0, 1}
    return sum(bit << degree for degree, bit in enumerate(coefficients))


def remainder(data: bytes) -> int:
    """Return the remainder of data times x^104, by long division."""
    left, divisor = int.from_bytes(data, "big") << 104, generator()
    while (excess := left.bit_length() - divisor.bit_length()) >= 0:
        left ^= divisor << excess
    return left


def slow_parity(data: bytes) -> bytes:
    ones = (1 << 104) - 1
    mask = remainder(b"\xff" * len(data)) ^ ones
    return (remainder(data) ^ mask).to_bytes(13, "big")


def drawn(length: int, name: object = "data") -> bytes:
    return shake_128(f"{name} {length}".encode()).digest(length)


def places(count: int, below: int, name: object) -> set[int]:
    """Return different places that chance could have drawn, always the same for a name."""
    stream = shake_128(f"places {name}".encode()).digest(16 * count)
    found = [int.from_bytes(stream[at : at + 4], "big") % below for at in range(0, 16 * count, 4)]
    different = set(list(dict.fromkeys(found))[:count])
    assert len(different) == count, "too few of so many places"
    return different


def flip(raw: bytes, bits: Iterable[int]) -> bytes:
    flipped = bytearray(raw)
    for bit in bits:
        flipped[bit // 8] ^= 0x80 >> bit % 8
    return bytes(flipped)


def distance(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()
