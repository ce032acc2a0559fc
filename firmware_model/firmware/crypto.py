"""The primitives the firmware is made of, each by the name of its RFC.

Nothing here is home-made: key wrapping, HKDF and Argon2id are `cryptography`'s, and HMAC, SHA-256
and PBKDF2 are the standard library's, which is the same OpenSSL reached by a shorter way.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SHA256 = SHA256()
# The encodings of points of small order, sign bit left out: y = 0, 1, -1, the two of order 8, and
# those of them that exceed the prime. Under such a key anybody can sign (RFC 8032 8.9 warns of it).
_PRIME = (1 << 255) - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = {0, 1, _PRIME - 1, _PRIME, _PRIME + 1, _ORDER_8, _PRIME - _ORDER_8}


class InvalidUnwrap(Exception):
    """The wrapped key does not open: wrong KEK, altered bytes or no possible length."""


def wrap_key(kek: bytes, key: bytes) -> bytes:
    """Return `key` wrapped under `kek`, 8 bytes longer (KW, RFC 3394 2.2.1).

    `kek` has 16, 24 or 32 bytes; `key` has at least 16 and a multiple of 8. Raises ValueError
    on any other length.
    """
    return keywrap.aes_key_wrap(kek, key)


def unwrap_key(kek: bytes, wrapped: bytes) -> bytes:
    """Return the key inside `wrapped` (KW, RFC 3394 2.2.2).

    Raises InvalidUnwrap for a wrong KEK, for altered bytes and for a length no wrapped key has:
    the caller cannot tell which, and should not. Raises ValueError when `kek` is no AES key.
    """
    try:
        return keywrap.aes_key_unwrap(kek, wrapped)
    except keywrap.InvalidUnwrap:
        raise InvalidUnwrap(f"{len(wrapped)} wrapped bytes do not open") from None


def wrap_key_padded(kek: bytes, key: bytes) -> bytes:
    """Return `key`, at least 1 byte of any length, wrapped under `kek` (KWP, RFC 5649 4.1).

    The result is `key` padded to a multiple of 8, plus 8 bytes. Raises ValueError when `key` is
    empty or `kek` is no AES key.
    """
    return keywrap.aes_key_wrap_with_padding(kek, key)


def unwrap_key_padded(kek: bytes, wrapped: bytes) -> bytes:
    """Return the key inside `wrapped` (KWP, RFC 5649 4.2); raises as `unwrap_key` does."""
    try:
        return keywrap.aes_key_unwrap_with_padding(kek, wrapped)
    except keywrap.InvalidUnwrap:
        raise InvalidUnwrap(f"{len(wrapped)} wrapped bytes do not open") from None


def hkdf_sha256(key: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """Return `length` bytes, 1 to 8160, extracted from `key` and expanded for `info` (RFC 5869).

    An empty `salt` stands for 32 zero bytes (2.2). Raises ValueError on any other length.
    """
    if length < 1:
        raise ValueError(f"HKDF gives at least 1 byte, not {length}")
    return HKDF(_SHA256, length, salt, info).derive(key)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA-256 of `message` (RFC 2104)."""
    return hmac.digest(key, message, "sha256")


def pbkdf2_sha256(pin: bytes, salt: bytes, iterations: int, length: int = 32) -> bytes:
    """Return `length` bytes of PBKDF2-HMAC-SHA-256 (RFC 8018 5.2).

    Raises ValueError when `iterations` or `length` is less than 1.
    """
    return hashlib.pbkdf2_hmac("sha256", pin, salt, iterations, length)


def argon2id(
    pin: bytes,
    salt: bytes,
    *,
    iterations: int,
    memory_kib: int,
    lanes: int,
    length: int = 32,
    secret: bytes | None = None,
    associated_data: bytes | None = None,
) -> bytes:
    """Return `length` bytes, at least 4, of Argon2id version 13h (RFC 9106 3.1).

    `salt` has at least 8 bytes and `memory_kib` is at least 8 * `lanes`. `secret` and
    `associated_data` are K and X of the RFC. Raises ValueError outside those ranges.
    """
    return Argon2id(
        salt=salt,
        length=length,
        iterations=iterations,
        lanes=lanes,
        memory_cost=memory_kib,
        ad=associated_data,
        secret=secret,
    ).derive(pin)


def is_signing_key(key: bytes) -> bool:
    """Tell whether `key` could be an Ed25519 public key under which not just anybody can sign."""
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    return len(key) == 32 and y not in _SMALL_ORDER


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` over `message` is by the key of `public_key` (Ed25519, RFC 8032).

    False for keys and signatures of any other form.
    """
    if not is_signing_key(public_key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 of `data` (FIPS 180-4)."""
    return hashlib.sha256(data).digest()


def equal(a: bytes, b: bytes) -> bool:
    """Tell whether two secrets are the same, in a time that depends on their lengths only."""
    return hmac.compare_digest(a, b)
