"""Where a guest of USB redirection meets the drive: a socket in the file system, or of TCP."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from firmware_model.serve.usbip import listen
from firmware_model.wire.local_socket import CONNECTING_S, connect_to, listen_at
from host_driver.errors import NotFound
from host_driver.usbip_link import split_address


@dataclass(frozen=True, slots=True)
class GuestAddress:
    """One end of the stream; the guest is at the other."""

    text: str  # a path, or HOST:PORT
    guest_listens: bool = False
    allow_remote: bool = False

    @property
    def is_tcp(self) -> bool:
        """Whether it names host and port; a path like that is written with a slash."""
        return "/" not in self.text and self.text.rpartition(":")[2].isdecimal()

    def stream(self) -> socket.socket:
        """Return the socket to listen at, or the connection to the guest that listens.

        Raises NotFound where none does, OSError or ValueError where we can't listen.
        """
        if self.guest_listens:
            return self._connected()
        if self.is_tcp:
            host, port = split_address(self.text)
            return listen(host, port, allow_remote=self.allow_remote)
        if not hasattr(socket, "AF_UNIX"):
            raise ValueError("here are no sockets in the file system: give HOST:PORT")
        return listen_at(Path(self.text))

    def _connected(self) -> socket.socket:
        try:
            if self.is_tcp:
                return socket.create_connection(split_address(self.text), CONNECTING_S)
            return connect_to(Path(self.text), CONNECTING_S)
        except OSError as refused:
            reason = refused.strerror or refused
            raise NotFound(f"no guest listens at {self.text}: {reason}") from None

    def forget(self) -> None:
        """Take the socket out of the file system."""
        if not self.is_tcp:
            Path(self.text).unlink(missing_ok=True)

    def named(self, stream: socket.socket) -> str:
        """Return its name with the port that it got."""
        if not self.is_tcp:
            return self.text
        host = self.text.rpartition(":")[0]
        port = (stream.getpeername() if self.guest_listens else stream.getsockname())[1]
        return f"{host}:{port}"

    def chardev(self, stream: socket.socket) -> str:
        """Return the argument of QEMU's -chardev for the other end."""
        server = ",server=on,wait=off" if self.guest_listens else ""
        if self.is_tcp:
            host, _, port = self.named(stream).rpartition(":")
            return f"socket,id=sedlab,host={host.strip('[]')},port={port}{server}"
        path = str(Path(self.text).absolute()).replace(",", ",,")  # as QEMU's options escape it
        return f"socket,id=sedlab,path={path}{server}"
