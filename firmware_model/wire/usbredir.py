"""USB redirection, version 0.7: how its packets are framed, and what two peers agree on first.

What is in them is in `usbredir_device` and `usbredir_transfers`. The usb-host has the device,
the usb-guest uses it. Source: usb-redirection-protocol.txt of 19 May 2014. All fields are
little-endian, without padding.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import ClassVar, Final, Self, TypeVar

from firmware_model.wire.codec import DecodeError

VERSION_BYTES: Final = 64  # of the text in a hello
CAPABILITY_WORDS_MAX: Final = 16  # that a hello is read for; one is enough for 0.7
ENDPOINTS: Final = 32  # 0 to 15 OUT, 16 to 31 IN
DIRECTION_IN: Final = 0x80  # of an endpoint address


class PacketType(IntEnum):
    """What a packet is; from 100 on it moves data."""

    HELLO = 0
    DEVICE_CONNECT = 1
    DEVICE_DISCONNECT = 2
    RESET = 3
    INTERFACE_INFO = 4
    EP_INFO = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION_STATUS = 8
    SET_ALT_SETTING = 9
    GET_ALT_SETTING = 10
    ALT_SETTING_STATUS = 11
    START_ISO_STREAM = 12
    STOP_ISO_STREAM = 13
    ISO_STREAM_STATUS = 14
    START_INTERRUPT_RECEIVING = 15
    STOP_INTERRUPT_RECEIVING = 16
    INTERRUPT_RECEIVING_STATUS = 17
    ALLOC_BULK_STREAMS = 18
    FREE_BULK_STREAMS = 19
    BULK_STREAMS_STATUS = 20
    CANCEL_DATA_PACKET = 21
    FILTER_REJECT = 22
    FILTER_FILTER = 23
    DEVICE_DISCONNECT_ACK = 24
    START_BULK_RECEIVING = 25
    STOP_BULK_RECEIVING = 26
    BULK_RECEIVING_STATUS = 27
    CONTROL_PACKET = 100
    BULK_PACKET = 101
    ISO_PACKET = 102
    INTERRUPT_PACKET = 103
    BUFFERED_BULK_PACKET = 104


class Capability(IntFlag):
    """What a peer can do."""

    NONE = 0
    BULK_STREAMS = 1 << 0  # never without EP_INFO_MAX_PACKET_SIZE
    CONNECT_DEVICE_VERSION = 1 << 1
    FILTER = 1 << 2
    DEVICE_DISCONNECT_ACK = 1 << 3
    EP_INFO_MAX_PACKET_SIZE = 1 << 4
    IDS_64BITS = 1 << 5
    BULK_LENGTH_32BITS = 1 << 6
    BULK_RECEIVING = 1 << 7


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both peers can, of what changes a layout or what may be said."""

    bulk_streams: bool = False
    connect_device_version: bool = False
    device_disconnect_ack: bool = False
    ep_info_max_packet_size: bool = False
    ids_64bits: bool = False
    bulk_length_32bits: bool = False

    @classmethod
    def on(cls, ours: int, theirs: int) -> Self:
        """Return what is common; streams are nobody's who leaves packet sizes out."""
        common = ours & theirs
        has_sizes = bool(common & Capability.EP_INFO_MAX_PACKET_SIZE)
        return cls(
            bulk_streams=has_sizes and bool(common & Capability.BULK_STREAMS),
            connect_device_version=bool(common & Capability.CONNECT_DEVICE_VERSION),
            device_disconnect_ack=bool(common & Capability.DEVICE_DISCONNECT_ACK),
            ep_info_max_packet_size=has_sizes,
            ids_64bits=bool(common & Capability.IDS_64BITS),
            bulk_length_32bits=bool(common & Capability.BULK_LENGTH_32BITS),
        )


NOTHING: Final = Agreed()  # before both have said hello


class Status(IntEnum):
    """How a request ended; a number that is not here is an error too."""

    SUCCESS = 0
    CANCELLED = 1
    INVAL = 2
    IOERROR = 3
    STALL = 4
    TIMEOUT = 5
    BABBLE = 6


def endpoint_index(address: int) -> int:
    """Return the place of an endpoint address among 32: OUT first."""
    return (address & DIRECTION_IN) >> 3 | address & 0x0F


def endpoint_address(index: int) -> int:
    """Return the endpoint address at that place."""
    return (index & 0x10) << 3 | index & 0x0F


T = TypeVar("T")


def unpacked(kind: Callable[..., T], layout: Struct, data: bytes) -> T:
    """Return a value made of the fields in `data`; raise DecodeError on a wrong length."""
    if len(data) != layout.size:
        raise DecodeError(f"{kind.__name__} has {len(data)} bytes, expected {layout.size}")
    return kind(*layout.unpack(data))


@dataclass(frozen=True, slots=True)
class Header:
    """What each packet begins with: 12 bytes, or 16 where both peers have IDS_64BITS."""

    type: PacketType
    length: int  # bytes that follow
    id: int  # chosen by the guest, repeated in the answer; 0 for what nobody asked for

    NARROW: ClassVar[Struct] = Struct("<III")  # of a hello always
    WIDE: ClassVar[Struct] = Struct("<IIQ")

    @classmethod
    def layout(cls, agreed: Agreed) -> Struct:
        """Return the layout among peers that agreed on that."""
        return cls.WIDE if agreed.ids_64bits else cls.NARROW

    def encode(self, agreed: Agreed) -> bytes:
        """Return the 12 or 16 bytes; raise struct.error when a field exceeds its width."""
        return self.layout(agreed).pack(self.type, self.length, self.id)

    @classmethod
    def decode(cls, data: bytes, agreed: Agreed) -> Self:
        """Return the header; raise DecodeError on a wrong length or an unknown type."""
        kind, length, number = unpacked(_three, cls.layout(agreed), data)
        try:
            return cls(PacketType(kind), length, number)
        except ValueError:
            raise DecodeError(f"packet type {kind} is unknown") from None


def _three(first: int, second: int, third: int) -> tuple[int, int, int]:
    return first, second, third


@dataclass(frozen=True, slots=True)
class Body:
    """What follows the header: as a rule integers in a row, whatever was agreed on."""

    TYPE: ClassVar[PacketType]
    LAYOUT: ClassVar[Struct]

    @classmethod
    def size(cls, agreed: Agreed) -> int:
        """Return its bytes, without data that follows."""
        return cls.LAYOUT.size

    def encode(self, agreed: Agreed) -> bytes:
        """Return the bytes; raise struct.error when a field exceeds its width."""
        return self.LAYOUT.pack(*astuple(self))

    @classmethod
    def decode(cls, data: bytes, agreed: Agreed) -> Self:
        """Return the body; raise DecodeError on a wrong length, or where it contradicts itself."""
        return unpacked(cls, cls.LAYOUT, data)


@dataclass(frozen=True, slots=True)
class Hello:
    """The first packet in both directions: who is there, and what it can do."""

    version: str  # for people, at most 63 bytes
    capabilities: int  # bits of Capability, and of later versions

    def encode(self) -> bytes:
        """Return 64 bytes of text and as many words as the bits take, but one at least."""
        text = self.version.encode("utf-8", "replace")[: VERSION_BYTES - 1]
        words = max(1, (self.capabilities.bit_length() + 31) // 32)
        return text.ljust(VERSION_BYTES, b"\x00") + self.capabilities.to_bytes(4 * words, "little")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the hello; raise DecodeError unless it is 64 bytes and up to 16 words."""
        words, rest = divmod(len(data) - VERSION_BYTES, 4)
        if rest or not 0 <= words <= CAPABILITY_WORDS_MAX:
            raise DecodeError(f"a hello has 64 bytes and some words, not {len(data)} bytes")
        text = data[:VERSION_BYTES].partition(b"\x00")[0].decode("utf-8", "replace")
        return cls(text, int.from_bytes(data[VERSION_BYTES:], "little"))
