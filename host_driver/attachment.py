"""What a URL scheme hands over: a way to a drive, and what may be done through it.

A scheme is an entry point in the group `sedlab.targets`: a callable taking the part of the URL
behind the colon and OpenOptions, and returning an Attachment. It raises DriveError when the drive
is not to be had, and ValueError when that part of the URL is no name of a drive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from host_driver.transport import CommandTransport

if TYPE_CHECKING:
    from usb.core import Device

TRANSFER_BYTES: Final = 128 << 10  # what hosts send at high speed, give or take


class Operator(Protocol):
    """The hands beside a drive: on its keys, its plug and its supply."""

    def press(self, keys: str) -> None:
        """Press keys, one after the other, in the keypad's notation."""
        ...

    def leds(self) -> Mapping[str, str]:
        """Return what each light does, by its colour: off, on or blink."""
        ...

    def plug(self) -> None:
        """Connect the drive to the host."""
        ...

    def unplug(self) -> None:
        """Disconnect the drive from the host."""
        ...

    def power_on(self) -> None:
        """Give the drive its supply."""
        ...

    def power_off(self) -> None:
        """Take the drive's supply away."""
        ...

    def cut_at(self, step: int | None) -> None:
        """Have the supply fail at the next but `step` - 1 durable step; None: not at all."""
        ...

    def advance(self, us: int) -> None:
        """Move the drive's clock on by `us` microseconds."""
        ...


class Holder(Protocol):
    """The system that keeps a drive as a disk of its own while we talk to it."""

    @property
    def node(self) -> str:
        """Return the disk's path; empty where it has none."""
        ...

    @property
    def block_count(self) -> int:
        """Return the blocks of 512 bytes that the system sees; 0 without a medium."""
        ...

    def look_again(self) -> None:
        """Have the system look at the medium, which has come, gone or changed."""
        ...


class TransportKind(StrEnum):
    """The protocols by which commands reach a drive over USB."""

    BULK_ONLY = "bulk-only"
    UAS = "uas"


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How a drive is to be opened; a scheme heeds what concerns it."""

    destroys_data: bool = False  # writing, spending tries and erasing are wanted
    serial: str | None = None  # the drive that is meant, typed by who owns it
    identity: str | None = None  # fingerprint of the identity key that is expected
    known_drives: Path | None = None  # file of pinned identities
    trace: Path | None = None  # pcap to write
    on_exchange: Callable[[str], None] | None = None  # takes one line for each exchange
    operator: Operator | None = None  # whose hands, where the scheme brings none itself
    transport: TransportKind = TransportKind.BULK_ONLY


@dataclass(frozen=True, slots=True)
class Attachment:
    """A drive that was reached."""

    transport: CommandTransport
    operator: Operator | None  # None: nobody stands beside the drive
    is_trusted: bool  # a drive made for this occasion: its identity needs no pinning
    serial: str  # the USB serial number; empty where there is none
    destroys_data: bool  # whether writing, spending tries and erasing are allowed
    close: Callable[[], None]  # lets go of the drive and all that was opened with it
    device: Device | None = None  # what is below the transport, where that is a bus
    holder: Holder | None = None  # None: nobody else uses the drive meanwhile
    transfer_bytes: int = TRANSFER_BYTES  # that one command may move
    # Entered while what is sent is known to change nothing, though no CDB shows that.
    vouched: Callable[[], AbstractContextManager[None]] = nullcontext
