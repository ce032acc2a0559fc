"""The firmware images that runs give to a drive: a fixed table, each with a version of its own.

So the version that a drive tells says which image runs, and whether it may.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_model.image_signing import TEST_KEY, signed_image
from firmware_model.wire.firmware_image import ImageHeader, Manifest, Version
from hil_tests.actions import IMAGES

FILLER = bytes(i * 89 + 7 & 0xFF for i in range(6000))  # so that an image takes two pages
# RFC 8032, section 7.1, test 2: a key that everybody has, and no drive of ours was made for.
PUBLISHED_KEY = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
)
TAMPERED = Version(9, 9, 9)  # what an attacker with the flash in hand writes over a version


@dataclass(frozen=True, slots=True)
class Image:
    """One of the table."""

    name: str
    version: str
    security_version: int
    data: bytes
    is_genuine: bool  # whole, for this product, and signed by the drive's own key

    @property
    def firmware(self) -> tuple[str, int]:
        """What a drive that runs it tells."""
        return self.version, self.security_version


Alter = Callable[[bytes], bytes]


def _signed(data: bytes) -> bytes:
    return data


def _unsigned(data: bytes) -> bytes:
    return data[:-64] + bytes(64)


def _flipped(place: int) -> Alter:
    """Return what flips a bit at a place, counted from the end where it is negative."""

    def flip(data: bytes) -> bytes:
        at = place % len(data)
        return data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]

    return flip


def with_version(data: bytes, version: Version) -> bytes:
    """Return an image whose header names another version than the one that was signed."""
    at = data.index(ImageHeader.MAGIC) + 48
    return data[:at] + version.number.to_bytes(4, "big") + data[at + 4 :]


@cache
def images(product: str) -> tuple[Image, ...]:
    """Return the table for a product, `IMAGES` long."""
    suspend = Manifest(parameters=(("lock_on_suspend", 1),))
    weaker = Manifest(parameters=(("lock_on_suspend", 0),))
    own_part = Manifest(parts=(("wrapping", "no-wrapping"),))
    page = 4096  # flips from here on are in filler, which no header covers
    rows: tuple[tuple[str, int, Alter, str, Ed25519PrivateKey, Manifest], ...] = (
        ("newer", 2, _signed, product, TEST_KEY, suspend),
        ("newest", 10, _signed, product, TEST_KEY, suspend),
        ("as safe as the first", 1, _signed, product, TEST_KEY, Manifest()),
        ("older", 0, _signed, product, TEST_KEY, Manifest()),
        ("unsigned", 10, _unsigned, product, TEST_KEY, Manifest()),
        ("signed with a published key", 10, _signed, product, PUBLISHED_KEY, Manifest()),
        ("flipped in its header", 10, _flipped(55), product, TEST_KEY, Manifest()),
        ("flipped in its manifest", 10, _flipped(80), product, TEST_KEY, suspend),
        ("flipped in its filler", 10, _flipped(page), product, TEST_KEY, suspend),
        ("flipped in its signature", 10, _flipped(-40), product, TEST_KEY, Manifest()),
        ("truncated", 10, lambda data: data[:-1], product, TEST_KEY, Manifest()),
        ("over-long", 10, lambda data: data + b"\0", product, TEST_KEY, Manifest()),
        ("for another product", 10, _signed, f"{product[:24]}-other", TEST_KEY, Manifest()),
        ("naming a part of its own", 10, _signed, product, TEST_KEY, own_part),
        ("weakening the drive", 10, _signed, product, TEST_KEY, weaker),
    )
    assert len(rows) == IMAGES
    genuine = range(4)
    table = []
    for number, (name, security_version, alter, for_product, key, manifest) in enumerate(rows):
        version = Version(1, number + 1, 0)
        data = signed_image(
            for_product, version, security_version, key, manifest=manifest, filler=FILLER
        )
        table.append(Image(name, str(version), security_version, alter(data), number in genuine))
    return tuple(table)
