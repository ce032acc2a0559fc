"""Whole messages over a byte stream: a blocking socket, whose timeout is the system's own.

A call costs one system call where all of a message is there. Nothing is copied on the way out, and
on the way in nothing but pieces.
"""

import socket
import struct
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Final

# With it, a message that has begun comes as a whole; where a system lacks it, in pieces.
_WHOLE: Final = getattr(socket, "MSG_WAITALL", 0)
NOTHING_CAME: Final = (BlockingIOError, TimeoutError)  # what a timeout is to which system

SILENCE_S: Final = 30  # until a silent peer is asked whether it is still there
STOPPED: Final = "the peer stopped in the middle of a message"

Bytes = bytes | bytearray | memoryview


class Ended(ConnectionError):
    """The peer closed the stream, or stopped in the middle of a message."""


def set_timeout(stream: socket.socket, seconds: float) -> None:
    """Have the calls below wait that long for the peer to do anything; 0: without end."""
    stream.setblocking(True)
    if sys.platform == "win32":
        value = struct.pack("L", int(seconds * 1000))
    else:
        value = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        stream.setsockopt(socket.SOL_SOCKET, option, value)


def timeout_of(stream: socket.socket) -> float:
    """Return the seconds that `set_timeout` has set; 0: without end."""
    if sys.platform == "win32":
        return float(stream.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO)) / 1000
    value = stream.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.calcsize("ll"))
    seconds, microseconds = struct.unpack("ll", value)
    return float(seconds + microseconds / 1_000_000)


def have_peer_asked(stream: socket.socket) -> None:
    """Have a peer that is silent asked whether it is still there; if not, it is an error."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", SILENCE_S), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def receive(stream: socket.socket, count: int) -> bytes:
    """Return the next `count` bytes; raise Ended, or one of NOTHING_CAME where none came.

    The timeout is for the message: one that comes drop by drop takes no longer, or twice as long
    where a system has no MSG_WAITALL. One of Python's own (`settimeout`) counts as none here.
    """
    began = monotonic()
    data = stream.recv(count, _WHOLE)
    return data if len(data) == count else _with_rest(stream, data, count, began)


def _with_rest(stream: socket.socket, begin: bytes, count: int, began: float) -> bytes:
    whole = bytearray(count)
    whole[: len(begin)] = begin
    if not begin:
        raise Ended("the peer closed the stream")
    _fill(stream, memoryview(whole)[len(begin) :], began)
    return bytes(whole)


def receive_into(stream: socket.socket, buffer: memoryview) -> None:
    """Fill the buffer with the rest of a message; raise Ended where it does not come."""
    began = monotonic()
    count = _some(stream, buffer)
    if count < len(buffer):
        _fill(stream, buffer[count:], began)


def _fill(stream: socket.socket, buffer: memoryview, began: float) -> None:
    """Fill the buffer with what has not come at once, before the timeout is over."""
    patience = timeout_of(stream)
    while buffer:
        if patience and monotonic() - began >= patience:
            raise Ended(STOPPED)
        buffer = buffer[_some(stream, buffer) :]


def _some(stream: socket.socket, buffer: memoryview) -> int:
    try:
        count = stream.recv_into(buffer, 0, _WHOLE)
    except NOTHING_CAME:
        raise Ended(STOPPED) from None
    if count == 0 and buffer:
        raise Ended("the peer closed the stream in the middle of a message")
    return count


def send(stream: socket.socket, *parts: Bytes) -> None:
    """Send up to a thousand parts behind each other; raise Ended where the peer takes no more."""
    try:
        if len(parts) == 1:
            stream.sendall(parts[0])
        elif sys.platform == "win32":
            stream.sendall(b"".join(parts))
        else:
            _send_rest(stream, parts, stream.sendmsg(parts))
    except NOTHING_CAME:
        raise Ended("the peer takes nothing") from None


def _send_rest(stream: socket.socket, parts: Sequence[Bytes], sent: int) -> None:
    """Send what comes after the first `sent` bytes."""
    for part in parts:
        if sent < len(part):
            stream.sendall(memoryview(part)[sent:])
        sent = max(sent - len(part), 0)
