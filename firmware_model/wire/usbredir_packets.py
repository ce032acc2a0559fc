"""USB redirection: which packets go in which direction, and filters. Source: see `usbredir`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usbredir import Agreed, Body, Header, PacketType
from firmware_model.wire.usbredir_device import (
    AltSettingStatus,
    ConfigurationStatus,
    DeviceConnect,
    EpInfo,
    GetAltSetting,
    InterfaceInfo,
    SetAltSetting,
    SetConfiguration,
)
from firmware_model.wire.usbredir_transfers import (
    AllocBulkStreams,
    BufferedBulkPacket,
    BulkPacket,
    BulkReceivingStatus,
    BulkStreamsStatus,
    ControlPacket,
    FreeBulkStreams,
    InterruptPacket,
    InterruptReceivingStatus,
    IsoPacket,
    IsoStreamStatus,
    StartBulkReceiving,
    StartInterruptReceiving,
    StartIsoStream,
    StopBulkReceiving,
    StopInterruptReceiving,
    StopIsoStream,
    has_data,
)

FILTER_BYTES_MAX: Final = 64 << 10
NO_BODY: Final = None
Packets = Mapping[PacketType, type[Body] | None]  # what one side may send, after its hello

GUEST_PACKETS: Final[Packets] = {
    PacketType.RESET: NO_BODY,
    PacketType.SET_CONFIGURATION: SetConfiguration,
    PacketType.GET_CONFIGURATION: NO_BODY,
    PacketType.SET_ALT_SETTING: SetAltSetting,
    PacketType.GET_ALT_SETTING: GetAltSetting,
    PacketType.START_ISO_STREAM: StartIsoStream,
    PacketType.STOP_ISO_STREAM: StopIsoStream,
    PacketType.START_INTERRUPT_RECEIVING: StartInterruptReceiving,
    PacketType.STOP_INTERRUPT_RECEIVING: StopInterruptReceiving,
    PacketType.ALLOC_BULK_STREAMS: AllocBulkStreams,
    PacketType.FREE_BULK_STREAMS: FreeBulkStreams,
    PacketType.CANCEL_DATA_PACKET: NO_BODY,  # its id is that of the packet to cancel
    PacketType.FILTER_REJECT: NO_BODY,
    PacketType.FILTER_FILTER: NO_BODY,  # see `filter_rules`
    PacketType.DEVICE_DISCONNECT_ACK: NO_BODY,
    PacketType.START_BULK_RECEIVING: StartBulkReceiving,
    PacketType.STOP_BULK_RECEIVING: StopBulkReceiving,
    PacketType.CONTROL_PACKET: ControlPacket,
    PacketType.BULK_PACKET: BulkPacket,
    PacketType.ISO_PACKET: IsoPacket,
    PacketType.INTERRUPT_PACKET: InterruptPacket,
}
HOST_PACKETS: Final[Packets] = {
    PacketType.DEVICE_CONNECT: DeviceConnect,
    PacketType.DEVICE_DISCONNECT: NO_BODY,
    PacketType.INTERFACE_INFO: InterfaceInfo,
    PacketType.EP_INFO: EpInfo,
    PacketType.CONFIGURATION_STATUS: ConfigurationStatus,
    PacketType.ALT_SETTING_STATUS: AltSettingStatus,
    PacketType.ISO_STREAM_STATUS: IsoStreamStatus,
    PacketType.INTERRUPT_RECEIVING_STATUS: InterruptReceivingStatus,
    PacketType.BULK_STREAMS_STATUS: BulkStreamsStatus,
    PacketType.FILTER_FILTER: NO_BODY,
    PacketType.BULK_RECEIVING_STATUS: BulkReceivingStatus,
    PacketType.CONTROL_PACKET: ControlPacket,
    PacketType.BULK_PACKET: BulkPacket,
    PacketType.ISO_PACKET: IsoPacket,
    PacketType.INTERRUPT_PACKET: InterruptPacket,
    PacketType.BUFFERED_BULK_PACKET: BufferedBulkPacket,
}
WITH_DATA: Final = frozenset(
    (
        PacketType.FILTER_FILTER,
        PacketType.CONTROL_PACKET,
        PacketType.BULK_PACKET,
        PacketType.ISO_PACKET,
        PacketType.INTERRUPT_PACKET,
        PacketType.BUFFERED_BULK_PACKET,
    )
)
MovesData = ControlPacket | BulkPacket | IsoPacket | InterruptPacket | BufferedBulkPacket


def body_size(header: Header, agreed: Agreed, packets: Packets) -> int:
    """Return how many bytes behind the header are body; the rest is data.

    Raises DecodeError where `packets` has no such type, or there are fewer bytes, or data where
    there is none to expect.
    """
    if header.type not in packets:
        raise DecodeError(f"no {header.type.name} is expected here")
    kind = packets[header.type]
    size = 0 if kind is None else kind.size(agreed)
    if header.length < size or (header.length > size and header.type not in WITH_DATA):
        raise DecodeError(f"{header.type.name} has {header.length} bytes, expected {size}")
    return size


def decode_body(header: Header, data: bytes, agreed: Agreed, packets: Packets) -> Body | None:
    """Return the body in `data`, without the data behind it; None where the type has none.

    Raises DecodeError where the body contradicts itself, or the length of the data behind it.
    """
    kind = packets[header.type]
    if kind is None:
        return None
    body = kind.decode(data, agreed)
    if isinstance(body, MovesData):
        expected = body.length if has_data(body.endpoint, packets is GUEST_PACKETS) else 0
        if header.length - len(data) != expected:
            raise DecodeError(
                f"{header.type.name} of {body.length} bytes to endpoint {body.endpoint:#04x} has "
                f"{header.length - len(data)} bytes of data, expected {expected}"
            )
    return body


@dataclass(frozen=True, slots=True)
class FilterRule:
    """Whether devices like this are let in; -1 stands for any. The first that fits counts."""

    device_class: int
    vendor_id: int
    product_id: int
    device_version: int
    is_allowed: bool

    def __str__(self) -> str:
        kind = "-1" if self.device_class < 0 else f"{self.device_class:#04x}"
        words = (self.vendor_id, self.product_id, self.device_version)
        shown = ["-1" if each < 0 else f"{each:#06x}" for each in words]
        return ",".join([kind, *shown, str(int(self.is_allowed))])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule in five numbers with commas between; raise DecodeError for another."""
        try:
            kind, vendor, product, version, allow = (int(each, 0) for each in text.split(","))
        except ValueError:
            raise DecodeError(f"{text[:80]!r} is no rule of a filter") from None
        rule = cls(kind, vendor, product, version, bool(allow))
        words = (vendor, product, version)
        if not -1 <= kind <= 0xFF or not all(-1 <= each <= 0xFFFF for each in words):
            raise DecodeError(f"{text[:80]!r} has a number out of range")
        return rule


def encode_filter(rules: Sequence[FilterRule]) -> bytes:
    """Return the data of FILTER_FILTER."""
    return "|".join(map(str, rules)).encode() + b"\x00"


def decode_filter(data: bytes) -> tuple[FilterRule, ...]:
    """Return the rules in the data of FILTER_FILTER; raise DecodeError unless it is rules."""
    if not data.endswith(b"\x00") or len(data) > FILTER_BYTES_MAX:
        raise DecodeError(f"a filter of {len(data)} bytes does not end in a zero")
    text = data[:-1].decode("ascii", "replace").strip("|")
    return tuple(FilterRule.parse(each) for each in text.split("|")) if text else ()
