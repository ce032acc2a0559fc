"""How long a host's transfers are, as the CBW says it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.serve.host_lengths import HostLengths
from firmware_model.wire.bot import Cbw

PIECE = 4096
READY = bytes(6)


def after(length: int, *, is_in: bool) -> HostLengths:
    lengths = HostLengths(PIECE)
    lengths.sent(Cbw(1, length, is_in, 0, READY).encode(), lengths.out)
    return lengths


def test_wrapper_is_asked_for_by_a_packet() -> None:
    assert HostLengths(PIECE).out == 512


def test_data_is_asked_for_in_pieces_of_whole_packets() -> None:
    lengths = after(10000, is_in=False)
    asked = []
    for came in (4096, 4096, 1808):
        asked.append(lengths.out)
        lengths.sent(bytes(came), lengths.out)

    assert [*asked, lengths.out] == [4096, 4096, 2048, 512]
    assert not lengths.is_data_out


def test_short_packet_ends_the_data() -> None:
    lengths = after(10000, is_in=False)
    lengths.sent(bytes(31), lengths.out)

    assert not lengths.is_data_out


def test_function_is_asked_for_what_the_host_wants_then_for_a_status() -> None:
    lengths = after(5000, is_in=True)
    asked = []
    for given_bytes in (4096, 904, 13):
        asked.append(lengths.into)
        assert not lengths.given(given_bytes)

    assert asked == [4096, 904, 512]


@pytest.mark.parametrize(
    ("wanted", "came", "owes"),
    [(1024, 512, True), (1024, 500, False), (1024, 1024, False), (512, 0, False), (0, 13, False)],
)
def test_host_that_wants_more_needs_an_end_that_it_can_see(
    wanted: int, came: int, owes: bool
) -> None:
    assert after(wanted, is_in=True).given(came) is owes


def test_halt_ends_the_data() -> None:
    lengths = after(5000, is_in=True)
    lengths.halted()

    assert lengths.into == 512


def test_what_is_no_wrapper_begins_anew() -> None:
    lengths = HostLengths(PIECE)
    lengths.sent(b"USBX", 512)

    assert (lengths.out, lengths.into) == (512, 512)


@given(st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 5000)), max_size=20))
def test_whatever_is_moved_what_is_asked_for_fits(moved: list[bytes | int]) -> None:
    lengths = after(7000, is_in=len(moved) % 2 == 0)
    for each in moved:
        if isinstance(each, bytes):
            lengths.sent(each, lengths.out)
        else:
            lengths.given(min(each, lengths.into))

        assert 0 < lengths.out <= PIECE and lengths.out % 512 == 0
        assert 0 < lengths.into <= PIECE
