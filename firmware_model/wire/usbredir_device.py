"""USB redirection: what the device is, and how it is configured.

The host tells EP_INFO, INTERFACE_INFO and DEVICE_CONNECT, in this order, when a device comes; the
first two again before it answers a selection that succeeded. Source: see `usbredir`.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usbredir import ENDPOINTS, Agreed, Body, PacketType, unpacked

INTERFACES_MAX: Final = 32


class RedirSpeed(IntEnum):
    """How fast a device signals."""

    LOW = 0
    FULL = 1
    HIGH = 2
    SUPER = 3
    UNKNOWN = 255


class EndpointType(IntEnum):
    """What an endpoint is for; the numbers of bmAttributes (USB 2.0 table 9-13), but the last."""

    CONTROL = 0
    ISO = 1
    BULK = 2
    INTERRUPT = 3
    INVALID = 255  # there is none


@dataclass(frozen=True, slots=True)
class DeviceConnect(Body):
    """A device is there: 10 bytes, or 8 without CONNECT_DEVICE_VERSION."""

    speed: int  # a RedirSpeed
    device_class: int
    device_subclass: int
    device_protocol: int
    vendor_id: int
    product_id: int
    device_version: int = 0  # bcdDevice; 0 where it was not told

    TYPE: ClassVar[PacketType] = PacketType.DEVICE_CONNECT
    LAYOUT: ClassVar[Struct] = Struct("<BBBBHHH")
    WITHOUT_VERSION: ClassVar[Struct] = Struct("<BBBBHH")

    @classmethod
    def _layout(cls, agreed: Agreed) -> Struct:
        return cls.LAYOUT if agreed.connect_device_version else cls.WITHOUT_VERSION

    @classmethod
    def size(cls, agreed: Agreed) -> int:
        """Return its bytes."""
        return cls._layout(agreed).size

    def encode(self, agreed: Agreed) -> bytes:
        """Return the bytes; raise struct.error when a field exceeds its width."""
        whole = self.LAYOUT.pack(
            self.speed,
            self.device_class,
            self.device_subclass,
            self.device_protocol,
            self.vendor_id,
            self.product_id,
            self.device_version,
        )
        return whole[: self.size(agreed)]

    @classmethod
    def decode(cls, data: bytes, agreed: Agreed) -> Self:
        """Return what was told; raise DecodeError on a wrong length."""
        return unpacked(cls, cls._layout(agreed), data)


@dataclass(frozen=True, slots=True)
class Interface:
    """What a guest is told of an interface: of its alternate setting that is selected."""

    number: int
    interface_class: int
    interface_subclass: int
    interface_protocol: int


@dataclass(frozen=True, slots=True)
class InterfaceInfo(Body):
    """The interfaces of the configuration that is selected, 132 bytes."""

    interfaces: tuple[Interface, ...]  # at most 32

    TYPE: ClassVar[PacketType] = PacketType.INTERFACE_INFO
    LAYOUT: ClassVar[Struct] = Struct("<I32s32s32s32s")

    def encode(self, agreed: Agreed) -> bytes:
        """Return the 132 bytes; raise ValueError for more interfaces than fit."""
        if len(self.interfaces) > INTERFACES_MAX:
            raise ValueError(f"{len(self.interfaces)} interfaces are more than {INTERFACES_MAX}")
        return self.LAYOUT.pack(
            len(self.interfaces),
            bytes(each.number for each in self.interfaces),
            bytes(each.interface_class for each in self.interfaces),
            bytes(each.interface_subclass for each in self.interfaces),
            bytes(each.interface_protocol for each in self.interfaces),
        )

    @classmethod
    def decode(cls, data: bytes, agreed: Agreed) -> Self:
        """Return the interfaces; raise DecodeError on a wrong length or for more than 32."""
        count, *fields = unpacked(_fields, cls.LAYOUT, data)
        if count > INTERFACES_MAX:
            raise DecodeError(f"{count} interfaces are more than {INTERFACES_MAX}")
        return cls(tuple(Interface(*each) for each in zip(*fields, strict=True))[:count])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a guest is told of an endpoint."""

    type: EndpointType
    interval: int = 0  # bInterval
    interface: int = 0  # number of the one that has it
    max_packet_size: int = 0  # bytes; 0 where it was not told
    max_streams: int = 0  # 0: none, or not told


NO_ENDPOINT: Final = Endpoint(EndpointType.INVALID)


@dataclass(frozen=True, slots=True)
class EpInfo(Body):
    """All endpoints there could be: 96 bytes, 160 with packet sizes, 288 with streams too."""

    endpoints: tuple[Endpoint, ...]  # 32, see `usbredir.endpoint_index`

    TYPE: ClassVar[PacketType] = PacketType.EP_INFO
    LAYOUT: ClassVar[Struct] = Struct("<32B32B32B32H32I")
    WITHOUT_STREAMS: ClassVar[Struct] = Struct("<32B32B32B32H")
    WITHOUT_SIZES: ClassVar[Struct] = Struct("<32B32B32B")

    @classmethod
    def _layout(cls, agreed: Agreed) -> Struct:
        if agreed.bulk_streams:
            return cls.LAYOUT
        has_sizes = agreed.ep_info_max_packet_size
        return cls.WITHOUT_STREAMS if has_sizes else cls.WITHOUT_SIZES

    @classmethod
    def size(cls, agreed: Agreed) -> int:
        """Return its bytes."""
        return cls._layout(agreed).size

    def encode(self, agreed: Agreed) -> bytes:
        """Return the bytes; raise struct.error when a field exceeds its width."""
        whole = self.LAYOUT.pack(
            *(each.type for each in self.endpoints),
            *(each.interval for each in self.endpoints),
            *(each.interface for each in self.endpoints),
            *(each.max_packet_size for each in self.endpoints),
            *(each.max_streams for each in self.endpoints),
        )
        return whole[: self.size(agreed)]

    @classmethod
    def decode(cls, data: bytes, agreed: Agreed) -> Self:
        """Return the endpoints; raise DecodeError on a wrong length or an unknown type."""
        fields = unpacked(_fields, cls._layout(agreed), data)
        fields += (0,) * (5 * ENDPOINTS - len(fields))
        columns = [fields[at : at + ENDPOINTS] for at in range(0, 5 * ENDPOINTS, ENDPOINTS)]
        try:
            kinds = [EndpointType(kind) for kind in columns[0]]
        except ValueError as unknown:
            raise DecodeError(f"endpoint type: {unknown}") from None
        return cls(tuple(Endpoint(*each) for each in zip(kinds, *columns[1:], strict=True)))


def _fields(*fields: int) -> tuple[int, ...]:
    return fields


@dataclass(frozen=True, slots=True)
class SetConfiguration(Body):
    """A configuration is to be selected."""

    configuration: int  # bConfigurationValue; 0 for none

    TYPE: ClassVar[PacketType] = PacketType.SET_CONFIGURATION
    LAYOUT: ClassVar[Struct] = Struct("<B")


@dataclass(frozen=True, slots=True)
class ConfigurationStatus(Body):
    """Which configuration is selected: the answer to a selection, and to GET_CONFIGURATION."""

    status: int  # a Status
    configuration: int

    TYPE: ClassVar[PacketType] = PacketType.CONFIGURATION_STATUS
    LAYOUT: ClassVar[Struct] = Struct("<BB")


@dataclass(frozen=True, slots=True)
class SetAltSetting(Body):
    """An alternate setting is to be selected."""

    interface: int
    alt: int

    TYPE: ClassVar[PacketType] = PacketType.SET_ALT_SETTING
    LAYOUT: ClassVar[Struct] = Struct("<BB")


@dataclass(frozen=True, slots=True)
class GetAltSetting(Body):
    """Which alternate setting is selected?"""

    interface: int

    TYPE: ClassVar[PacketType] = PacketType.GET_ALT_SETTING
    LAYOUT: ClassVar[Struct] = Struct("<B")


@dataclass(frozen=True, slots=True)
class AltSettingStatus(Body):
    """Which alternate setting is selected: the answer to both of the above."""

    status: int  # a Status
    interface: int
    alt: int  # 255 where there is no such interface

    TYPE: ClassVar[PacketType] = PacketType.ALT_SETTING_STATUS
    LAYOUT: ClassVar[Struct] = Struct("<BBB")
