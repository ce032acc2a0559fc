"""A configuration with its interfaces and endpoints. Source: USB 2.0 section 9.6.

Descriptors of other types are kept as `extra` bytes, in place, so that a whole configuration
decodes and encodes back to the same bytes.
"""

from dataclasses import dataclass, replace
from struct import Struct
from typing import ClassVar, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.setup import (
    DIRECTION_IN,
    DescriptorType,
    check_header,
    split_descriptors,
)


@dataclass(frozen=True, slots=True)
class EndpointDescriptor:
    """One endpoint, 7 bytes (USB 2.0 table 9-13)."""

    address: int  # bit 7 set: IN
    attributes: int  # bits 1..0: 0 control, 1 isochronous, 2 bulk, 3 interrupt
    max_packet_size: int  # bytes
    interval: int = 0
    extra: bytes = b""  # descriptors that follow, such as the SuperSpeed companion

    LAYOUT: ClassVar[Struct] = Struct("<BBBBHB")

    @property
    def is_in(self) -> bool:
        """Whether data flows to the host."""
        return bool(self.address & DIRECTION_IN)

    @property
    def is_bulk(self) -> bool:
        """Whether this is a bulk endpoint."""
        return self.attributes & 0x03 == 2

    def encode(self) -> bytes:
        """Return the 7 bytes and the extra ones."""
        head = self.LAYOUT.pack(
            self.LAYOUT.size,
            DescriptorType.ENDPOINT,
            self.address,
            self.attributes,
            self.max_packet_size,
            self.interval,
        )
        return head + self.extra

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the endpoint in `data` (without extra bytes); raise DecodeError."""
        check_header(data, DescriptorType.ENDPOINT, cls.LAYOUT.size)
        return cls(*cls.LAYOUT.unpack(data)[2:])


@dataclass(frozen=True, slots=True)
class InterfaceDescriptor:
    """One alternate setting of one interface with its endpoints (USB 2.0 table 9-12)."""

    number: int
    alternate_setting: int
    interface_class: int
    interface_subclass: int
    interface_protocol: int
    endpoints: tuple[EndpointDescriptor, ...] = ()
    name_index: int = 0
    extra: bytes = b""  # descriptors between this one and its first endpoint

    LAYOUT: ClassVar[Struct] = Struct("<BBBBBBBBB")

    def encode(self) -> bytes:
        """Return the 9 bytes, the extra ones and the endpoints."""
        head = self.LAYOUT.pack(
            self.LAYOUT.size,
            DescriptorType.INTERFACE,
            self.number,
            self.alternate_setting,
            len(self.endpoints),
            self.interface_class,
            self.interface_subclass,
            self.interface_protocol,
            self.name_index,
        )
        return head + self.extra + b"".join(endpoint.encode() for endpoint in self.endpoints)

    @classmethod
    def decode_head(cls, data: bytes) -> tuple[Self, int]:
        """Return the interface in the first 9 bytes and how many endpoints it announces."""
        check_header(data, DescriptorType.INTERFACE, cls.LAYOUT.size)
        number, alternate, count, kind, subclass, protocol, name = cls.LAYOUT.unpack(data)[2:]
        return cls(number, alternate, kind, subclass, protocol, (), name), count


@dataclass(frozen=True, slots=True)
class ConfigurationDescriptor:
    """A configuration with everything in it (USB 2.0 table 9-10)."""

    value: int  # bConfigurationValue
    interfaces: tuple[InterfaceDescriptor, ...]  # every alternate setting, in wire order
    attributes: int = 0x80  # bit 7 always set; bit 6 self-powered; bit 5 remote wakeup
    max_power: int = 50  # in units of 2 mA; of 8 mA at SuperSpeed
    name_index: int = 0
    extra: bytes = b""  # descriptors between this one and the first interface
    kind: DescriptorType = DescriptorType.CONFIGURATION  # or OTHER_SPEED_CONFIGURATION

    LAYOUT: ClassVar[Struct] = Struct("<BBHBBBBB")

    @property
    def interface_numbers(self) -> tuple[int, ...]:
        """The interfaces, each once, in wire order."""
        return tuple(dict.fromkeys(interface.number for interface in self.interfaces))

    def setting(self, interface: int, alternate: int) -> InterfaceDescriptor:
        """Return an alternate setting by indexes, not numbers; raise IndexError past the last."""
        number = self.interface_numbers[interface]
        return [one for one in self.interfaces if one.number == number][alternate]

    def encode(self) -> bytes:
        """Return the whole blob; wTotalLength and bNumInterfaces follow from the content."""
        body = self.extra + b"".join(interface.encode() for interface in self.interfaces)
        head = self.LAYOUT.pack(
            self.LAYOUT.size,
            self.kind,
            self.LAYOUT.size + len(body),
            len(self.interface_numbers),
            self.value,
            self.name_index,
            self.attributes,
            self.max_power,
        )
        return head + body

    @classmethod
    def decode(cls, blob: bytes) -> Self:
        """Return the configuration in `blob`; raise DecodeError where it contradicts itself."""
        size = cls.LAYOUT.size
        if len(blob) < size or blob[0] != size:
            raise DecodeError(f"configuration begins {blob[:size].hex()}, expected {size} bytes")
        _, kind, total, count, value, name, attributes, power = cls.LAYOUT.unpack_from(blob)
        kinds = (DescriptorType.CONFIGURATION, DescriptorType.OTHER_SPEED_CONFIGURATION)
        if kind not in kinds:
            raise DecodeError(f"configuration has type {kind:#04x}")
        if total != len(blob):
            raise DecodeError(f"configuration announces {total} bytes and has {len(blob)}")
        extra, interfaces = _interfaces(split_descriptors(blob[size:]))
        result = cls(value, interfaces, attributes, power, name, extra, DescriptorType(kind))
        if count != len(result.interface_numbers):
            raise DecodeError(
                f"configuration announces {count} interfaces, has {len(result.interface_numbers)}"
            )
        return result


def _interfaces(descriptors: list[bytes]) -> tuple[bytes, tuple[InterfaceDescriptor, ...]]:
    """Return what stands before the first interface, and the interfaces with what they own."""
    before = b""
    groups: list[list[bytes]] = []
    for descriptor in descriptors:
        if descriptor[1] == DescriptorType.INTERFACE:
            groups.append([descriptor])
        elif groups:
            groups[-1].append(descriptor)
        elif descriptor[1] == DescriptorType.ENDPOINT:
            raise DecodeError("an endpoint stands before the first interface")
        else:
            before += descriptor
    return before, tuple(_interface(group) for group in groups)


def _interface(group: list[bytes]) -> InterfaceDescriptor:
    interface, count = InterfaceDescriptor.decode_head(group[0])
    extra = b""
    endpoints: list[EndpointDescriptor] = []
    for descriptor in group[1:]:
        if descriptor[1] == DescriptorType.ENDPOINT:
            endpoints.append(EndpointDescriptor.decode(descriptor))
        elif endpoints:
            endpoints[-1] = replace(endpoints[-1], extra=endpoints[-1].extra + descriptor)
        else:
            extra += descriptor
    if count != len(endpoints):
        raise DecodeError(
            f"interface {interface.number} announces {count} endpoints, has {len(endpoints)}"
        )
    return replace(interface, endpoints=tuple(endpoints), extra=extra)
