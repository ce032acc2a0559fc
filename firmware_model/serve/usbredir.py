"""A drive given away by USB redirection, as to QEMU's usb-redir device.

One guest at a time has it; whoever comes meanwhile is told by the name in our hello, and sent away.
Source: see `firmware_model.wire.usbredir`.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from firmware_model.serve.clients import Client, Clients
from firmware_model.serve.port import Port
from firmware_model.serve.usbredir_session import Session
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.stream import send, set_timeout
from firmware_model.wire.usbredir import NOTHING, Capability, Header, Hello, PacketType

CLIENTS_MAX: Final = 16  # beyond, whoever has waited longest without saying hello is sent away
BUFFER_BYTES: Final = 4 << 20  # of a socket in each direction: an answer fits in
BUSY: Final = Hello("sedlab: another host has the drive", Capability.NONE)


class UsbRedirServer:
    """Gives away the device on a port, from the moment it is made until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        port: Port,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._port = port
        self._tell = tell
        self._clients = Clients(listener, self._serve, CLIENTS_MAX)

    def close(self) -> None:
        """Send the guest away, and return when the device is free."""
        self._clients.close()

    def _serve(self, client: Client) -> None:
        with suppress(DecodeError):  # what speaks something else is sent away
            serve_guest(client.stream, client.name, self._port, self._tell, client)


def serve_guest(
    stream: socket.socket,
    name: str,
    port: Port,
    tell: Callable[[str], None],
    client: Client | None = None,
) -> None:
    """Give whoever is at the other end of a stream the device, until it goes.

    Raises DecodeError for one that does not begin with a hello, OSError for one that is gone.
    """
    tune(stream)
    session = Session(stream, port)
    if port.is_taken:
        refuse(stream, name, tell)
        return
    version = session.greet()
    if not port.connect(session):
        tell(f"refused to {name}: another host has it")
        return
    if client is not None:
        client.is_settled = True
    try:
        tell(f"attached to {name}: {version}")
        reason = session.run()
    finally:
        port.disconnect(session)
        if client is not None:
            client.is_settled = False
    tell(f"detached from {name}: {reason}")


def refuse(stream: socket.socket, name: str, tell: Callable[[str], None]) -> None:
    """Tell a guest that it comes too late."""
    tell(f"refused to {name}: another host has it")
    hello = BUSY.encode()
    send(stream, Header(PacketType.HELLO, len(hello), 0).encode(NOTHING), hello)


def tune(stream: socket.socket) -> None:
    """Let answers leave at once. A guest may be silent for ever: its machine may be paused."""
    set_timeout(stream, 0)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        stream.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    if stream.family != getattr(socket, "AF_UNIX", None):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
