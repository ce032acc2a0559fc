"""Drives given away over USB/IP: to Linux's vhci_hcd, or to whatever else speaks the protocol.

Each client has a thread, which reads no further while it answers; so what a client does, or fails
to do, is felt by nobody else. Source: see `firmware_model.wire.usbip`.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final

from firmware_model.serve.clients import Client, Clients
from firmware_model.serve.port import Description, Port
from firmware_model.serve.usbip_session import Session
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.stream import SILENCE_S, have_peer_asked, receive, send, set_timeout
from firmware_model.wire.usbip import (
    MODEL_PATH,
    DeviceCount,
    ExportedDevice,
    ExportedInterface,
    ImportRequest,
    OpCode,
    OpHeader,
    OpStatus,
)

CLIENTS_MAX: Final = 64  # beyond, whoever has waited longest without a device is sent away
EXPORTS_MAX: Final = 126  # device numbers of one bus, after the root hub
REQUEST_TIMEOUT_S: Final = 10  # for a client that has no device yet


@dataclass(frozen=True, slots=True)
class Export:
    """One drive that is given away."""

    number: int  # from 1: port of the bus
    port: Port
    is_told_of: bool = True  # when it is attached and detached

    @property
    def busid(self) -> str:
        """The name by which a client asks for it."""
        return f"1-{self.number}"

    def device(self, found: Description) -> ExportedDevice:
        """Return what a client is told of it."""
        device, configuration = found.device, found.configuration
        return ExportedDevice(
            path=f"{MODEL_PATH}{self.busid}",
            busid=self.busid,
            bus_number=1,
            device_number=self.number + 1,
            speed=found.speed,
            vendor_id=device.vendor_id,
            product_id=device.product_id,
            device_version=device.device_version,
            device_class=device.device_class,
            device_subclass=device.device_subclass,
            device_protocol=device.device_protocol,
            configuration_value=configuration.value,
            configuration_count=device.configuration_count,
            interface_count=len(configuration.interface_numbers),
        )


def interfaces(found: Description) -> list[ExportedInterface]:
    """Return what a list says of each interface: the first of its alternate settings."""
    numbers = range(len(found.configuration.interface_numbers))
    settings = (found.configuration.setting(number, 0) for number in numbers)
    return [
        ExportedInterface(each.interface_class, each.interface_subclass, each.interface_protocol)
        for each in settings
    ]


def listen(host: str, port: int, *, allow_remote: bool = False) -> socket.socket:
    """Return a listening socket; raise ValueError where others than this machine could reach it.

    Raises OSError, which names the address, where it is none or in use.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as unknown:
        raise OSError(unknown.errno, unknown.strerror, host) from None
    if not allow_remote and not ipaddress.ip_address(str(address[0])).is_loopback:
        raise ValueError(f"{host} can be reached from elsewhere: --allow-remote says it is meant")
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(CLIENTS_MAX)
    except OSError as refusal:
        listener.close()
        where = f"{host} port {port}"
        raise OSError(refusal.errno, refusal.strerror, where) from None
    return listener


def listens_everywhere(listener: socket.socket) -> bool:
    """Whether it listens at every address of this machine: its own is then no place to call."""
    return ipaddress.ip_address(str(listener.getsockname()[0])).is_unspecified


class UsbIpServer:
    """Gives away the devices on some ports, from the moment it is made until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        exports: Sequence[Export],
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        host, port, *_ = listener.getsockname()
        self.address = str(host), int(port)
        self._exports = {export.busid: export for export in exports}
        self._lock = Lock()  # of what is exported
        self._tell = tell
        self._clients = Clients(listener, self._serve, CLIENTS_MAX)

    def close(self) -> None:
        """Send every client away, and return when their devices are free."""
        self._clients.close()

    def add(self, port: Port) -> Export:
        """Give one more away, for a while, under the lowest free number; raise ValueError."""
        with self._lock:
            taken = {each.number for each in self._exports.values()}
            free = next((n for n in range(1, EXPORTS_MAX + 1) if n not in taken), None)
            if free is None:
                raise ValueError(f"a bus has room for {EXPORTS_MAX} devices")
            export = Export(free, port, is_told_of=False)
            self._exports = {**self._exports, export.busid: export}
            return export

    def remove(self, busid: str) -> None:
        """Give it to nobody any more; whoever has it keeps it until it leaves."""
        with self._lock:
            self._exports = {name: each for name, each in self._exports.items() if name != busid}

    def _serve(self, client: Client) -> None:
        """Do what a client wants, until it goes; what speaks something else is sent away."""
        _tune(client.stream)
        with suppress(DecodeError):
            self._answer(client)

    def _answer(self, client: Client) -> None:
        stream = client.stream
        match OpHeader.decode(receive(stream, OpHeader.LAYOUT.size)).code:
            case OpCode.REQ_DEVLIST:
                send(stream, self._list())
            case OpCode.REQ_IMPORT:
                wanted = ImportRequest.decode(receive(stream, ImportRequest.SIZE)).busid
                self._import(client, wanted)

    def _list(self) -> bytes:
        """Return the reply to REQ_DEVLIST."""
        described = [(each, each.port.describe()) for each in self._exports.values()]
        there = [(export, found) for export, found in described if found is not None]
        parts = [OpHeader(OpCode.REP_DEVLIST).encode(), DeviceCount(len(there)).encode()]
        for export, found in there:
            parts.append(export.device(found).encode())
            parts += [each.encode() for each in interfaces(found)]
        return b"".join(parts)

    def _import(self, client: Client, busid: str) -> None:
        """Give a client the device it asked for, until one of them goes."""
        stream = client.stream
        export = self._exports.get(busid)
        found = None if export is None else export.port.describe()
        if export is None or found is None:
            send(stream, OpHeader(OpCode.REP_IMPORT, OpStatus.NO_DEVICE).encode())
            return
        device = export.device(found)
        session = Session(stream, export.port, device.devid)
        if not export.port.connect(session):
            send(stream, OpHeader(OpCode.REP_IMPORT, OpStatus.DEVICE_BUSY).encode())
            self._tell_of(export, f"refused to {client.name}: another host has it")
            return
        client.is_settled = True
        reason = "it went before it was answered"
        try:
            self._tell_of(export, f"attached to {client.name}")
            send(stream, OpHeader(OpCode.REP_IMPORT).encode(), device.encode())
            set_timeout(stream, SILENCE_S)
            reason = session.run()
        finally:
            export.port.disconnect(session)
            client.is_settled = False
            self._tell_of(export, f"detached from {client.name}: {reason}")

    def _tell_of(self, export: Export, line: str) -> None:
        if export.is_told_of:
            self._tell(f"{export.busid}: {line}")


def _tune(stream: socket.socket) -> None:
    """Have answers leave at once, and a peer that vanished be noticed within a minute."""
    set_timeout(stream, REQUEST_TIMEOUT_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    have_peer_asked(stream)
