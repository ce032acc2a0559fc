"""The sector cipher, which is quick in its own way, against OpenSSL's XTS one sector at a time."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.sector_cipher import SECTOR_BYTES, XtsSectors

MEK = bytes(range(64))
LBA_LAST = (1 << 64) - 1
COUNTS = (*range(12), 31, 32, 33, 255, 256, 257, 511, 512, 513)
LBAS = st.integers(0, LBA_LAST - 40) | st.integers(0, 40)


def by_sector(mek: bytes, lba: int, data: bytes) -> bytes:
    """Return what OpenSSL makes of each sector as a data unit of its own."""
    return b"".join(
        Cipher(AES(mek), XTS((lba + index).to_bytes(16, "little")))
        .encryptor()
        .update(data[index * SECTOR_BYTES :][:SECTOR_BYTES])
        for index in range(len(data) // SECTOR_BYTES)
    )


def sectors(count: int) -> bytes:
    """Return `count` sectors, no two blocks of which are alike."""
    return b"".join(index.to_bytes(16, "big") for index in range(count * SECTOR_BYTES // 16))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("lba", [0, 1, 255, (1 << 32) - 3, LBA_LAST - 600])
def test_every_request_length_agrees_with_openssl(count: int, lba: int) -> None:
    cipher, plain = XtsSectors(MEK), sectors(count)

    expected = by_sector(MEK, lba, plain)

    assert cipher.encrypt(lba, plain) == expected
    assert cipher.decrypt(lba, expected) == plain


@given(st.binary(min_size=64, max_size=64), LBAS, st.integers(0, 40))
def test_any_key_and_lba_agree_with_openssl(mek: bytes, lba: int, count: int) -> None:
    if mek[:32] == mek[32:]:
        mek = MEK
    plain = sectors(count)

    assert XtsSectors(mek).encrypt(lba, plain) == by_sector(mek, lba, plain)


@given(st.lists(st.tuples(LBAS, st.integers(0, 20), st.booleans()), max_size=8))
def test_requests_do_not_disturb_each_other(requests: list[tuple[int, int, bool]]) -> None:
    cipher = XtsSectors(MEK)

    for lba, count, is_encryption in requests:
        plain = sectors(count)
        enciphered = by_sector(MEK, lba, plain)

        if is_encryption:
            assert cipher.encrypt(lba, plain) == enciphered
        else:
            assert cipher.decrypt(lba, enciphered) == plain


def test_answer_is_not_changed_by_the_next_request() -> None:
    cipher = XtsSectors(MEK)
    first = cipher.encrypt(0, sectors(8))

    cipher.encrypt(8, sectors(8))

    assert first == by_sector(MEK, 0, sectors(8))


@pytest.mark.parametrize("lba", [0, LBA_LAST - 7])
def test_first_and_last_addresses_are_usable(lba: int) -> None:
    assert XtsSectors(MEK).encrypt(lba, sectors(8)) == by_sector(MEK, lba, sectors(8))


@pytest.mark.parametrize(("lba", "count"), [(-1, 1), (LBA_LAST, 2), (LBA_LAST - 6, 8)])
def test_addresses_outside_64_bits_are_refused(lba: int, count: int) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        XtsSectors(MEK).encrypt(lba, sectors(count))


@pytest.mark.parametrize("length", [1, 16, 511, 513, 4095])
def test_part_of_a_sector_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="not whole sectors"):
        XtsSectors(MEK).decrypt(0, bytes(length))


def test_mek_of_two_equal_halves_is_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        XtsSectors(2 * bytes(range(32)))


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_mek_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        XtsSectors(bytes(length))
