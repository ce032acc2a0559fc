"""The files of a function, in a folder of pipes: transfers that are refused, events of any kind."""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from firmware_model.serve.aio import AsyncIo, Io
from firmware_model.serve.function_files import FunctionFiles
from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.wire.functionfs import Descriptors, Event, EventType
from firmware_model.wire.setup import SetupPacket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="FunctionFS is Linux's")

ROOM = 64 << 10
DATA = bytes(range(256)) * 400  # more than there is room for
STATUS = b"status"
PIPE_BYTES = 1 << 20
TO_ENDPOINT = SetupPacket(0x02, 3, 0, 1, 0)


class Fragmented(AsyncIo):
    """Transfers of a kernel that has no more than so much memory in one piece."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._refused: list[Io] = []

    def begin(self, transfers: Sequence[Io], *, tells: bool) -> None:
        """Begin those that there is room for."""
        fitting = [each for each in transfers if each.length <= self._room]
        for each in transfers:
            if each not in fitting:
                each.result = -errno.ENOMEM
                self._refused.append(each)
                os.eventfd_write(self.eventfd, 1)
        if fitting:
            super().begin(fitting, tells=tells)

    def ended(self, at_least: int = 0, timeout_s: float = 0) -> list[Io]:
        """Return what was refused, and what else has ended."""
        refused, self._refused = self._refused, []
        return refused + super().ended(0 if refused else at_least, timeout_s)


class Pipes:
    """The files of a function, and the other ends of what it took for them."""

    def __init__(self, folder: Path, room: int) -> None:
        for name in ("ep0", "ep1", "ep2"):
            os.mkfifo(folder / name)
        self.ep0, self.sent, self.received = (
            os.open(folder / name, os.O_RDWR | os.O_NONBLOCK) for name in ("ep0", "ep1", "ep2")
        )
        for end in (self.sent, self.received):
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        endpoints = (ENDPOINT_IN, ENDPOINT_OUT)
        self.files = FunctionFiles(folder, Descriptors({}), endpoints, Fragmented(room))
        os.read(self.ep0, PIPE_BYTES)  # descriptors

    def close(self) -> None:
        self.files.close()
        for end in (self.ep0, self.sent, self.received):
            os.close(end)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    pipes = Pipes(tmp_path, ROOM)
    yield pipes
    pipes.close()


def test_transfers_are_sent_in_order_though_memory_is_in_pieces(pipes: Pipes) -> None:
    pipes.files.send(ENDPOINT_IN, [STATUS, DATA, STATUS, DATA, STATUS], tells=True)

    assert os.read(pipes.sent, PIPE_BYTES) == STATUS + DATA + STATUS + DATA + STATUS


def test_what_was_sent_is_told_though_memory_was_lacking(pipes: Pipes) -> None:
    pipes.files.send(ENDPOINT_IN, [DATA, STATUS], tells=True)
    ended, _ = pipes.files.wait(0)
    moved = [io.result for _, io in ended if io.result and io.result > 0]

    assert sum(moved) == len(DATA + STATUS)
    assert pipes.files.count(ENDPOINT_IN) == 0


def test_as_much_is_received_as_there_is_memory_for(pipes: Pipes) -> None:
    os.write(pipes.received, DATA)
    buffer = bytearray(PIPE_BYTES)
    results: list[int] = []
    while not results or results[-1] < 0:
        pipes.files.receive(ENDPOINT_OUT, buffer, PIPE_BYTES)
        ((endpoint, io),), _ = pipes.files.wait(0)
        assert endpoint == ENDPOINT_OUT and io.result is not None
        results.append(io.result)

    assert results == [-errno.ENOMEM] * 4 + [ROOM]
    assert io.length == ROOM and buffer[:ROOM] == DATA[:ROOM]


def test_memory_that_is_lacking_for_anything_ends_it(tmp_path: Path) -> None:
    pipes = Pipes(tmp_path, room=1024)
    pipes.files.send(ENDPOINT_IN, [DATA], tells=True)
    with pytest.raises(OSError, match="no memory for a transfer"):
        pipes.files.wait(0)
    pipes.close()


def test_transfer_that_its_file_refuses_ends_and_is_no_failure(pipes: Pipes) -> None:
    """An endpoint that its host has disabled is one: there is nothing to be read from it."""
    pipes.files.receive(ENDPOINT_OUT, bytearray(512), 512)
    ended, _ = pipes.files.wait(0)

    assert [(endpoint, io.result) for endpoint, io in ended] == [(ENDPOINT_OUT, -errno.EAGAIN)]


def test_endpoint_is_named_by_its_address(pipes: Pipes) -> None:
    os.write(pipes.ep0, Event(EventType.SETUP, TO_ENDPOINT).encode())
    _, events = pipes.files.wait(0)

    assert [each.setup and each.setup.index for each in events] == [ENDPOINT_IN]


def test_anything_may_be_read_as_events(pipes: Pipes) -> None:
    os.write(pipes.ep0, b"\xff" * 12 + Event(EventType.DISABLE).encode() + b"\0" * 5)
    _, events = pipes.files.wait(0)

    assert events == [Event(EventType.DISABLE)]


def test_another_thread_ends_the_waiting(pipes: Pipes) -> None:
    pipes.files.wake()

    assert pipes.files.wait(None) == ([], [])


def test_files_are_closed_where_the_kernel_refuses_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ep0")
    before = open_files()
    with pytest.raises(FileNotFoundError):
        FunctionFiles(tmp_path, Descriptors({}), (ENDPOINT_IN, ENDPOINT_OUT))

    assert open_files() == before
