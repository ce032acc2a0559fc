"""The files of a FunctionFS: ep0 for what happens and is asked, one for each endpoint.

Source: drivers/usb/gadget/function/f_fs.c. An endpoint is halted by moving data in its wrong
direction. A host's CLEAR_FEATURE(ENDPOINT_HALT) is obeyed by the port's driver and told to nobody.
"""

import errno
import fcntl
import os
import select
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from firmware_model.serve.aio import AsyncIo, Io
from firmware_model.wire.functionfs import EVENTS_MAX, Descriptors, Event, Strings
from firmware_model.wire.setup import DIRECTION_IN, Recipient, SetupPacket

PIECE_BYTES: Final = 1 << 20  # of one transfer, for which the kernel needs memory in one piece
PIECE_BYTES_MIN: Final = 32 << 10  # for which it makes room (PAGE_ALLOC_COSTLY_ORDER)
FIFO_FLUSH: Final = ord("g") << 8 | 2  # FUNCTIONFS_FIFO_FLUSH
_ENDING_S: Final = 1.0  # for transfers that were withdrawn
# No event is there, or the request that was read last has been cancelled.
_NOTHING: Final = (errno.EAGAIN, errno.EIDRM)


class FunctionFiles:
    """Files of one function, open from the moment it is made; one thread uses them.

    Raises OSError where the kernel refuses the descriptors.
    """

    def __init__(
        self,
        folder: Path,
        descriptors: Descriptors,
        endpoints: Sequence[int],
        aio: AsyncIo | None = None,
    ) -> None:
        self._ep0 = os.open(folder / "ep0", os.O_RDWR | os.O_NONBLOCK)
        self._files: dict[int, int] = {}
        self._under_way: dict[Io, int] = {}  # and its endpoint
        self._ended: list[Io] = []  # of those; nobody has been told yet
        try:
            os.write(self._ep0, descriptors.encode())
            os.write(self._ep0, Strings().encode())
            for number, address in enumerate(endpoints, 1):
                path = folder / f"ep{number}"
                self._files[address] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            self._aio = aio or AsyncIo()
        except BaseException:
            self._close_files()
            raise
        self._addresses = tuple(endpoints)
        self._piece = PIECE_BYTES
        self._poll = select.poll()
        self._poll.register(self._ep0, select.POLLIN)
        self._poll.register(self._aio.eventfd, select.POLLIN)

    def close(self) -> None:
        """Withdraw what is under way, and close them."""
        self._aio.close()
        self._close_files()

    def _close_files(self) -> None:
        for each in (*self._files.values(), self._ep0):
            os.close(each)

    # --- what happens ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Have `wait` return; any thread may."""
        os.eventfd_write(self._aio.eventfd, 1)

    def wait(self, timeout_s: float | None) -> tuple[list[tuple[int, Io]], list[Event]]:
        """Return transfers that have ended, by endpoint, and events, when there are some."""
        timeout_ms = None if timeout_s is None else int(timeout_s * 1000)
        events: list[Event] = []
        ready = dict(self._poll.poll(timeout_ms))
        if self._aio.eventfd in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(self._aio.eventfd)
        if self._ep0 in ready:
            events = self._events()
        return self._reaped(), events

    def _events(self) -> list[Event]:
        """Return what ep0 tells."""
        try:
            told = os.read(self._ep0, EVENTS_MAX * Event.LAYOUT.size)
        except OSError as failed:
            if failed.errno not in _NOTHING:
                raise
            return []
        return [self._named(each) for each in Event.decode_all(told)]

    def _reaped(self, at_least: int = 0, timeout_s: float = 0) -> list[tuple[int, Io]]:
        self._reap(at_least, timeout_s)
        ended, self._ended = self._ended, []
        return [(self._under_way.pop(each), each) for each in ended]

    def _reap(self, at_least: int = 0, timeout_s: float = 0) -> None:
        """Note what has ended; if memory was lacking, ask for less in one piece from now on."""
        ended = self._aio.ended(at_least, timeout_s)
        self._ended += ended
        if any(each.result == -errno.ENOMEM for each in ended):
            if self._piece <= PIECE_BYTES_MIN:
                raise OSError(errno.ENOMEM, "the kernel has no memory for a transfer")
            self._piece //= 2

    def _named(self, event: Event) -> Event:
        """Return an event whose endpoint is named by its address, not by its place."""
        setup = event.setup
        if setup is None or setup.recipient != Recipient.ENDPOINT:
            return event
        place = setup.index - 1
        if place not in range(len(self._addresses)):
            return event
        return replace(event, setup=replace(setup, index=self._addresses[place]))

    # --- requests --------------------------------------------------------------------------------

    def data_of(self, setup: SetupPacket) -> bytes:
        """Take the data of a request to the device; with none, acknowledge it."""
        with suppress(OSError):  # a newer request has taken its place
            return os.read(self._ep0, setup.length)
        return b""

    def answer(self, data: bytes) -> None:
        """Give the data of a request to the host."""
        with suppress(OSError):
            os.write(self._ep0, data)

    def stall(self, setup: SetupPacket) -> None:
        """Refuse a request."""
        with suppress(OSError):  # EL2HLT says that it was
            if setup.is_in:
                os.read(self._ep0, 0)
            else:
                os.write(self._ep0, b"")

    # --- endpoints -------------------------------------------------------------------------------

    def count(self, endpoint: int) -> int:
        """Return how many transfers of an endpoint are under way."""
        return sum(each == endpoint for each in self._under_way.values())

    def receive(self, endpoint: int, buffer: bytearray, length: int) -> None:
        """Begin to receive up to `length` bytes, or less, as memory allows."""
        io = Io.read(self._files[endpoint], buffer, min(length, self._piece))
        self._begin(endpoint, [io], tells=True)

    def send(self, endpoint: int, packets: Sequence[bytes], *, tells: bool) -> None:
        """Begin to send, each ending in a short packet if it has one.

        Without `tells`, `wait` need not return when the last is sent.
        """
        file = self._files[endpoint]
        rest = deque(self._cut(packets))
        while rest:
            batch = [Io.write(file, rest.popleft())]
            # Memory may be lacking for a large one, and what was begun behind it would overtake it.
            while rest and len(batch[-1].data) <= PIECE_BYTES_MIN:
                batch.append(Io.write(file, rest.popleft()))
            self._begin(endpoint, batch, tells=tells)
            last = batch[-1]
            if len(last.data) > PIECE_BYTES_MIN:
                self._reap()
                if last.result == -errno.ENOMEM:
                    rest = deque(self._cut((last.data, *rest)))

    def _begin(self, endpoint: int, transfers: Sequence[Io], *, tells: bool) -> None:
        self._aio.begin(transfers, tells=tells)
        self._under_way |= dict.fromkeys(transfers, endpoint)

    def _cut(self, packets: Sequence[bytes]) -> list[bytes]:
        """Return them in pieces, which to the host are the same."""
        piece = self._piece
        return [
            each[at : at + piece]
            for each in packets
            for at in (range(0, len(each), piece) if each else (0,))
        ]

    def withdraw(self) -> list[tuple[int, Io]]:
        """End all transfers; return them, with what had ended by itself."""
        self._aio.withdraw(list(self._under_way))
        return self._reaped(self._aio.count, _ENDING_S) if self._under_way else []

    def drain(self) -> None:
        """Wait until all is sent, or the host has not fetched it for a while."""
        while any(endpoint & DIRECTION_IN for endpoint in self._under_way.values()):
            if not self._reaped(1, _ENDING_S):
                return

    def flush(self, endpoint: int) -> None:
        """Empty the hardware's FIFO of what counts as sent, where the port's driver can do that."""
        with suppress(OSError):
            fcntl.ioctl(self._files[endpoint], FIFO_FLUSH)

    def halt(self, endpoint: int) -> bool:
        """Halt an endpoint; False if it can't be yet: something is still on its way."""
        file = self._files[endpoint]
        try:
            if endpoint & DIRECTION_IN:
                os.read(file, 1)
            else:
                os.write(file, b"\0")
        except OSError as result:
            return result.errno == errno.EBADMSG
        return False
