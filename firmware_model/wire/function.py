"""The USB function: the one interface between a drive and whatever carries it to a host.

A function never blocks and never raises, whatever it is sent: each call returns data, a count or a
Handshake. One thread at a time calls it; the caller owns the lock.
"""

from collections.abc import Callable, Set
from enum import Enum
from typing import Protocol

from firmware_model.wire.usb import SetupPacket, Speed


class Handshake(Enum):
    """What an endpoint says instead of moving data (USB 2.0 section 8.4.5)."""

    STALL = "stall"  # halted, or the request is not supported
    NAK = "nak"  # nothing yet; the on_ready callback says when to try again
    DETACHED = "detached"  # nobody answers: no power, or unplugged


class BusEvent(Enum):
    """What happens to a device besides transfers (USB 2.0 sections 7.1.7, 9.1)."""

    ATTACH = "attach"  # connected to a powered port
    RESET = "reset"
    SUSPEND = "suspend"
    RESUME = "resume"
    DETACH = "detach"


class UsbFunction(Protocol):
    """A device as its bus sees it."""

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        """Run a control transfer: data of at most `setup.length` for IN, a count for OUT."""
        ...

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        """Take a whole transfer to the endpoint of this address; return the bytes accepted."""
        ...

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        """Give at most `length` bytes; fewer end the transfer, as a short packet does."""
        ...

    def cancel(self, endpoint: int, stream: int = 0) -> None:
        """Forget a transfer that was answered NAK."""
        ...

    def bus(self, event: BusEvent, speed: Speed = Speed.HIGH) -> None:
        """Take notice of a bus event; with ATTACH, `speed` is what the port offers."""
        ...

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever a transfer answered NAK may now end differently."""
        ...

    def ready(self) -> Set[tuple[int, int]] | None:
        """Return which those are, by endpoint and stream; None stands for any.

        Not to be called from within the callback. Nobody needs to ask: with many transfers under
        way, trying them all again takes longer than what they carry.
        """
        ...
