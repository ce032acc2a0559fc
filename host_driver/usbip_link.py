"""A device imported from a USB/IP server: one transfer after the other over one stream.

It keeps to what the protocol's text and Linux's own server have in common. Where a transfer takes
too long it is withdrawn, and what came in the meantime counts. See `firmware_model.wire.usbip`.
"""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from usb.core import USBError

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.stream import (
    NOTHING_CAME,
    Bytes,
    receive,
    receive_into,
    send,
    set_timeout,
)
from firmware_model.wire.usbip import (
    BUSID_BYTES,
    TCP_PORT,
    DeviceCount,
    ExportedDevice,
    ExportedInterface,
    ImportRequest,
    OpCode,
    OpHeader,
    OpStatus,
)
from firmware_model.wire.usbip_urb import (
    HEADER_BYTES,
    NO_SETUP,
    CmdSubmit,
    CmdUnlink,
    RetSubmit,
    RetUnlink,
    TransferFlags,
    UrbStatus,
    decode_reply,
)
from host_driver.backends.bus import LIBUSB_ERROR_IO, babble, no_device, stalled, timed_out
from host_driver.errors import DriveInUse, NotFound, ProtocolError, TransportError

ANSWER_TIMEOUT_S: Final = 10  # for what a server answers by itself, without asking a device
LISTED_MAX: Final = 1024  # devices that a list may have
CLOSING_S: Final = 2  # for a server to let go of a device
LATE_BYTES: Final = 1 << 20
LATE_MAX: Final = 16  # withdrawn transfers whose answer may still come
GONE: Final = (UrbStatus.ENODEV, UrbStatus.ESHUTDOWN, UrbStatus.ECONNRESET)


@dataclass(frozen=True, slots=True)
class UsbIpName:
    """Which device is meant: what follows `usbip:`."""

    host: str
    port: int
    busid: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"//{host}:{self.port}/{self.busid}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name in //HOST[:PORT]/BUSID; raise ValueError for a text of another form."""
        address, slash, busid = text.removeprefix("//").partition("/")
        host, port = split_address(address)
        is_busid = 0 < len(busid) < BUSID_BYTES and busid.isascii() and busid.isprintable()
        if not text.startswith("//") or not slash or not is_busid or "/" in busid:
            raise ValueError(f"usbip:{text} is not usbip://HOST[:PORT]/BUSID")
        return cls(host, port, busid)


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of HOST[:PORT], an IPv6 address in brackets; raise ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, str(TCP_PORT)
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 0xFFFF
    is_host = host and host.isprintable() and not any(each in host for each in " []/")
    if not is_port or not is_host or (":" in host) != is_bracketed:
        raise ValueError(f"{text!r} is not HOST[:PORT], with an IPv6 address in brackets")
    return host, int(port)


def _connect(host: str, port: int) -> socket.socket:
    try:
        stream = socket.create_connection((host, port), ANSWER_TIMEOUT_S)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_timeout(stream, ANSWER_TIMEOUT_S)
    except (OSError, UnicodeError) as refused:  # the latter of a host that can be no name
        reason = getattr(refused, "strerror", None) or refused
        raise NotFound(f"no USB/IP server at {host} port {port}: {reason}") from None
    return stream


def _silent(host: str, port: int) -> TransportError:
    return TransportError(f"{host} port {port} has answered nothing for {ANSWER_TIMEOUT_S} s")


def _receive_header(stream: socket.socket, code: OpCode) -> int:
    """Return the status of the reply; raise DecodeError where it is none."""
    header = OpHeader.decode(receive(stream, OpHeader.LAYOUT.size))
    if header.code is not code:
        raise DecodeError(f"{header.code.name} came in place of {code.name}")
    return header.status


def listed_devices(host: str, port: int) -> list[ExportedDevice]:
    """Return the devices that a server offers; raise NotFound, TransportError or ProtocolError."""
    devices: list[ExportedDevice] = []
    with _connect(host, port) as stream:
        try:
            send(stream, OpHeader(OpCode.REQ_DEVLIST).encode())
            _receive_header(stream, OpCode.REP_DEVLIST)
            count = DeviceCount.decode(receive(stream, DeviceCount.LAYOUT.size)).count
            for _ in range(min(count, LISTED_MAX)):
                device = ExportedDevice.decode(receive(stream, ExportedDevice.LAYOUT.size))
                for _ in range(device.interface_count):
                    ExportedInterface.decode(receive(stream, ExportedInterface.LAYOUT.size))
                devices.append(device)
        except DecodeError as wrong:
            raise ProtocolError(f"{host} port {port} speaks no USB/IP: {wrong}") from None
        except NOTHING_CAME:
            raise _silent(host, port) from None
        except OSError as gone:
            raise TransportError(f"the server at {host} port {port} went: {gone}") from None
    return devices


class UsbIpLink:
    """An imported device, from `import_device` to `close`; every failure is a USBError."""

    def __init__(self, stream: socket.socket, device: ExportedDevice) -> None:
        self.device = device
        self._stream = stream
        self._seqnum = 0
        self._timeout_s = -1.0  # that the stream has
        self._late: dict[int, int] = {}  # withdrawn, and how many bytes each may still bring
        self._is_over = False

    def transfer_out(
        self, endpoint: int, data: Bytes, timeout_ms: int, setup: bytes = NO_SETUP
    ) -> int:
        """Send data to the endpoint of this address; return how many bytes the device took."""
        command = self._command(0, endpoint, len(data), setup)
        return self._run(command, data, memoryview(b""), timeout_ms)

    def transfer_in(
        self, endpoint: int, buffer: memoryview, timeout_ms: int, setup: bytes = NO_SETUP
    ) -> int:
        """Fill the buffer from the endpoint of this address; return how many bytes came."""
        command = self._command(1, endpoint, len(buffer), setup)
        return self._run(command, b"", buffer, timeout_ms)

    @property
    def is_over(self) -> bool:
        """Whether the device has left, or was given back."""
        return self._is_over

    def close(self) -> None:
        """Give the device back, and return when the server has let go of it, or soon.

        Otherwise whoever asks for it next may be told that it is in use.
        """
        self._is_over = True
        with suppress(OSError):
            self._stream.shutdown(socket.SHUT_WR)
            self._patience(CLOSING_S)
            for _ in range(LATE_MAX):
                if not self._stream.recv(LATE_BYTES):
                    break
        self._stream.close()

    def _command(self, direction: int, endpoint: int, length: int, setup: bytes) -> CmdSubmit:
        flags = TransferFlags.DIR_IN if direction else 0
        devid, seqnum = self.device.devid, self._next()
        return CmdSubmit(seqnum, devid, direction, endpoint & 0x0F, flags, length, setup=setup)

    def _next(self) -> int:
        self._seqnum = self._seqnum % 0x7FFF_FFFF + 1
        return self._seqnum

    def _run(self, command: CmdSubmit, data: Bytes, buffer: memoryview, timeout_ms: int) -> int:
        if self._is_over:
            raise no_device()
        try:
            self._patience(timeout_ms / 1000)
            if data:
                send(self._stream, command.encode(), data)
            else:
                send(self._stream, command.encode())
            try:
                ended: RetSubmit | None = self.await_end(command.seqnum, buffer)
            except NOTHING_CAME:
                ended = self._withdraw(command, buffer)
        except DecodeError as wrong:
            self.close()
            raise USBError(
                f"the server does not keep to USB/IP: {wrong}", LIBUSB_ERROR_IO, errno.EPROTO
            ) from None
        except OSError:
            self.close()
            raise no_device() from None
        if ended is None:
            raise timed_out()
        return self._count(ended)

    def _patience(self, seconds: float) -> None:
        if seconds != self._timeout_s:
            set_timeout(self._stream, seconds)
            self._timeout_s = seconds

    def await_end(self, seqnum: int, buffer: memoryview) -> RetSubmit:
        """Return the end of that transfer, its data in the buffer.

        Raises one of NOTHING_CAME where the transfer is to be withdrawn.
        """
        while True:
            reply = decode_reply(receive(self._stream, HEADER_BYTES))
            if isinstance(reply, RetSubmit) and reply.seqnum == seqnum:
                self._take(reply, buffer)
                return reply
            self._take_late(reply)

    def _take(self, reply: RetSubmit, buffer: memoryview) -> None:
        """Receive the data of an IN; it follows whatever the status is."""
        if not buffer:
            return
        if reply.actual_length > len(buffer):
            raise DecodeError(f"{reply.actual_length} bytes came for {len(buffer)}")
        receive_into(self._stream, buffer[: reply.actual_length])

    def _take_late(self, reply: RetSubmit | RetUnlink) -> None:
        """Pass over what became of a transfer that nobody waits for any more."""
        most = self._late.pop(reply.seqnum, None)
        if most is None:
            raise DecodeError(f"it answers number {reply.seqnum}, which nobody asked for")
        if isinstance(reply, RetSubmit):
            self._take(reply, memoryview(bytearray(most)))

    def _withdraw(self, command: CmdSubmit, buffer: memoryview) -> RetSubmit | None:
        """Withdraw a transfer; return its end where it had one in the meantime.

        Linux's server answers a CMD_UNLINK after the transfer it was late for, or in its place.
        """
        unlink = CmdUnlink(self._next(), self.device.devid, command.seqnum)
        self._patience(ANSWER_TIMEOUT_S)
        send(self._stream, unlink.encode())
        ended = None
        while True:
            reply = decode_reply(receive(self._stream, HEADER_BYTES))
            if isinstance(reply, RetUnlink) and reply.seqnum == unlink.seqnum:
                break
            if isinstance(reply, RetSubmit) and reply.seqnum == command.seqnum and ended is None:
                self._take(reply, buffer)
                ended = reply
            else:
                self._take_late(reply)
        if ended is None:
            self._late[command.seqnum] = len(buffer)
            while len(self._late) > LATE_MAX:
                del self._late[next(iter(self._late))]
        return ended

    def _count(self, ended: RetSubmit) -> int:
        """Return how many bytes were moved; raise what the status stands for."""
        match ended.status:
            case UrbStatus.OK | UrbStatus.EREMOTEIO:
                return ended.actual_length
            case UrbStatus.EPIPE:
                raise stalled()
            case UrbStatus.EOVERFLOW:
                raise babble()
            case UrbStatus.ETIMEDOUT:
                raise timed_out()
            case status if status in GONE:
                self.close()
                raise no_device()
        raise USBError(
            f"the transfer failed with error {-ended.status} of Linux", LIBUSB_ERROR_IO, errno.EIO
        )


def import_device(
    name: UsbIpName, link: Callable[[socket.socket, ExportedDevice], UsbIpLink] = UsbIpLink
) -> UsbIpLink:
    """Take a device from the server that offers it; raise a TransportError or ProtocolError.

    `link` makes what is returned of a stream and a device.
    """
    stream = _connect(name.host, name.port)
    try:
        send(stream, OpHeader(OpCode.REQ_IMPORT).encode(), ImportRequest(name.busid).encode())
        status = _receive_header(stream, OpCode.REP_IMPORT)
        if status == OpStatus.OK:
            device = ExportedDevice.decode(receive(stream, ExportedDevice.LAYOUT.size))
            if device.busid != name.busid:
                raise DecodeError(f"it gave {device.busid} for {name.busid}")
            return link(stream, device)
    except DecodeError as wrong:
        stream.close()
        where = f"{name.host} port {name.port}"
        raise ProtocolError(f"{where} speaks no USB/IP: {wrong}") from None
    except NOTHING_CAME:
        stream.close()
        raise _silent(name.host, name.port) from None
    except OSError as gone:
        stream.close()
        raise TransportError(f"the server of usbip:{name} went: {gone}") from None
    stream.close()
    if status == OpStatus.DEVICE_BUSY:
        raise DriveInUse(f"usbip:{name} is attached to another host")
    if status in (OpStatus.NOT_AVAILABLE, OpStatus.NO_DEVICE):
        offered = ", ".join(each.busid for each in listed_devices(name.host, name.port))
        raise NotFound(f"no drive at usbip:{name}; offered are: {offered or 'none'}")
    raise TransportError(f"the server refused usbip:{name} with status {status}")
