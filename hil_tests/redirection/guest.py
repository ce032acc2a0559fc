"""A guest of USB redirection that says whatever a test wants said, and the server it talks to."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from firmware_model.serve.port import Port
from firmware_model.serve.usbredir import UsbRedirServer
from firmware_model.wire.bot import Cbw, Csw, CswStatus
from firmware_model.wire.function import BusEvent, UsbFunction
from firmware_model.wire.local_socket import connect_to, listen_at
from firmware_model.wire.stream import receive, set_timeout
from firmware_model.wire.usb import SetupPacket
from firmware_model.wire.usbredir import (
    NOTHING,
    Agreed,
    Body,
    Capability,
    Header,
    Hello,
    PacketType,
    Status,
)
from firmware_model.wire.usbredir_device import (
    ConfigurationStatus,
    DeviceConnect,
    EpInfo,
    InterfaceInfo,
    SetConfiguration,
)
from firmware_model.wire.usbredir_packets import HOST_PACKETS, body_size, decode_body
from firmware_model.wire.usbredir_transfers import BulkPacket, ControlPacket
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA

PATIENCE_S = 30  # for an answer that must come
IN, OUT = 0x81, 0x02
QEMU = Capability(0xFF)  # of usb-redir in QEMU 7.2, with the library's acknowledgements
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class Told:
    """A packet from the host."""

    type: PacketType
    id: int
    body: Body | None
    data: bytes


class Guest:
    """A connection over which a test says what it likes."""

    def __init__(self, stream: socket.socket, capabilities: Capability = QEMU) -> None:
        self.stream = stream
        set_timeout(stream, PATIENCE_S)
        self.capabilities = capabilities
        self.agreed = NOTHING
        self.number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()

    # --- beginning -------------------------------------------------------------------------------

    def greet(self) -> Hello:
        """Exchange hellos; return the host's."""
        hello = Hello("a guest", self.capabilities).encode()
        self.stream.sendall(Header(PacketType.HELLO, len(hello), 0).encode(NOTHING) + hello)
        return self.hear_hello()

    def hear_hello(self) -> Hello:
        """Wait for the host's hello."""
        header = Header.decode(receive(self.stream, 12), NOTHING)
        assert header.type is PacketType.HELLO
        found = Hello.decode(receive(self.stream, header.length))
        self.agreed = Agreed.on(self.capabilities, found.capabilities)
        return found

    def device(self) -> DeviceConnect:
        """Wait for a device, told of in the order that guests rely on."""
        self.hear(EpInfo)
        self.hear(InterfaceInfo)
        return self.hear(DeviceConnect)

    def configure(self) -> None:
        """Select the configuration."""
        self.send(SetConfiguration(1))
        self.hear(EpInfo)
        self.hear(InterfaceInfo)
        assert self.hear(ConfigurationStatus) == ConfigurationStatus(Status.SUCCESS, 1)

    # --- packets ---------------------------------------------------------------------------------

    def send(self, body: Body, data: bytes = b"", number: int | None = None) -> int:
        """Send a packet; return its id."""
        self.number = self.number + 1 if number is None else number
        encoded = body.encode(self.agreed)
        header = Header(body.TYPE, len(encoded) + len(data), self.number)
        self.stream.sendall(header.encode(self.agreed) + encoded + data)
        return self.number

    def signal(self, kind: PacketType, number: int = 0, data: bytes = b"") -> None:
        """Send a packet without body."""
        self.stream.sendall(Header(kind, len(data), number).encode(self.agreed) + data)

    def receive(self) -> Told:
        """Wait for a packet."""
        size = Header.layout(self.agreed).size
        header = Header.decode(receive(self.stream, size), self.agreed)
        size = body_size(header, self.agreed, HOST_PACKETS)
        body = decode_body(header, receive(self.stream, size), self.agreed, HOST_PACKETS)
        rest = header.length - size
        return Told(header.type, header.id, body, receive(self.stream, rest) if rest else b"")

    def hear(self, kind: type[B]) -> B:
        """Wait for a packet, which must be of that kind."""
        told = self.receive()
        assert isinstance(told.body, kind), told
        return told.body

    def is_sent_away(self) -> bool:
        """Wait until the host closes; False where it says something instead."""
        try:
            return self.stream.recv(1) == b""
        except ConnectionError:
            return True

    # --- transfers -------------------------------------------------------------------------------

    def ask(self, setup: SetupPacket, data: bytes = b"") -> int:
        """Begin a control transfer; return its id."""
        packet = ControlPacket(
            setup.request_type & 0x80,
            setup.request,
            setup.request_type,
            0,
            setup.value,
            setup.index,
            setup.length,
        )
        return self.send(packet, data)

    def control(self, setup: SetupPacket, data: bytes = b"") -> tuple[int, bytes]:
        """Run a control transfer; return status and data."""
        self.ask(setup, data)
        told = self.receive()
        assert isinstance(told.body, ControlPacket), told
        return told.body.status, told.data

    def read(self, length: int, stream: int = 0, endpoint: int = IN) -> int:
        """Begin a transfer from a bulk endpoint; return its id."""
        return self.send(BulkPacket(endpoint, 0, length, stream))

    def write(self, data: bytes, stream: int = 0, endpoint: int = OUT) -> int:
        """Begin a transfer to a bulk endpoint; return its id."""
        return self.send(BulkPacket(endpoint, 0, len(data), stream), data)

    def moved(self) -> tuple[int, Status, bytes | int]:
        """Wait for the end of a bulk transfer; return id, status, data of IN or count of OUT."""
        told = self.receive()
        assert isinstance(told.body, BulkPacket), told
        is_in = told.body.endpoint & 0x80
        return told.id, Status(told.body.status), told.data if is_in else told.body.length

    def command(self, cdb: bytes, length: int = 0, data: bytes = b"") -> tuple[bytes, Csw]:
        """Run a SCSI command over Bulk-Only; return its data and status."""
        total = len(data) or length
        self.write(Cbw(7, total, not data, 0, cdb).encode())
        assert self.moved()[1] is Status.SUCCESS
        answer: bytes | int = b""
        if total:
            self.write(data) if data else self.read(length)
            _, status, answer = self.moved()
            assert status is Status.SUCCESS
        self.read(13)
        _, status, csw = self.moved()
        assert status is Status.SUCCESS and isinstance(csw, bytes)
        return answer if isinstance(answer, bytes) else b"", Csw.decode(csw)


@dataclass(frozen=True, slots=True)
class Redirecting:
    """A server and what it gives away."""

    server: UsbRedirServer
    function: UsbFunction
    port: Port
    path: Path
    told: list[str]

    def guest(self, capabilities: Capability = QEMU) -> Guest:
        """Return a guest that has said nothing yet."""
        return Guest(connect_to(self.path, PATIENCE_S), capabilities)

    def unplug(self) -> None:
        """Pull the drive, as an operator does."""
        with self.port.lock:
            self.function.bus(BusEvent.DETACH)

    def plug(self) -> None:
        """Put the drive back."""
        with self.port.lock:
            self.function.bus(BusEvent.ATTACH)

    def using(self, capabilities: Capability = QEMU) -> Guest:
        """Return a guest that has configured the device."""
        guest = self.guest(capabilities)
        guest.greet()
        guest.device()
        guest.configure()
        return guest


@contextmanager
def redirecting(
    function: UsbFunction, path: Path, make_port: Callable[[UsbFunction], Port] = Port
) -> Iterator[Redirecting]:
    """Serve a function at a Unix socket."""
    told: list[str] = []
    port = make_port(function)
    server = UsbRedirServer(listen_at(path), port, told.append)
    try:
        yield Redirecting(server, function, port, path, told)
    finally:
        server.close()
        path.unlink()


def is_free(served: Redirecting) -> bool:
    """Wait until the port is free, as it is once its guest's thread has ended."""
    for thread in threading.enumerate():
        if thread.name == "local":
            with suppress(RuntimeError):  # it has not begun, and so has nothing
                thread.join(PATIENCE_S)
    return not served.port.is_taken


def works(guest: Guest) -> bool:
    """Whether a guest can use a RamDrive."""
    data, csw = guest.command(INQUIRY, 36)
    return data == INQUIRY_DATA and csw.status is CswStatus.PASSED
