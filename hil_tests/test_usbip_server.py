"""The USB/IP server at the other end of real sockets: what clients say, and what becomes of it."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.serve.usbip import CLIENTS_MAX, REQUEST_TIMEOUT_S, listen
from firmware_model.serve.usbip_session import ISO_PACKETS_MAX, OUT_BYTES_MAX
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.stream import receive, set_timeout
from firmware_model.wire.usb import SetupPacket, Speed
from firmware_model.wire.usbip import (
    DeviceCount,
    ExportedDevice,
    ExportedInterface,
    OpCode,
    OpHeader,
    OpStatus,
)
from firmware_model.wire.usbip_urb import (
    CmdSubmit,
    RetSubmit,
    RetUnlink,
    TransferFlags,
    UrbStatus,
)
from hil_tests.fuzz_usbip import campaign
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, read10, write10
from hil_tests.served import CONFIGURE, RawClient, Serving, serving
from hil_tests.test_port import Control, Host

IN, OUT = 0x81, 0x02
SERIALS = "A" * 12, "B" * 12
GET_STATUS = SetupPacket(0x80, 0, 0, 0, 2)


@pytest.fixture
def drives() -> tuple[RamDrive, RamDrive]:
    return RamDrive(SERIALS[0]), RamDrive(SERIALS[1])


@pytest.fixture
def served(drives: tuple[RamDrive, RamDrive]) -> Iterator[Serving]:
    with serving(drives) as found:
        yield found


@pytest.fixture
def client(served: Serving) -> Iterator[RawClient]:
    """A client that has the first drive, and has configured it."""
    with RawClient(served.address) as found:
        assert found.ask_for("1-1") == OpStatus.OK
        found.configure()
        yield found


def command(client: RawClient, cdb: bytes, length: int = 0, is_in: bool = True) -> RetSubmit:
    """Send a CBW; return how the transfer ended."""
    client.submit(OUT, 31, Cbw(1, length, is_in, 0, cdb).encode())
    return client.ended()[0]


def listed(served: Serving) -> list[str]:
    """Return the bus ids of a device list."""
    with RawClient(served.address) as client:
        client.say(OpHeader(OpCode.REQ_DEVLIST).encode())
        receive(client.stream, 8)
        devices = []
        for _ in range(DeviceCount.decode(receive(client.stream, 4)).count):
            device = ExportedDevice.decode(receive(client.stream, 312))
            for _ in range(device.interface_count):
                found = ExportedInterface.decode(receive(client.stream, 4))
                assert found == ExportedInterface(0x08, 0x06, 0x50)
            devices.append(device.busid)
        assert client.is_sent_away()
        return devices


def still_works(served: Serving, busid: str = "1-2") -> bool:
    """Whether somebody else can use a drive."""
    with RawClient(served.address) as other:
        if other.ask_for(busid) != OpStatus.OK:
            return False
        other.configure()
        command(other, INQUIRY, 36)
        other.submit(IN, 36)
        return other.ended(36)[1] == INQUIRY_DATA


# --- listing and importing -------------------------------------------------------------------


def test_list_has_every_drive_that_is_there(
    served: Serving, drives: tuple[RamDrive, RamDrive]
) -> None:
    both = listed(served)
    drives[0].bus(BusEvent.DETACH)

    assert (both, listed(served)) == (["1-1", "1-2"], ["1-2"])


def test_drive_in_use_is_still_listed(served: Serving, client: RawClient) -> None:
    assert listed(served) == ["1-1", "1-2"]


def test_imported_device_is_described(served: Serving) -> None:
    with RawClient(served.address) as client:
        status = client.ask_for("1-2")

    assert status == OpStatus.OK and client.device is not None
    numbers = (client.device.vendor_id, client.device.product_id, client.device.speed)
    assert numbers == (0x1209, 0x5ED0, 3)


def test_speed_of_the_port_is_that_of_the_device() -> None:
    with (
        serving([RamDrive()], speed=Speed.SUPER) as served,
        RawClient(served.address) as client,
    ):
        client.ask_for("1-1")

        assert client.device is not None and client.device.speed == Speed.SUPER


def test_drive_attached_already_is_busy_and_says_so(served: Serving, client: RawClient) -> None:
    with RawClient(served.address) as other:
        status = other.ask_for("1-1")
        assert other.is_sent_away()

    assert status == OpStatus.DEVICE_BUSY
    assert any("another host has it" in line for line in served.log.lines)
    assert command(client, TEST_UNIT_READY).status == 0


@pytest.mark.parametrize("busid", ["1-3", "", "x" * 31])
def test_drive_that_there_is_not_is_not_found(served: Serving, busid: str) -> None:
    with RawClient(served.address) as client:
        assert client.ask_for(busid) == OpStatus.NO_DEVICE


def test_unplugged_drive_is_not_found(served: Serving, drives: tuple[RamDrive, RamDrive]) -> None:
    drives[0].bus(BusEvent.DETACH)
    with RawClient(served.address) as client:
        assert client.ask_for("1-1") == OpStatus.NO_DEVICE


def test_linuxs_own_tool_lists_and_is_refused_in_its_words(
    served: Serving, client: RawClient
) -> None:
    tool = shutil.which("usbip") or shutil.which("usbip", path="/usr/sbin")
    if tool is None:
        pytest.skip("Linux's usbip tool is not installed")
    program = [tool, "--tcp-port", str(served.address[1])]
    where = ["-r", "127.0.0.1"]
    shown = subprocess.run([*program, "list", *where], capture_output=True, text=True, check=True)
    taken, unknown = (
        subprocess.run(
            [*program, "attach", *where, "-b", busid], capture_output=True, text=True, check=False
        )
        for busid in ("1-1", "1-9")
    )

    for line in ("1-1:", "1-2:", "(1209:5ed0)", "Mass Storage / SCSI / Bulk-Only (08/06/50)"):
        assert line in shown.stdout
    assert "1-1 failed - Device busy" in taken.stderr
    assert "1-9 failed - Device not found" in unknown.stderr


# --- transfers ---------------------------------------------------------------------------------


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


# --- unlink ------------------------------------------------------------------------------------


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


# --- coming and going --------------------------------------------------------------------------


def test_client_that_closes_lets_go_of_the_drive_and_may_come_again(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    client.submit(IN, 13)  # and does not wait for it
    client.stream.close()

    assert served.is_free()
    assert drives[0].heard[-4::2] == [(BusEvent.DETACH, True), (BusEvent.ATTACH, False)]
    assert still_works(served, "1-1")


def test_client_that_dies_in_the_middle_of_data_leaves_the_drive_to_others(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    assert client.device is not None
    command(client, write10(0, 8), 4096, is_in=False)
    client.say(CmdSubmit(9, client.device.devid, 0, 2, 0, 4096).encode(), bytes(range(100)))
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
    client.stream.close()  # as a reset: what was on its way is lost

    assert served.is_free()
    assert not any(drives[0].disk.blocks)
    assert still_works(served, "1-1")


def test_drive_that_is_unplugged_ends_the_session_of_its_host_alone(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    with RawClient(served.address) as other:
        other.ask_for("1-2")
        other.configure()
        with served.ports[0].lock:
            drives[0].bus(BusEvent.DETACH)

        assert client.is_sent_away()
        assert command(other, TEST_UNIT_READY).status == 0
    assert served.is_free()
    assert served.log.waits_for(lambda: "the device has left" in "".join(served.log.lines))


def test_drive_that_is_plugged_in_again_can_be_had_again(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    with served.ports[0].lock:
        drives[0].bus(BusEvent.DETACH)
        drives[0].bus(BusEvent.ATTACH)

    assert client.is_sent_away()
    assert served.is_free() and still_works(served, "1-1")


def test_message_that_comes_late_does_not_reach_who_has_the_drive_by_then(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    port = served.ports[0]
    is_halted = Control(SetupPacket(0x82, 0, 0, OUT, 2))
    with port.lock:
        # So long that it is sent only when the server has begun to read it; and it is no CBW.
        client.submit(OUT, OUT_BYTES_MAX, bytes(OUT_BYTES_MAX))
        drives[0].bus(BusEvent.DETACH)
        drives[0].bus(BusEvent.ATTACH)
        assert port.connect(Host())
        port.submit(Control(CONFIGURE))
    assert served.log.waits_for(lambda: "1-1: detached" in "".join(served.log.lines))
    port.submit(is_halted)

    assert is_halted.answers == [bytes(2)]


def test_two_clients_use_two_drives_at_once(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    with RawClient(served.address) as other:
        other.ask_for("1-2")
        other.configure()
        for number, each in enumerate((client, other)):
            command(each, write10(0, 1), 512, is_in=False)
            each.submit(OUT, 512, bytes((number + 1,)) * 512)
        for each in (other, client):
            assert each.ended()[0].status == 0

    assert [drive.disk.blocks[0] for drive in drives] == [1, 2]


def test_closing_the_server_detaches_every_drive(drives: tuple[RamDrive, RamDrive]) -> None:
    with serving(drives) as served:
        client = RawClient(served.address)
        client.ask_for("1-1")
        client.configure()
    with client:
        assert client.is_sent_away()
    assert (BusEvent.DETACH, True) in drives[0].heard
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(served.address)


# --- bad input ---------------------------------------------------------------------------------


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


# --- where it listens --------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_only_this_machine_reaches_it_unless_more_is_said(host: str) -> None:
    with pytest.raises(ValueError, match="can be reached from elsewhere: --allow-remote"):
        listen(host, 0)


def test_remote_machines_reach_it_where_that_is_said() -> None:
    with listen("0.0.0.0", 0, allow_remote=True) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_address_in_use_is_refused() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])
