"""A drive that is a USB device: the Host of its port is whatever the board's device port leads to.

A host asks one end of a cable, and this is the other: it gives the port's driver what the function
has before the host asks, and takes what it sends. What the kernel does by itself the function is
told afterwards, or, of halts, before: a halt of the port is cleared by the host unseen, so that
what comes next is made ready behind it. A function that stays halted then is halted again and
again, which is what a host that did not recover from a bad CBW finds.

Reset, unplugging and SET_CONFIGURATION(0) all come as DISABLE. The port's state tells them apart on
some boards only; where it says that nobody is there, the cable was pulled, and all else is a reset.
"""

from collections.abc import Callable, Sequence
from threading import get_ident
from time import monotonic
from typing import Final

from firmware_model.serve.aio import Io
from firmware_model.serve.device_side import Board, Files
from firmware_model.serve.function_files import PIECE_BYTES
from firmware_model.serve.host_lengths import HostLengths
from firmware_model.serve.port import Answer, Port, Transfer
from firmware_model.wire.bot import BulkOnlyRequest
from firmware_model.wire.function import Handshake
from firmware_model.wire.functionfs import Event, EventType
from firmware_model.wire.setup import (
    DIRECTION_IN,
    PACKET_BYTES,
    Feature,
    Recipient,
    Request,
    RequestKind,
    SetupPacket,
    Speed,
)

SENDS_MAX: Final = 4  # transfers that may wait for the host
HALT_AGAIN_S: Final = 0.01
AWAY_S: Final = 0.3  # at least: hubs look for 100 ms whether a device is really there
Tell = Callable[[str], None]  # a line for people


class _Moving(Transfer):
    """A transfer of the function's; its answer is kept."""

    __slots__ = ("answer", "session")

    def __init__(
        self,
        session: "GadgetSession",
        endpoint: int,
        length: int = 0,
        data: bytes = b"",
        setup: SetupPacket | None = None,
    ) -> None:
        super().__init__(endpoint, length, data, setup)
        self.session = session
        self.answer: Answer | None = None

    def done(self, answer: Answer) -> None:
        """Keep it."""
        self.answer = answer
        self.session.wake()


class GadgetSession:
    """The Host of a port: one thread calls `turn` until it is over."""

    def __init__(
        self,
        port: Port,
        board: Board,
        files: Files,
        endpoints: Sequence[int],
        tell: Tell,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self._port = port
        self._board = board
        self._files = files
        self._in, self._out = sorted(endpoints, reverse=True)
        self._tell = tell
        self._now_s = now_s
        self._lengths = HostLengths(PIECE_BYTES)
        self._buffer = bytearray(PIECE_BYTES)
        self._is_enabled = self._is_suspended = False
        self._asking: _Moving | None = None  # the function, which has nothing to give yet
        self._offering: _Moving | None = None  # to the function, which can't take it yet
        self._to_halt: set[int] = set()  # endpoints that the function has halted
        self._owes_empty = False  # packet, unless a halt comes
        self._has_left = False  # the device
        self._back_at: float | None = None  # when the port may be connected again
        self._thread = 0
        self.is_over = False
        port.connect(self)

    def close(self) -> None:
        """Let go of the device."""
        self._port.disconnect(self)

    def wake(self) -> None:
        """Look at what has changed; any thread may call this, and does not wait."""
        if get_ident() != self._thread:
            self._files.wake()

    def detached(self) -> None:
        """Leave the host, because the device has left."""
        self._has_left = True
        self.wake()

    def returned(self) -> None:
        """Come back."""
        self.wake()

    # --- the thread ------------------------------------------------------------------------------

    def turn(self) -> None:
        """Wait for something, and do what follows."""
        self._thread = get_ident()
        ended, events = self._files.wait(self._patience_s())
        self._take_all(ended)
        for event in events:
            self._obey(event)
        if not self._has_left:
            self._move()
        if self._has_left:  # which may have been found out just now
            self._leave()
        elif self._back_at is not None:
            self._come_back()

    def _patience_s(self) -> float | None:
        if self._back_at is not None and not self._has_left:
            return max(0.0, self._back_at - self._now_s())
        return HALT_AGAIN_S if self._to_halt else None

    # --- what happens ----------------------------------------------------------------------------

    def _obey(self, event: Event) -> None:
        match event.type:
            case EventType.ENABLE:
                self._enable()
            case EventType.DISABLE:
                self._disable()
            case EventType.SETUP if event.setup is not None:
                self._request(event.setup)
            case EventType.SUSPEND if self._is_enabled:
                self._is_suspended = True
                self._port.suspend()
            case EventType.RESUME if self._is_enabled:
                if not self._is_suspended:  # both came so fast that one was dropped
                    self._port.suspend()
                self._is_suspended = False
                self._port.resume()
            case EventType.UNBIND if not self.is_over and self._back_at is None:
                self._tell(f"{self._board.name}: somebody took the device from its port")
                self.is_over = True

    def _enable(self) -> None:
        """The host has configured the device."""
        self._disable()  # if it was enabled, the event about its end was dropped
        if self._has_left or self._back_at is not None:
            return
        speed = min(self._board.speed, Speed.SUPER)
        if speed not in PACKET_BYTES:  # the host has gone since
            return
        self._port.attach_at(speed)
        self._lengths.packet = PACKET_BYTES[speed]
        self._port.connect(self)
        self._is_enabled = self._control(SetupPacket(0, Request.SET_CONFIGURATION, 1, 0, 0)) == 0
        self._tell(f"{self._board.name}: attached to a host at {speed.name} speed")

    def _disable(self) -> None:
        """The host has reset the device, or is gone, or has set configuration 0."""
        if not self._is_enabled:
            return
        self._forget()
        self._is_enabled = self._is_suspended = False
        if self._board.is_attached:
            self._port.reset(selects_again=False)
        else:
            self._port.disconnect(self)
            self._port.connect(self)

    def _forget(self) -> None:
        """Withdraw all that was under way."""
        self._files.withdraw()
        self._files.flush(self._in)
        for moving in (self._asking, self._offering):
            if moving is not None:
                self._port.withdraw(moving)
        self._asking = self._offering = None
        self._to_halt.clear()
        self._owes_empty = False
        self._lengths.reset()

    def _leave(self) -> None:
        """Leave the host; what the device gave before it left still gets there."""
        if self._back_at is None:
            if self._port.describe() is not None:
                self._files.drain()
            self._is_enabled = False
            self._forget()
            self._board.disconnect()
            self._tell(f"{self._board.name}: the device has left")
            self._back_at = self._now_s() + AWAY_S
        self._has_left = self._port.describe() is None

    def _come_back(self) -> None:
        if self._back_at is not None and self._now_s() >= self._back_at:
            self._back_at = None
            self._port.connect(self)
            if not self._has_left:
                self._board.connect()

    # --- requests --------------------------------------------------------------------------------

    def _request(self, setup: SetupPacket) -> None:
        is_reset = setup.kind == RequestKind.CLASS and setup.request == BulkOnlyRequest.RESET
        if is_reset and not setup.is_in:
            self._take_all(self._files.withdraw())  # of that, what the host had sent before
            self._move()
            self._forget()
        data = self._files.data_of(setup) if setup.length and not setup.is_in else b""
        answer = self._control(setup, data)
        if is_reset:
            self._clear_halts()
        if isinstance(answer, bytes):
            self._files.answer(answer)
        elif isinstance(answer, Handshake):
            self._files.stall(setup)
        elif not setup.length:
            self._files.data_of(setup)

    def _control(self, setup: SetupPacket, data: bytes = b"") -> Answer:
        asked = _Moving(self, 0, setup.length, data, setup)
        self._port.submit(asked)
        return Handshake.DETACHED if asked.answer is None else asked.answer

    def _is_halted(self, endpoint: int) -> bool:
        to_endpoint = DIRECTION_IN | Recipient.ENDPOINT
        status = self._control(SetupPacket(to_endpoint, Request.GET_STATUS, 0, endpoint, 2))
        return isinstance(status, bytes) and status[:1] == b"\1"

    def _clear_halt(self, endpoint: int) -> None:
        feature = Feature.ENDPOINT_HALT
        setup = SetupPacket(Recipient.ENDPOINT, Request.CLEAR_FEATURE, feature, endpoint, 0)
        self._control(setup)

    def _clear_halts(self) -> None:
        for endpoint in (self._in, self._out):
            self._clear_halt(endpoint)

    # --- data ------------------------------------------------------------------------------------

    def _take_all(self, ended: list[tuple[int, Io]]) -> None:
        for endpoint, io in ended:
            if endpoint == self._out and io.result is not None and io.result >= 0:
                self._take(bytes(memoryview(self._buffer)[: io.result]), io.length)

    def _take(self, data: bytes, asked: int) -> None:
        """Give the function what the host has sent when it was asked for so much."""
        self._withdraw_asking()
        was_data = self._lengths.is_data_out
        self._lengths.sent(data, asked)
        offered = _Moving(self, self._out, data=data)
        self._port.submit(offered)
        if offered.answer is None:
            self._offering = offered
        elif offered.answer is Handshake.STALL or (
            self._lengths.is_data_out and not was_data and self._is_halted(self._out)
        ):
            self._to_halt.add(self._out)

    def _withdraw_asking(self) -> None:
        """Ask anew later: how much is wanted then depends on what the host has sent."""
        if self._asking is not None and self._port.withdraw(self._asking):
            self._asking = None

    def _move(self) -> None:
        """Do all that can be done before the host does something."""
        if not self._is_enabled:
            return
        if self._offering is not None and self._offering.answer is not None:
            if self._offering.answer is Handshake.STALL:
                self._to_halt.add(self._out)
            self._offering = None
        goes_on = True
        while goes_on:
            packets: list[bytes] = []
            is_idle = self._give(packets)
            if packets:
                self._files.send(self._in, packets, tells=not is_idle)
            goes_on = any([self._halt(endpoint) for endpoint in tuple(self._to_halt)])
        can_receive = self._offering is None and self._out not in self._to_halt
        if can_receive and not self._files.count(self._out):
            self._files.receive(self._out, self._buffer, self._lengths.out)

    def _give(self, packets: list[bytes]) -> bool:
        """Gather what the function has for the host; True if it has no more for now."""
        while self._files.count(self._in) + len(packets) < SENDS_MAX:
            if self._in in self._to_halt:
                return False
            if self._lengths.is_over:
                return True
            asked = self._asking or _Moving(self, self._in, self._lengths.into)
            if self._asking is None:
                self._port.submit(asked)
            answer, self._asking = asked.answer, None
            if answer is Handshake.STALL:
                self._to_halt.add(self._in)
                if self._is_halted(self._out):
                    self._to_halt.add(self._out)
                return False
            if self._owes_empty:
                packets.append(b"")
                self._owes_empty = False
            if not isinstance(answer, bytes):
                self._asking = asked if answer is None else None
                return True
            self._owes_empty = self._lengths.given(len(answer))
            packets.append(answer)
        return False

    def _halt(self, endpoint: int) -> bool:
        """Halt an endpoint of the port; True if the function goes on behind that."""
        if self._files.count(endpoint) or not self._files.halt(endpoint):
            return False
        self._lengths.halted()
        self._owes_empty = False
        self._clear_halt(endpoint)
        if self._is_halted(endpoint):
            return False
        self._to_halt.discard(endpoint)
        return True
