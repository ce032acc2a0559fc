"""USB redirection: transfers, and the streams that transfers come in.

A packet that moves data has it behind its body in one direction only: OUT from the guest, IN from
the host. The answer is the same packet with how it ended and how much was moved. Source: see
`usbredir`.
"""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Self

from firmware_model.wire.setup import SetupPacket
from firmware_model.wire.usbredir import DIRECTION_IN, Agreed, Body, PacketType, unpacked


@dataclass(frozen=True, slots=True)
class ControlPacket(Body):
    """A control transfer, 10 bytes; data may follow."""

    endpoint: int  # 0, with the direction of the data stage
    request: int
    request_type: int
    status: int  # a Status; means nothing from the guest
    value: int
    index: int
    length: int

    TYPE: ClassVar[PacketType] = PacketType.CONTROL_PACKET
    LAYOUT: ClassVar[Struct] = Struct("<BBBBHHH")

    @property
    def setup(self) -> SetupPacket:
        """What opens the transfer on the bus."""
        return SetupPacket(self.request_type, self.request, self.value, self.index, self.length)

    def ended(self, status: int, length: int) -> Self:
        """Return the answer."""
        return type(self)(
            self.endpoint,
            self.request,
            self.request_type,
            status,
            self.value,
            self.index,
            length,
        )


@dataclass(frozen=True, slots=True)
class BulkPacket(Body):
    """A bulk transfer: 10 bytes, or 8 without BULK_LENGTH_32BITS; data may follow."""

    endpoint: int
    status: int  # a Status; means nothing from the guest
    length: int  # of 32 bits, or 16
    stream_id: int = 0

    TYPE: ClassVar[PacketType] = PacketType.BULK_PACKET
    LAYOUT: ClassVar[Struct] = Struct("<BBHIH")
    NARROW: ClassVar[Struct] = Struct("<BBHI")
    WHOLE: ClassVar[Struct] = Struct("<IIQBBHIH")  # with its header, as peers at xHCI send it

    @classmethod
    def size(cls, agreed: Agreed) -> int:
        """Return its bytes, without data that follows."""
        return (cls.LAYOUT if agreed.bulk_length_32bits else cls.NARROW).size

    def encode(self, agreed: Agreed) -> bytes:
        """Return the bytes; raise struct.error when a field exceeds its width."""
        if agreed.bulk_length_32bits:
            low, high = self.length & 0xFFFF, self.length >> 16
            return self.LAYOUT.pack(self.endpoint, self.status, low, self.stream_id, high)
        return self.NARROW.pack(self.endpoint, self.status, self.length, self.stream_id)

    @classmethod
    def decode(cls, data: bytes, agreed: Agreed) -> Self:
        """Return the packet; raise DecodeError on a wrong length."""
        if not agreed.bulk_length_32bits:
            return unpacked(cls, cls.NARROW, data)
        endpoint, status, low, stream_id, high = unpacked(_five, cls.LAYOUT, data)
        return cls(endpoint, status, high << 16 | low, stream_id)

    def encode_whole(self, number: int, data_bytes: int) -> bytes:
        """Return header and body in one, for peers with 64-bit ids and 32-bit lengths."""
        length = self.length
        return self.WHOLE.pack(
            self.TYPE,
            self.LAYOUT.size + data_bytes,
            number,
            self.endpoint,
            self.status,
            length & 0xFFFF,
            self.stream_id,
            length >> 16,
        )

    @classmethod
    def decode_whole(cls, data: bytes, is_from_guest: bool) -> tuple[Self, int, int] | None:
        """Return packet, id and bytes of data behind it; None where it is no whole one.

        What this gives, and only that, header and body decoded by themselves give too.
        """
        if len(data) != cls.WHOLE.size:
            return None
        kind, size, number, endpoint, status, low, stream_id, high = cls.WHOLE.unpack(data)
        length = high << 16 | low
        data_bytes = length if has_data(endpoint, is_from_guest) else 0
        if kind != cls.TYPE or size != cls.LAYOUT.size + data_bytes:
            return None
        return cls(endpoint, status, length, stream_id), number, data_bytes

    def ended(self, status: int, length: int) -> Self:
        """Return the answer."""
        return type(self)(self.endpoint, status, length, self.stream_id)


def _five(a: int, b: int, c: int, d: int, e: int) -> tuple[int, int, int, int, int]:
    return a, b, c, d, e


@dataclass(frozen=True, slots=True)
class IsoPacket(Body):
    """A packet of an isochronous stream, 4 bytes; its data follows."""

    endpoint: int
    status: int
    length: int

    TYPE: ClassVar[PacketType] = PacketType.ISO_PACKET
    LAYOUT: ClassVar[Struct] = Struct("<BBH")


@dataclass(frozen=True, slots=True)
class InterruptPacket(Body):
    """An interrupt transfer, 4 bytes; data may follow. IN comes unasked, with ids from 0 on."""

    endpoint: int
    status: int
    length: int

    TYPE: ClassVar[PacketType] = PacketType.INTERRUPT_PACKET
    LAYOUT: ClassVar[Struct] = Struct("<BBH")

    def ended(self, status: int, length: int) -> Self:
        """Return the answer."""
        return type(self)(self.endpoint, status, length)


@dataclass(frozen=True, slots=True)
class BufferedBulkPacket(Body):
    """What bulk receiving brought, 10 bytes; its data follows."""

    stream_id: int
    length: int
    endpoint: int
    status: int

    TYPE: ClassVar[PacketType] = PacketType.BUFFERED_BULK_PACKET
    LAYOUT: ClassVar[Struct] = Struct("<IIBB")


@dataclass(frozen=True, slots=True)
class StartIsoStream(Body):
    """An isochronous stream is to begin."""

    endpoint: int
    packets_per_urb: int
    urb_count: int

    TYPE: ClassVar[PacketType] = PacketType.START_ISO_STREAM
    LAYOUT: ClassVar[Struct] = Struct("<BBB")


@dataclass(frozen=True, slots=True)
class StopIsoStream(Body):
    """An isochronous stream is to end."""

    endpoint: int

    TYPE: ClassVar[PacketType] = PacketType.STOP_ISO_STREAM
    LAYOUT: ClassVar[Struct] = Struct("<B")


@dataclass(frozen=True, slots=True)
class IsoStreamStatus(Body):
    """How an isochronous stream is; STALL if it has ended unasked, or did not begin."""

    status: int
    endpoint: int

    TYPE: ClassVar[PacketType] = PacketType.ISO_STREAM_STATUS
    LAYOUT: ClassVar[Struct] = Struct("<BB")


@dataclass(frozen=True, slots=True)
class StartInterruptReceiving(Body):
    """The host is to poll an interrupt endpoint, which is IN, and send what comes."""

    endpoint: int

    TYPE: ClassVar[PacketType] = PacketType.START_INTERRUPT_RECEIVING
    LAYOUT: ClassVar[Struct] = Struct("<B")


@dataclass(frozen=True, slots=True)
class StopInterruptReceiving(Body):
    """The host is to poll no more."""

    endpoint: int

    TYPE: ClassVar[PacketType] = PacketType.STOP_INTERRUPT_RECEIVING
    LAYOUT: ClassVar[Struct] = Struct("<B")


@dataclass(frozen=True, slots=True)
class InterruptReceivingStatus(Body):
    """Whether the host polls; STALL if it has ceased unasked, or did not begin."""

    status: int
    endpoint: int

    TYPE: ClassVar[PacketType] = PacketType.INTERRUPT_RECEIVING_STATUS
    LAYOUT: ClassVar[Struct] = Struct("<BB")


@dataclass(frozen=True, slots=True)
class AllocBulkStreams(Body):
    """Endpoints are to have streams 1 to `count`."""

    endpoints: int  # a bit for each, see `usbredir.endpoint_index`
    count: int

    TYPE: ClassVar[PacketType] = PacketType.ALLOC_BULK_STREAMS
    LAYOUT: ClassVar[Struct] = Struct("<II")


@dataclass(frozen=True, slots=True)
class FreeBulkStreams(Body):
    """Endpoints are to have no streams."""

    endpoints: int

    TYPE: ClassVar[PacketType] = PacketType.FREE_BULK_STREAMS
    LAYOUT: ClassVar[Struct] = Struct("<I")


@dataclass(frozen=True, slots=True)
class BulkStreamsStatus(Body):
    """Which streams endpoints have now: the answer to both of the above."""

    endpoints: int
    count: int  # as it was asked for, or 0
    status: int

    TYPE: ClassVar[PacketType] = PacketType.BULK_STREAMS_STATUS
    LAYOUT: ClassVar[Struct] = Struct("<IIB")


@dataclass(frozen=True, slots=True)
class StartBulkReceiving(Body):
    """The host is to read a bulk endpoint by itself, and send what comes; for serial ports."""

    stream_id: int
    bytes_per_transfer: int
    endpoint: int
    transfer_count: int  # under way at the same time

    TYPE: ClassVar[PacketType] = PacketType.START_BULK_RECEIVING
    LAYOUT: ClassVar[Struct] = Struct("<IIBB")


@dataclass(frozen=True, slots=True)
class StopBulkReceiving(Body):
    """The host is to read no more."""

    stream_id: int
    endpoint: int

    TYPE: ClassVar[PacketType] = PacketType.STOP_BULK_RECEIVING
    LAYOUT: ClassVar[Struct] = Struct("<IB")


@dataclass(frozen=True, slots=True)
class BulkReceivingStatus(Body):
    """Whether the host reads; STALL if it has ceased unasked, or did not begin."""

    stream_id: int
    endpoint: int
    status: int

    TYPE: ClassVar[PacketType] = PacketType.BULK_RECEIVING_STATUS
    LAYOUT: ClassVar[Struct] = Struct("<IBB")


def has_data(endpoint: int, is_from_guest: bool) -> bool:
    """Whether data stands behind a packet about that endpoint."""
    return bool(endpoint & DIRECTION_IN) is not is_from_guest
