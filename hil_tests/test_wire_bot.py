"""The Bulk-Only wrappers against bytes printed by the specification's layout, and any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire.bot import Cbw, Csw, CswStatus
from firmware_model.wire.codec import DecodeError

WORDS = st.integers(0, 0xFFFF_FFFF)
CBWS = st.builds(
    Cbw, WORDS, WORDS, st.booleans(), st.integers(0, 15), st.binary(min_size=1, max_size=16)
)
CSWS = st.builds(Csw, WORDS, WORDS, st.sampled_from(CswStatus))
INQUIRY = bytes.fromhex("55534243 01000000 24000000 80 00 06 120000002400 00000000000000000000")


def test_inquiry_as_linux_sends_it_is_read_field_by_field() -> None:
    expected = Cbw(tag=1, data_length=36, is_in=True, lun=0, cdb=bytes.fromhex("120000002400"))

    assert expected == Cbw.decode(INQUIRY)


@given(CBWS)
def test_cbw_survives_the_wire(cbw: Cbw) -> None:
    assert cbw == Cbw.decode(cbw.encode())


@given(CSWS)
def test_csw_survives_the_wire(csw: Csw) -> None:
    assert csw == Csw.decode(csw.encode())


@pytest.mark.parametrize("length", range(31))
def test_truncated_cbw_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match=f"CBW has {length} bytes"):
        Cbw.decode(INQUIRY[:length])


@pytest.mark.parametrize("offset", [12, 13, 14])
def test_cbw_with_a_reserved_bit_is_refused(offset: int) -> None:
    data = bytearray(INQUIRY)
    data[offset] |= 0x40

    with pytest.raises(DecodeError, match="reserved"):
        Cbw.decode(bytes(data))


@given(
    st.binary(max_size=40) | st.binary(min_size=27, max_size=27).map(lambda tail: b"USBC" + tail)
)
def test_any_bytes_are_a_cbw_that_encodes_back_or_a_refusal(data: bytes) -> None:
    try:
        cbw = Cbw.decode(data)
    except DecodeError:
        return

    assert data[:15] == cbw.encode()[:15]


@given(st.binary(max_size=20) | st.binary(min_size=9, max_size=9).map(lambda tail: b"USBS" + tail))
def test_any_bytes_are_a_csw_that_encodes_back_or_a_refusal(data: bytes) -> None:
    try:
        csw = Csw.decode(data)
    except DecodeError:
        return

    assert data == csw.encode()
