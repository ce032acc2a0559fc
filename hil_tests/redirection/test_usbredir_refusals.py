"""The USB redirection server over real sockets: what no drive has, and bad input."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.serve.usbredir import CLIENTS_MAX
from firmware_model.serve.usbredir_link import CAPABILITIES, OUT_BYTES_MAX
from firmware_model.wire.bot import Cbw
from firmware_model.wire.usb import SetupPacket
from firmware_model.wire.usbredir import (
    NOTHING,
    Agreed,
    Body,
    Header,
    PacketType,
    Status,
)
from firmware_model.wire.usbredir_packets import FilterRule, encode_filter
from firmware_model.wire.usbredir_transfers import (
    AllocBulkStreams,
    BulkPacket,
    BulkStreamsStatus,
    ControlPacket,
    FreeBulkStreams,
    InterruptPacket,
    InterruptReceivingStatus,
    IsoPacket,
    IsoStreamStatus,
    StartBulkReceiving,
    StartInterruptReceiving,
    StartIsoStream,
    StopInterruptReceiving,
    StopIsoStream,
)
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, read10
from hil_tests.redirection.fuzz import at_superspeed, fuzz, serves_the_next
from hil_tests.redirection.guest import (
    IN,
    OUT,
    QEMU,
    Guest,
    Redirecting,
    is_free,
    redirecting,
    works,
)

CONFIGURE = SetupPacket(0x00, 9, 1, 0, 0)
GET_STATUS = SetupPacket(0x80, 0, 0, 0, 2)
GET_DEVICE = SetupPacket(0x80, 6, 0x0100, 0, 18)


# --- what no drive has -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (StartInterruptReceiving(0x83), InterruptReceivingStatus(Status.STALL, 0x83)),
        (StopInterruptReceiving(0x83), InterruptReceivingStatus(Status.SUCCESS, 0x83)),
        (StartIsoStream(0x84, 8, 4), IsoStreamStatus(Status.STALL, 0x84)),
        (StopIsoStream(0x84), IsoStreamStatus(Status.SUCCESS, 0x84)),
        (AllocBulkStreams(1 << 17, 16), BulkStreamsStatus(1 << 17, 16, Status.INVAL)),
        (FreeBulkStreams(1 << 17), BulkStreamsStatus(1 << 17, 0, Status.SUCCESS)),
    ],
)
def test_endpoints_of_other_kinds_are_refused_in_their_own_words(
    guest: Guest, asked: Body, answer: Body
) -> None:
    guest.send(asked)

    assert guest.receive().body == answer
    assert works(guest)


def test_data_for_endpoints_of_other_kinds_is_refused(guest: Guest) -> None:
    guest.send(InterruptPacket(0x03, 0, 2), b"hi")
    interrupt = guest.hear(InterruptPacket)
    guest.send(IsoPacket(0x04, 0, 2), b"hi")

    assert interrupt.status == Status.STALL
    assert guest.hear(IsoStreamStatus) == IsoStreamStatus(Status.INVAL, 0x04)


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(12),
        Header(PacketType.HELLO, 1 << 31, 0).encode(NOTHING),
        Header(PacketType.RESET, 0, 0).encode(NOTHING),
        Header(PacketType.HELLO, 67, 0).encode(NOTHING) + bytes(67),
    ],
)
def test_what_begins_with_no_hello_is_sent_away(served: Redirecting, said: bytes) -> None:
    with served.guest() as guest:
        guest.hear_hello()
        guest.stream.sendall(said)

        assert guest.is_sent_away()
    with served.using() as other:
        assert works(other)


AGREED = Agreed.on(CAPABILITIES, QEMU)


def bulk(endpoint: int, length: int, data_bytes: int) -> bytes:
    """Return header and body of a packet that announces `data_bytes` behind it."""
    body = BulkPacket(endpoint, 0, length).encode(AGREED)
    header = Header(PacketType.BULK_PACKET, len(body) + data_bytes, 9)
    return header.encode(AGREED) + body


def bare(kind: int, length: int) -> bytes:
    return Header.WIDE.pack(kind, length, 9)


BROKEN = {  # after which nobody knows where the next packet begins
    "unknown type": bare(99, 0),
    "a second hello": bare(PacketType.HELLO, 68) + bytes(68),
    "a host's packet": bare(PacketType.DEVICE_CONNECT, 10) + bytes(10),
    "too short": bare(PacketType.BULK_PACKET, 9) + bytes(9),
    "too long": bare(PacketType.RESET, 1) + bytes(1),
    "2 GiB": bulk(OUT, 1 << 31, 1 << 31),
    "4 GiB": bare(PacketType.BULK_PACKET, 0xFFFF_FFFF),
    "a little too long": bulk(OUT, OUT_BYTES_MAX + 1, OUT_BYTES_MAX + 1),
    "less data than announced": bulk(OUT, 100, 99) + bytes(99),
    "data to read": bulk(IN, 4, 4) + bytes(4),
    "an endless filter": bare(PacketType.FILTER_FILTER, 1 << 20),
    "no filter": bare(PacketType.FILTER_FILTER, 3) + b"no\0",
    "bulk receiving": Header(PacketType.START_BULK_RECEIVING, 10, 9).encode(AGREED)
    + StartBulkReceiving(0, 512, IN, 5).encode(AGREED),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_packet_that_breaks_the_protocol_ends_the_session_alone(
    served: Redirecting, guest: Guest, kind: str
) -> None:
    guest.stream.sendall(BROKEN[kind])

    assert guest.is_sent_away()
    assert is_free(served)
    assert any("no USB redirection" in line for line in served.told)
    with served.using() as other:
        assert works(other)


def test_id_in_use_ends_the_session(guest: Guest) -> None:
    waiting = guest.read(13)
    guest.send(BulkPacket(IN, 0, 13), number=waiting)

    assert guest.is_sent_away()


def test_filter_is_the_guests_own_matter(guest: Guest) -> None:
    rules = (FilterRule(8, -1, -1, -1, True), FilterRule(-1, -1, -1, -1, False))
    guest.signal(PacketType.FILTER_FILTER, data=encode_filter(rules))

    assert works(guest)


def test_read_of_any_length_gets_what_there_is(guest: Guest) -> None:
    guest.write(Cbw(1, 36, True, 0, INQUIRY).encode())
    guest.moved()
    guest.read(0xFFFF_FFFF)

    assert guest.moved()[1:] == (Status.SUCCESS, INQUIRY_DATA)


def test_more_waiting_packets_than_fit_are_refused_one_by_one(guest: Guest) -> None:
    sent = [guest.read(13) for _ in range(300)]
    refused = [guest.moved() for _ in range(300 - 256)]
    guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())

    assert [number for number, _, _ in refused] == sent[256:]
    assert {status for _, status, _ in refused} == {Status.IOERROR}
    assert {guest.moved()[1] for _ in range(2)} == {Status.SUCCESS}


def test_half_open_connections_make_room_for_whoever_comes(served: Redirecting) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(served.guest()) for _ in range(2 * CLIENTS_MAX)]
        other = stack.enter_context(served.using())

        assert works(other)
        silent[0].hear_hello()
        assert silent[0].is_sent_away()


def test_guest_that_reads_no_answers_harms_nobody_but_itself(served: Redirecting) -> None:
    with served.using() as guest:
        guest.stream.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):
                guest.write(Cbw(1, 8192, True, 0, read10(0, 16)).encode())
                guest.read(8192)
                guest.read(13)
        served.unplug()  # nobody waits for that guest
    assert is_free(served)
    served.plug()
    with served.using() as other:
        assert works(other)


@settings(max_examples=30)
@given(st.integers(0, 1 << 20))
def test_whatever_a_guest_says_each_packet_is_answered_once_and_the_next_is_served(
    seed: int,
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        redirecting(RamDrive(), Path(folder, "socket"), at_superspeed) as served,
    ):
        fuzz(served, seed)

        assert serves_the_next(served)


@settings(max_examples=60)
@given(st.lists(st.binary(min_size=1, max_size=120), min_size=1, max_size=6), st.booleans())
def test_whatever_bytes_a_guest_sends_the_next_one_is_served(
    said: list[bytes], has_the_drive: bool
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        redirecting(RamDrive(), Path(folder, "socket")) as served,
    ):
        guest = served.using() if has_the_drive else served.guest()
        with guest, contextlib.suppress(ConnectionError):
            for each in said:
                guest.stream.sendall(each)

        assert serves_the_next(served)


def test_packets_in_any_pieces_are_the_same_packets(guest: Guest) -> None:
    body = ControlPacket(0x80, 0, 0x80, 0, 0, 0, 2).encode(guest.agreed)
    packet = Header(PacketType.CONTROL_PACKET, len(body), 77).encode(guest.agreed) + body
    query = Header(PacketType.GET_CONFIGURATION, 0, 78).encode(guest.agreed)
    for each in (packet + query) * 2:
        guest.stream.sendall(bytes((each,)))
    guest.stream.sendall((query + packet) * 2)
    ended = [guest.receive().id for _ in range(8)]

    assert ended == [77, 78, 77, 78, 78, 77, 78, 77]
