"""Clients that connect to a socket: a thread for each, and no more of them than fit."""

import errno
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import Final

# What accept(2) says where there is no room for one more connection; it stays in the queue.
NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
FULL_S: Final = 1.0  # until it is looked whether there is room again


class Client:
    """Somebody who connected."""

    def __init__(self, stream: socket.socket, name: str, serve: Callable[["Client"], None]) -> None:
        self.stream = stream
        self.name = name
        self.is_settled = False  # it was given something that others must not take from it
        self.is_leaving = False
        self.thread = Thread(target=serve, args=(self,), name=name, daemon=True)

    def send_away(self) -> None:
        """Have its thread find the stream at its end."""
        self.is_leaving = True
        with suppress(OSError):
            self.stream.shutdown(socket.SHUT_RDWR)


class Clients:
    """Accepts clients from the moment it is made until it is closed.

    `serve` runs in the client's own thread, until it returns or raises OSError. Where there are
    `count_max` already, or no more descriptors, whoever has waited longest without being settled is
    sent away; who comes waits until it has gone. Where all are settled, who comes is sent away.
    """

    def __init__(
        self, listener: socket.socket, serve: Callable[[Client], None], count_max: int
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._count_max = count_max
        self._changed = Condition()  # and the lock of what clients there are
        self._is_closing = False
        self._clients: list[Client] = []
        self._ours, self._theirs = socket.socketpair()  # written to, it ends the thread
        self._thread = Thread(target=self._accept, name="accept", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send every client away, and return when all have gone."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._ours.send(b"!")
        self._thread.join()
        for each in (self._listener, self._ours, self._theirs):
            each.close()
        with self._changed:
            clients = tuple(self._clients)
        for client in clients:
            client.send_away()
        for client in clients:
            client.thread.join()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._theirs, selectors.EVENT_READ)
            self._listener.setblocking(False)
            while all(key.fileobj is not self._theirs for key, _ in selector.select()):
                try:
                    stream, address = self._listener.accept()
                except OSError as refused:  # or whoever knocked has gone again
                    if refused.errno in NO_ROOM and not self._make_room(len(self._clients)):
                        self._wait_for_room()
                    continue
                is_tcp = isinstance(address, tuple)
                self._welcome(stream, f"{address[0]}:{address[1]}" if is_tcp else "local")

    def _welcome(self, stream: socket.socket, name: str) -> None:
        client = Client(stream, name, self._run)
        if not self._make_room(self._count_max):
            stream.close()
            return
        with self._changed:
            self._clients.append(client)
        client.thread.start()

    def _make_room(self, count_max: int) -> bool:
        """Return when there are fewer clients than that; False where nobody can be sent away.

        Who was sent away may be busy with something else than its stream: then the next is, too.
        """
        is_late = True
        with self._changed:
            while len(self._clients) >= count_max:
                staying = [each for each in self._clients if not each.is_leaving]
                waiting = next((each for each in staying if not each.is_settled), None)
                is_nobody_leaving = len(staying) == len(self._clients)
                if self._is_closing or (waiting is None and is_nobody_leaving):
                    return False
                if waiting is not None and (is_late or is_nobody_leaving):
                    waiting.send_away()
                is_late = not self._changed.wait(FULL_S)
            return True

    def _wait_for_room(self) -> None:
        with self._changed:
            self._changed.wait(FULL_S)

    def _run(self, client: Client) -> None:
        try:
            with client.stream:
                self._serve(client)
        except OSError:
            pass  # it went, and nothing was promised to it
        finally:
            with self._changed:
                self._clients.remove(client)
                self._changed.notify_all()
