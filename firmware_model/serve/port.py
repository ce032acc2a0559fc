"""A port: where one USB function is plugged in, and one host at a time uses it.

A function answers at once, and NAK where it has nothing yet. Hosts want transfers that wait for
their turn, in order on each endpoint, and that can be withdrawn. This is what stands between, the
same for every way to a host; what a way makes of an answer is its own matter.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Final, Protocol, TypeVar

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.function import BusEvent, Handshake, UsbFunction
from firmware_model.wire.usb import (
    DIRECTION_IN,
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    Request,
    SetupPacket,
    Speed,
    StringDescriptor,
)

WAITING_MAX: Final = 256  # transfers of one host
WAITING_BYTES_MAX: Final = 32 << 20  # of their data
US_ENGLISH: Final = 0x0409
_GET_CONFIGURATION: Final = SetupPacket(0x80, Request.GET_CONFIGURATION, 0, 0, 1)

Answer = bytes | int | Handshake
R = TypeVar("R")


class Transfer(ABC):
    """What a host wants to be moved; each way to a host says what follows from how it ended."""

    __slots__ = ("data", "endpoint", "length", "setup", "stream")

    def __init__(
        self,
        endpoint: int,
        length: int = 0,
        data: bytes = b"",
        setup: SetupPacket | None = None,
        stream: int = 0,
    ) -> None:
        self.endpoint = endpoint  # its address; 0 with a setup packet
        self.length = length  # bytes that may come, of IN
        self.data = data  # of OUT
        self.setup = setup
        self.stream = stream

    @abstractmethod
    def done(self, answer: Answer) -> None:
        """Hear how it ended, once: data of IN, the count of OUT, STALL or DETACHED.

        Called by whatever thread made it end, which holds the port's lock: this must not wait.
        """


class Host(Protocol):
    """Who uses a port."""

    def detached(self) -> None:
        """Hear, once, that the device has left; the lock is held, and this must not wait."""
        ...

    def returned(self) -> None:
        """Hear that a device is there again, for who connects anew; as with `detached`."""
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What a device says it is."""

    device: DeviceDescriptor
    configuration: ConfigurationDescriptor  # the first

    @property
    def speed(self) -> Speed:
        """How fast it signals: at SuperSpeed, the largest packet is given as a power of two."""
        is_super = self.device.usb_version >= 0x0300 and self.device.max_packet_size_0 == 9
        return Speed.SUPER if is_super else Speed.HIGH


class Port:
    """One function for one host. Whoever else touches the function holds `lock` meanwhile.

    The device is attached at the port's speed, and stays so while nobody uses it, so that it can be
    listed; each host that leaves is a cable that was pulled, and leaves it attached anew.
    """

    def __init__(self, function: UsbFunction, speed: Speed = Speed.HIGH) -> None:
        self.lock = RLock()
        self._function = function
        self._speed = speed
        self._host: Host | None = None
        self._has_left = False  # since this host came
        self._configuration = 0  # what this host selected
        self._waiting: dict[tuple[int, int], deque[Transfer]] = {}  # by endpoint and stream
        self._count = self._bytes = 0  # of those
        self._is_calling = False  # the function, which then wakes us from inside
        self._is_woken = False
        self._is_retrying = False
        function.on_ready(self._wake)
        self._attach()

    # --- what is there ---------------------------------------------------------------------------

    def describe(self) -> Description | None:
        """Ask the device what it is; None where nobody answers sensibly."""
        with self.lock:
            try:
                device = DeviceDescriptor.decode(self._descriptor(DescriptorType.DEVICE, 18))
                head = self._descriptor(DescriptorType.CONFIGURATION, 9)
                length = int.from_bytes(head[2:4], "little")
                whole = self._descriptor(DescriptorType.CONFIGURATION, length)
                return Description(device, ConfigurationDescriptor.decode(whole))
            except DecodeError:
                return None

    def text(self, index: int) -> str:
        """Ask the device for a string in US English; empty where nobody answers sensibly."""
        with self.lock:
            answer = self._descriptor(DescriptorType.STRING, 255, index, US_ENGLISH)
            try:
                return StringDescriptor.decode(answer).text
            except DecodeError:
                return ""

    def _descriptor(
        self, kind: DescriptorType, length: int, index: int = 0, language: int = 0
    ) -> bytes:
        value = kind << 8 | index
        setup = SetupPacket(DIRECTION_IN, Request.GET_DESCRIPTOR, value, language, length)
        answer = self._call(lambda: self._function.control(setup))
        return answer if isinstance(answer, bytes) else b""

    @property
    def is_taken(self) -> bool:
        """Whether a host uses it."""
        return self._host is not None

    @property
    def waiting_count(self) -> int:
        """How many transfers wait: those that were answered NAK, and those behind them."""
        return self._count

    # --- a host ----------------------------------------------------------------------------------

    def connect(self, host: Host) -> bool:
        """Give the device to a host, or once more to its own, as it is when it was attached.

        False while another has it; one whose device has left has none.
        """
        with self.lock:
            if self._host not in (None, host) and not self._has_left:
                return False
            self._host, self._has_left, self._configuration = host, False, 0
            self._look()
            return True

    def disconnect(self, host: Host) -> None:
        """Take the device from a host: what it had under way is withdrawn."""
        with self.lock:
            if self._host is not host:
                return
            self._host = None
            for endpoint, stream in self._waiting:
                self._function.cancel(endpoint, stream)
            self._forget()
            if not self._has_left:
                self._call(lambda: self._function.bus(BusEvent.DETACH))
                self._attach()

    def reset(self, *, selects_again: bool) -> None:
        """Reset the port, and select the configuration again where the host leaves that to us."""
        with self.lock:
            self._call(lambda: self._function.bus(BusEvent.RESET))
            if not selects_again:
                self._configuration = 0
            if self._configuration:
                selected = SetupPacket(0, Request.SET_CONFIGURATION, self._configuration, 0, 0)
                self._call(lambda: self._function.control(selected))
            self._look()
            self._retry()

    def attach_at(self, speed: Speed) -> None:
        """Have the device in a port of that speed: if it was in another, it was plugged in anew."""
        with self.lock:
            if speed is self._speed:
                return
            self._speed, self._configuration = speed, 0
            self._call(lambda: self._function.bus(BusEvent.DETACH))
            self._attach()

    def suspend(self) -> None:
        """Let the bus fall silent."""
        with self.lock:
            self._call(lambda: self._function.bus(BusEvent.SUSPEND))

    def resume(self) -> None:
        """Let the bus go on."""
        with self.lock:
            self._call(lambda: self._function.bus(BusEvent.RESUME))

    # --- transfers -------------------------------------------------------------------------------

    def submit(self, transfer: Transfer) -> bool:
        """Begin a transfer, which may end before this returns; False where too many wait."""
        with self.lock:
            is_behind = self._waiting and self._waiting.get((transfer.endpoint, transfer.stream))
            answer = Handshake.NAK if is_behind else self._move(transfer)
            if answer is not Handshake.NAK:
                self._end(transfer, answer)
            elif not self._wait(transfer):
                return False
            if self._is_woken:
                self._retry()
            return True

    def withdraw(self, transfer: Transfer) -> bool:
        """End a transfer unheard; False where it ended before."""
        with self.lock:
            pipe = transfer.endpoint, transfer.stream
            queue = self._waiting.get(pipe)
            if queue is None or transfer not in queue:
                return False
            is_first = queue[0] is transfer
            queue.remove(transfer)
            self._count -= 1
            self._bytes -= len(transfer.data)
            if is_first:
                self._function.cancel(*pipe)
                self._retry_first(queue)  # the function has not heard of the one behind it
                self._retry()
            return True

    def _attach(self) -> None:
        self._call(lambda: self._function.bus(BusEvent.ATTACH, self._speed))

    def _wait(self, transfer: Transfer) -> bool:
        size = len(transfer.data)
        if self._count >= WAITING_MAX or self._bytes + size > WAITING_BYTES_MAX:
            return False
        self._count += 1
        self._bytes += size
        pipe = transfer.endpoint, transfer.stream
        self._waiting.setdefault(pipe, deque()).append(transfer)
        return True

    def _move(self, transfer: Transfer) -> Answer:
        """Ask the function once."""
        if self._has_left:
            return Handshake.DETACHED
        function = self._function
        self._is_calling = True
        try:
            if transfer.setup is not None:
                return function.control(transfer.setup, transfer.data)
            if transfer.endpoint & DIRECTION_IN:
                return function.transfer_in(transfer.endpoint, transfer.length, transfer.stream)
            return function.transfer_out(transfer.endpoint, transfer.data, transfer.stream)
        finally:
            self._is_calling = False

    def _end(self, transfer: Transfer, answer: Answer) -> None:
        setup = transfer.setup
        if setup is not None and isinstance(answer, int) and _selects_configuration(setup):
            self._configuration = setup.value & 0xFF
        transfer.done(answer)
        if answer is Handshake.DETACHED:
            self._leave()
        elif answer is Handshake.STALL:
            self._look()  # a device that left and came back knows nothing of this host

    # --- what the device does by itself ----------------------------------------------------------

    def _wake(self) -> None:
        """Hear that the function may answer otherwise now."""
        with self.lock:
            self._is_woken = True
            if not self._is_calling:
                self._look()
                self._retry()

    def _retry(self) -> None:
        """Ask again for what waits, where the function woke us, until all that is left is NAK."""
        if self._is_retrying or not self._is_woken:
            return
        self._is_retrying = True
        try:
            while self._is_woken:
                self._is_woken = False
                for pipe in self._ready():
                    self._retry_first(self._waiting.get(pipe, deque()))
        finally:
            self._is_retrying = False

    def _ready(self) -> list[tuple[int, int]]:
        """Return the endpoints and streams where trying again may lead to something else."""
        found = self._call(self._function.ready)
        return [pipe for pipe in self._waiting if found is None or pipe in found]

    def _retry_first(self, queue: deque[Transfer]) -> None:
        while queue:
            transfer = queue[0]
            answer = self._move(transfer)
            if answer is Handshake.NAK:
                return
            queue.popleft()
            self._count -= 1
            self._bytes -= len(transfer.data)
            self._end(transfer, answer)

    def _look(self) -> None:
        """Find out whether the device has left, though it may be back by now."""
        if self._host is None:
            return
        answer = self._call(lambda: self._function.control(_GET_CONFIGURATION))
        if self._has_left:
            if answer is not Handshake.DETACHED:
                self._host.returned()
            return
        is_another = isinstance(answer, bytes) and answer[:1] != bytes((self._configuration,))
        if answer is Handshake.DETACHED or is_another:
            self._leave()

    def _leave(self) -> None:
        """End all for this host: it has to begin anew."""
        if self._host is None or self._has_left:
            return
        self._has_left = True
        waiting = [transfer for queue in self._waiting.values() for transfer in queue]
        self._forget()
        for transfer in waiting:
            transfer.done(Handshake.DETACHED)
        self._host.detached()

    def _forget(self) -> None:
        for queue in self._waiting.values():
            queue.clear()
        self._waiting.clear()
        self._count = self._bytes = 0

    def _call(self, function: Callable[[], R]) -> R:
        """Call the function about something else than a transfer."""
        self._is_calling = True
        try:
            return function()
        finally:
            self._is_calling = False


def _selects_configuration(setup: SetupPacket) -> bool:
    return (setup.request_type, setup.request) == (0, Request.SET_CONFIGURATION)
