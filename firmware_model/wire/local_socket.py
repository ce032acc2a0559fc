"""A socket in the file system that its owner alone can open."""

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

CONNECTING_S: Final = 10
PATH_BYTES_MAX: Final = 100  # a little less than any system allows; Linux has a way around


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give a name of the path that is short enough for a socket; raise OSError."""
    if len(os.fsencode(path)) <= PATH_BYTES_MAX or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen_at(path: Path) -> socket.socket:
    """Return a listening socket there, in place of one that a killed process left.

    Raises OSError, also where somebody listens there.
    """
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, "is in the way of a socket", str(path))
        with suppress(FileNotFoundError, ConnectionRefusedError):
            connect_to(path, CONNECTING_S).close()
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), str(path))
        path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with _address(path) as address:
            listener.bind(address)
        listener.listen()
    except OSError as refused:
        listener.close()
        raise OSError(refused.errno, refused.strerror or str(refused), str(path)) from None
    finally:
        os.umask(mask)
    return listener


def connect_to(path: Path, timeout_s: float) -> socket.socket:
    """Return a connection to whoever listens there; raise OSError."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(timeout_s)
    try:
        with _address(path) as address:
            stream.connect(address)
    except OSError:
        stream.close()
        raise
    return stream


def is_of_owner(stream: socket.socket) -> bool:
    """Whether the peer is this process's own user, or root; true where a system can't say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the mode of the socket's file says it
    credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
    return int.from_bytes(credentials[4:8], sys.byteorder) in (os.geteuid(), 0)
