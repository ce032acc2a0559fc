"""Power-up self-test: each primitive against one published answer before it touches a key.

A drive whose cipher is wrong must not store anything, so the firmware runs these at every power-up
and enters its failed state when one does not hold. They take about 100 us together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from firmware_model.firmware import crypto
from firmware_model.firmware.sector_cipher import SECTOR_BYTES, SectorCipher, XtsSectors
from firmware_model.hardware.cells import Data


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """One published answer and the way the firmware comes to it."""

    name: str
    expected: bytes
    compute: Callable[[], Data]

    def holds(self) -> bool:
        return crypto.equal(self.expected, bytes(self.compute()))


# IEEE 1619-2007, Annex B, vector 14: AES-256, data unit FF_FFFF_FFFFh of 512 bytes, 00h..FFh twice.
_XTS_MEK: Final = bytes.fromhex(
    "2718281828459045235360287471352662497757247093699959574966967627"
    "3141592653589793238462643383279502884197169399375105820974944592"
)
_XTS_LBA: Final = 0xFF_FFFF_FFFF
_XTS_PLAIN: Final = bytes(range(256)) * 2
_XTS_CIPHER: Final = bytes.fromhex(
    "64497e5a831e4a932c09be3e5393376daa599548b816031d224bbf50a818ed2350eae7e96087c8a0"
    "db51ad290bd00c1ac1620857635bf246c176ab463be30b808da548081ac847b158e1264be25bb091"
    "0bbc92647108089415d45fab1b3d2604e8a8eff1ae4020cfa39936b66827b23f371b92200be90251"
    "e6d73c5f86de5fd4a950781933d79a28272b782a2ec313efdfcc0628f43d744c2dc2ff3dcb66999b"
    "50c7ca895b0c64791eeaa5f29499fb1c026f84ce5b5c72ba1083cddb5ce45434631665c333b60b11"
    "593fb253c5179a2c8db813782a004856a1653011e93fb6d876c18366dd8683f53412c0c180f9c848"
    "592d593f8609ca736317d356e13e2bff3a9f59cd9aeb19cd482593d8c46128bb32423b37a9adfb48"
    "2b99453fbe25a41bf6feb4aa0bef5ed24bf73c762978025482c13115e4015aac992e5613a3b5c2f6"
    "85b84795cb6e9b2656d8c88157e52c42f978d8634c43d06fea928f2822e465aa6576e9bf41938450"
    "6cc3ce3c54ac1a6f67dc66f3b30191e698380bc999b05abce19dc0c6dcc2dd001ec535ba18deb2df"
    "1a101023108318c75dc98611a09dc48a0acdec676fabdf222f07e026f059b672b56e5cbc8e1d21bb"
    "d867dd927212054681d70ea737134cdfce93b6f82ae22423274e58a0821cc5502e2d0ab4585e94de"
    "6975be5e0b4efce51cd3e70c25a1fbbbd609d273ad5b0d59631c531f6a0a57b9"
)

# RFC 3394, section 4.6: 256 bits of key data under a 256-bit KEK.
_KW_KEK: Final = bytes(range(32))
_KW_KEY: Final = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
_KW_WRAPPED: Final = bytes.fromhex(
    "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
)

# RFC 5649, section 6: 7 bytes of key data under a 192-bit KEK.
_KWP_KEK: Final = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
_KWP_KEY: Final = bytes.fromhex("466f7250617369")
_KWP_WRAPPED: Final = bytes.fromhex("afbeb0f07dfbf5419200f2ccb50bb24f")

# RFC 5869, appendix A.1.
_HKDF_SALT: Final = bytes.fromhex("000102030405060708090a0b0c")
_HKDF_INFO: Final = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
_HKDF_OKM: Final = bytes.fromhex(
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
)

# RFC 4231, section 4.3.
_HMAC_TAG: Final = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")

# FIPS 180-4, the example for one block ("abc").
_SHA256_ABC: Final = bytes.fromhex(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
)

# RFC 7914, section 11: the first PBKDF2-HMAC-SHA-256 example, one iteration.
_PBKDF2_KEY: Final = bytes.fromhex(
    "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
)


# RFC 8032, section 7.1, test 3: a message of two bytes.
_ED25519_KEY: Final = bytes.fromhex(
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
)
_ED25519_MESSAGE: Final = bytes.fromhex("af82")
_ED25519_SIGNATURE: Final = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def xts_answers(cipher: Callable[[bytes], SectorCipher]) -> tuple[KnownAnswer, ...]:
    """Return the answers of a sector cipher, alone and as the second of three sectors.

    Both, because a request of few sectors and one of many take different ways to the ciphertext.
    """
    middle = slice(SECTOR_BYTES, 2 * SECTOR_BYTES)
    return (
        KnownAnswer(
            "AES-256-XTS encrypt",
            _XTS_CIPHER,
            lambda: cipher(_XTS_MEK).encrypt(_XTS_LBA, _XTS_PLAIN),
        ),
        KnownAnswer(
            "AES-256-XTS decrypt",
            _XTS_PLAIN,
            lambda: cipher(_XTS_MEK).decrypt(_XTS_LBA, _XTS_CIPHER),
        ),
        KnownAnswer(
            "AES-256-XTS encrypt many",
            _XTS_CIPHER,
            lambda: cipher(_XTS_MEK).encrypt(_XTS_LBA - 1, 3 * _XTS_PLAIN)[middle],
        ),
        KnownAnswer(
            "AES-256-XTS decrypt many",
            _XTS_PLAIN,
            lambda: cipher(_XTS_MEK).decrypt(_XTS_LBA - 1, 3 * _XTS_CIPHER)[middle],
        ),
    )


ANSWERS: Final = (
    *xts_answers(XtsSectors),
    KnownAnswer("AES-KW wrap", _KW_WRAPPED, lambda: crypto.wrap_key(_KW_KEK, _KW_KEY)),
    KnownAnswer(
        "AES-KW unwrap", _KW_KEY, lambda: _unwrapped(crypto.unwrap_key, _KW_KEK, _KW_WRAPPED)
    ),
    KnownAnswer(
        "AES-KW refusal", b"", lambda: _unwrapped(crypto.unwrap_key, _KW_KEK, _altered(_KW_WRAPPED))
    ),
    KnownAnswer("AES-KWP wrap", _KWP_WRAPPED, lambda: crypto.wrap_key_padded(_KWP_KEK, _KWP_KEY)),
    KnownAnswer(
        "AES-KWP unwrap",
        _KWP_KEY,
        lambda: _unwrapped(crypto.unwrap_key_padded, _KWP_KEK, _KWP_WRAPPED),
    ),
    KnownAnswer(
        "HKDF-SHA-256",
        _HKDF_OKM,
        lambda: crypto.hkdf_sha256(
            b"\x0b" * 22, salt=_HKDF_SALT, info=_HKDF_INFO, length=len(_HKDF_OKM)
        ),
    ),
    KnownAnswer(
        "HMAC-SHA-256",
        _HMAC_TAG,
        lambda: crypto.hmac_sha256(b"Jefe", b"what do ya want for nothing?"),
    ),
    KnownAnswer("SHA-256", _SHA256_ABC, lambda: crypto.sha256(b"abc")),
    KnownAnswer(
        "PBKDF2-HMAC-SHA-256",
        _PBKDF2_KEY,
        lambda: crypto.pbkdf2_sha256(b"passwd", b"salt", 1, len(_PBKDF2_KEY)),
    ),
)


# Run before the first signature of a power-up is judged: most power-ups judge none.
SIGNATURE_ANSWERS: Final = (
    KnownAnswer("Ed25519 verify", b"\x01", lambda: _holds(_ED25519_SIGNATURE)),
    KnownAnswer("Ed25519 refusal", b"\x00", lambda: _holds(_altered(_ED25519_SIGNATURE))),
)


def known_answer_tests(answers: tuple[KnownAnswer, ...] = ANSWERS) -> tuple[str, ...]:
    """Return the names of the answers that do not hold; an empty tuple is a pass."""
    return tuple(answer.name for answer in answers if not answer.holds())


def _unwrapped(unwrap: Callable[[bytes, bytes], bytes], kek: bytes, wrapped: bytes) -> bytes:
    """Return the key, or nothing when `unwrap` refuses: a refusal is an answer here."""
    try:
        return unwrap(kek, wrapped)
    except crypto.InvalidUnwrap:
        return b""


def _holds(signature: bytes) -> bytes:
    return bytes((crypto.is_signed(_ED25519_KEY, signature, _ED25519_MESSAGE),))


def _altered(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 0x01])
