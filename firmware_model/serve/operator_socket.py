"""The operator's side of a served drive: a socket that its owner alone can open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from firmware_model.serve.clients import Client, Clients
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.local_socket import is_of_owner, listen_at
from firmware_model.wire.operator import (
    LINE_BYTES_MAX,
    OperatorReply,
    OperatorRequest,
    Result,
)

CLIENTS_MAX: Final = 8


class Operated(Protocol):
    """What one operator has before him."""

    def operate(self, request: OperatorRequest) -> Result:
        """Do one thing, under whatever lock that takes; raise ValueError for what can't be done."""
        ...

    def close(self) -> None:
        """Hear that the operator has gone."""
        ...


class OperatorSocket:
    """Obeys whoever owns the drive, from the moment it is made until it is closed.

    `operated` is called for each operator that comes. Raises OSError where there can be no socket.
    """

    def __init__(self, path: Path, operated: Callable[[], Operated]) -> None:
        self.path = path
        self._operated = operated
        self._clients = Clients(listen_at(path), self._serve, CLIENTS_MAX)

    def close(self) -> None:
        """Take the socket away, and return when nobody uses it."""
        self.path.unlink(missing_ok=True)
        self._clients.close()

    def _serve(self, client: Client) -> None:
        stream = client.stream
        stream.setblocking(True)
        if not is_of_owner(stream):
            return
        with stream.makefile("rb") as lines, closing(self._operated()) as operated:
            while line := lines.readline(LINE_BYTES_MAX + 1):
                stream.sendall(_answer(operated, line))
                if not line.endswith(b"\n"):
                    return  # where the next line begins is anybody's guess


def _answer(operated: Operated, line: bytes) -> bytes:
    try:
        request = OperatorRequest.decode(line)
        return OperatorReply(result=operated.operate(request)).encode()
    except DecodeError as wrong:
        return OperatorReply(error=str(wrong)).encode()
    except ValueError as refused:
        return OperatorReply(error=str(refused)[: LINE_BYTES_MAX // 8]).encode()
