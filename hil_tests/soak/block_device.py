"""A block device past every cache: what a transfer returns is what the drive answered."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hil_tests.soak.account import BLOCK_BYTES

TRANSFER_BLOCKS_MAX: Final = 256


class Gone(Exception):
    """The disk failed a transfer."""


class Transfers:
    """Reads and writes of one thread: O_DIRECT wants memory of its own, at the edge of a page."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._memory = mmap.mmap(-1, TRANSFER_BLOCKS_MAX * BLOCK_BYTES)

    def write(self, lba: int, data: bytes) -> None:
        """Write blocks; return when the drive has acknowledged them, or raise Gone."""
        self._memory[: len(data)] = data
        with self._part(len(data)) as part, failing(f"write of LBA {lba}"):
            if os.pwritev(self._fd, [part], lba * BLOCK_BYTES) != len(data):
                raise OSError(errno.EIO, "only a part was written")

    def read(self, lba: int, block_count: int) -> bytes:
        """Return blocks as the drive has them, or raise Gone."""
        length = block_count * BLOCK_BYTES
        with self._part(length) as part, failing(f"read of LBA {lba}"):
            if os.preadv(self._fd, [part], lba * BLOCK_BYTES) != length:
                raise OSError(errno.EIO, "only a part was read")
        return self._memory[:length]

    @contextmanager
    def _part(self, length: int) -> Iterator[memoryview]:
        with memoryview(self._memory) as whole, whole[:length] as part:
            yield part


@contextmanager
def opened(node: str) -> Iterator[int]:
    """Open a disk for transfers that are on the drive when they return; raise Gone."""
    with failing(f"open of {node}"):
        fd = os.open(node, os.O_RDWR | os.O_DIRECT)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Have an error of the system be the end of the disk."""
    try:
        yield
    except OSError as error:
        raise Gone(f"{what}: {error.strerror}") from error
