"""What a function of Linux's FunctionFS and the kernel say to each other on ep0.

Source: include/uapi/linux/usb/functionfs.h; drivers/usb/gadget/function/f_fs.c. Little-endian.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.configuration import ConfigurationDescriptor
from firmware_model.wire.setup import SetupPacket, Speed, split_descriptors

EVENTS_MAX: Final = 4  # that the kernel keeps, and so gives at once


class DescriptorFlags(IntFlag):
    """Which lists of descriptors follow."""

    HAS_FS_DESC = 1
    HAS_HS_DESC = 2
    HAS_SS_DESC = 4


FLAGS: Final = {
    Speed.FULL: DescriptorFlags.HAS_FS_DESC,
    Speed.HIGH: DescriptorFlags.HAS_HS_DESC,
    Speed.SUPER: DescriptorFlags.HAS_SS_DESC,
}  # in the order of the lists


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What is written first: interface and endpoints at each speed, in format 2.

    The kernel adds device and configuration, and gives numbers of its own to interface and
    endpoints; the files ep1, ep2 ... are in the order of the endpoints here.
    """

    by_speed: Mapping[Speed, bytes]

    MAGIC: ClassVar[int] = 3
    HEAD: ClassVar[Struct] = Struct("<III")
    COUNT: ClassVar[Struct] = Struct("<I")

    @classmethod
    def of(cls, configurations: Mapping[Speed, ConfigurationDescriptor]) -> Self:
        """Return those of a device, of alternate setting 0 of each interface.

        FunctionFS enables all endpoints at once and is not told which setting was selected, so
        there can be no other.
        """
        return cls(
            {
                speed: b"".join(
                    each.encode() for each in configuration.interfaces if not each.alternate_setting
                )
                for speed, configuration in configurations.items()
            }
        )

    def encode(self) -> bytes:
        """Return the block; raise DecodeError where the descriptors are none."""
        present = [speed for speed in FLAGS if speed in self.by_speed]
        flags = sum(FLAGS[speed] for speed in present)
        lists = [self.by_speed[speed] for speed in present]
        counts = b"".join(self.COUNT.pack(len(split_descriptors(each))) for each in lists)
        body = counts + b"".join(lists)
        return self.HEAD.pack(self.MAGIC, self.HEAD.size + len(body), flags) + body


@dataclass(frozen=True, slots=True)
class Strings:
    """What is written second. The descriptors of a drive's interface name no strings."""

    MAGIC: ClassVar[int] = 2
    LAYOUT: ClassVar[Struct] = Struct("<IIII")

    def encode(self) -> bytes:
        """Return the block of no strings in no language."""
        return self.LAYOUT.pack(self.MAGIC, self.LAYOUT.size, 0, 0)


class EventType(IntEnum):
    """What happens to a function (enum usb_functionfs_event_type)."""

    BIND = 0
    UNBIND = 1
    ENABLE = 2
    DISABLE = 3
    SETUP = 4
    SUSPEND = 5
    RESUME = 6


@dataclass(frozen=True, slots=True)
class Event:
    """One of them, 12 bytes."""

    type: EventType
    setup: SetupPacket | None = None  # of SETUP, with numbers of the function's own in its index

    LAYOUT: ClassVar[Struct] = Struct("<8sB3x")

    def encode(self) -> bytes:
        """Return the 12 bytes."""
        setup = bytes(8) if self.setup is None else self.setup.encode()
        return self.LAYOUT.pack(setup, self.type)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the event in `data`; raise DecodeError on another length or type."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"an event has {len(data)} bytes, expected {cls.LAYOUT.size}")
        setup, kind = cls.LAYOUT.unpack(data)
        if kind not in tuple(EventType):
            raise DecodeError(f"event {kind} is not known")
        return cls(EventType(kind), SetupPacket.decode(setup) if kind == EventType.SETUP else None)

    @classmethod
    def decode_all(cls, data: bytes) -> list[Self]:
        """Return the events that one read gave, without those of kernels to come."""
        size, events = cls.LAYOUT.size, []
        for at in range(0, len(data), size):
            with suppress(DecodeError):
                events.append(cls.decode(data[at : at + size]))
        return events
