"""What a process does with memory that it has freed."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

M_TRIM_THRESHOLD: Final = -1  # of <malloc.h>
M_MMAP_THRESHOLD: Final = -3
MAPPED_BYTES: Final = 32 << 20  # the most that glibc takes
KEPT_BYTES: Final = 64 << 20


def keep_freed_memory() -> None:
    """Have it kept for the next transfer, where the C library is glibc (mallopt(3)).

    Else it goes back to the system, and each page of the next buffer is a page fault: at transfers
    of 512 KiB that is as much work as to decipher them.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
