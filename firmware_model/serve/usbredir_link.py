"""The connection to a guest of USB redirection: packets in and out, of what was agreed on."""

import socket
from dataclasses import dataclass
from typing import Final

from firmware_model.serve.outbox import Outbox
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.stream import receive
from firmware_model.wire.usbredir import (
    CAPABILITY_WORDS_MAX,
    NOTHING,
    VERSION_BYTES,
    Agreed,
    Body,
    Capability,
    Header,
    Hello,
    PacketType,
)
from firmware_model.wire.usbredir_packets import (
    FILTER_BYTES_MAX,
    GUEST_PACKETS,
    body_size,
    decode_body,
)
from firmware_model.wire.usbredir_transfers import BulkPacket

CAPABILITIES: Final = (
    Capability.BULK_STREAMS
    | Capability.CONNECT_DEVICE_VERSION
    | Capability.FILTER
    | Capability.DEVICE_DISCONNECT_ACK
    | Capability.EP_INFO_MAX_PACKET_SIZE
    | Capability.IDS_64BITS
    | Capability.BULK_LENGTH_32BITS
)  # QEMU demands the last three at a port of xHCI; BULK_RECEIVING is for serial ports
OUT_BYTES_MAX: Final = 16 << 20  # of one transfer: as much as the drive takes for a command
_HELLO_BYTES_MAX: Final = VERSION_BYTES + 4 * CAPABILITY_WORDS_MAX
BULK_PACKET: Final = PacketType.BULK_PACKET
_HEAD_BYTES: Final = BulkPacket.WHOLE.size  # of what comes most often


@dataclass(frozen=True, slots=True)
class Received:
    """A packet that came."""

    type: PacketType
    id: int
    body: Body | None
    data: bytes


class GuestLink:
    """One thread receives, the one that makes this; any may put."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._outbox = Outbox(stream)
        self._rest = b""  # of what was received too much
        self.agreed = NOTHING
        self._has_whole = False  # bulk packets come with header and body in one

    def greet(self, name: str) -> None:
        """Say hello, to be sent with the next flush."""
        hello = Hello(name, CAPABILITIES).encode()
        self._outbox.put(Header(PacketType.HELLO, len(hello), 0).encode(NOTHING), hello)

    def meet(self) -> str:
        """Wait for the guest's hello, and return its name for people; raise as `receive` does."""
        header = Header.decode(self._take(Header.NARROW.size), NOTHING)
        if header.type is not PacketType.HELLO or header.length > _HELLO_BYTES_MAX:
            raise DecodeError(f"it begins with {header.length} bytes of {header.type.name}")
        hello = Hello.decode(self._take(header.length))
        self.agreed = Agreed.on(CAPABILITIES, hello.capabilities)
        self._has_whole = self.agreed.ids_64bits and self.agreed.bulk_length_32bits
        return hello.version

    def receive(self) -> Received:
        """Wait for a packet; raise DecodeError for anything else, Ended where none comes."""
        head = self._rest or self._stream.recv(_HEAD_BYTES)
        if self._has_whole:
            whole = BulkPacket.decode_whole(head, is_from_guest=True)
            if whole is not None:
                packet, number, data_bytes = whole
                self._rest = b""
                _check_data(BULK_PACKET, data_bytes)
                return Received(BULK_PACKET, number, packet, self._take(data_bytes))
        self._rest = head
        header = Header.decode(self._take(Header.layout(self.agreed).size), self.agreed)
        size = body_size(header, self.agreed, GUEST_PACKETS)
        _check_data(header.type, header.length - size)
        body = decode_body(header, self._take(size), self.agreed, GUEST_PACKETS)
        return Received(header.type, header.id, body, self._take(header.length - size))

    def put(self, body: Body, number: int = 0, data: bytes = b"") -> None:
        """Have a packet leave with the next flush, or soon if another thread puts it."""
        if self._has_whole and isinstance(body, BulkPacket):
            head = body.encode_whole(number, len(data))
        else:
            encoded = body.encode(self.agreed)
            header = Header(body.TYPE, len(encoded) + len(data), number)
            head = header.encode(self.agreed) + encoded
        if data:
            self._outbox.put(head, data)
        else:
            self._outbox.put(head)

    def put_bare(self, kind: PacketType) -> None:
        """Have a packet without body leave."""
        self._outbox.put(Header(kind, 0, 0).encode(self.agreed))

    def flush(self) -> None:
        """Send all that was put; raise OSError where the guest takes no more."""
        self._outbox.flush()

    def _take(self, count: int) -> bytes:
        rest = self._rest
        if len(rest) >= count:
            self._rest = rest[count:]
            return rest[:count]
        self._rest = b""
        return rest + receive(self._stream, count - len(rest))


def _check_data(kind: PacketType, count: int) -> None:
    """Raise DecodeError where a packet has more data than anybody needs."""
    if count > (FILTER_BYTES_MAX if kind is PacketType.FILTER_FILTER else OUT_BYTES_MAX):
        raise DecodeError(f"{kind.name} with {count} bytes of data is too long")
