"""Linux's asynchronous I/O: transfers that are begun together, waited for and withdrawn.

A thread blocked in read() or write() can't be called back from Python; io_cancel(2) can. One system
call begins several transfers, where blocking ones take one call, and one wait, for each.
Source: include/uapi/linux/aio_abi.h; io_setup(2), io_submit(2), io_getevents(2), io_cancel(2).
"""

import ctypes
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Final

# Of io_setup, io_destroy, io_getevents, io_submit, io_cancel, by machine (asm/unistd.h).
_X86_64: Final = (206, 207, 208, 209, 210)
_I386: Final = (245, 246, 247, 248, 249)
_ARM: Final = (243, 244, 245, 246, 247)
_GENERIC: Final = (0, 1, 4, 2, 3)  # asm-generic: what was made since
_READ, _WRITE = 0, 1  # IOCB_CMD_PREAD, IOCB_CMD_PWRITE
_TELLS: Final = 1  # IOCB_FLAG_RESFD
DEPTH: Final = 256  # transfers at once


class _Iocb(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("file", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("length", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    )


class _IoEvent(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint64),
        ("iocb", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Io:
    """One transfer. `result` is the count of bytes it moved, or minus an errno."""

    __slots__ = ("_inside", "data", "iocb", "result")

    def __init__(
        self, opcode: int, file: int, address: int, length: int, data: bytes, inside: object = None
    ) -> None:
        self.data = data  # of what writes
        self._inside = inside  # keeps what is at the address of what reads
        self.result: int | None = None
        self.iocb = _Iocb(opcode=opcode, file=file, buffer=address, length=length)

    @property
    def length(self) -> int:
        """How many bytes it may move."""
        return int(self.iocb.length)

    @classmethod
    def read(cls, file: int, buffer: bytearray, length: int) -> "Io":
        """Return what reads up to `length` bytes into a buffer, which must hold as many."""
        inside = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        return cls(_READ, file, ctypes.addressof(inside), length, b"", inside)

    @classmethod
    def write(cls, file: int, data: bytes) -> "Io":
        """Return what writes all of `data`."""
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        return cls(_WRITE, file, address, len(data), data)


class AsyncIo:
    """The transfers that are under way; raises OSError where the kernel has no such thing."""

    def __init__(self) -> None:
        setup, self._destroy, self._getevents, self._submit, self._cancel = _numbers()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._context = ctypes.c_ulong()
        self._under_way: dict[int, Io] = {}
        self._number = 0
        self._events = (_IoEvent * DEPTH)()
        self._at_once = _Timespec(0, 0)
        self._call(setup, DEPTH, ctypes.byref(self._context))
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def count(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    def begin(self, transfers: Sequence[Io], *, tells: bool) -> None:
        """Begin transfers in order; raise OSError where there are too many at once.

        One that its file refuses has ended then, by the errno, and does not hold up those behind
        it. With `tells`, `eventfd` is readable when the last of them has ended.
        """
        pointers = (ctypes.c_void_p * len(transfers))()
        for place, each in enumerate(transfers):
            self._number += 1
            each.iocb.data = self._number
            pointers[place] = ctypes.addressof(each.iocb)
        if tells:
            transfers[-1].iocb.flags = _TELLS
            transfers[-1].iocb.eventfd = self.eventfd
        begun = self._call(self._submit, self._context, len(transfers), pointers)
        for each in transfers[:begun]:
            self._under_way[each.iocb.data] = each
        if begun < len(transfers):
            self.begin(transfers[begun:], tells=tells)  # which says why

    def ended(self, at_least: int = 0, timeout_s: float = 0) -> list[Io]:
        """Return what has ended; wait until so many have, or for that time."""
        timeout = self._at_once
        if at_least:
            timeout = _Timespec(int(timeout_s), int(timeout_s % 1 * 1e9))
        try:
            found = self._call(
                self._getevents,
                self._context,
                ctypes.c_long(at_least),
                ctypes.c_long(DEPTH),
                self._events,
                ctypes.byref(timeout),
            )
        except InterruptedError:
            return []
        ended = []
        for event in self._events[:found]:
            io = self._under_way.pop(event.data)
            io.result = event.result
            ended.append(io)
        return ended

    def withdraw(self, transfers: Iterable[Io]) -> None:
        """Have transfers end, unless they have; `ended` tells of each nevertheless."""
        unused = _IoEvent()
        for each in transfers:
            if each.iocb.data in self._under_way:
                self._libc.syscall(
                    ctypes.c_long(self._cancel),
                    self._context,
                    ctypes.byref(each.iocb),
                    ctypes.byref(unused),
                )

    def close(self) -> None:
        """Give it up; the kernel withdraws what is under way, and waits for it."""
        self._libc.syscall(ctypes.c_long(self._destroy), self._context)
        os.close(self.eventfd)

    def _call(self, number: int, *arguments: object) -> int:
        result: int = self._libc.syscall(ctypes.c_long(number), *arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result


def _numbers() -> tuple[int, int, int, int, int]:
    """Return the numbers of the system calls on this machine, for programs as wide as this one."""
    machine, is_wide = platform.machine(), ctypes.sizeof(ctypes.c_void_p) == 8
    if machine in ("x86_64", "i386", "i586", "i686"):
        return _X86_64 if is_wide else _I386
    if machine.startswith("arm") or (machine == "aarch64" and not is_wide):
        return _ARM
    return _GENERIC
