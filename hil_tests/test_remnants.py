"""The search for what is left in a dump: wrapped keys anywhere, ciphertext that repeats."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.keystore import KeyRecord
from firmware_model.firmware.page_records import RECORD
from firmware_model.hardware.element_state import Slot
from hil_tests.remnants import DumpPage, key_records, records_in, repeated_ciphertext, stray_keys

PAGE_BYTES = 4096
SECTORS = 8
USER = KeyRecord(Slot.USER, 3, 1, b"salt" * 4, bytes(range(72)))
ADMIN = KeyRecord(Slot.ADMIN, 1, 1, b"pepper!!" * 2, bytes(range(100, 172)))


def page(
    number: int, data: bytes, area: str = "keys", spare: bytes = b"", is_retired: bool = False
) -> DumpPage:
    return DumpPage(number, area, is_retired, data, spare.ljust(32, b"\xff"))


def data_page(number: int, logical: int, data: bytes, valid: int = 0xFF) -> DumpPage:
    """Return a page as the translation layer programs it."""
    record = memoryview(bytearray(RECORD.itemsize)).cast("B")
    record[1:5], record[5:9] = valid.to_bytes(4, "big"), logical.to_bytes(4, "big")
    return page(number, data, "data", bytes(record))


def noise(seed: int) -> bytes:
    """Return a page of 16-byte blocks, no two of which are equal, here or for another seed."""
    return b"".join(
        (seed * 1000 + at).to_bytes(8, "big") + bytes(8) for at in range(PAGE_BYTES // 16)
    )


# --- wrapped keys -------------------------------------------------------------------------------


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_wrapped_key_is_found_at_any_offset(before: bytes, after: bytes) -> None:
    found = list(key_records(before + USER.encode() + after))

    assert (len(before), USER) in found


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from((b"KEYS", USER.encode()[:60])))))
def test_any_bytes_are_searched_and_only_whole_records_found(parts: list[bytes]) -> None:
    data = b"".join(parts)

    for at, record in key_records(data):
        assert data[at:].startswith(record.encode())


@given(st.integers(0, 8 * len(USER.encode()) - 1))
def test_record_with_a_flipped_bit_is_none(bit: int) -> None:
    data = bytearray(USER.encode())
    data[bit // 8] ^= 1 << bit % 8

    assert USER not in [record for _, record in key_records(bytes(data))]


def test_records_of_pages_spare_areas_and_serial_flash_are_all_found_once() -> None:
    pages = [page(0, USER.encode()), page(1, USER.encode()), page(2, b"", spare=ADMIN.encode())]

    assert records_in(pages, b"") == [USER, ADMIN]
    assert records_in([], ADMIN.encode()) == [ADMIN]


def test_record_across_the_end_of_a_page_is_found_and_astray() -> None:
    encoded = USER.encode()
    pages = [page(9, b"x" + encoded[:50]), page(10, encoded[50:])]

    assert records_in(pages, b"") == [USER]
    assert "record of USER across page after page" in stray_keys(pages, b"")


def test_wrapped_key_in_its_own_area_is_no_stray_even_in_a_retired_block() -> None:
    pages = [page(0, USER.encode()), page(64, ADMIN.encode(), is_retired=True)]

    assert stray_keys(pages, b"") == []


def test_stray_keys_are_told_with_their_place() -> None:
    own = page(0, USER.encode())
    in_data = page(900, b"x" + USER.encode(), "data", is_retired=True)
    bare = page(901, b"junk" + USER.wrapped, "log")
    in_spare = page(2, b"", spare=ADMIN.encode())

    found = stray_keys([own, in_data, bare, in_spare], USER.wrapped)

    assert found == [
        "record of USER in page 900 of the data, in a retired block",
        "wrapped key of USER, generation 3, in page 900 of the data, in a retired block",
        "wrapped key of USER, generation 3, in page 901 of the log",
        "record of ADMIN in spare area of page 2 of the keys",
        "wrapped key of USER, generation 3, in serial flash",
    ]


# --- ciphertext ---------------------------------------------------------------------------------


def test_same_place_written_again_or_moved_is_no_repetition() -> None:
    pages = [data_page(number, 5, noise(1)) for number in range(3)]

    assert repeated_ciphertext(pages) == []


def test_equal_ciphertext_of_two_addresses_is_told() -> None:
    pages = [data_page(0, 5, noise(1)), data_page(1, 6, noise(2)[:32] + noise(1)[32:])]

    found = repeated_ciphertext(pages)

    assert found[0] == "LBA 40 at 32 and LBA 48 at 32 have equal ciphertext"
    assert len(found) == 5 and found[-1] == f"{PAGE_BYTES // 16 - 2 - 4} more such places"


def test_equal_blocks_within_a_sector_are_told() -> None:
    data = noise(1)

    found = repeated_ciphertext([data_page(0, 0, data[:64] + data[:16] + data[80:])])

    assert found == ["LBA 0 at 0 and LBA 0 at 64 have equal ciphertext"]


def test_sectors_that_hold_nothing_do_not_count() -> None:
    half = noise(1)[: PAGE_BYTES // 2] + bytes(PAGE_BYTES // 2)
    torn = page(1, half, "data")  # its spare area was never programmed

    assert repeated_ciphertext([data_page(0, 5, half, valid=0x0F), torn]) == []
    assert repeated_ciphertext([data_page(0, 5, half)]) != []


def test_only_whole_pages_of_the_data_area_are_compared() -> None:
    zeros = bytes(PAGE_BYTES)

    assert repeated_ciphertext([]) == []
    assert repeated_ciphertext([page(0, zeros, "log"), data_page(1, 1, zeros[:72])]) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("data", "keys")),
            st.sampled_from((0, 100, 512, 1024)),
            st.binary(min_size=32, max_size=40),
            st.binary(min_size=1, max_size=3),
        ),
        max_size=6,
    )
)
def test_any_pages_are_compared(parts: list[tuple[str, int, bytes, bytes]]) -> None:
    """Forged records and pages of any length are looked at, and stop nothing."""
    pages = [
        page(number, (filling * size)[:size], area, spare)
        for number, (area, size, spare, filling) in enumerate(parts)
    ]

    for said in repeated_ciphertext(pages) + stray_keys(pages, b""):
        assert isinstance(said, str)
