"""Defects of the data area: what stands in flash, and what is lost from it."""

from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from firmware_model.defects.defect import Defect
from firmware_model.firmware.sector_cipher import SECTOR_BYTES, SectorCipher, XtsSectors
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.cells import Data

PAGE_SECTORS: Final = 8


class _Ecb:
    def __init__(self, mek: bytes) -> None:
        self._cipher = Cipher(AES(mek[:32]), ECB())

    def encrypt(self, lba: int, data: bytes) -> bytes:
        return self._cipher.encryptor().update(data)

    def decrypt(self, lba: int, data: Data) -> bytes:
        return self._cipher.decryptor().update(data)


class _ConstantIv:
    def __init__(self, mek: bytes) -> None:
        self._cipher = Cipher(AES(mek[:32]), CBC(bytes(16)))

    def encrypt(self, lba: int, data: bytes) -> bytes:
        parts = (data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES))
        return b"".join(self._cipher.encryptor().update(part) for part in parts)

    def decrypt(self, lba: int, data: Data) -> bytes:
        parts = (data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES))
        return b"".join(self._cipher.decryptor().update(part) for part in parts)


class _PredictableIv:
    def __init__(self, mek: bytes) -> None:
        self._key = AES(mek[:32])

    def encrypt(self, lba: int, data: bytes) -> bytes:
        return b"".join(
            Cipher(self._key, CBC(iv)).encryptor().update(part) for iv, part in _units(lba, data)
        )

    def decrypt(self, lba: int, data: Data) -> bytes:
        return b"".join(
            Cipher(self._key, CBC(iv)).decryptor().update(part) for iv, part in _units(lba, data)
        )


class _TweakInPage:
    def __init__(self, mek: bytes) -> None:
        self._sectors = XtsSectors(mek)

    def encrypt(self, lba: int, data: bytes) -> bytes:
        return b"".join(
            self._sectors.encrypt(iv[0] % PAGE_SECTORS, bytes(part))
            for iv, part in _units(lba, data)
        )

    def decrypt(self, lba: int, data: Data) -> bytes:
        return b"".join(
            self._sectors.decrypt(iv[0] % PAGE_SECTORS, part) for iv, part in _units(lba, data)
        )


def _units(lba: int, data: Data) -> Iterator[tuple[bytes, Data]]:
    """Give each sector behind its address, 16 bytes, least significant first."""
    for at in range(0, len(data), SECTOR_BYTES):
        yield (lba + at // SECTOR_BYTES).to_bytes(16, "little"), data[at : at + SECTOR_BYTES]


class _Xor:
    def __init__(self, mek: bytes) -> None:
        self._pad = (mek * (SECTOR_BYTES // len(mek)))[:SECTOR_BYTES]

    def encrypt(self, lba: int, data: Data) -> bytes:
        pad = int.from_bytes(self._pad * (len(data) // SECTOR_BYTES), "big")
        return (int.from_bytes(data, "big") ^ pad).to_bytes(len(data), "big")

    decrypt = encrypt


class _Nothing:
    def encrypt(self, lba: int, data: Data) -> Data:
        return data

    decrypt = encrypt


class EcbMode:
    """AES in ECB mode."""

    def sectors(self, mek: bytes) -> SectorCipher:
        return _Ecb(mek)


class ConstantIv:
    """AES-CBC whose IV is the same for every sector."""

    def sectors(self, mek: bytes) -> SectorCipher:
        return _ConstantIv(mek)


class PredictableIv:
    """AES-CBC whose IV is the address of the sector."""

    def sectors(self, mek: bytes) -> SectorCipher:
        return _PredictableIv(mek)


class TweakInPage:
    """XTS whose tweak is the place of the sector in its page."""

    def sectors(self, mek: bytes) -> SectorCipher:
        return _TweakInPage(mek)


class XorPad:
    """A pad of one sector, over and over."""

    def sectors(self, mek: bytes) -> SectorCipher:
        return _Xor(mek)


class AccessControlOnly:
    """No cipher: the lock is all there is."""

    def sectors(self, mek: bytes) -> SectorCipher:
        return _Nothing()


class PlainFirst:
    """Puts plaintext into flash until the cipher gets to it."""

    def read(self, volume: Volume, lba: int, block_count: int) -> bytes:
        return volume.read(lba, block_count)

    def write(self, volume: Volume, lba: int, data: bytes) -> None:
        volume.translation.write(lba * SECTOR_BYTES // 4096, data[:4096], 0, "cache")
        volume.write(lba, data)

    def flush(self, volume: Volume) -> None:
        """Nothing is left to do."""


class AnswersTooEarly:
    """Answers a write before it is stored, and stores it with the next one."""

    def __init__(self) -> None:
        self._waiting: tuple[int, bytes] | None = None

    def read(self, volume: Volume, lba: int, block_count: int) -> bytes:
        self.flush(volume)
        return volume.read(lba, block_count)

    def write(self, volume: Volume, lba: int, data: bytes) -> None:
        self.flush(volume)
        self._waiting = (lba, data)

    def flush(self, volume: Volume) -> None:
        if self._waiting is not None:
            volume.write(*self._waiting)
        self._waiting = None


DEFECTS: Final = (
    Defect(
        "ecb-mode",
        "Equal blocks of data are equal blocks of flash.",
        "Verbatim Keypad Secure, CVE-2022-28382; and Bruce Schneier's penguin",
        {"cipher": EcbMode},
        "ciphertext-has-no-structure",
    ),
    Defect(
        "constant-iv",
        "Equal sectors are equal in flash.",
        "Eyedisk and others; IEEE 1619 on why the tweak is the address",
        {"cipher": ConstantIv},
        "ciphertext-has-no-structure",
    ),
    Defect(
        "predictable-iv",
        "The IV of a sector is its address, so that chosen data cancels it.",
        "Nitrokey Storage, Cure53 NK-01-004, 2015",
        {"cipher": PredictableIv},
        "ciphertext-has-no-structure",
    ),
    Defect(
        "same-tweak-everywhere",
        "The tweak of XTS begins anew in each page: equal pages are equal in flash.",
        "P. Rogaway, Evaluation of some blockcipher modes of operation, 2011; IEEE 1619",
        {"cipher": TweakInPage},
        "ciphertext-has-no-structure",
    ),
    Defect(
        "xor-obfuscation",
        "The cipher is an XOR with a pad.",
        "Digittrade and other enclosures, c't 2008",
        {"cipher": XorPad},
        "ciphertext-has-no-structure",
    ),
    Defect(
        "access-control-only",
        "The flash holds the data as it is; only the lock says no.",
        "Secustick, Tweakers.net, 2007; Eyedisk, Pen Test Partners, 2019",
        {"cipher": AccessControlOnly},
        "no-content-in-flash",
    ),
    Defect(
        "plaintext-cache-in-flash",
        "Plaintext is kept in flash until it is enciphered, and stands there afterwards.",
        "Reliably erasing data from flash-based SSDs, Wei and others, FAST 2011",
        {"caching": PlainFirst},
        "no-content-in-flash",
    ),
    Defect(
        "answered-write-lost",
        "The last write that was answered is lost with the power.",
        "Zheng and others, Understanding the robustness of SSDs under power fault, FAST 2013",
        {"caching": AnswersTooEarly},
        "answered-data-survives",
    ),
)
