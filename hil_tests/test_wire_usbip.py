"""USB/IP on the wire: every message both ways, bytes of Linux's own tool, and total decoding."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usbip import (
    DeviceCount,
    ExportedDevice,
    ExportedInterface,
    ImportRequest,
    OpCode,
    OpHeader,
)
from firmware_model.wire.usbip_urb import (
    CmdSubmit,
    CmdUnlink,
    IsoPacket,
    RetSubmit,
    RetUnlink,
    decode_command,
    decode_reply,
)

# What `usbip list` and `usbip attach` of usbip-utils 2.0 (Linux 6.1) sent to a listening socket.
LIST = bytes.fromhex("0111 8005 00000000")
ATTACH = bytes.fromhex("0111 8003 00000000") + b"1-2".ljust(32, b"\x00")

U32 = st.integers(0, 0xFFFF_FFFF)
I32 = st.integers(-0x8000_0000, 0x7FFF_FFFF)
U16, U8 = st.integers(0, 0xFFFF), st.integers(0, 0xFF)
TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=0x7F), max_size=31)
BIT, NIBBLE, SETUP = st.integers(0, 1), st.integers(0, 15), st.binary(min_size=8, max_size=8)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    OpHeader: st.builds(OpHeader, st.sampled_from(OpCode), U32),
    ImportRequest: st.builds(ImportRequest, TEXT),
    ExportedDevice: st.builds(ExportedDevice, TEXT, TEXT, U16, U16, U32, *[U16] * 3, *[U8] * 6),
    ExportedInterface: st.builds(ExportedInterface, U8, U8, U8),
    DeviceCount: st.builds(DeviceCount, U32),
    CmdSubmit: st.builds(CmdSubmit, U32, U32, BIT, NIBBLE, *[U32] * 5, SETUP),
    CmdUnlink: st.builds(CmdUnlink, U32, U32, U32),
    RetSubmit: st.builds(RetSubmit, U32, I32, *[U32] * 4),
    RetUnlink: st.builds(RetUnlink, U32, I32),
    IsoPacket: st.builds(IsoPacket, U32, U32, U32, I32),
}
LAYOUTS = pytest.mark.parametrize("layout", VALUES, ids=lambda layout: layout.__name__)
DEVICE = ExportedDevice("/sedlab/1-2", "1-2", 1, 3, 3, 0x1209, 0x5ED0, 0x0100, 0, 0, 0, 1, 1, 1)


@LAYOUTS
@given(st.data())
def test_what_is_encoded_decodes_to_the_same(layout: Any, data: st.DataObject) -> None:
    value = data.draw(VALUES[layout])

    assert layout.decode(value.encode()) == value


@pytest.mark.parametrize(
    "decode", [*(each.decode for each in VALUES), decode_command, decode_reply]
)
@given(st.binary(max_size=400) | st.binary(min_size=48, max_size=48))
def test_any_bytes_are_a_message_or_a_refusal(decode: Callable[[bytes], Any], data: bytes) -> None:
    try:
        message = decode(data)
    except DecodeError:
        return

    assert type(message).decode(data) == message


@LAYOUTS
@given(st.data())
def test_truncated_or_longer_is_refused(layout: Any, data: st.DataObject) -> None:
    encoded = data.draw(VALUES[layout]).encode()
    length = data.draw(st.integers(0, len(encoded) - 1))
    for other in (encoded[:length], encoded + b"\x00"):
        with pytest.raises(DecodeError):
            layout.decode(other)


def test_requests_of_the_linux_tool_are_understood_and_made() -> None:
    assert OpHeader.decode(LIST).code is OpCode.REQ_DEVLIST
    assert OpHeader(OpCode.REQ_DEVLIST).encode() == LIST
    assert (OpHeader(OpCode.REQ_IMPORT).encode(), ImportRequest("1-2").encode()) == (
        ATTACH[:8],
        ATTACH[8:],
    )
    assert ImportRequest.decode(ATTACH[8:]).busid == "1-2"


def test_device_stands_where_the_protocol_says() -> None:
    encoded = DEVICE.encode()

    assert len(encoded) == 312
    assert (encoded[0:12], encoded[256:260]) == (b"/sedlab/1-2\x00", b"1-2\x00")
    assert encoded[288:300].hex() == "000000010000000300000003"
    assert encoded[300:312].hex() == "12095ed00100000000010101"
    assert DEVICE.devid == 0x0001_0003


def test_submit_stands_where_the_protocol_says() -> None:
    setup = bytes.fromhex("8006000100001200")
    encoded = CmdSubmit(9, 0x10003, 1, 0, 0x200, 18, setup=setup).encode()

    assert encoded[:20].hex() == "0000000100000009000100030000000100000000"
    assert encoded[20:40].hex() == "0000020000000012" + "00" * 12
    assert encoded[40:] == setup
    assert CmdSubmit.decode(encoded).setup_packet().length == 18


def test_replies_leave_out_what_the_client_knows() -> None:
    ended = RetSubmit(9, -32, 7).encode()
    unlinked = RetUnlink(9, -104).encode()

    assert ended.hex() == "0000000300000009" + "00" * 12 + "ffffffe000000007" + "00" * 20
    assert unlinked.hex() == "0000000400000009" + "00" * 12 + "ffffff98" + "00" * 24


def test_reply_that_repeats_device_direction_and_endpoint_is_read_as_well() -> None:
    encoded = bytearray(RetSubmit(9, 0, 7).encode())
    encoded[8:20] = bytes.fromhex("000100030000000100000001")

    assert decode_reply(bytes(encoded)) == RetSubmit(9, 0, 7)


@pytest.mark.parametrize("count", [0, 0xFFFF_FFFF])
def test_transfer_is_not_isochronous_by_either_number_for_that(count: int) -> None:
    assert not CmdSubmit(1, 2, 0, 1, 0, 31, packet_count=count).is_isochronous
    assert CmdSubmit(1, 2, 0, 1, 0, 31, packet_count=1).is_isochronous


def test_endpoints_address_has_the_direction() -> None:
    assert CmdSubmit(1, 2, 0, 2, 0, 31).address == 0x02
    assert CmdSubmit(1, 2, 1, 1, 0, 13).address == 0x81


def test_another_version_is_refused_by_name() -> None:
    with pytest.raises(DecodeError, match="version 0x0106 is not 0x0111"):
        OpHeader.decode(bytes.fromhex("0106800500000000"))


def test_text_that_fills_its_field_is_not_sent() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ImportRequest("x" * 32).encode()
    with pytest.raises(DecodeError, match="does not end"):
        ImportRequest.decode(b"x" * 32)
