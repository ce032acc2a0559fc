"""Transfers by USB/IP, and their ends: by the drive, by an unlink, by other hands."""

import pytest

from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.stream import receive
from firmware_model.wire.usb import SetupPacket
from firmware_model.wire.usbip_urb import (
    CmdSubmit,
    RetSubmit,
    RetUnlink,
    TransferFlags,
    UrbStatus,
)
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, write10
from hil_tests.served import RawClient, Serving, serving
from hil_tests.usbip.said import GET_STATUS, IN, OUT, command

# --- transfers -----------------------------------------------------------------------------------


def test_command_with_data_in(client: RawClient) -> None:
    sent = command(client, INQUIRY, 36)
    client.submit(IN, 64)
    data, content = client.ended(64)
    client.submit(IN, 13)
    status, _ = client.ended(13)

    assert (sent.status, sent.actual_length) == (0, 31)
    assert (data.status, content) == (0, INQUIRY_DATA)
    assert status.actual_length == 13


def test_data_out_arrives_as_it_was_sent(
    client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    content = bytes(range(256)) * 8
    command(client, write10(2, 4), len(content), is_in=False)
    client.submit(OUT, len(content), content)
    ended, _ = client.ended()

    assert (ended.status, ended.actual_length) == (0, len(content))
    assert drives[0].disk.blocks[1024 : 1024 + len(content)] == content


def test_reads_begun_before_the_command_are_answered_in_order(client: RawClient) -> None:
    data = client.submit(IN, 36)
    status = client.submit(IN, 13)
    cbw = client.submit(OUT, 31, Cbw(1, 36, True, 0, INQUIRY).encode())
    replies = [client.ended(0 if number == 0 else 36)[0].seqnum for number in range(3)]

    assert replies == [cbw, data, status]


def test_transfer_that_ends_by_other_hands_is_answered(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    waiting = client.submit(IN, 13)
    client.control(GET_STATUS)  # by now it waits
    with served.ports[0].lock:
        drives[0].transfer_out(OUT, Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())

    assert client.ended(13)[0] == RetSubmit(waiting, 0, 13)


def test_short_read_is_an_error_where_the_client_says_so(client: RawClient) -> None:
    command(client, INQUIRY, 36)
    client.submit(IN, 64, flags=TransferFlags.SHORT_NOT_OK)
    ended, content = client.ended(64)

    assert (ended.status, content) == (UrbStatus.EREMOTEIO, INQUIRY_DATA)


def test_stall_is_a_broken_pipe_until_the_halt_is_cleared(client: RawClient) -> None:
    command(client, TEST_UNIT_READY, 512)
    client.submit(IN, 512)
    stalled, _ = client.ended(512)
    cleared, _ = client.control(SetupPacket(0x02, 1, 0, IN, 0))
    client.submit(IN, 13)
    status, _ = client.ended(13)

    assert [each.status for each in (stalled, cleared, status)] == [UrbStatus.EPIPE, 0, 0]


def test_endpoint_that_there_is_not_stalls(client: RawClient) -> None:
    client.submit(0x8F, 13)

    assert client.ended(13)[0].status == UrbStatus.EPIPE


def test_control_request_gets_what_fits_the_clients_buffer(client: RawClient) -> None:
    setup = SetupPacket(0x80, 6, 0x0100, 0, 18)
    client.submit(0x80, 8, setup=setup.encode())
    ended, content = client.ended(8)

    assert (ended.status, len(content)) == (0, 8)


@pytest.mark.parametrize(
    ("direction", "data", "setup"),
    [
        (0x00, b"", GET_STATUS),  # data to the host, which the header says comes from it
        (0x00, b"\x00", SetupPacket(0x21, 0x09, 0, 0, 2)),  # fewer bytes than announced
    ],
)
def test_setup_packet_that_contradicts_its_header_is_refused(
    client: RawClient, direction: int, data: bytes, setup: SetupPacket
) -> None:
    client.submit(direction, len(data), data, setup.encode())

    assert client.ended()[0].status == UrbStatus.EINVAL
    assert client.control(GET_STATUS)[1] == b"\x00\x00"


def test_isochronous_transfer_is_refused_with_its_packets(client: RawClient) -> None:
    assert client.device is not None
    submit = CmdSubmit(77, client.device.devid, 0, 2, 0, 16, packet_count=2)
    client.say(submit.encode(), bytes(16), bytes(32))
    ended, _ = client.ended()

    assert (ended.seqnum, ended.status, ended.packet_count) == (77, UrbStatus.EINVAL, 2)
    assert command(client, TEST_UNIT_READY).status == 0


def test_port_reset_reaches_the_drive_and_keeps_its_configuration(
    client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    ended, _ = client.control(SetupPacket(0x23, 3, 4, 0, 0))

    assert ended.status == 0
    assert drives[0].heard[-1] == (BusEvent.RESET, True)
    assert command(client, TEST_UNIT_READY).status == 0


def test_drive_that_sends_more_than_was_asked_for_overflows() -> None:
    class Babbling(RamDrive):
        def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
            return bytes(length + 1)

    with serving([Babbling()]) as served, RawClient(served.address) as client:
        client.ask_for("1-1")
        client.configure()
        client.submit(IN, 13)
        ended, _ = client.ended(13)

    assert (ended.status, ended.actual_length) == (UrbStatus.EOVERFLOW, 0)


# --- unlink --------------------------------------------------------------------------------------


def test_unlinked_transfer_is_answered_by_the_unlink_alone(client: RawClient) -> None:
    waiting = client.submit(IN, 13)
    unlink = client.unlink(waiting)

    assert client.reply() == RetUnlink(unlink, UrbStatus.ECONNRESET)
    assert command(client, TEST_UNIT_READY).status == 0


def test_unlink_of_a_transfer_that_has_ended_comes_behind_its_end(client: RawClient) -> None:
    cbw = client.submit(OUT, 31, Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    unlink = client.unlink(cbw)

    assert client.ended()[0] == RetSubmit(cbw, 0, 31)
    assert client.reply() == RetUnlink(unlink, UrbStatus.OK)


def test_unlink_of_what_was_never_begun_is_answered(client: RawClient) -> None:
    unlink = client.unlink(1_000_000)

    assert client.reply() == RetUnlink(unlink, UrbStatus.OK)


def test_unlink_leaves_other_transfers_of_the_endpoint_in_order(client: RawClient) -> None:
    first, second, third = (client.submit(IN, length) for length in (5, 36, 13))
    unlink = client.unlink(first)
    withdrawn = client.reply()
    client.submit(OUT, 31, Cbw(1, 36, True, 0, INQUIRY).encode())
    client.ended()

    assert withdrawn == RetUnlink(unlink, UrbStatus.ECONNRESET)
    assert [client.ended(36)[0].seqnum for _ in range(2)] == [second, third]


def test_every_transfer_is_answered_once_however_unlinks_race_with_their_ends(
    client: RawClient,
) -> None:
    submitted, unlinks = [], {}
    for number in range(60):
        submitted.append(client.submit(IN, 13))
        if number % 3 == 0:
            submitted.append(client.submit(OUT, 31, Cbw(1, 0, False, 0, TEST_UNIT_READY).encode()))
        if number % 2 == 0:
            unlinks[client.unlink(submitted[-1])] = submitted[-1]
    for seqnum in submitted:
        unlinks[client.unlink(seqnum)] = seqnum
    ended, withdrawn = [], []
    for _ in range(len(submitted) + len(unlinks)):
        reply = client.reply()
        if isinstance(reply, RetUnlink):
            if reply.status == UrbStatus.ECONNRESET:
                withdrawn.append(unlinks[reply.seqnum])
            del unlinks[reply.seqnum]
        else:
            ended.append(reply.seqnum)
            if reply.actual_length == 13:
                receive(client.stream, 13)
        if not unlinks:
            break

    assert sorted(ended + withdrawn) == sorted(submitted)
