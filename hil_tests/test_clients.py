"""Clients of a socket, some of them busy with something else than their stream."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import pytest

from firmware_model.serve import clients
from firmware_model.serve.clients import Client, Clients
from hil_tests.command_line import PATIENCE_S

COUNT_MAX = 2


class Serving:
    """As many clients as fit, of whom the first are busy until told to go on."""

    def __init__(self, busy: int, stack: ExitStack) -> None:
        self.goes_on = Event()
        self.served = [Event() for _ in range(COUNT_MAX + 1)]
        self._busy = busy
        self._count = 0
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.clients = Clients(self._listener, self._serve, COUNT_MAX)
        for number in range(COUNT_MAX):
            self.connect()
            assert self.served[number].wait(PATIENCE_S)

    def connect(self) -> socket.socket:
        stream = socket.create_connection(self._listener.getsockname(), PATIENCE_S)
        return self._stack.enter_context(stream)

    def _serve(self, client: Client) -> None:
        number, self._count = self._count, self._count + 1
        self.served[number].set()
        if number < self._busy:
            self.goes_on.wait(PATIENCE_S)
        client.stream.recv(1)


@pytest.fixture(autouse=True)
def is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FULL_S", 0.05)


def test_client_that_is_slow_to_leave_keeps_nobody_out() -> None:
    with ExitStack() as stack:
        serving = Serving(1, stack)
        serving.connect()

        assert serving.served[COUNT_MAX].wait(PATIENCE_S)
        serving.goes_on.set()
        serving.clients.close()


def test_server_is_closed_while_somebody_waits_for_room() -> None:
    with ExitStack() as stack:
        serving = Serving(COUNT_MAX, stack)
        waiting = serving.connect()
        closing = stack.enter_context(ThreadPoolExecutor(1)).submit(serving.clients.close)

        assert waiting.recv(1) == b""  # sent away, as there will be no room any more
        serving.goes_on.set()
        closing.result(PATIENCE_S)
    assert not serving.served[COUNT_MAX].is_set()
