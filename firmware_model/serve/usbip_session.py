"""The transfers of one device that a USB/IP client has imported."""

import socket
from contextlib import suppress
from dataclasses import replace
from threading import get_ident
from typing import Final

from firmware_model.serve.outbox import Outbox
from firmware_model.serve.port import Answer, Port, Transfer
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.function import Handshake
from firmware_model.wire.setup import Request, SetupPacket
from firmware_model.wire.stream import NOTHING_CAME, Ended, receive
from firmware_model.wire.usbip_urb import (
    HEADER_BYTES,
    CmdSubmit,
    CmdUnlink,
    IsoPacket,
    RetSubmit,
    RetUnlink,
    TransferFlags,
    UrbStatus,
    decode_command,
)

OUT_BYTES_MAX: Final = 16 << 20  # of one transfer: as much as the drive takes for a command
ISO_PACKETS_MAX: Final = 1024
PORT_RESET: Final = (0x23, Request.SET_FEATURE, 4)  # USB 2.0 table 11-17: what hosts say to a hub
SHORT_NOT_OK: Final = int(TransferFlags.SHORT_NOT_OK)
OK: Final = UrbStatus.OK


class _Urb(Transfer):
    """A transfer that a client submitted."""

    __slots__ = ("command", "session")

    def __init__(
        self, session: "Session", command: CmdSubmit, data: bytes, setup: SetupPacket | None
    ) -> None:
        endpoint = command.address if setup is None else 0
        super().__init__(endpoint, command.length, data, setup)
        self.session = session
        self.command = command

    def done(self, answer: Answer) -> None:
        """Tell the client."""
        if isinstance(answer, int):
            self.session.reply(self.command, OK, answer)
        elif isinstance(answer, bytes):
            length = self.command.length
            moved, status = len(answer), OK
            if moved > length:
                moved, status, answer = 0, UrbStatus.EOVERFLOW, b""
            elif moved < length and self.command.flags & SHORT_NOT_OK:
                status = UrbStatus.EREMOTEIO
            self.session.reply(self.command, status, moved, answer)
        elif answer is Handshake.STALL:
            self.session.reply(self.command, UrbStatus.EPIPE, 0)
        else:
            self.session.reply(self.command, UrbStatus.ENODEV, 0)


class Session:
    """A client and the device it has: the Host of a port."""

    def __init__(self, stream: socket.socket, port: Port, devid: int) -> None:
        self._stream = stream
        self._port = port
        self._devid = devid
        self._thread = get_ident()
        self._urbs: dict[int, _Urb] = {}  # by sequence number: what has not ended
        self._outbox = Outbox(stream)
        self._has_left = False  # the device

    def run(self) -> str:
        """Serve until the client or the device goes; return why it ended."""
        try:
            while not self._has_left:
                self._next()
        except DecodeError as wrong:
            return f"it sent what is no USB/IP: {wrong}"
        except OSError as gone:
            return "the device has left" if self._has_left else f"{gone}"
        return "the device has left"

    def detached(self) -> None:
        """End, because the device has left."""
        self._has_left = True
        if get_ident() != self._thread:
            with suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)

    def returned(self) -> None:
        """Leave it: whoever wants the device imports it anew."""

    def reply(self, command: CmdSubmit, status: UrbStatus, moved: int, data: bytes = b"") -> None:
        """Answer a CMD_SUBMIT: sent by this session's own thread, or by one that may wait."""
        self._urbs.pop(command.seqnum, None)
        head = RetSubmit(
            command.seqnum, status, moved, command.start_frame, command.packet_count
        ).encode()
        self._outbox.put(*((head, data) if data and command.direction else (head,)))

    def _next(self) -> None:
        """Take one message, and answer what can be."""
        try:
            head = receive(self._stream, HEADER_BYTES)
        except NOTHING_CAME:
            return  # it has nothing to say
        command = decode_command(head)
        if command.devid != self._devid:
            raise DecodeError(f"device {command.devid:#x} is not the one that was imported")
        if isinstance(command, CmdUnlink):
            self._unlink(command)
        else:
            self._submit(command)
        self._outbox.flush()

    def _unlink(self, command: CmdUnlink) -> None:
        """Withdraw a transfer. One that has ended was answered before, and is not taken back."""
        urb = self._urbs.get(command.unlinked)
        status = UrbStatus.OK
        if urb is not None and self._port.withdraw(urb):
            del self._urbs[command.unlinked]
            status = UrbStatus.ECONNRESET
        self._outbox.put(RetUnlink(command.seqnum, status).encode())

    def _submit(self, command: CmdSubmit) -> None:
        data = self._data_of(command.length) if command.length and not command.direction else b""
        if command.seqnum in self._urbs:
            raise DecodeError(f"sequence number {command.seqnum} is in use")
        setup = None
        if command.is_isochronous:
            self._pass_over_packets(command.packet_count)
            self.reply(command, UrbStatus.EINVAL, 0)
            return
        if command.endpoint == 0:
            setup = self._setup_of(command, data)
            if setup is None:
                self.reply(command, UrbStatus.EINVAL, 0)
                return
        with self._port.lock:
            if not self._has_left:  # or it would reach who has the device by now
                self._begin(_Urb(self, command, data, setup))

    def _begin(self, urb: _Urb) -> None:
        setup, command = urb.setup, urb.command
        if setup and (setup.request_type, setup.request, setup.value) == PORT_RESET:
            self._port.reset(selects_again=True)
            self.reply(command, OK, 0)
            return
        self._urbs[command.seqnum] = urb
        if not self._port.submit(urb):
            self.reply(command, UrbStatus.ENOMEM, 0)

    def _data_of(self, length: int) -> bytes:
        """Return the data that follows a command, of which no more is held than one may have."""
        if length > OUT_BYTES_MAX:
            raise DecodeError(f"a transfer of {length} bytes is too long")
        try:
            return receive(self._stream, length)
        except NOTHING_CAME:
            raise Ended("it stopped in the middle of a message") from None

    def _pass_over_packets(self, count: int) -> None:
        if count > ISO_PACKETS_MAX:
            raise DecodeError(f"a transfer of {count} packets is too long")
        self._data_of(count * IsoPacket.LAYOUT.size)

    def _setup_of(self, command: CmdSubmit, data: bytes) -> SetupPacket | None:
        """Return the setup packet; None where it contradicts the header it came in."""
        setup = command.setup_packet()
        if setup.is_in and setup.length:
            if not command.direction:
                return None
            return replace(setup, length=min(setup.length, command.length))
        return setup if len(data) == setup.length else None
