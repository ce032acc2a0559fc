"""AES-256-XTS over whole 512-byte sectors, many in a call (IEEE 1619-2007, NIST SP 800-38E).

OpenSSL enciphers one data unit in a call, and a request has up to hundreds of them. So a long
request takes one call of OpenSSL for all its tweaks and one for all its blocks; the masks that go
between the two are made here, all at once.
"""

from collections.abc import Callable
from math import prod
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB, XTS

from firmware_model.hardware.cells import Data

SECTOR_BYTES: Final = 512
MEK_BYTES: Final = 64

_BLOCKS: Final = SECTOR_BYTES // 16  # AES blocks in a sector
_BLOCK_WORDS: Final = 2
_SECTOR_WORDS: Final = _BLOCKS * _BLOCK_WORDS
_AT_ONCE: Final = 256  # sectors; a longer request is cut, so that the scratch stays in the cache
_FEW: Final = 2  # sectors up to which one OpenSSL cipher for each is quicker than the masks
_LENGTHS_KEPT: Final = 8  # a host uses few request lengths; each kept one costs 2.6 KB a sector
_LBA_END: Final = 1 << 64
_WORD: Final = np.dtype("<u8")

_Words: TypeAlias = npt.NDArray[np.uint64]
# A scratch, contexts for tweaks and blocks, the first LBA, words in, and room for as many and more.
_Run: TypeAlias = Callable[["_Scratch", CipherContext, CipherContext, int, _Words, _Words], None]


def _room(byte_count: int) -> memoryview:
    """Return zeroed memory that begins on a cache line: numpy is a few percent faster there."""
    memory = memoryview(bytearray(byte_count + 63))
    begin = -np.frombuffer(memory, np.uint8).ctypes.data % 64
    return memory[begin : begin + byte_count]


def _words(*shape: int) -> _Words:
    """Return an array of 64-bit words, little-endian, on a cache line of its own."""
    return np.frombuffer(_room(8 * prod(shape)), _WORD).reshape(shape)


# Shift amounts written out for every sector: numpy shifts two full arrays about three times
# faster than an array by a broadcast row.
_LEFT: Final = _words(_AT_ONCE, _BLOCKS)
_LEFT[:] = np.arange(_BLOCKS, dtype=_WORD)
_RIGHT: Final = _words(_AT_ONCE, _BLOCKS)
_RIGHT[:] = 64 - _LEFT  # the first is 64: numpy defines that shift, as 0
_COUNTING: Final[_Words] = np.arange(_AT_ONCE, dtype=_WORD)
_ONE: Final = np.uint64(1)
_FIVE: Final = np.uint64(5)


class SectorCipher(Protocol):
    """What keeps sectors secret: whole sectors in, as many out, the first of them at `lba`.

    Ciphertext is stored as it is given and comes back as bytes or as a view of them.
    """

    def encrypt(self, lba: int, data: bytes) -> Data: ...

    def decrypt(self, lba: int, data: Data) -> Data: ...


class XtsSectors:
    """Enciphers and deciphers sectors under one MEK; the tweak is the LBA, 128 bits little-endian.

    `mek` is Key1 and Key2, 32 bytes each. Raises ValueError on another length, and when the two
    are equal: then XTS is no longer the proven construction (FIPS 140-3 IG C.I).
    Not to be shared between threads: calls use the object's own scratch memory.
    """

    def __init__(self, mek: bytes) -> None:
        if len(mek) != MEK_BYTES:
            raise ValueError(f"a MEK has {MEK_BYTES} bytes, this one {len(mek)}")
        if mek[:32] == mek[32:]:
            raise ValueError("the two halves of a MEK must differ")
        self._whole = AES(mek)
        blocks = Cipher(AES(mek[:32]), ECB())
        self._encipher = blocks.encryptor()
        self._decipher = blocks.decryptor()
        self._tweaks = Cipher(AES(mek[32:]), ECB()).encryptor()
        self._scratch: dict[int, _Scratch] = {}

    def encrypt(self, lba: int, data: bytes) -> Data:
        """Return the ciphertext of whole sectors, the first of which is at `lba`.

        Raises ValueError for a part of a sector and for an LBA outside 64 bits.
        """
        count = _sector_count(lba, data)
        if count <= _FEW:
            return self._one_by_one(lba, data)
        last = self._one_by_one(lba + count - 1, data[-SECTOR_BYTES:])
        while True:
            cipher = self._many(_Scratch.encrypt, self._encipher, lba, data, count)
            # The other way to the last sector tells if any step was left out: each is for all.
            if cipher[-SECTOR_BYTES:] == last:
                return cipher

    def decrypt(self, lba: int, data: Data) -> Data:
        """Return the plaintext of whole sectors; raises as `encrypt` does.

        Any bytes decipher to something: XTS does not tell whether they were altered.
        """
        count = _sector_count(lba, data)
        if count > _FEW:
            return self._many(_Scratch.decrypt, self._decipher, lba, data, count)
        return b"".join(
            Cipher(self._whole, XTS(tweak)).decryptor().update(sector)
            for tweak, sector in _units(lba, data)
        )

    def _one_by_one(self, lba: int, data: bytes) -> bytes:
        return b"".join(
            Cipher(self._whole, XTS(tweak)).encryptor().update(sector)
            for tweak, sector in _units(lba, data)
        )

    def _many(self, run: _Run, blocks: CipherContext, lba: int, data: Data, count: int) -> Data:
        """Run sectors into one new buffer, no more than `_AT_ONCE` of them in a call."""
        new = np.empty(count * _SECTOR_WORDS + _BLOCK_WORDS, _WORD)  # `update_into` asks for more
        words = np.frombuffer(data, _WORD)
        for first in range(0, count, _AT_ONCE):
            begin, end = first * _SECTOR_WORDS, (first + _AT_ONCE) * _SECTOR_WORDS
            scratch = self._scratch_of(min(_AT_ONCE, count - first))
            run(scratch, self._tweaks, blocks, lba + first, words[begin:end], new[begin:])
        return new[:-_BLOCK_WORDS].data.cast("B").toreadonly()

    def _scratch_of(self, count: int) -> "_Scratch":
        scratch = self._scratch.get(count)
        if scratch is None:
            if len(self._scratch) == _LENGTHS_KEPT:
                self._scratch.clear()
            scratch = self._scratch[count] = _Scratch(count)
        return scratch


class _Scratch:
    """The arrays a request of `count` sectors is worked in, kept for the next one as long."""

    __slots__ = (
        "_buffer",
        "_carry",
        "_counting",
        "_data",
        "_high",
        "_high_mask",
        "_left",
        "_low",
        "_low_mask",
        "_mask",
        "_right",
        "_spill",
        "_tweak",
        "_tweak_low",
        "_words",
    )

    def __init__(self, count: int) -> None:
        size = count * SECTOR_BYTES
        self._tweak = bytearray(count * 16)
        self._tweak_low = np.frombuffer(self._tweak, _WORD)[::2]
        self._counting = _COUNTING[:count]
        self._left = _LEFT[:count]
        self._right = _RIGHT[:count]
        self._low = _words(count, _BLOCKS)
        self._high = _words(count, _BLOCKS)
        mask = _words(count, _BLOCKS, 2)
        self._low_mask, self._high_mask = mask[:, :, 0], mask[:, :, 1]
        self._mask = mask.reshape(-1)
        # One block more than the data, because `update_into` asks for room for it.
        self._buffer = _room(size + 16)
        self._data = self._buffer[:size]
        self._words = np.frombuffer(self._data, _WORD)
        # Free while masks are made: the less memory is used in turn, the more stays in the cache.
        self._carry, self._spill = self._words.reshape(2, count, _BLOCKS)

    def encrypt(
        self, tweaks: CipherContext, blocks: CipherContext, lba: int, words: _Words, new: _Words
    ) -> None:
        """Put `words` through XTS: mask, one pass of AES, the same mask (SP 800-38E).

        Ciphertext is kept, so its memory is new and in no cache: AES, which has the time to wait
        for it, writes straight into it. `new` has room for a block of AES more.
        """
        self._make_masks(tweaks, lba)
        np.bitwise_xor(words, self._mask, out=self._words)
        blocks.update_into(self._data, new.data.cast("B"))
        cipher = new[: len(self._words)]
        np.bitwise_xor(cipher, self._mask, out=cipher)

    def decrypt(
        self, tweaks: CipherContext, blocks: CipherContext, lba: int, words: _Words, new: _Words
    ) -> None:
        """Put `words` back through XTS, which is the same but for the direction of AES."""
        self._make_masks(tweaks, lba)
        np.bitwise_xor(words, self._mask, out=self._words)
        blocks.update_into(self._data, self._buffer)
        np.bitwise_xor(self._words, self._mask, out=new[: len(self._words)])

    def _make_masks(self, tweaks: CipherContext, lba: int) -> None:
        """Fill in T * x^j for block j = 0..31 of each sector, T being its enciphered LBA.

        T is two words, low and high. T * x^j is T shifted left by j bits; the j bits that leave
        the high word, `carry`, come back multiplied by x^128 = x^7 + x^2 + x + 1. With j <= 31
        that product has 38 bits, so it fits the low word and no block waits for the one before.
        """
        np.add(self._counting, np.uint64(lba), out=self._tweak_low)
        enciphered = np.frombuffer(tweaks.update(self._tweak), _WORD)
        low, high, carry, spill = self._low, self._high, self._carry, self._spill
        np.copyto(high, enciphered[1::2, None])
        np.copyto(low, enciphered[::2, None])
        np.right_shift(high, self._right, out=carry)
        np.left_shift(high, self._left, out=high)
        np.right_shift(low, self._right, out=spill)
        np.bitwise_xor(high, spill, out=self._high_mask)
        np.left_shift(low, self._left, out=low)
        np.bitwise_xor(low, carry, out=low)
        np.left_shift(carry, _ONE, out=carry)
        np.bitwise_xor(low, carry, out=low)
        np.left_shift(carry, _ONE, out=carry)
        np.bitwise_xor(low, carry, out=low)
        np.left_shift(carry, _FIVE, out=carry)
        np.bitwise_xor(low, carry, out=self._low_mask)


def _sector_count(lba: int, data: Data) -> int:
    count, rest = divmod(len(data), SECTOR_BYTES)
    if rest:
        raise ValueError(f"{len(data)} bytes are not whole sectors of {SECTOR_BYTES}")
    if not 0 <= lba <= _LBA_END - count:
        raise ValueError(f"{count} sectors from LBA {lba} leave the 64-bit address space")
    return count


def _units(lba: int, data: Data) -> list[tuple[bytes, Data]]:
    """Return tweak and bytes of each sector."""
    return [
        (
            (lba + offset // SECTOR_BYTES).to_bytes(16, "little"),
            data[offset : offset + SECTOR_BYTES],
        )
        for offset in range(0, len(data), SECTOR_BYTES)
    ]
