"""What SuperSpeed adds to the descriptors. Source: USB 3.2 section 9.6."""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.setup import DescriptorType, check_header, split_descriptors

STREAMS_EXPONENT_MAX = 16


@dataclass(frozen=True, slots=True)
class EndpointCompanion:
    """What follows each endpoint at SuperSpeed, 6 bytes (USB 3.2 9.6.7), of a bulk one."""

    burst: int  # packets that may follow the first of a burst, 0 to 15
    streams_exponent: int = 0  # 2 to that power streams, 1 to 16; 0 for none

    LAYOUT: ClassVar[Struct] = Struct("<BBBBH")

    def __post_init__(self) -> None:
        if not 0 <= self.burst <= 15:
            raise ValueError(f"a burst is 0 to 15, not {self.burst}")
        if not 0 <= self.streams_exponent <= STREAMS_EXPONENT_MAX:
            raise ValueError(f"streams are 2 to the power of 16 at most, not {self}")

    @property
    def stream_count(self) -> int:
        """Streams that a host may use; they are numbered from 1."""
        return 1 << self.streams_exponent if self.streams_exponent else 0

    def encode(self) -> bytes:
        """Return the 6 bytes."""
        kind = DescriptorType.ENDPOINT_COMPANION
        return self.LAYOUT.pack(self.LAYOUT.size, kind, self.burst, self.streams_exponent, 0)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the companion of a bulk endpoint; raise DecodeError on any other."""
        check_header(data, DescriptorType.ENDPOINT_COMPANION, cls.LAYOUT.size)
        _, _, burst, attributes, interval_bytes = cls.LAYOUT.unpack(data)
        exponent = attributes & 0x1F
        if burst > 15 or exponent > STREAMS_EXPONENT_MAX or interval_bytes:
            raise DecodeError(f"ENDPOINT_COMPANION of no bulk endpoint: {data.hex()}")
        return cls(burst, exponent)

    @classmethod
    def among(cls, extra: bytes) -> Self | None:
        """Return the companion in what follows an endpoint, None where there is none.

        Raises DecodeError on bytes that are no descriptors.
        """
        for each in split_descriptors(extra):
            if each[1] == DescriptorType.ENDPOINT_COMPANION:
                return cls.decode(each)
        return None


USB_2_EXTENSION, SUPERSPEED = 0x02, 0x03  # bDevCapabilityType (USB 3.2 9.6.2)


@dataclass(frozen=True, slots=True)
class Usb2Extension:
    """What a device can do at the speeds of USB 2.0, 7 bytes (USB 3.2 9.6.2.1)."""

    has_lpm: bool  # a device that has SuperSpeed says so

    LAYOUT: ClassVar[Struct] = Struct("<BBBI")

    def encode(self) -> bytes:
        """Return the 7 bytes."""
        kind = DescriptorType.DEVICE_CAPABILITY
        return self.LAYOUT.pack(self.LAYOUT.size, kind, USB_2_EXTENSION, self.has_lpm << 1)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the capability in `data`; raise DecodeError on another."""
        check_header(data, DescriptorType.DEVICE_CAPABILITY, cls.LAYOUT.size)
        _, _, kind, attributes = cls.LAYOUT.unpack(data)
        if kind != USB_2_EXTENSION:
            raise DecodeError(f"capability {kind:#04x} is not USB 2.0 EXTENSION")
        return cls(bool(attributes & 0x02))


@dataclass(frozen=True, slots=True)
class SuperSpeedCapability:
    """What a device can do at SuperSpeed, 10 bytes (USB 3.2 9.6.2.2)."""

    speeds: int  # bit 0 low, 1 full, 2 high, 3 SuperSpeed
    lowest_speed: int  # number of that bit for the lowest at which all of the device works
    u1_exit_us: int
    u2_exit_us: int

    LAYOUT: ClassVar[Struct] = Struct("<BBBBHBBH")

    def encode(self) -> bytes:
        """Return the 10 bytes, of a device that sends no latency tolerance messages."""
        return self.LAYOUT.pack(
            self.LAYOUT.size,
            DescriptorType.DEVICE_CAPABILITY,
            SUPERSPEED,
            0,
            self.speeds,
            self.lowest_speed,
            self.u1_exit_us,
            self.u2_exit_us,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the capability in `data`; raise DecodeError on another."""
        check_header(data, DescriptorType.DEVICE_CAPABILITY, cls.LAYOUT.size)
        _, _, kind, _, speeds, lowest, u1_exit_us, u2_exit_us = cls.LAYOUT.unpack(data)
        if kind != SUPERSPEED:
            raise DecodeError(f"capability {kind:#04x} is not SUPERSPEED")
        return cls(speeds, lowest, u1_exit_us, u2_exit_us)
