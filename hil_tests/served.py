"""Drives served by USB/IP in this process, and a client that says whatever a test wants said."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Condition
from typing import Self

from firmware_model.serve.port import Description, Port
from firmware_model.serve.usbip import Export, UsbIpServer, listen
from firmware_model.wire.function import UsbFunction
from firmware_model.wire.stream import receive, set_timeout
from firmware_model.wire.usb import SetupPacket, Speed
from firmware_model.wire.usbip import ExportedDevice, ImportRequest, OpCode, OpHeader, OpStatus
from firmware_model.wire.usbip_urb import (
    HEADER_BYTES,
    NO_SETUP,
    CmdSubmit,
    CmdUnlink,
    RetSubmit,
    RetUnlink,
    decode_reply,
)

PATIENCE_S = 30  # for an answer that must come
CONFIGURE = SetupPacket(0x00, 9, 1, 0, 0)


class Log:
    """What a server tells, for tests to look at and to wait for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._grown = Condition()

    def tell(self, line: str) -> None:
        with self._grown:
            self.lines.append(line)
            self._grown.notify_all()

    def waits_for(self, happened: Callable[[], bool]) -> bool:
        """Wait until something has happened that is told afterwards; False where it has not."""
        with self._grown:
            return self._grown.wait_for(happened, PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server and what it gives away."""

    server: UsbIpServer
    ports: tuple[Port, ...]
    log: Log

    @property
    def address(self) -> tuple[str, int]:
        return self.server.address

    def is_free(self, number: int = 0) -> bool:
        """Wait until the host of a port that has gone has let go of it."""
        return self.log.waits_for(lambda: not self.ports[number].is_taken)

    def name(self, busid: str = "1-1") -> str:
        return f"//127.0.0.1:{self.address[1]}/{busid}"

    def url(self, busid: str = "1-1") -> str:
        return f"usbip:{self.name(busid)}"


@contextmanager
def serving(
    functions: Sequence[UsbFunction],
    make_export: Callable[[int, Port], Export] = Export,
    speed: Speed = Speed.HIGH,
) -> Iterator[Serving]:
    """Serve functions at a port of their own."""
    ports = tuple(Port(function, speed) for function in functions)
    exports = [make_export(number, port) for number, port in enumerate(ports, 1)]
    log = Log()
    server = UsbIpServer(listen("127.0.0.1", 0), exports, log.tell)
    try:
        yield Serving(server, ports, log)
    finally:
        server.close()


class RawClient:
    """A connection over which a test says what it likes."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.stream = socket.create_connection(address)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_timeout(self.stream, PATIENCE_S)
        self.device: ExportedDevice | None = None
        self.seqnum = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()

    def say(self, *parts: bytes) -> None:
        self.stream.sendall(b"".join(parts))

    def ask_for(self, busid: str) -> int:
        """Import a device; return the status."""
        self.say(OpHeader(OpCode.REQ_IMPORT).encode(), ImportRequest(busid).encode())
        header = OpHeader.decode(receive(self.stream, OpHeader.LAYOUT.size))
        if header.status == OpStatus.OK:
            self.device = ExportedDevice.decode(receive(self.stream, 312))
        return header.status

    def submit(
        self, endpoint: int, length: int, data: bytes = b"", setup: bytes = NO_SETUP, flags: int = 0
    ) -> int:
        """Begin a transfer to the endpoint of an address; return its sequence number."""
        assert self.device is not None
        self.seqnum += 1
        direction, number = endpoint >> 7, endpoint & 0x0F
        self.say(
            CmdSubmit(
                self.seqnum, self.device.devid, direction, number, flags, length, setup=setup
            ).encode(),
            data,
        )
        return self.seqnum

    def control(self, setup: SetupPacket, data: bytes = b"") -> tuple[RetSubmit, bytes]:
        """Run a control transfer."""
        length = setup.length if setup.is_in else len(data)
        self.submit(0x80 if setup.is_in else 0, length, data, setup.encode())
        return self.ended(length if setup.is_in else 0)

    def configure(self) -> None:
        """Select the configuration."""
        assert self.control(CONFIGURE)[0].status == 0

    def unlink(self, seqnum: int) -> int:
        """Withdraw a transfer; return the command's own number."""
        assert self.device is not None
        self.seqnum += 1
        self.say(CmdUnlink(self.seqnum, self.device.devid, seqnum).encode())
        return self.seqnum

    def reply(self) -> RetSubmit | RetUnlink:
        """Wait for the next reply."""
        return decode_reply(receive(self.stream, HEADER_BYTES))

    def ended(self, in_length: int = 0) -> tuple[RetSubmit, bytes]:
        """Wait for the end of a transfer; return its data where it was IN."""
        reply = self.reply()
        assert isinstance(reply, RetSubmit)
        has_data = in_length and reply.actual_length
        return reply, receive(self.stream, reply.actual_length) if has_data else b""

    def is_sent_away(self) -> bool:
        """Wait until the server closes; False where it says something instead."""
        try:
            return self.stream.recv(1) == b""
        except ConnectionError:
            return True


class Elsewhere(Export):
    """An export of another server, by what it says of where the device is."""

    def device(self, found: Description) -> ExportedDevice:
        return replace(super().device(found), path="/sys/devices/usb1/1-1")
