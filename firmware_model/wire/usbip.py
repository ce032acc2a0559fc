"""USB/IP, version 1.1.1: how devices are listed and imported. What follows is in `usbip_urb`.

Source: Linux, Documentation/usb/usbip_protocol.rst; tools/usb/usbip/src/usbip_common.h for the
status. All fields are big-endian.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError

VERSION: Final = 0x0111
TCP_PORT: Final = 3240
BUSID_BYTES: Final = 32  # the last of them zero
PATH_BYTES: Final = 256  # the last of them zero
MODEL_PATH: Final = "/sedlab/"  # how the paths begin that our own server gives to its models


class OpCode(IntEnum):
    """What a message is: a request, or the reply to it."""

    REQ_IMPORT = 0x8003
    REP_IMPORT = 0x0003
    REQ_DEVLIST = 0x8005
    REP_DEVLIST = 0x0005


class OpStatus(IntEnum):
    """How a request ended (usbip_common.h, ST_OK to ST_ERROR)."""

    OK = 0
    NOT_AVAILABLE = 1
    DEVICE_BUSY = 2  # another host has it
    DEVICE_ERROR = 3
    NO_DEVICE = 4
    ERROR = 5


def _text(field: bytes) -> str:
    return field.partition(b"\x00")[0].decode("utf-8", "surrogateescape")


def _field(text: str, size: int) -> bytes:
    """Return a text as a field with a zero behind it; raise ValueError where it does not fit."""
    data = text.encode("utf-8", "surrogateescape")
    if len(data) >= size or b"\x00" in data:
        raise ValueError(f"{text!r} does not fit into a field of {size} bytes")
    return data


def _check_length(what: str, data: bytes, size: int) -> None:
    if len(data) != size:
        raise DecodeError(f"{what} has {len(data)} bytes, expected {size}")


@dataclass(frozen=True, slots=True)
class OpHeader:
    """What each message begins with, 8 bytes."""

    code: OpCode
    status: int = OpStatus.OK  # an OpStatus, or a number that only the server knows

    LAYOUT: ClassVar[Struct] = Struct(">HHI")

    def encode(self) -> bytes:
        """Return the 8 bytes."""
        return self.LAYOUT.pack(VERSION, self.code, self.status)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the header; raise DecodeError on a wrong length, version or code."""
        _check_length("header", data, cls.LAYOUT.size)
        version, code, status = cls.LAYOUT.unpack(data)
        if version != VERSION:
            raise DecodeError(f"version {version:#06x} is not {VERSION:#06x} of USB/IP 1.1.1")
        try:
            return cls(OpCode(code), status)
        except ValueError:
            raise DecodeError(f"code {code:#06x} is unknown") from None


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """Which device is wanted: what follows the header of REQ_IMPORT, 32 bytes."""

    busid: str

    SIZE: ClassVar[int] = BUSID_BYTES

    def encode(self) -> bytes:
        """Return the 32 bytes; raise ValueError for a name that does not fit."""
        return _field(self.busid, BUSID_BYTES).ljust(BUSID_BYTES, b"\x00")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the request; raise DecodeError on a wrong length or an endless name."""
        _check_length("REQ_IMPORT", data, cls.SIZE)
        if b"\x00" not in data:
            raise DecodeError("the bus id of REQ_IMPORT does not end")
        return cls(_text(data))


@dataclass(frozen=True, slots=True)
class ExportedDevice:
    """What a server says of a device, 312 bytes."""

    path: str
    busid: str
    bus_number: int
    device_number: int
    speed: int  # a Speed
    vendor_id: int
    product_id: int
    device_version: int  # bcdDevice
    device_class: int
    device_subclass: int
    device_protocol: int
    configuration_value: int
    configuration_count: int
    interface_count: int

    LAYOUT: ClassVar[Struct] = Struct(f">{PATH_BYTES}s{BUSID_BYTES}sIIIHHHBBBBBB")

    @property
    def devid(self) -> int:
        """What each transfer to the device is addressed to."""
        return self.bus_number << 16 | self.device_number

    def encode(self) -> bytes:
        """Return the 312 bytes; raise ValueError or struct.error where a field does not fit."""
        return self.LAYOUT.pack(
            _field(self.path, PATH_BYTES),
            _field(self.busid, BUSID_BYTES),
            self.bus_number,
            self.device_number,
            self.speed,
            self.vendor_id,
            self.product_id,
            self.device_version,
            self.device_class,
            self.device_subclass,
            self.device_protocol,
            self.configuration_value,
            self.configuration_count,
            self.interface_count,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the device; raise DecodeError on a wrong length, or numbers out of range."""
        _check_length("device", data, cls.LAYOUT.size)
        path, busid, bus_number, device_number, *rest = cls.LAYOUT.unpack(data)
        if bus_number > 0xFFFF or device_number > 0xFFFF:
            raise DecodeError(f"device {bus_number}-{device_number} has no number of 16 bits")
        return cls(_text(path), _text(busid), bus_number, device_number, *rest)


@dataclass(frozen=True, slots=True)
class ExportedInterface:
    """What a list says of an interface, 4 bytes."""

    interface_class: int
    interface_subclass: int
    interface_protocol: int

    LAYOUT: ClassVar[Struct] = Struct(">BBBx")

    def encode(self) -> bytes:
        """Return the 4 bytes."""
        return self.LAYOUT.pack(
            self.interface_class, self.interface_subclass, self.interface_protocol
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the interface; raise DecodeError on a wrong length."""
        _check_length("interface", data, cls.LAYOUT.size)
        return cls(*cls.LAYOUT.unpack(data))


@dataclass(frozen=True, slots=True)
class DeviceCount:
    """How many devices a list has: what follows the header of REP_DEVLIST, 4 bytes."""

    count: int

    LAYOUT: ClassVar[Struct] = Struct(">I")

    def encode(self) -> bytes:
        """Return the 4 bytes."""
        return self.LAYOUT.pack(self.count)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the count; raise DecodeError on a wrong length."""
        _check_length("device count", data, cls.LAYOUT.size)
        return cls(*cls.LAYOUT.unpack(data))
