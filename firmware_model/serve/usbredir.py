"""A drive given away by USB redirection, as to QEMU's usb-redir device.

One guest at a time has it; whoever comes meanwhile is told by the name in our hello, and sent away.
Source: see `firmware_model.wire.usbredir`.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Final

from firmware_model.serve.clients import Client, Clients
from firmware_model.serve.port import Port
from firmware_model.serve.usbredir_session import Session
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.stream import have_peer_asked, send, set_timeout
from firmware_model.wire.usbredir import NOTHING, Capability, Header, Hello, PacketType

CLIENTS_MAX: Final = 16  # beyond, whoever has waited longest without saying hello is sent away
BUFFER_BYTES: Final = 4 << 20  # of a socket in each direction: an answer fits in
Tell = Callable[[str], None]  # a line for people
BUSY: Final = Hello("sedlab: another host has the drive", Capability.NONE)


class UsbRedirServer:
    """Gives the device on a port to guests that connect, until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        port: Port,
        tell: Tell = lambda line: None,
    ) -> None:
        self._port = port
        self._tell = tell
        self._clients = Clients(listener, self._serve, CLIENTS_MAX)

    def close(self) -> None:
        """Send the guest away, and return when the device is free."""
        self._clients.close()

    def _serve(self, client: Client) -> None:
        with suppress(DecodeError):  # what speaks something else is sent away
            session = _welcome(client.stream, client.name, self._port, self._tell)
            if session is not None:
                client.is_settled = True
                _carry(session, client.name, self._port, self._tell)


class UsbRedirCall:
    """Gives the device on a port to a guest we connected to, until it goes or this is closed.

    `ended` is called when it is over.
    """

    def __init__(
        self,
        stream: socket.socket,
        name: str,
        port: Port,
        tell: Tell,
        ended: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._thread = Thread(target=self._serve, args=(name, port, tell, ended), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the guest, and return when the device is free."""
        with suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self, name: str, port: Port, tell: Tell, ended: Callable[[], None]) -> None:
        try:
            session = _welcome(self._stream, name, port, tell)
            if session is not None:
                _carry(session, name, port, tell)
        except (DecodeError, OSError) as wrong:
            tell(f"{name}: {wrong}")
        finally:
            ended()


def _welcome(stream: socket.socket, name: str, port: Port, tell: Tell) -> Session | None:
    """Return the session of a guest that the device is given to; None where another host has it.

    Raises DecodeError for one that does not begin with a hello, OSError for one that is gone.
    """
    _tune(stream)
    session = Session(stream, port)
    if port.is_taken:
        hello = BUSY.encode()
        send(stream, Header(PacketType.HELLO, len(hello), 0).encode(NOTHING), hello)
        tell(f"refused to {name}: another host has it")
        return None
    version = session.greet()
    if not port.connect(session):
        tell(f"refused to {name}: another host has it")
        return None
    tell(f"attached to {name}: {version}")
    return session


def _carry(session: Session, name: str, port: Port, tell: Tell) -> None:
    """Have a guest use the device until one of them goes."""
    try:
        reason = session.run()
    finally:
        port.disconnect(session)
    tell(f"detached from {name}: {reason}")


def _tune(stream: socket.socket) -> None:
    """Let answers leave at once, and one that vanished be noticed.

    A guest may be silent for ever, before its hello as after it: its machine may be paused.
    """
    set_timeout(stream, 0)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        stream.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    if stream.family != getattr(socket, "AF_UNIX", None):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        have_peer_asked(stream)
