"""Packets of USB redirection against another implementation's bytes, round trips, any bytes."""

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fixtures
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usbredir import (
    NOTHING,
    Agreed,
    Body,
    Capability,
    Header,
    Hello,
    PacketType,
    endpoint_address,
    endpoint_index,
)
from firmware_model.wire.usbredir_device import (
    NO_ENDPOINT,
    DeviceConnect,
    Endpoint,
    EndpointType,
    EpInfo,
    Interface,
    InterfaceInfo,
    RedirSpeed,
)
from firmware_model.wire.usbredir_packets import (
    GUEST_PACKETS,
    HOST_PACKETS,
    FilterRule,
    body_size,
    decode_body,
    decode_filter,
    encode_filter,
)
from firmware_model.wire.usbredir_transfers import BulkPacket, ControlPacket

PACKETS = {"guest": GUEST_PACKETS, "host": HOST_PACKETS}
ALL = Agreed.on(0xFF, 0xFF)
CAPABILITIES = st.integers(0, 0xFF).map(lambda bits: Agreed.on(bits, 0xFF))


class Foreign(NamedTuple):
    """A packet that another implementation wrote."""

    sender: str
    bits: str  # of the capabilities, in hexadecimal
    name: str
    data: bytes

    @property
    def agreed(self) -> Agreed:
        return Agreed.on(0xFF, int(self.bits, 16))

    def split(self) -> tuple[Header, bytes, bytes]:
        """Return header, body and data behind it."""
        size = Header.layout(self.agreed).size
        header = Header.decode(self.data[:size], self.agreed)
        end = size + body_size(header, self.agreed, PACKETS[self.sender])
        return header, self.data[size:end], self.data[end:]

    def body(self) -> Body:
        """Return the body, which the packet has."""
        header, body, _ = self.split()
        found = decode_body(header, body, self.agreed, PACKETS[self.sender])
        assert found is not None
        return found


def _foreign() -> list[Foreign]:
    text = Path(fixtures.__path__[0], "wire", "usbredir.txt").read_text("ascii")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return [Foreign(sender, bits, name, bytes.fromhex(data)) for sender, bits, name, data in rows]


HELLOS = [each for each in _foreign() if each.name == "hello"]
FOREIGN = [each for each in _foreign() if each.name != "hello"]


def check_packet_or_refused(data: bytes, agreed: Agreed, sender: str) -> None:
    """Fail unless the bytes begin with a packet that is written the same, or are refused."""
    size = Header.layout(agreed).size
    packets = PACKETS[sender]
    try:
        header = Header.decode(data[:size], agreed)
        end = size + body_size(header, agreed, packets)
        body = decode_body(header, data[size:end], agreed, packets)
    except DecodeError:
        return

    written = b"" if body is None else body.encode(agreed)
    assert header.encode(agreed) == data[:size]
    if header.type is not PacketType.INTERFACE_INFO:  # beyond their count, its fields say nothing
        assert written == data[size:end]


def foreign(sender: str, name: str) -> Foreign:
    return next(each for each in FOREIGN if each[:3] == (sender, "ff", name))


@pytest.mark.parametrize("packet", FOREIGN, ids=lambda each: f"{each.name}-{each.bits}")
def test_packet_of_another_implementation_is_read_and_written_the_same(packet: Foreign) -> None:
    header, body, data = packet.split()
    decoded = decode_body(header, body, packet.agreed, PACKETS[packet.sender])
    written = b"" if decoded is None else decoded.encode(packet.agreed)

    assert header.type.name.lower() == packet.name
    assert header.encode(packet.agreed) + written + data == packet.data


def test_every_packet_there_is_was_written_by_the_other_implementation() -> None:
    written = {(each.sender, each.split()[0].type) for each in FOREIGN}
    expected = {(sender, kind) for sender, packets in PACKETS.items() for kind in packets}

    # It sends acknowledgements by itself only, and host filters not at all here.
    assert expected - written == {
        ("guest", PacketType.DEVICE_DISCONNECT_ACK),
        ("host", PacketType.FILTER_FILTER),
    }


@pytest.mark.parametrize("hello", HELLOS, ids=lambda each: f"{each.sender}-{each.bits}")
def test_hello_of_another_implementation_is_read(hello: Foreign) -> None:
    header = Header.decode(hello.data[:12], NOTHING)
    found = Hello.decode(hello.data[12:])

    assert (header.type, header.length) == (PacketType.HELLO, len(hello.data) - 12)
    assert found.version == f"a {hello.sender}"
    assert found.encode() == hello.data[12:]


def test_guest_of_that_library_acknowledges_disconnects_whatever_it_was_told_to_say() -> None:
    hello = Hello.decode(next(each for each in HELLOS if each.bits == "00").data[12:])

    assert hello.capabilities == Capability.DEVICE_DISCONNECT_ACK


def test_fields_of_a_device_stand_where_the_other_implementation_puts_them() -> None:
    told = foreign("host", "device_connect").body()

    assert told == DeviceConnect(RedirSpeed.SUPER, 1, 2, 3, 0x1209, 0x5ED0, 0x0102)
    assert foreign("host", "interface_info").body() == InterfaceInfo(
        (Interface(0, 8, 6, 0x50), Interface(1, 3, 0, 1))
    )


def test_endpoints_are_told_out_first_then_in() -> None:
    told = foreign("host", "ep_info").body()

    assert isinstance(told, EpInfo)
    assert told.endpoints[2] == Endpoint(EndpointType.BULK, 0, 0, 1024, 16)
    assert told.endpoints[endpoint_index(0x81)] == Endpoint(EndpointType.BULK, 0, 0, 512, 32)
    assert told.endpoints[endpoint_index(0x83)] == Endpoint(EndpointType.INTERRUPT, 7, 1, 64, 0)
    assert told.endpoints[endpoint_index(0x84)] == NO_ENDPOINT


def test_control_packet_gives_the_setup_packet_that_stands_on_the_bus() -> None:
    packet = foreign("guest", "control_packet").body()

    assert isinstance(packet, ControlPacket)
    assert packet.setup.encode() == bytes.fromhex("21ff 0000 0300 0000")


def test_length_of_a_bulk_packet_has_its_high_half_at_the_end() -> None:
    packets = [each.body() for each in FOREIGN if each[:3] == ("guest", "ff", "bulk_packet")]

    assert BulkPacket(0x81, 0, 0x0012_2345, stream_id=2) in packets


@given(st.binary(min_size=26, max_size=26).map(lambda data: b"\x65\0\0\0" + data[4:]))
@example(
    next(each.data for each in FOREIGN if each.data.startswith(b"\x65") and len(each.data) == 26)
)
@example(BulkPacket(0x02, 0, 0).encode_whole(1, 0))
@example(BulkPacket(0x02, 0, 5).encode_whole(1, 4))
@example(BulkPacket(0x81, 0, 5).encode_whole(1, 5))
def test_bulk_packet_read_at_once_is_what_its_header_and_body_say(data: bytes) -> None:
    whole = BulkPacket.decode_whole(data, is_from_guest=True)
    try:
        header = Header.decode(data[:16], ALL)
        body_size(header, ALL, GUEST_PACKETS)
        body = decode_body(header, data[16:], ALL, GUEST_PACKETS)
    except DecodeError:
        assert whole is None
        return

    assert whole == (body, header.id, header.length - 10)
    assert whole is not None and whole[0].encode_whole(header.id, whole[2]) == data


def test_endpoint_has_one_place_and_the_place_one_endpoint() -> None:
    addresses = [endpoint_address(index) for index in range(32)]

    assert addresses == [*range(16), *range(0x80, 0x90)]
    assert [endpoint_index(address) for address in addresses] == list(range(32))


def test_streams_are_not_agreed_on_without_packet_sizes() -> None:
    everything_else = ~Capability.EP_INFO_MAX_PACKET_SIZE

    assert not Agreed.on(0xFF, everything_else).bulk_streams
    assert Agreed.on(0xFF, 0xFFFF_FFFF_FFFF) == ALL


@pytest.mark.parametrize("packet", FOREIGN, ids=lambda each: f"{each.name}-{each.bits}")
def test_truncated_packet_is_refused(packet: Foreign) -> None:
    """At every length of header and body, and where the header announces less than there is."""
    header, body, data = packet.split()
    packets = PACKETS[packet.sender]
    for length in range(len(body)):
        short = Header(header.type, length, header.id)
        with pytest.raises(DecodeError):
            body_size(short, packet.agreed, packets)
        with pytest.raises(DecodeError):
            decode_body(header, body[:length], packet.agreed, packets)
    for length in range(Header.layout(packet.agreed).size):
        with pytest.raises(DecodeError):
            Header.decode(packet.data[:length], packet.agreed)
    if data and packet.name != "filter_filter":
        short = Header(header.type, header.length - 1, header.id)
        with pytest.raises(DecodeError, match="bytes of data"):
            decode_body(short, body, packet.agreed, packets)


@pytest.mark.parametrize("packet", FOREIGN, ids=lambda each: f"{each.name}-{each.bits}")
def test_packet_in_the_wrong_direction_is_refused(packet: Foreign) -> None:
    header, _, _ = packet.split()
    other = HOST_PACKETS if packet.sender == "guest" else GUEST_PACKETS
    if header.type in other:
        return

    with pytest.raises(DecodeError, match=header.type.name):
        body_size(header, packet.agreed, other)


def test_data_where_there_is_none_to_expect_is_refused() -> None:
    with pytest.raises(DecodeError, match="RESET has 1 bytes"):
        body_size(Header(PacketType.RESET, 1, 0), ALL, GUEST_PACKETS)
    asked = BulkPacket(0x81, 0, length=4).encode(ALL)
    with pytest.raises(DecodeError, match="expected 0"):
        decode_body(Header(PacketType.BULK_PACKET, 14, 0), asked, ALL, GUEST_PACKETS)


def test_bulk_packet_of_64_kibibytes_does_not_fit_into_16_bits() -> None:
    with pytest.raises(Exception, match="format requires"):
        BulkPacket(0x81, 0, length=0x1_0000).encode(NOTHING)


def test_filter_is_rules_in_five_numbers() -> None:
    _, _, data = foreign("guest", "filter_filter").split()
    rules = (FilterRule(8, 0x1209, -1, -1, True), FilterRule(-1, -1, -1, -1, False))

    assert decode_filter(data) == rules
    assert encode_filter(rules) == data


@pytest.mark.parametrize(
    "text", ["8,1,2,3", "8,1,2,3,1,1", "x,1,2,3,1", "256,1,2,3,1", "8,65536,2,3,1", "8,-2,2,3,1"]
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_filter(text.encode() + b"\x00")


def test_filter_that_does_not_end_is_refused() -> None:
    with pytest.raises(DecodeError, match="zero"):
        decode_filter(b"8,1,2,3,1")


@given(st.text(max_size=20), st.integers(0, (1 << 40) - 1))
def test_hello_is_read_as_it_was_written(version: str, capabilities: int) -> None:
    hello = Hello.decode(Hello(version, capabilities).encode())

    assert hello.capabilities == capabilities
    assert (
        hello.version
        == version.encode("utf-8", "replace")[:63].decode("utf-8", "replace").partition("\x00")[0]
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_a_hello_or_refused(data: bytes) -> None:
    try:
        hello = Hello.decode(data)
    except DecodeError:
        return

    assert len(hello.encode()) <= max(68, len(data))


@given(st.binary(max_size=300), CAPABILITIES, st.sampled_from(["guest", "host"]))
def test_any_bytes_are_a_packet_that_is_written_the_same_or_refused(
    data: bytes, agreed: Agreed, sender: str
) -> None:
    check_packet_or_refused(data, agreed, sender)


@given(st.sampled_from(FOREIGN), st.data())
def test_packet_with_any_byte_changed_is_a_packet_or_refused(
    packet: Foreign, draw: st.DataObject
) -> None:
    data = bytearray(packet.data)
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] = draw.draw(st.integers(0, 255))
    check_packet_or_refused(bytes(data), packet.agreed, packet.sender)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_filter_or_refused(data: bytes) -> None:
    try:
        rules = decode_filter(data)
    except DecodeError:
        return

    assert decode_filter(encode_filter(rules)) == rules
