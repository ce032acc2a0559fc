"""A device port in memory: to a gadget, the files of its function; to a host, a USB function.

It does what Linux's composite device and FunctionFS do, and has no FIFO of its own. Whatever the
host does, the gadget has its turn before and after, unless it is asleep. What has moved is told
behind what has happened: Linux does it from a work queue. Source: drivers/usb/gadget/composite.c,
function/f_fs.c.
"""

import errno
from collections import deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Final

from firmware_model.serve.aio import Io
from firmware_model.serve.gadget_session import GadgetSession
from firmware_model.serve.port import Port
from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.wire.function import BusEvent, Handshake, UsbFunction
from firmware_model.wire.functionfs import Event, EventType
from firmware_model.wire.setup import (
    PACKET_BYTES,
    DescriptorType,
    Feature,
    Recipient,
    Request,
    RequestKind,
    SetupPacket,
    Speed,
)
from firmware_model.wire.usb import ConfigurationDescriptor

ENDPOINTS: Final = (ENDPOINT_IN, ENDPOINT_OUT)


@dataclass(slots=True)
class _Receiving:
    io: Io
    buffer: bytearray
    filled: int = 0


class EmulatedPort:
    """The port, with a function behind it that a gadget session carries."""

    name = "emulated"

    def __init__(self, function: UsbFunction, speed: Speed = Speed.HIGH) -> None:
        self.speed = speed
        self.is_attached = True  # to a host
        self.told: list[str] = []
        self.now_s = 0.0
        self.is_asleep = False  # the gadget, until a request has to be answered
        self.hasty: tuple[SetupPacket, ...] = ()  # requests, made as soon as one is acknowledged
        self._is_connected = True
        self._configuration = 0
        self._events: list[Event] = []
        self._ended: list[tuple[int, Io]] = []
        self._sending: deque[Io] = deque()
        self._receiving: _Receiving | None = None
        self._halted: set[int] = set()
        self._sent = 0  # bytes of the first of those
        self._received = b""  # of a transfer that the host waits for
        self._answer: bytes | int | Handshake = Handshake.STALL  # to a request
        self._data = b""  # of a request
        self.port = Port(function, speed)
        self.session = GadgetSession(
            self.port, self, self, ENDPOINTS, self.told.append, lambda: self.now_s
        )

    def run(self) -> None:
        """Give the gadget its turns until it waits for somebody."""
        if self.is_asleep:
            return
        self.session.turn()
        while self._events or self._ended:
            self.session.turn()

    # --- the gadget's side -----------------------------------------------------------------------

    def connect(self) -> None:
        """Be there for the host."""
        self._is_connected = True

    def disconnect(self) -> None:
        """Be away from the host."""
        self._is_connected = False
        self._disable()

    def wake(self) -> None:
        """Nothing waits here."""

    def wait(self, timeout_s: float | None) -> tuple[list[tuple[int, Io]], list[Event]]:
        """Return what has happened."""
        events, self._events = self._events, []
        return ([] if events else self._taken()), events

    def _taken(self) -> list[tuple[int, Io]]:
        ended, self._ended = self._ended, []
        return ended

    def data_of(self, setup: SetupPacket) -> bytes:
        """Take the data of a request, or acknowledge it."""
        self._answer = len(self._data)
        for each in self.hasty:
            self._standard(each)
        return self._data

    def answer(self, data: bytes) -> None:
        """Answer a request."""
        self._answer = data

    def stall(self, setup: SetupPacket) -> None:
        """Refuse a request."""
        self._answer = Handshake.STALL

    def count(self, endpoint: int) -> int:
        """Return how many transfers are under way."""
        return len(self._sending) if endpoint == ENDPOINT_IN else self._receiving is not None

    def receive(self, endpoint: int, buffer: bytearray, length: int) -> None:
        """Begin to receive."""
        assert self._receiving is None
        assert length % PACKET_BYTES[self.speed] == 0
        if self._configuration:
            self._receiving = _Receiving(Io.read(0, buffer, length), buffer)

    def send(self, endpoint: int, packets: Sequence[bytes], *, tells: bool) -> None:
        """Begin to send."""
        if self._configuration:
            self._sending.extend(Io.write(0, each) for each in packets)

    def withdraw(self) -> list[tuple[int, Io]]:
        """End all transfers."""
        self._drop(errno.ECONNRESET)
        return self._taken()

    def drain(self) -> None:
        """Let the host fetch what there is: it is in no hurry."""
        self._sending.clear()

    def flush(self, endpoint: int) -> None:
        """There is no FIFO."""

    def halt(self, endpoint: int) -> bool:
        """Halt an endpoint with nothing under way."""
        if self.count(endpoint):
            return False
        self._halted.add(endpoint)
        return True

    # --- the host's side -------------------------------------------------------------------------

    def bus(self, event: BusEvent, speed: Speed = Speed.HIGH) -> None:
        """Do something to the cable."""
        if event in (BusEvent.SUSPEND, BusEvent.RESUME):
            if self._configuration:
                self._events.append(Event(EventType[event.name]))
        else:
            self.is_attached = event is not BusEvent.DETACH
            self._disable()
        self.run()

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        """Run a control transfer."""
        self.run()
        if not (self._is_connected and self.is_attached):
            return Handshake.DETACHED
        if setup.kind == RequestKind.STANDARD and setup.recipient != Recipient.INTERFACE:
            answer = self._standard(setup)
        else:
            self._answer, self._data = Handshake.STALL, data
            self._events.append(Event(EventType.SETUP, setup))
            self.is_asleep = False
            self.run()
            return self._answer
        self.run()
        return answer

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        """Fetch packets until one is short, or all is there."""
        refused = self._before(endpoint)
        if refused is not None:
            return refused
        moved, self._received = self._received, b""
        while len(moved) < length and self._sending:
            io = self._sending[0]
            part = io.data[self._sent : self._sent + length - len(moved)]
            moved += part
            self._sent += len(part)
            if self._sent == len(io.data):
                self._fetched(endpoint)
                if not io.data or len(io.data) % PACKET_BYTES[self.speed]:
                    return moved
        if len(moved) == length or (moved and endpoint in self._halted):
            return moved
        self._received = moved
        return Handshake.STALL if endpoint in self._halted else Handshake.NAK

    def _fetched(self, endpoint: int) -> None:
        """Have what was sent first be sent."""
        io = self._sending.popleft()
        self._sent, io.result = 0, len(io.data)
        self._ended.append((endpoint, io))
        self.run()

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        """Send packets."""
        refused = self._before(endpoint)
        if refused is not None:
            return refused
        rest = memoryview(data)
        while True:
            receiving = self._receiving
            if receiving is None:
                return Handshake.STALL if endpoint in self._halted else Handshake.NAK
            taken = rest[: receiving.io.length - receiving.filled]
            receiving.buffer[receiving.filled : receiving.filled + len(taken)] = taken
            receiving.filled += len(taken)
            rest = rest[len(taken) :]
            is_short = not rest and (len(data) % PACKET_BYTES[self.speed] or not data)
            if is_short or receiving.filled == receiving.io.length:
                receiving.io.result = receiving.filled
                self._receiving = None
                self._ended.append((endpoint, receiving.io))
                self.run()
            if not rest:
                return len(data)

    def cancel(self, endpoint: int, stream: int = 0) -> None:
        """Want nothing any more."""
        self._received = b""

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Nobody is called: the gadget has had its turn before NAK is answered."""

    def ready(self) -> Set[tuple[int, int]] | None:
        """Return which transfers may end otherwise: any."""
        return None

    def _before(self, endpoint: int) -> Handshake | None:
        self.run()
        if not (self._is_connected and self.is_attached):
            return Handshake.DETACHED
        if not self._configuration or endpoint in self._halted or endpoint not in ENDPOINTS:
            return Handshake.STALL
        return None

    def _disable(self) -> None:
        if self._configuration:
            self._configuration = 0
            self._drop(errno.ESHUTDOWN)
            self._halted.clear()
            self._events = [Event(EventType.DISABLE)]

    def _drop(self, code: int) -> None:
        dropped = [(ENDPOINT_IN, io) for io in self._sending]
        if self._receiving is not None:
            dropped.append((ENDPOINT_OUT, self._receiving.io))
        for _, io in dropped:
            io.result = -code
        self._ended += dropped
        self._sending.clear()
        self._sent = 0
        self._received = b""
        self._receiving = None

    def _standard(self, setup: SetupPacket) -> bytes | int | Handshake:
        """Answer what the kernel and the port's driver answer by themselves."""
        match setup.request:
            case Request.GET_DESCRIPTOR:
                return self._descriptor(setup)
            case Request.SET_ADDRESS:
                return 0
            case Request.GET_CONFIGURATION:
                return bytes((self._configuration,))
            case Request.SET_CONFIGURATION if setup.value <= 1:
                self._disable()
                if setup.value:
                    self._configuration = setup.value
                    self._events = [Event(EventType.ENABLE)]
                return 0
            case Request.SET_FEATURE if setup.value == Feature.ENDPOINT_HALT:
                self._halted.add(setup.index)
                return 0
            case Request.CLEAR_FEATURE if setup.value == Feature.ENDPOINT_HALT:
                self._halted.discard(setup.index)
                return 0
            case Request.GET_STATUS if setup.recipient == Recipient.ENDPOINT:
                return bytes((setup.index in self._halted, 0))
        return Handshake.STALL

    def _descriptor(self, setup: SetupPacket) -> bytes | Handshake:
        found = self.port.describe()
        if found is None:
            return Handshake.DETACHED
        match setup.value >> 8:
            case DescriptorType.DEVICE:
                return found.device.encode()[: setup.length]
            case DescriptorType.CONFIGURATION:
                whole = found.configuration
                first = tuple(each for each in whole.interfaces if not each.alternate_setting)
                alone = ConfigurationDescriptor(whole.value, first, max_power=whole.max_power)
                return alone.encode()[: setup.length]
        return Handshake.STALL
