"""The ECC of the NAND controller, held to plain polynomial arithmetic and to Linux's BCH."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.ecc import (
    CORRECTABLE_BITS,
    PARITY_BYTES,
    SECTOR_BYTES,
    Bytes,
    Corrected,
    DecodedPage,
    PageCode,
    decode,
    encode,
)
from hil_tests.codewords import distance, drawn, flip, generator, places, powers, slow_parity

LENGTHS = st.integers(1, SECTOR_BYTES)
PAGE = PageCode(4096, 32)
SHORT_PAGE = PageCode(64, 32)

# Data byte i of k is (i * i + k) mod 256. Made with bchlib 2.1.3, which is Linux's lib/bch.c:
# encode() of BCH(8, prim_poly=0x201b) on the data, and on as many bytes FFh.
LINUX_BCH = {
    1: ("15f914e07b0c138741c5c4fb23", "5c77a70b195a5e657539de8275"),
    13: ("5dcaaf340b1e7c7cc0e877f36d", "afd2c82485a37b9630b2a88a4b"),
    32: ("afc88f1d2028ee0a67a02e5848", "b9e451acb31642f936253c9aaa"),
    64: ("5db300802ab5498ead7179e0dd", "1a93fbe759ca82a24fba5ac750"),
    257: ("2403d17f31c8e1d2b1cf563f4d", "3cf97532da582021e6a994af68"),
    512: ("d2d218d30ea0701923ca3ae355", "10aed1f6126c653d68861adb4a"),
}


def rows(*datas: bytes) -> Bytes:
    return np.frombuffer(b"".join(datas), np.uint8).reshape(len(datas), -1)


def parity(data: bytes) -> bytes:
    return bytes(encode(rows(data))[0])


def decode_codeword(codeword: bytes) -> Corrected | None:
    return decode(codeword[:-PARITY_BYTES], codeword[-PARITY_BYTES:])


@st.composite
def damaged(draw: st.DrawFn, least: int, most: int) -> tuple[bytes, bytes, int]:
    """Draw data, its codeword after some flips, and their number."""
    length = draw(LENGTHS)
    data = draw(st.binary(min_size=length, max_size=length))
    bits = st.integers(0, 8 * (length + PARITY_BYTES) - 1)
    flips = draw(st.sets(bits, min_size=least, max_size=most))
    return data, flip(data + parity(data), flips), len(flips)


# Encoding


@pytest.mark.parametrize("length", LINUX_BCH)
def test_parity_is_that_of_linux_bch_with_its_mask_for_erased_pages(length: int) -> None:
    data = bytes((place * place + length) % 256 for place in range(length))
    of_data, of_ones = (bytes.fromhex(each) for each in LINUX_BCH[length])

    masked = bytes(a ^ b ^ 0xFF for a, b in zip(of_data, of_ones, strict=True))
    assert masked == parity(data)


def test_parity_is_the_remainder_of_a_long_division_at_every_length() -> None:
    for length in range(1, SECTOR_BYTES + 1):
        data = drawn(length)

        assert slow_parity(data) == parity(data)


@pytest.mark.parametrize("length", [1, 32, 512])
def test_codeword_has_the_roots_alpha_1_to_alpha_16(length: int) -> None:
    data = drawn(length)
    # The mask, which is the parity of zeros, is no part of the polynomial.
    codeword = int.from_bytes(data + parity(data), "big") ^ int.from_bytes(parity(bytes(length)))
    for j in range(1, 17):
        value = 0
        for place in range(codeword.bit_length()):
            value ^= powers()[place * j % 8191] * (codeword >> place & 1)

        assert value == 0


@given(st.data(), LENGTHS)
def test_parities_of_sums_are_sums_of_parities(data: st.DataObject, length: int) -> None:
    texts = st.binary(min_size=length, max_size=length)
    first, second = rows(data.draw(texts)), rows(data.draw(texts))

    zeros = encode(np.zeros((1, length), np.uint8))
    assert np.array_equal(encode(first ^ second), encode(first) ^ encode(second) ^ zeros)


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 300])
@pytest.mark.parametrize("length", [32, 512])
def test_many_codewords_at_once_have_the_parity_of_each(count: int, length: int) -> None:
    datas = [drawn(length, number) for number in range(count)]
    array = np.frombuffer(b"".join(datas), np.uint8).reshape(count, length)
    strided = np.asfortranarray(np.repeat(array, 2, axis=1))[:, ::2]

    expected = b"".join(parity(each) for each in datas)
    assert expected == encode(array).tobytes()
    assert expected == encode(strided).tobytes()


def test_erased_codeword_of_any_length_is_a_codeword() -> None:
    for length in range(1, SECTOR_BYTES + 1):
        erased = b"\xff" * length

        assert Corrected(erased, 0) == decode(erased, b"\xff" * PARITY_BYTES)


@pytest.mark.parametrize("length", [0, 513])
def test_data_of_no_codeword_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="1 to 512"):
        encode(np.zeros((1, length), np.uint8))
    with pytest.raises(ValueError, match="1 to 512"):
        decode(bytes(length), bytes(PARITY_BYTES))


@pytest.mark.parametrize("length", [0, 12, 14])
def test_parity_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="expected 13"):
        decode(bytes(32), bytes(length))


# Decoding


@given(damaged(0, CORRECTABLE_BITS))
def test_up_to_eight_flips_are_corrected_and_counted(case: tuple[bytes, bytes, int]) -> None:
    data, codeword, count = case

    assert Corrected(data, count) == decode_codeword(codeword)


def test_eight_flips_are_corrected_at_every_length() -> None:
    for length in range(1, SECTOR_BYTES + 1):
        data = drawn(length)
        flips = places(CORRECTABLE_BITS, 8 * (length + PARITY_BYTES), length)

        found = decode_codeword(flip(data + parity(data), flips))
        assert Corrected(data, CORRECTABLE_BITS) == found


@pytest.mark.parametrize("length", [1, 32, 512])
def test_any_eight_neighbours_are_corrected(length: int) -> None:
    codeword = drawn(length) + parity(drawn(length))
    last = 8 * len(codeword) - CORRECTABLE_BITS
    for first in {*range(0, last, 61), last}:
        burst = flip(codeword, range(first, first + CORRECTABLE_BITS))

        assert Corrected(drawn(length), CORRECTABLE_BITS) == decode_codeword(burst)


@given(damaged(CORRECTABLE_BITS + 1, 64))
def test_more_than_eight_flips_never_pass_as_the_original(case: tuple[bytes, bytes, int]) -> None:
    data, codeword, _ = case

    found = decode_codeword(codeword)
    assert found is None or found.data != data


@pytest.mark.parametrize("length", [1, 32, 512])
@pytest.mark.parametrize("count", [9, 10, 11, 12, 16, 40])
def test_more_than_eight_flips_are_refused_as_a_rule(length: int, count: int) -> None:
    """The rule is broken about once in ten million at 512 bytes: (4200/8191)^8 / 8!."""
    codeword = drawn(length) + parity(drawn(length))
    for number in range(50):
        flips = places(count, 8 * len(codeword), f"{length} {number}")

        assert decode_codeword(flip(codeword, flips)) is None


@pytest.mark.parametrize("length", [32, 512])
def test_what_came_within_eight_flips_of_another_codeword_is_taken_for_it(length: int) -> None:
    """The limit of any decoder that corrects eight: here the flips are nearly a codeword."""
    codeword = drawn(length) + parity(drawn(length))
    size = 8 * len(codeword)
    apart = [size - 1 - bit for bit in range(105) if generator() >> bit & 1]
    other = flip(codeword, apart)

    assert Corrected(other[:length], 8) == decode_codeword(flip(codeword, apart[8:]))
    assert decode_codeword(flip(codeword, apart[9:])) is None


@given(st.binary(min_size=1, max_size=SECTOR_BYTES), st.binary(min_size=13, max_size=13))
def test_any_bytes_decode_to_a_codeword_within_eight_flips_or_to_nothing(
    data: bytes, stored: bytes
) -> None:
    found = decode(data, stored)

    if found is not None:
        codeword = found.data + slow_parity(found.data)
        assert found.flipped == distance(codeword, data + stored) <= CORRECTABLE_BITS


# Pages


def page_of(code: PageCode, data: bytes, record: bytes) -> bytes:
    return bytes(code.encode_pages(rows(data), rows(record))[0])


def test_a_page_of_4_kib_fits_224_bytes_of_spare_area() -> None:
    assert 1 + 32 + 13 + 8 * 13 == PAGE.spare_bytes <= 224


def test_spare_area_holds_mark_record_its_parity_and_that_of_each_sector() -> None:
    data, record = drawn(4096), drawn(32)
    sectors = [data[at : at + 512] for at in range(0, 4096, 512)]

    expected = [b"\xff", record, slow_parity(record), *map(slow_parity, sectors)]
    assert b"".join(expected) == page_of(PAGE, data, record)


def test_many_pages_at_once_have_the_spare_areas_of_each() -> None:
    datas = [drawn(4096, number) for number in range(40)]
    records = [drawn(32, number) for number in range(40)]

    expected = [page_of(PAGE, *each) for each in zip(datas, records, strict=True)]
    assert b"".join(expected) == PAGE.encode_pages(rows(*datas), rows(*records)).tobytes()


def codeword_bits(number: int) -> list[int]:
    """Return the bits of sector 0 to 7 or of the record, 8, in data and spare area of a page."""
    if number == 8:
        return list(range(8 * 4097, 8 * (4097 + 32 + 13)))
    parity_at = 4096 + 1 + 32 + 13 + 13 * number
    data = range(8 * 512 * number, 8 * 512 * (number + 1))
    return [*data, *range(8 * parity_at, 8 * (parity_at + 13))]


def after_flips(counts: list[int]) -> tuple[DecodedPage, bytes, bytes]:
    """Flip so many bits of each of the nine codewords; return what is decoded, and the truth."""
    data, record = drawn(4096), drawn(32)
    flips: list[int] = []
    for number, count in enumerate(counts):
        bits = codeword_bits(number)
        flips.extend(bits[place] for place in places(count, len(bits), number))
    raw = flip(data + page_of(PAGE, data, record), flips)
    return PAGE.decode_page(raw[:4096], raw[4096:]), data, record


@given(st.lists(st.integers(0, CORRECTABLE_BITS), min_size=9, max_size=9))
def test_page_is_corrected_codeword_by_codeword(counts: list[int]) -> None:
    found, data, record = after_flips(counts)

    assert DecodedPage(data, record, sum(counts), max(counts), True, True) == found


@pytest.mark.parametrize("number", range(8))
def test_one_bad_sector_leaves_the_others_and_the_record(number: int) -> None:
    counts = [3] * 9
    counts[number] = 9
    found, data, record = after_flips(counts)

    assert (found.is_data_readable, found.is_record_readable) == (False, True)
    assert (record, 24, 3) == (found.record, found.corrected, found.worst)
    before, behind = slice(512 * number), slice(512 * (number + 1), None)
    assert (data[before], data[behind]) == (found.data[before], found.data[behind])
    assert 1 <= distance(found.data, data) <= 9


def test_a_bad_record_is_given_as_read_and_leaves_the_data() -> None:
    found, data, record = after_flips([0] * 8 + [9])

    assert (found.is_data_readable, found.is_record_readable) == (True, False)
    assert (data, 0, 0) == (found.data, found.corrected, found.worst)
    assert 1 <= distance(found.record, record) <= 9


def test_record_is_read_without_its_page() -> None:
    spare = page_of(PAGE, drawn(4096), drawn(32))

    assert Corrected(drawn(32), 2) == PAGE.decode_record(flip(spare, [8, 299]))
    assert PAGE.decode_record(flip(spare, range(8, 100, 10))) is None


@pytest.mark.parametrize("code", [PAGE, SHORT_PAGE])
def test_erased_page_with_eight_flips_a_codeword_reads_as_erased(code: PageCode) -> None:
    size = 4096 if code is PAGE else 64
    data, spare = b"\xff" * size, b"\xff" * 224

    assert spare[: code.spare_bytes] == page_of(code, data, b"\xff" * 32)
    worn = flip(data, range(3, 8 * size, 512)), flip(spare, range(11, 8 * 33, 32))
    found = code.decode_page(*worn)
    assert (data, b"\xff" * 32, True, True) == (
        found.data,
        found.record,
        found.is_data_readable,
        found.is_record_readable,
    )
    assert found.worst == 8


def test_bad_block_mark_and_what_is_behind_the_parity_change_nothing() -> None:
    data, record = drawn(4096), drawn(32)
    spare = b"\0" + page_of(PAGE, data, record)[1:] + bytes(74)

    assert DecodedPage(data, record, 0, 0, True, True) == PAGE.decode_page(data, spare)


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=59, max_size=80))
def test_any_bytes_decode_as_a_page(data: bytes, spare: bytes) -> None:
    found = SHORT_PAGE.decode_page(data, spare)

    assert (len(found.data), len(found.record)) == (64, 32)
    assert found.worst <= CORRECTABLE_BITS


@pytest.mark.parametrize(("data_bytes", "spare_bytes"), [(4095, 224), (4608, 224), (4096, 149)])
def test_bytes_that_are_not_a_page_are_refused(data_bytes: int, spare_bytes: int) -> None:
    with pytest.raises(ValueError, match="a page has 4096 bytes and at least 150"):
        PAGE.decode_page(bytes(data_bytes), bytes(spare_bytes))


@pytest.mark.parametrize(
    ("page_bytes", "record_bytes"), [(0, 32), (-512, 32), (513, 32), (4096, 0), (4096, 513)]
)
def test_pages_that_no_codewords_fit_are_refused(page_bytes: int, record_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"a (page|record) of"):
        PageCode(page_bytes, record_bytes)
