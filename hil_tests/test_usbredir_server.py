"""The USB redirection server at the other end of real sockets, as guests see it."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_model.serve.usbredir import CLIENTS_MAX
from firmware_model.serve.usbredir_link import CAPABILITIES, OUT_BYTES_MAX
from firmware_model.wire.bot import Cbw, CswStatus
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import SetupPacket
from firmware_model.wire.usbredir import (
    Body,
    Capability,
    Header,
    Hello,
    PacketType,
    Status,
    endpoint_index,
)
from firmware_model.wire.usbredir_device import (
    AltSettingStatus,
    ConfigurationStatus,
    DeviceConnect,
    Endpoint,
    EndpointType,
    EpInfo,
    GetAltSetting,
    Interface,
    InterfaceInfo,
    RedirSpeed,
    SetAltSetting,
    SetConfiguration,
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
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, read10, write10
from hil_tests.redir_guest import IN, OUT, QEMU, Guest, Redirecting, Told, redirecting

CONFIGURE = SetupPacket(0x00, 9, 1, 0, 0)
GET_STATUS = SetupPacket(0x80, 0, 0, 0, 2)
GET_DEVICE = SetupPacket(0x80, 6, 0x0100, 0, 18)


@pytest.fixture
def drive() -> RamDrive:
    return RamDrive()


@pytest.fixture
def served(drive: RamDrive, tmp_path: Path) -> Iterator[Redirecting]:
    with redirecting(drive, tmp_path / "socket") as found:
        yield found


@pytest.fixture
def guest(served: Redirecting) -> Iterator[Guest]:
    """A guest that has configured the drive."""
    with served.using() as found:
        yield found


def works(guest: Guest) -> bool:
    """Whether a guest can use the drive."""
    data, csw = guest.command(INQUIRY, 36)
    return data == INQUIRY_DATA and csw.status is CswStatus.PASSED


def is_free(served: Redirecting) -> bool:
    """Wait until the port is free, as it is once its guest's thread has ended."""
    for thread in threading.enumerate():
        if thread.name == "local":
            thread.join(30)
    return not served.port.is_taken


# --- beginning ---------------------------------------------------------------------------------


def test_device_is_told_of_when_the_guest_has_said_hello(served: Redirecting) -> None:
    with served.guest() as guest:
        hello = guest.greet()
        device = guest.device()

    assert hello == Hello("sedlab", CAPABILITIES)
    assert device == DeviceConnect(RedirSpeed.HIGH, 0, 0, 0, 0x1209, 0x5ED0, 0x0100)


def test_capabilities_that_qemu_demands_at_xhci_are_there() -> None:
    demanded = (
        Capability.EP_INFO_MAX_PACKET_SIZE | Capability.IDS_64BITS | Capability.BULK_LENGTH_32BITS
    )

    assert demanded in CAPABILITIES


def test_first_configuration_is_told_of_before_any_is_selected(served: Redirecting) -> None:
    with served.guest() as guest:
        guest.greet()
        endpoints = guest.hear(EpInfo).endpoints
        interfaces = guest.hear(InterfaceInfo).interfaces

    bulk = Endpoint(EndpointType.BULK, max_packet_size=512)
    assert (endpoints[OUT], endpoints[endpoint_index(IN)]) == (bulk, bulk)
    assert [each.type for each in endpoints].count(EndpointType.INVALID) == 28
    assert interfaces == (Interface(0, 0x08, 0x06, 0x50),)


@pytest.mark.parametrize("capabilities", [Capability.NONE, *Capability, ~Capability.IDS_64BITS])
def test_guest_of_any_capabilities_is_served(served: Redirecting, capabilities: Capability) -> None:
    with served.using(capabilities) as guest:
        assert works(guest)


def test_guest_of_a_later_version_is_served(served: Redirecting) -> None:
    with served.guest(Capability(QEMU | 1 << 40)) as guest:
        guest.greet()
        guest.device()
        guest.configure()

        assert works(guest)


def test_guest_that_says_nothing_yet_does_not_keep_the_drive_from_another(
    served: Redirecting,
) -> None:
    with served.guest(), served.using() as other:
        assert works(other)


def test_drive_that_another_guest_has_is_busy_and_says_so(
    served: Redirecting, guest: Guest
) -> None:
    with served.guest() as other:
        name = other.hear_hello().version
        assert other.is_sent_away()

    assert name == "sedlab: another host has the drive"
    assert any("another host has it" in line for line in served.told)
    assert works(guest)


def test_guest_that_says_hello_too_late_is_sent_away(served: Redirecting) -> None:
    with served.guest() as late:
        late.hear_hello()
        with served.using() as other:
            hello = Hello("late", QEMU).encode()
            late.stream.sendall(Header(PacketType.HELLO, len(hello), 0).encode(QEMU & 0) + hello)

            assert late.is_sent_away()
            assert works(other)


# --- selections --------------------------------------------------------------------------------


def test_selection_is_told_of_before_it_is_answered(served: Redirecting) -> None:
    with served.guest() as guest:
        guest.greet()
        guest.device()
        number = guest.send(SetConfiguration(1))
        told = [guest.receive() for _ in range(3)]

    assert [type(each.body) for each in told] == [EpInfo, InterfaceInfo, ConfigurationStatus]
    assert [each.id for each in told] == [0, 0, number]


def test_deselected_device_has_nothing_but_its_control_endpoint(guest: Guest) -> None:
    guest.send(SetConfiguration(0))
    endpoints = guest.hear(EpInfo).endpoints
    interfaces = guest.hear(InterfaceInfo).interfaces

    assert guest.hear(ConfigurationStatus) == ConfigurationStatus(Status.SUCCESS, 0)
    assert [each.type for each in endpoints].count(EndpointType.INVALID) == 30
    assert interfaces == ()


def test_configuration_that_there_is_not_stalls_and_changes_nothing(guest: Guest) -> None:
    guest.send(SetConfiguration(7))
    refused = guest.hear(ConfigurationStatus)

    assert refused == ConfigurationStatus(Status.STALL, 1)
    assert works(guest)


def test_guest_may_ask_what_is_selected(guest: Guest) -> None:
    guest.signal(PacketType.GET_CONFIGURATION, 5)
    configuration = guest.receive()
    guest.send(GetAltSetting(0))
    setting = guest.hear(AltSettingStatus)
    guest.send(GetAltSetting(9))
    nowhere = guest.hear(AltSettingStatus)

    assert configuration.body == ConfigurationStatus(Status.SUCCESS, 1) and configuration.id == 5
    assert setting == AltSettingStatus(Status.SUCCESS, 0, 0)
    assert nowhere == AltSettingStatus(Status.STALL, 9, 255)


def test_alternate_setting_is_selected_or_stalls(guest: Guest) -> None:
    guest.send(SetAltSetting(0, 0))
    told = [type(guest.receive().body) for _ in range(2)]
    selected = guest.hear(AltSettingStatus)
    guest.send(SetAltSetting(0, 9))
    refused = guest.hear(AltSettingStatus)

    assert told == [EpInfo, InterfaceInfo]
    assert selected == AltSettingStatus(Status.SUCCESS, 0, 0)
    assert refused == AltSettingStatus(Status.STALL, 0, 0)


def test_selection_by_a_plain_control_packet_is_noticed(served: Redirecting) -> None:
    with served.guest() as guest:
        guest.greet()
        guest.device()
        guest.ask(CONFIGURE)
        told = [type(guest.receive().body) for _ in range(3)]

        assert told == [EpInfo, InterfaceInfo, ControlPacket]
        assert works(guest)


def test_guest_that_resets_selects_again_by_itself(guest: Guest, drive: RamDrive) -> None:
    guest.signal(PacketType.RESET)
    guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    unconfigured = guest.moved()
    guest.configure()

    assert drive.heard[-1] == (BusEvent.RESET, True)
    assert unconfigured[1] is Status.STALL
    assert works(guest)


# --- transfers ---------------------------------------------------------------------------------


def test_control_transfer_is_answered_with_what_was_asked(guest: Guest) -> None:
    number = guest.ask(GET_DEVICE)
    told = guest.receive()

    assert told.id == number
    assert told.body == ControlPacket(0x80, 6, 0x80, Status.SUCCESS, 0x0100, 0, 18)
    assert told.data[:2] == bytes((18, 1))


def test_short_answer_of_a_control_transfer_says_how_short(guest: Guest) -> None:
    guest.ask(SetupPacket(0x80, 6, 0x0100, 0, 255))
    told = guest.receive()

    assert isinstance(told.body, ControlPacket)
    assert (told.body.status, told.body.length, len(told.data)) == (Status.SUCCESS, 18, 18)


def test_unsupported_request_stalls(guest: Guest) -> None:
    assert guest.control(SetupPacket(0xC0, 1, 0, 0, 64)) == (Status.STALL, b"")
    assert guest.control(SetupPacket(0x40, 1, 0, 0, 4), b"data") == (Status.STALL, b"")
    assert guest.control(GET_STATUS) == (Status.SUCCESS, b"\x00\x00")


def test_data_out_arrives_as_it_was_sent(guest: Guest, drive: RamDrive) -> None:
    content = bytes(range(256)) * 8
    _, csw = guest.command(write10(2, 4), data=content)

    assert (csw.status, csw.residue) == (CswStatus.PASSED, 0)
    assert drive.disk.blocks[1024 : 1024 + len(content)] == content


def test_transfer_longer_than_16_bits_can_say(guest: Guest, drive: RamDrive) -> None:
    content = bytes(8192) + b"surplus" * 10_000
    guest.write(Cbw(1, len(content), False, 0, write10(0, 16)).encode())
    guest.write(content)
    answers = [guest.moved()[1:] for _ in range(2)]

    assert answers == [(Status.SUCCESS, 31), (Status.SUCCESS, len(content))]


def test_read_waits_until_there_is_something_to_read(guest: Guest) -> None:
    status = guest.read(13)
    cbw = guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    ended = [guest.moved() for _ in range(2)]

    assert [number for number, _, _ in ended] == [cbw, status]
    assert all(status is Status.SUCCESS for _, status, _ in ended)


def test_stall_lasts_until_the_halt_is_cleared(guest: Guest) -> None:
    guest.write(Cbw(1, 512, True, 0, TEST_UNIT_READY).encode())
    guest.moved()
    answers = []
    for _ in range(2):
        guest.read(512)
        answers.append(guest.moved()[1:])
    cleared = guest.control(SetupPacket(0x02, 1, 0, IN, 0))
    guest.read(13)
    _, status, csw = guest.moved()

    assert answers == [(Status.STALL, b"")] * 2
    assert cleared == (Status.SUCCESS, b"")
    assert status is Status.SUCCESS and isinstance(csw, bytes) and csw[:4] == b"USBS"


def test_endpoint_that_there_is_not_stalls(guest: Guest) -> None:
    guest.read(13, endpoint=0x8F)

    assert guest.moved()[1] is Status.STALL


@pytest.mark.parametrize("endpoint", [0x00, 0x80, 0x12, 0xF1])
def test_address_that_is_none_of_a_bulk_endpoint_is_invalid(guest: Guest, endpoint: int) -> None:
    if endpoint & 0x80:
        guest.read(13, endpoint=endpoint)
    else:
        guest.write(b"data", endpoint=endpoint)

    assert guest.moved()[1] is Status.INVAL
    assert works(guest)


def test_stream_that_was_not_allocated_is_invalid(guest: Guest) -> None:
    guest.read(13, stream=1)

    assert guest.moved()[1] is Status.INVAL


def test_control_packet_whose_endpoint_contradicts_it_is_invalid(guest: Guest) -> None:
    guest.send(ControlPacket(0x80, 9, 0x00, 0, 1, 0, 0))
    told = guest.receive()

    assert isinstance(told.body, ControlPacket) and told.body.status == Status.INVAL


def test_drive_that_sends_more_than_was_asked_for_babbles(tmp_path: Path) -> None:
    class Babbling(RamDrive):
        def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
            return bytes(length + 1)

    with redirecting(Babbling(), tmp_path / "socket") as served, served.using() as guest:
        guest.read(13)

        assert guest.moved()[1:] == (Status.BABBLE, b"")


# --- what is cancelled, and what is dropped ------------------------------------------------------


def test_cancelled_packet_is_answered_once(guest: Guest) -> None:
    waiting = guest.read(13)
    guest.signal(PacketType.CANCEL_DATA_PACKET, waiting)
    answer = guest.moved()

    assert answer == (waiting, Status.CANCELLED, b"")
    assert works(guest)


def test_packet_that_has_ended_is_not_answered_again(guest: Guest) -> None:
    sent = guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    first = guest.moved()
    guest.signal(PacketType.CANCEL_DATA_PACKET, sent)
    status = guest.read(13)

    assert (first[0], guest.moved()[0]) == (sent, status)


def test_packet_behind_a_cancelled_one_takes_its_place(guest: Guest) -> None:
    first, second = guest.read(13), guest.read(13)
    guest.signal(PacketType.CANCEL_DATA_PACKET, first)
    cancelled = guest.moved()
    guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    ended = {guest.moved()[0] for _ in range(2)}

    assert (cancelled[0], cancelled[1]) == (first, Status.CANCELLED)
    assert second in ended


def test_id_of_a_cancelled_packet_may_be_used_again(guest: Guest) -> None:
    first = guest.read(13)
    guest.signal(PacketType.CANCEL_DATA_PACKET, first)
    guest.send(BulkPacket(IN, 0, 13), number=first)
    guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    ended = [guest.moved() for _ in range(3)]

    assert [status for number, status, _ in ended if number == first] == [
        Status.CANCELLED,
        Status.SUCCESS,
    ]


@pytest.mark.parametrize("body", [SetConfiguration(1), SetAltSetting(0, 0), None])
def test_what_waits_is_answered_when_a_selection_or_a_reset_drops_it(
    guest: Guest, body: Body | None
) -> None:
    waiting = guest.read(13)
    if body is None:
        guest.signal(PacketType.RESET)
    else:
        guest.send(body)

    assert guest.moved() == (waiting, Status.CANCELLED, b"")


# --- the device comes and goes -----------------------------------------------------------------


def unplug(served: Redirecting, drive: RamDrive) -> None:
    with served.port.lock:
        drive.bus(BusEvent.DETACH)


def plug(served: Redirecting, drive: RamDrive) -> None:
    with served.port.lock:
        drive.bus(BusEvent.ATTACH)


def test_unplugged_device_ends_what_waits_and_disconnects(
    served: Redirecting, guest: Guest, drive: RamDrive
) -> None:
    waiting = guest.read(13)
    guest.control(GET_STATUS)
    unplug(served, drive)

    assert guest.moved() == (waiting, Status.IOERROR, b"")
    assert guest.receive() == Told(PacketType.DEVICE_DISCONNECT, 0, None, b"")


def test_device_that_is_back_is_told_of_when_the_one_before_was_let_go(
    served: Redirecting, guest: Guest, drive: RamDrive
) -> None:
    unplug(served, drive)
    plug(served, drive)
    gone = guest.receive()
    late = guest.read(13)  # meant for the device that has left
    refused = guest.moved()
    guest.signal(PacketType.DEVICE_DISCONNECT_ACK)
    device = guest.device()
    guest.configure()

    assert gone.type is PacketType.DEVICE_DISCONNECT
    assert refused == (late, Status.IOERROR, b"")
    assert device.vendor_id == 0x1209
    assert works(guest)


def test_device_that_comes_back_later_is_told_of_then(
    served: Redirecting, guest: Guest, drive: RamDrive
) -> None:
    unplug(served, drive)
    guest.receive()
    guest.signal(PacketType.DEVICE_DISCONNECT_ACK)
    guest.ask(GET_STATUS)
    meanwhile = guest.receive().body
    plug(served, drive)
    guest.device()
    guest.configure()

    assert isinstance(meanwhile, ControlPacket) and meanwhile.status == Status.IOERROR
    assert works(guest)


def test_guest_that_does_not_acknowledge_gets_the_device_at_once(
    served: Redirecting, drive: RamDrive
) -> None:
    with served.using(QEMU & ~Capability.DEVICE_DISCONNECT_ACK) as guest:
        unplug(served, drive)
        plug(served, drive)
        gone = guest.receive()
        guest.device()
        guest.configure()

        assert gone.type is PacketType.DEVICE_DISCONNECT
        assert works(guest)


def test_device_that_is_away_is_told_of_when_it_comes(served: Redirecting, drive: RamDrive) -> None:
    drive.bus(BusEvent.DETACH)
    with served.guest() as guest:
        guest.greet()
        guest.signal(PacketType.GET_CONFIGURATION, 1)
        nothing = guest.hear(ConfigurationStatus)
        plug(served, drive)
        guest.device()
        guest.configure()

        assert nothing == ConfigurationStatus(Status.IOERROR, 0)
        assert works(guest)


def test_device_that_leaves_and_comes_back_by_itself_is_another(
    served: Redirecting, drive: RamDrive
) -> None:
    """As a drive does that begins with new firmware: nobody outside sees it go."""

    with served.using() as guest:
        drive._ready, ready = (), drive._ready
        drive.bus(BusEvent.DETACH)
        drive.bus(BusEvent.ATTACH)
        drive._ready = ready
        guest.read(13)
        stalled = guest.moved()
        gone = guest.receive()
        guest.signal(PacketType.DEVICE_DISCONNECT_ACK)
        guest.device()

    assert stalled[1] is Status.STALL
    assert gone.type is PacketType.DEVICE_DISCONNECT


def test_guest_that_goes_is_a_cable_that_was_pulled(served: Redirecting, drive: RamDrive) -> None:
    with served.using() as guest:
        guest.read(13)
        guest.control(GET_STATUS)
    assert is_free(served)
    assert (BusEvent.DETACH, True) in drive.heard
    with served.using() as other:
        assert works(other)


def test_guest_that_goes_in_the_middle_of_a_write_writes_nothing(
    served: Redirecting, drive: RamDrive
) -> None:
    with served.using() as guest:
        guest.write(Cbw(1, 8192, False, 0, write10(0, 16)).encode())
        guest.moved()
        head = Header(PacketType.BULK_PACKET, 10 + 8192, 9).encode(guest.agreed)
        body = BulkPacket(OUT, 0, 8192).encode(guest.agreed)
        guest.stream.sendall(head + body + b"x" * 4096)

    assert is_free(served)
    assert not any(drive.disk.blocks)


def test_guest_whose_filter_refuses_the_drive_gives_it_back(
    served: Redirecting, guest: Guest
) -> None:
    guest.signal(PacketType.FILTER_REJECT)

    assert guest.is_sent_away()
    assert is_free(served)
    assert "detached from local: its filter refuses the device" in served.told


def test_closing_the_server_takes_the_drive_from_the_guest(drive: RamDrive, tmp_path: Path) -> None:
    with redirecting(drive, tmp_path / "socket") as served:
        guest = served.using()
    with guest:
        assert guest.is_sent_away()
    assert (BusEvent.DETACH, True) in drive.heard


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
        Header(PacketType.HELLO, 1 << 31, 0).encode(Capability.NONE),
        Header(PacketType.RESET, 0, 0).encode(Capability.NONE),
        Header(PacketType.HELLO, 67, 0).encode(Capability.NONE) + bytes(67),
    ],
)
def test_what_begins_with_no_hello_is_sent_away(served: Redirecting, said: bytes) -> None:
    with served.guest() as guest:
        guest.hear_hello()
        guest.stream.sendall(said)

        assert guest.is_sent_away()
    with served.using() as other:
        assert works(other)


def bulk(endpoint: int, length: int, data_bytes: int) -> bytes:
    """Return header and body of a packet that announces `data_bytes` behind it."""
    body = BulkPacket(endpoint, 0, length).encode(CAPABILITIES)
    header = Header(PacketType.BULK_PACKET, len(body) + data_bytes, 9)
    return header.encode(CAPABILITIES) + body


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
    "bulk receiving": Header(PacketType.START_BULK_RECEIVING, 10, 9).encode(CAPABILITIES)
    + StartBulkReceiving(0, 512, IN, 5).encode(CAPABILITIES),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_packet_that_breaks_the_protocol_ends_the_session_alone(
    served: Redirecting, guest: Guest, drive: RamDrive, kind: str
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


def test_guest_that_reads_no_answers_harms_nobody_but_itself(
    served: Redirecting, drive: RamDrive
) -> None:
    with served.using() as guest:
        guest.stream.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100_000):
                guest.write(Cbw(1, 8192, True, 0, read10(0, 16)).encode())
                guest.read(8192)
                guest.read(13)
        unplug(served, drive)  # nobody waits for that guest
    assert is_free(served)
    plug(served, drive)
    with served.using() as other:
        assert works(other)


def test_packets_in_any_pieces_are_the_same_packets(guest: Guest) -> None:
    body = ControlPacket(0x80, 0, 0x80, 0, 0, 0, 2).encode(guest.agreed)
    packet = Header(PacketType.CONTROL_PACKET, len(body), 77).encode(guest.agreed) + body
    query = Header(PacketType.GET_CONFIGURATION, 0, 78).encode(guest.agreed)
    for each in (packet + query) * 2:
        guest.stream.sendall(bytes((each,)))
    guest.stream.sendall((query + packet) * 2)
    ended = [guest.receive().id for _ in range(8)]

    assert ended == [77, 78, 77, 78, 78, 77, 78, 77]
