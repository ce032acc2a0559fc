"""Standard requests and the setup packet. Source: USB 2.0 chapter 9."""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError

DIRECTION_IN = 0x80  # of bmRequestType and of an endpoint address


class RequestKind(IntEnum):
    """Bits 6..5 of bmRequestType (USB 2.0 table 9-2)."""

    STANDARD = 0
    CLASS = 1
    VENDOR = 2


class Recipient(IntEnum):
    """Bits 4..0 of bmRequestType (USB 2.0 table 9-2)."""

    DEVICE = 0
    INTERFACE = 1
    ENDPOINT = 2
    OTHER = 3


class Request(IntEnum):
    """Standard requests (USB 2.0 table 9-4)."""

    GET_STATUS = 0
    CLEAR_FEATURE = 1
    SET_FEATURE = 3
    SET_ADDRESS = 5
    GET_DESCRIPTOR = 6
    SET_DESCRIPTOR = 7
    GET_CONFIGURATION = 8
    SET_CONFIGURATION = 9
    GET_INTERFACE = 10
    SET_INTERFACE = 11
    SYNCH_FRAME = 12
    SET_SEL = 48  # of SuperSpeed, as the next (USB 3.2 table 9-5)
    SET_ISOCH_DELAY = 49


class DescriptorType(IntEnum):
    """Descriptor types (USB 2.0 table 9-5, USB 3.2 table 9-6)."""

    DEVICE = 1
    CONFIGURATION = 2
    STRING = 3
    INTERFACE = 4
    ENDPOINT = 5
    DEVICE_QUALIFIER = 6
    OTHER_SPEED_CONFIGURATION = 7
    BOS = 15
    DEVICE_CAPABILITY = 16
    PIPE_USAGE = 0x24  # UAS table 7
    ENDPOINT_COMPANION = 0x30


class Feature(IntEnum):
    """Feature selectors (USB 2.0 table 9-6)."""

    ENDPOINT_HALT = 0
    DEVICE_REMOTE_WAKEUP = 1
    TEST_MODE = 2
    U1_ENABLE = 48  # of SuperSpeed, as the next two (USB 3.2 table 9-7)
    U2_ENABLE = 49
    LTM_ENABLE = 50


FUNCTION_SUSPEND: Final = 0  # the one feature of an interface, at SuperSpeed (USB 3.2 table 9-7)


class Speed(IntEnum):
    """Signalling rates under the numbers of Linux (include/uapi/linux/usb/ch9.h) and USB/IP."""

    UNKNOWN = 0
    LOW = 1
    FULL = 2
    HIGH = 3
    WIRELESS = 4
    SUPER = 5
    SUPER_PLUS = 6


# Of the largest packet of a bulk endpoint (USB 2.0 section 5.8.3; USB 3.2 section 9.6.6).
PACKET_BYTES: Final = {Speed.FULL: 64, Speed.HIGH: 512, Speed.SUPER: 1024}


def check_header(data: bytes, kind: DescriptorType, length: int) -> None:
    """Raise DecodeError unless `data` is `length` bytes that say so and name `kind`."""
    if len(data) != length or data[0] != length:
        said = data[0] if data else "nothing"
        raise DecodeError(
            f"{kind.name} descriptor has {len(data)} bytes and announces {said}, expected {length}"
        )
    if data[1] != kind:
        raise DecodeError(f"{kind.name} descriptor has type {data[1]:#04x}")


def split_descriptors(blob: bytes) -> list[bytes]:
    """Cut `blob` at the lengths its descriptors announce; raise DecodeError where they overrun."""
    found = []
    offset = 0
    while offset < len(blob):
        length = blob[offset]
        if length < 2 or offset + length > len(blob):
            raise DecodeError(f"descriptor of {length} bytes at {offset} of {len(blob)}")
        found.append(blob[offset : offset + length])
        offset += length
    return found


@dataclass(frozen=True, slots=True)
class SetupPacket:
    """The 8 bytes that open a control transfer (USB 2.0 table 9-2)."""

    request_type: int  # bmRequestType
    request: int  # bRequest
    value: int  # wValue
    index: int  # wIndex
    length: int  # wLength, bytes of the data stage

    LAYOUT: ClassVar[Struct] = Struct("<BBHHH")

    @property
    def is_in(self) -> bool:
        """Whether the data stage goes to the host; means nothing when `length` is 0."""
        return bool(self.request_type & DIRECTION_IN)

    @property
    def kind(self) -> int:
        """A RequestKind, or 3, which is reserved."""
        return self.request_type >> 5 & 0x03

    @property
    def recipient(self) -> int:
        """A Recipient, or 4 to 31, which are reserved."""
        return self.request_type & 0x1F

    def encode(self) -> bytes:
        """Return the 8 bytes; raise struct.error when a field exceeds its width."""
        return self.LAYOUT.pack(
            self.request_type, self.request, self.value, self.index, self.length
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the setup packet in `data`; raise DecodeError unless it has 8 bytes."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"setup packet has {len(data)} bytes, expected {cls.LAYOUT.size}")
        return cls(*cls.LAYOUT.unpack(data))
