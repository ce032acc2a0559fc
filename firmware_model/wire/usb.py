"""USB's own words: everything another module needs of chapter 9, under one name.

Source: USB 2.0 section 9.6; USB 3.2 section 9.6 for the BOS. All fields are little-endian.
"""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.configuration import (
    ConfigurationDescriptor,
    EndpointDescriptor,
    InterfaceDescriptor,
)
from firmware_model.wire.setup import (
    DIRECTION_IN,
    FUNCTION_SUSPEND,
    PACKET_BYTES,
    DescriptorType,
    Feature,
    Recipient,
    Request,
    RequestKind,
    SetupPacket,
    Speed,
    check_header,
    split_descriptors,
)

__all__ = [
    "DIRECTION_IN",
    "FUNCTION_SUSPEND",
    "PACKET_BYTES",
    "BosDescriptor",
    "ConfigurationDescriptor",
    "DescriptorType",
    "DeviceDescriptor",
    "DeviceQualifier",
    "EndpointDescriptor",
    "Feature",
    "InterfaceDescriptor",
    "LangIds",
    "Recipient",
    "Request",
    "RequestKind",
    "SetupPacket",
    "Speed",
    "StringDescriptor",
]


@dataclass(frozen=True, slots=True)
class DeviceDescriptor:
    """What a device is, 18 bytes (USB 2.0 table 9-8)."""

    usb_version: int  # bcdUSB
    device_class: int
    device_subclass: int
    device_protocol: int
    max_packet_size_0: int  # bytes; the exponent of two at SuperSpeed
    vendor_id: int
    product_id: int
    device_version: int  # bcdDevice
    manufacturer_index: int
    product_index: int
    serial_index: int
    configuration_count: int

    LAYOUT: ClassVar[Struct] = Struct("<BBHBBBBHHHBBBB")

    def encode(self) -> bytes:
        """Return the 18 bytes; raise struct.error when a field exceeds its width."""
        return self.LAYOUT.pack(
            self.LAYOUT.size,
            DescriptorType.DEVICE,
            self.usb_version,
            self.device_class,
            self.device_subclass,
            self.device_protocol,
            self.max_packet_size_0,
            self.vendor_id,
            self.product_id,
            self.device_version,
            self.manufacturer_index,
            self.product_index,
            self.serial_index,
            self.configuration_count,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the descriptor in `data`; raise DecodeError on a wrong length or type."""
        check_header(data, DescriptorType.DEVICE, cls.LAYOUT.size)
        return cls(*cls.LAYOUT.unpack(data)[2:])


@dataclass(frozen=True, slots=True)
class DeviceQualifier:
    """What a high-speed device would be at the other speed, 10 bytes (USB 2.0 table 9-9)."""

    usb_version: int
    device_class: int
    device_subclass: int
    device_protocol: int
    max_packet_size_0: int
    configuration_count: int

    LAYOUT: ClassVar[Struct] = Struct("<BBHBBBBBB")

    def encode(self) -> bytes:
        """Return the 10 bytes, the last one reserved."""
        return self.LAYOUT.pack(
            self.LAYOUT.size,
            DescriptorType.DEVICE_QUALIFIER,
            self.usb_version,
            self.device_class,
            self.device_subclass,
            self.device_protocol,
            self.max_packet_size_0,
            self.configuration_count,
            0,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the descriptor in `data`; raise DecodeError, also on a reserved byte."""
        check_header(data, DescriptorType.DEVICE_QUALIFIER, cls.LAYOUT.size)
        *fields, reserved = cls.LAYOUT.unpack(data)[2:]
        if reserved:
            raise DecodeError(f"DEVICE_QUALIFIER descriptor ends {reserved:#04x}, expected 0")
        return cls(*fields)


@dataclass(frozen=True, slots=True)
class BosDescriptor:
    """Binary device Object Store: capabilities beyond USB 2.0 (USB 3.2 section 9.6.2)."""

    capabilities: tuple[bytes, ...]  # each whole, from its bLength on

    LAYOUT: ClassVar[Struct] = Struct("<BBHB")

    def encode(self) -> bytes:
        """Return the head and the capabilities."""
        body = b"".join(self.capabilities)
        size = self.LAYOUT.size
        total = size + len(body)
        return self.LAYOUT.pack(size, DescriptorType.BOS, total, len(self.capabilities)) + body

    @classmethod
    def decode(cls, blob: bytes) -> Self:
        """Return the store in `blob`; raise DecodeError where it contradicts itself."""
        check_header(blob[:5], DescriptorType.BOS, cls.LAYOUT.size)
        _, _, total, count = cls.LAYOUT.unpack_from(blob)
        capabilities = tuple(split_descriptors(blob[cls.LAYOUT.size :]))
        if total != len(blob) or count != len(capabilities):
            raise DecodeError(
                f"BOS announces {total} bytes and {count} capabilities, "
                f"has {len(blob)} and {len(capabilities)}"
            )
        return cls(capabilities)


@dataclass(frozen=True, slots=True)
class StringDescriptor:
    """A text of at most 126 UTF-16 code units (USB 2.0 table 9-16)."""

    text: str

    def encode(self) -> bytes:
        """Return the descriptor; raise ValueError for a text that does not fit."""
        units = self.text.encode("utf-16-le", "surrogatepass")
        if len(units) > 252:
            raise ValueError(
                f"a string descriptor holds 126 code units, this one {len(units) // 2}"
            )
        return bytes((2 + len(units), DescriptorType.STRING)) + units

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the text; raise DecodeError on a wrong length or type."""
        if len(data) % 2 or len(data) > 254:
            raise DecodeError(f"STRING descriptor has {len(data)} bytes, expected 2 to 254, even")
        check_header(data, DescriptorType.STRING, len(data) or 2)
        return cls(data[2:].decode("utf-16-le", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class LangIds:
    """String descriptor zero: the languages of the others (USB 2.0 table 9-15)."""

    languages: tuple[int, ...]  # at most 126

    def encode(self) -> bytes:
        """Return the descriptor; raise ValueError for more languages than fit."""
        if len(self.languages) > 126:
            raise ValueError(f"a descriptor holds 126 languages, not {len(self.languages)}")
        units = b"".join(language.to_bytes(2, "little") for language in self.languages)
        return bytes((2 + len(units), DescriptorType.STRING)) + units

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the languages; raise DecodeError on a wrong length or type."""
        if len(data) % 2 or len(data) > 254:
            raise DecodeError(f"LANGID descriptor has {len(data)} bytes, expected 2 to 254, even")
        check_header(data, DescriptorType.STRING, len(data) or 2)
        units = range(2, len(data), 2)
        return cls(tuple(int.from_bytes(data[at : at + 2], "little") for at in units))
