"""What leaves for a client from other threads than its own: in order, waiting for no one."""

import socket
import threading
from collections.abc import Iterator

import pytest

from firmware_model.serve.outbox import Outbox
from firmware_model.wire.stream import receive, set_timeout

LONG = bytes(range(256)) * (8 << 12)  # 8 MiB: no socket takes that much at once


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    set_timeout(theirs, 30)
    with ours, theirs:
        yield ours, theirs


def put(outbox: Outbox, *messages: bytes) -> None:
    """Have another thread put messages."""

    def run() -> None:
        for each in messages:
            outbox.put(each)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_all_that_waits_for_a_client_that_sleeps_waits_in_one_thread(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    outbox, theirs = Outbox(ends[0]), ends[1]
    put(outbox, LONG)
    begun = receive(theirs, 1)
    thread_count = threading.active_count()
    put(outbox, *(bytes((each,)) for each in range(100)))
    waiting_count = threading.active_count()
    received = begun + receive(theirs, len(LONG) - 1 + 100)

    assert waiting_count == thread_count
    assert received == LONG + bytes(range(100))


def test_messages_leave_whole_and_in_order_though_the_client_takes_them_bit_by_bit(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    outbox, theirs = Outbox(ends[0]), ends[1]
    messages = [(b"head", LONG, bytes((number,))) for number in range(5)] + [(b"tail",)] * 100
    for each in messages:
        outbox.put(*each)
    sender = threading.Thread(target=outbox.flush)
    sender.start()
    wanted = b"".join(part for each in messages for part in each)
    received = receive(theirs, len(wanted))
    sender.join()

    assert received == wanted


def test_stream_that_stopped_within_a_message_carries_no_other(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    outbox, theirs = Outbox(ends[0]), ends[1]
    set_timeout(ends[0], 0.1)
    before = set(threading.enumerate())
    put(outbox, LONG)
    for sender in set(threading.enumerate()) - before:
        sender.join()
    while theirs.recv(1 << 20):
        pass

    with pytest.raises(BrokenPipeError):
        outbox.put(b"another")
        outbox.flush()
