"""What a USB/IP client must not be able to do to drives and to other clients."""

import contextlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.serve.usbip import CLIENTS_MAX, REQUEST_TIMEOUT_S
from firmware_model.serve.usbip_session import ISO_PACKETS_MAX, OUT_BYTES_MAX
from firmware_model.wire.bot import Cbw
from firmware_model.wire.stream import set_timeout
from firmware_model.wire.usbip import (
    OpCode,
    OpHeader,
)
from firmware_model.wire.usbip_urb import (
    CmdSubmit,
    RetSubmit,
    UrbStatus,
)
from hil_tests.fuzz_usbip import campaign
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, read10
from hil_tests.served import RawClient, Serving, serving
from hil_tests.usbip.said import GET_STATUS, IN, OUT, command, still_works


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(8),
        bytes.fromhex("0111800300000000") + b"1" * 32,
        bytes.fromhex("0110800500000000"),
        OpHeader(OpCode.REP_IMPORT).encode(),
    ],
)
def test_what_is_no_request_is_not_answered(served: Serving, said: bytes) -> None:
    with RawClient(served.address) as client:
        client.say(said)

        assert client.is_sent_away()
    assert still_works(served, "1-1")


DEVID = 0x0001_0002  # of the first drive
BROKEN = {  # after which nobody knows where the next message begins, or whose it is
    "another device": CmdSubmit(9, DEVID + 1, 1, 1, 0, 13).encode(),
    "no command": b"\x00\x00\x00\x05" + bytes(44),
    "a reply": RetSubmit(9, 0, 0).encode(),
    "endpoint 16": CmdSubmit(9, DEVID, 1, 16, 0, 13).encode(),
    "2 GiB": CmdSubmit(9, DEVID, 0, 2, 0, 1 << 31).encode(),
    "4 GiB": CmdSubmit(9, DEVID, 0, 2, 0, 0xFFFF_FFFF).encode(),
    "a little too long": CmdSubmit(9, DEVID, 0, 2, 0, OUT_BYTES_MAX + 1).encode(),
    "too many packets": CmdSubmit(9, DEVID, 1, 1, 0, 13, packet_count=ISO_PACKETS_MAX + 1).encode(),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_message_that_breaks_the_protocol_ends_the_session_and_no_other(
    served: Serving, client: RawClient, kind: str
) -> None:
    with RawClient(served.address) as other:
        other.ask_for("1-2")
        other.configure()
        client.say(BROKEN[kind])

        assert client.is_sent_away()
        assert command(other, TEST_UNIT_READY).status == 0
    assert served.is_free() and still_works(served, "1-1")


def test_read_of_any_length_gets_what_there_is(client: RawClient) -> None:
    command(client, INQUIRY, 36)
    client.submit(IN, 0xFFFF_FFFF)
    ended, content = client.ended(36)

    assert (ended.status, content) == (0, INQUIRY_DATA)


def test_sequence_number_of_what_has_ended_may_be_used_again(client: RawClient) -> None:
    for _ in range(2):
        client.seqnum = 40
        assert client.control(GET_STATUS)[0] == RetSubmit(41, 0, 2)


def test_sequence_number_in_use_ends_the_session(served: Serving, client: RawClient) -> None:
    client.submit(IN, 13)
    client.seqnum -= 1
    client.submit(IN, 13)

    assert client.is_sent_away()


def test_more_waiting_transfers_than_fit_are_refused_one_by_one(client: RawClient) -> None:
    submitted = [client.submit(IN, 13) for _ in range(300)]
    refused = [client.ended()[0] for _ in range(300 - 256)]
    answered = command(client, TEST_UNIT_READY)

    assert {each.status for each in refused} == {UrbStatus.ENOMEM}
    assert [each.seqnum for each in refused] == submitted[256:]
    assert answered.status == 0


def test_half_open_connections_make_room_for_whoever_comes(served: Serving) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(RawClient(served.address)) for _ in range(2 * CLIENTS_MAX)]

        assert still_works(served)
        set_timeout(silent[0].stream, REQUEST_TIMEOUT_S / 2)  # before it would be for its silence
        assert silent[0].is_sent_away()


def test_there_are_no_more_clients_than_fit_however_fast_they_come(served: Serving) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4 * CLIENTS_MAX):
            stack.enter_context(RawClient(served.address))
        there = [each for each in threading.enumerate() if each.name.startswith("127.0.0.1:")]

        assert len(there) <= CLIENTS_MAX
        assert still_works(served)


def test_whoever_has_a_drive_is_not_sent_away_for_whoever_comes(
    served: Serving, client: RawClient
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2 * CLIENTS_MAX):
            stack.enter_context(RawClient(served.address))

        assert command(client, TEST_UNIT_READY).status == 0


def test_client_that_reads_no_answers_holds_up_nobody_else(
    served: Serving, client: RawClient
) -> None:
    for _ in range(64):
        client.submit(OUT, 31, Cbw(1, 8192, True, 0, read10(0, 16)).encode())
        client.submit(IN, 8192)
        client.submit(IN, 13)

    assert still_works(served)


@settings(max_examples=60)
@given(st.lists(st.binary(min_size=1, max_size=120), min_size=1, max_size=6), st.booleans())
def test_whatever_a_client_says_the_next_one_is_served(said: list[bytes], is_host: bool) -> None:
    with serving([RamDrive()]) as served:
        with RawClient(served.address) as client:
            if is_host:
                client.ask_for("1-1")
            with contextlib.suppress(ConnectionError):
                for each in said:
                    client.say(each)
        assert served.is_free()

        assert still_works(served, "1-1")


def test_fuzzed_sessions_harm_neither_drive_nor_neighbour() -> None:
    tally = campaign(1_500)

    assert tally["answered"] > 1_000 and tally["refused"] > 50
