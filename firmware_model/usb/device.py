"""A mass-storage device on the bus: chapter 9 around what its alternate settings do.

Source: USB 2.0 chapter 9; USB 3.2 chapter 9 for SuperSpeed.
"""

from collections.abc import Callable, Sequence, Set
from typing import Protocol

from firmware_model.usb.descriptors import CONFIGURATION, INTERFACE, Descriptors, signalled
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.sense import Sense
from firmware_model.wire.usb import (
    DIRECTION_IN,
    FUNCTION_SUSPEND,
    Feature,
    Recipient,
    Request,
    RequestKind,
    SetupPacket,
    Speed,
)

SEL_BYTES = 6  # of SET SEL, a host's exit latencies
LINK_STATES: dict[int, int] = {
    Feature.U1_ENABLE: 0x04,
    Feature.U2_ENABLE: 0x08,
}  # bits of GET STATUS


class Transport(Protocol):
    """What one alternate setting does with its endpoints."""

    @property
    def endpoints(self) -> tuple[int, ...]:
        """The addresses of its endpoints."""
        ...

    @property
    def owes_status(self) -> bool:
        """Whether a command was executed and the host has not been told how it ended."""
        ...

    def restart(self, speed: Speed) -> None:
        """Begin anew at full, high or SuperSpeed: no halt, no command pending."""
        ...

    def select(self) -> None:
        """Become the transport in use, which is what the unit then speaks to."""
        ...

    def drop_data(self, sense: Sense) -> None:
        """Give the host nothing more of an answer: a command whose data it fetches is refused."""
        ...

    def is_halted(self, endpoint: int) -> bool:
        """Whether one of the endpoints answers STALL."""
        ...

    def set_halt(self, endpoint: int, is_halted: bool) -> None:
        """Halt one of the endpoints, or clear its halt where that may be."""
        ...

    def request(self, setup: SetupPacket) -> bytes | int | Handshake:
        """Answer a class request to the interface."""
        ...

    def transfer_out(self, endpoint: int, data: bytes, stream: int) -> int | Handshake:
        """Take a transfer to an endpoint; one that there is not stalls."""
        ...

    def transfer_in(self, endpoint: int, length: int, stream: int) -> bytes | Handshake:
        """Give a transfer from an endpoint; one that there is not stalls."""
        ...

    def cancel(self, endpoint: int, stream: int) -> None:
        """Forget a transfer that was answered NAK."""
        ...

    def ready(self, waiting: Set[tuple[int, int]]) -> Set[tuple[int, int]]:
        """Return which of the transfers, by endpoint and stream, may end otherwise than in NAK."""
        ...


def _clip(answer: bytes, length: int) -> bytes:
    return answer[:length]


class MassStorageDevice:
    """The UsbFunction of one drive: one configuration, one interface, a transport a setting.

    `events` hears of every bus event, and whether a host had configured the device by then; one
    that was configured and is no longer (SET CONFIGURATION 0) was in use, and counts.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        transports: Sequence[Transport],  # by alternate setting
        events: Callable[[BusEvent, bool], None],
        clip: Callable[[bytes, int], bytes] = _clip,
    ) -> None:
        self._descriptors = descriptors
        self._transports = transports
        self._events = events
        self._clip = clip
        self._speed = Speed.HIGH
        self._alternate = 0
        self._transport = transports[0]
        self._link_states = 0  # that the host enabled, at SuperSpeed
        self._is_attached = False
        self._is_configured = False
        self._was_configured = False  # since it was attached or reset
        self._is_awaited = False  # a transfer was answered NAK since the last call to `_ready`
        self._waiting: set[tuple[int, int]] = set()  # endpoint and stream of each such transfer
        self._is_anew = False  # all of those may end differently
        self._ready: tuple[Callable[[], None], ...] = ()

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever a transfer answered NAK may now end differently."""
        self._ready += (callback,)

    def cancel(self, endpoint: int, stream: int = 0) -> None:
        """Forget a transfer that was answered NAK."""
        self._waiting.discard((endpoint, stream))
        self._transport.cancel(endpoint, stream)

    def ready(self) -> Set[tuple[int, int]]:
        """Return which transfers answered NAK may now end differently, by endpoint and stream."""
        found: Set[tuple[int, int]] = frozenset(self._waiting)
        if self._is_configured and not self._is_anew:
            found = self._transport.ready(found)
        self._is_anew = False
        self._waiting -= found
        self._is_awaited = bool(self._waiting)  # by those that will not be tried again now
        return found

    @property
    def owes_status(self) -> bool:
        """Whether a command was executed and the host has not been told how it ended."""
        return self._transport.owes_status

    def drop_data(self, sense: Sense) -> None:
        """Give the host nothing more of an answer: a command whose data it fetches is refused."""
        for transport in self._transports:
            transport.drop_data(sense)

    def bus(self, event: BusEvent, speed: Speed = Speed.HIGH) -> None:
        """Take notice of a bus event; ATTACH, RESET and DETACH leave it unconfigured.

        `speed` is that of the port it is attached to, and means nothing with other events.
        """
        was_configured = self._was_configured
        if event is BusEvent.ATTACH:
            self._speed = signalled(speed)
        if event in (BusEvent.ATTACH, BusEvent.RESET, BusEvent.DETACH):
            self._is_configured = self._was_configured = False
            self._link_states = 0
            self._select(0)
        if event is BusEvent.ATTACH:
            self._is_attached = True
        elif event is BusEvent.DETACH:
            self._is_attached = False
        for _ in range(2):  # what a glitch leaves out the first time is done the second
            self._events(event, was_configured)
        self._wake()

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        """Take a transfer to an endpoint of the selected setting; any other stalls."""
        if not self._is_configured:
            return Handshake.STALL if self._is_attached else Handshake.DETACHED
        result = self._transport.transfer_out(endpoint, data, stream)
        if result is Handshake.NAK:
            self._is_awaited = True
            self._waiting.add((endpoint, stream))
        elif self._is_awaited:
            self._wake()
        return result

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        """Give a transfer from an endpoint of the selected setting; any other stalls."""
        if not self._is_configured:
            return Handshake.STALL if self._is_attached else Handshake.DETACHED
        result = self._transport.transfer_in(endpoint, length, stream)
        if result is Handshake.NAK:
            self._is_awaited = True
            self._waiting.add((endpoint, stream))
        elif self._is_awaited:
            self._wake()
        return result

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        """Run a control transfer; what is not supported stalls (USB 2.0 section 9.2.7)."""
        if not self._is_attached:
            return Handshake.DETACHED
        if setup.kind == RequestKind.STANDARD:
            result = self._get(setup) if setup.is_in else self._set(setup)
        elif setup.kind == RequestKind.CLASS and self._names_interface(setup) and not setup.value:
            result = self._transport.request(setup)
        else:
            result = Handshake.STALL
        if self._is_awaited:
            self._wake()
        return result

    def _wake(self) -> None:
        self._is_awaited = False
        for callback in self._ready:
            callback()

    def _select(self, alternate: int) -> None:
        """Go to an alternate setting, where all begins anew."""
        for transport in self._transports:
            transport.restart(self._speed)
        self._alternate = alternate
        self._transport = self._transports[alternate]
        self._transport.select()
        self._is_anew = bool(self._waiting)

    def _get(self, setup: SetupPacket) -> bytes | Handshake:
        """Answer a standard request whose data stage goes to the host."""
        match setup.request:
            case Request.GET_DESCRIPTOR if setup.recipient == Recipient.DEVICE:
                kind, index = setup.value >> 8, setup.value & 0xFF
                found = self._descriptors.find(kind, index, self._speed)
                return Handshake.STALL if found is None else self._clip(found, setup.length)
            case Request.GET_CONFIGURATION if setup.recipient == Recipient.DEVICE:
                value = CONFIGURATION if self._is_configured else 0
                return bytes((value,))[: setup.length]
            case Request.GET_INTERFACE if self._names_interface(setup):
                return bytes((self._alternate,))[: setup.length]
            case Request.GET_STATUS if setup.value == 0:
                return self._status(setup)
        return Handshake.STALL

    def _status(self, setup: SetupPacket) -> bytes | Handshake:
        if setup.recipient == Recipient.DEVICE:  # bus-powered
            return bytes((self._link_states, 0))[: setup.length]
        if self._names_interface(setup) or self._names_control_endpoint(setup):
            return bytes(2)[: setup.length]
        if self._names_bulk_endpoint(setup):
            return bytes((self._transport.is_halted(setup.index), 0))[: setup.length]
        return Handshake.STALL

    def _set(self, setup: SetupPacket) -> int | Handshake:
        """Obey a standard request; those with data stall (SET DESCRIPTOR), but for SET SEL."""
        if setup.length:
            is_sel = setup.request == Request.SET_SEL and setup.length == SEL_BYTES
            return SEL_BYTES if is_sel and self._is_asked_of_super(setup) else Handshake.STALL
        match setup.request:
            case Request.SET_ADDRESS if setup.recipient == Recipient.DEVICE:
                return 0 if setup.value <= 127 else Handshake.STALL
            case Request.SET_CONFIGURATION if setup.recipient == Recipient.DEVICE:
                return self._configure(setup.value)
            case Request.SET_INTERFACE if self._names_interface(setup):
                if setup.value >= len(self._transports):
                    return Handshake.STALL
                self._select(setup.value)
                return 0
            case Request.SET_ISOCH_DELAY if self._is_asked_of_super(setup):
                return 0
            case Request.SET_FEATURE | Request.CLEAR_FEATURE:
                return self._feature(setup)
        return Handshake.STALL

    def _configure(self, value: int) -> int | Handshake:
        if value not in (0, CONFIGURATION):
            return Handshake.STALL
        self._is_configured = value == CONFIGURATION
        self._was_configured |= self._is_configured
        self._select(0)
        return 0

    def _feature(self, setup: SetupPacket) -> int | Handshake:
        """Set or clear a halt; there is no remote wakeup and no test mode to select."""
        is_set = setup.request == Request.SET_FEATURE
        if self._speed is Speed.SUPER and self._is_configured and self._saves_power(setup, is_set):
            return 0
        if setup.value != Feature.ENDPOINT_HALT:
            return Handshake.STALL
        if self._names_control_endpoint(setup):
            return Handshake.STALL if is_set else 0
        if not self._names_bulk_endpoint(setup):
            return Handshake.STALL
        self._transport.set_halt(setup.index, is_set)
        return 0

    def _saves_power(self, setup: SetupPacket, is_set: bool) -> bool:
        """Note link states; a suspended function does nothing else, since nothing wakes it."""
        if setup.recipient == Recipient.INTERFACE:
            # The upper byte of the index says how (USB 3.2 table 9-9).
            return setup.value == FUNCTION_SUSPEND and setup.index & 0xFF == INTERFACE
        bit = LINK_STATES.get(setup.value)
        if setup.recipient != Recipient.DEVICE or bit is None:
            return False
        self._link_states = self._link_states | bit if is_set else self._link_states & ~bit
        return True

    def _is_asked_of_super(self, setup: SetupPacket) -> bool:
        return setup.recipient == Recipient.DEVICE and self._speed is Speed.SUPER

    def _names_interface(self, setup: SetupPacket) -> bool:
        """Whether a request addresses the one interface, which exists once configured."""
        to_interface = setup.recipient == Recipient.INTERFACE
        return to_interface and setup.index == INTERFACE and self._is_configured

    def _names_bulk_endpoint(self, setup: SetupPacket) -> bool:
        to_endpoint = setup.recipient == Recipient.ENDPOINT and self._is_configured
        return to_endpoint and setup.index in self._transport.endpoints

    def _names_control_endpoint(self, setup: SetupPacket) -> bool:
        return setup.recipient == Recipient.ENDPOINT and setup.index & ~DIRECTION_IN == 0
