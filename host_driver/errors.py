"""What a drive, or the way to it, may answer instead of a result: one tree.

    DriveError
      TransportError      Timeout Stalled Disconnected DriveInUse                    exit 3
                          AccessDenied NoBackend NotFound
      ProtocolError       BadCsw BadIu WrongTag ShortData                            exit 3
                          IdentityChanged IdentityUnknown
      CommandRefused      Locked WrongPin(tries_left) Blocked Erased NoPin           exit 1
                          SelfTestFailed NotSupported

A transport error means that the drive was not reached, a protocol error that what came back is
not what the protocol allows, a refusal that the drive understood and said no. The message is one
line, fit to be shown as it is; `exit_status` is what the command line ends with.
"""

from typing import ClassVar

from firmware_model.wire.sense import Sense


class DriveError(Exception):
    """Anything that kept a drive from doing what was asked."""

    exit_status: ClassVar[int] = 3


class TransportError(DriveError):
    """The drive was not reached, or stopped answering."""


class Timeout(TransportError):
    """Nothing came within the time allowed."""


class Stalled(TransportError):
    """The drive halted an endpoint and clearing the halt did not help."""


class Disconnected(TransportError):
    """The drive is no longer there: unplugged, or without power."""


class DriveInUse(TransportError):
    """Another process, or a kernel driver, holds the drive."""


class AccessDenied(TransportError):
    """The operating system does not let this user open the drive."""


class NoBackend(TransportError):
    """The library that reaches such drives is not installed."""


class NotFound(TransportError):
    """No drive of that name is attached."""


class ProtocolError(DriveError):
    """What came back is not what the protocol allows."""


class BadCsw(ProtocolError):
    """The status wrapper is malformed, or reports a phase error (BOT 6.3, 6.6.2)."""


class BadIu(ProtocolError):
    """An information unit is malformed, comes out of turn, or refuses one that was sent (UAS)."""


class WrongTag(ProtocolError):
    """The status answers another command (BOT 6.3.1)."""


class ShortData(ProtocolError):
    """Fewer bytes came than the answer must have."""


class IdentityChanged(ProtocolError):
    """The drive proves another identity than the one noted for it; no PIN was sent."""


class IdentityUnknown(ProtocolError):
    """Nobody has vouched for the drive's identity; no PIN was sent."""


class CommandRefused(DriveError):
    """The drive understood the command and refused it; `sense` says why, where it gave any."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, sense: Sense | None = None) -> None:
        super().__init__(message)
        self.sense = sense


class Locked(CommandRefused):
    """The medium is not accessible until a PIN opens it."""


class WrongPin(CommandRefused):
    """The PIN opens nothing, and a try was spent on learning so."""

    def __init__(self, tries_left: int | None) -> None:
        unit = "try" if tries_left == 1 else "tries"
        left = "" if tries_left is None else f", {tries_left} {unit} left"
        super().__init__(f"wrong PIN{left}")
        self.tries_left = tries_left  # None where the drive does not tell


class Blocked(CommandRefused):
    """The role's tries are used up; another role can still open the drive."""


class Erased(CommandRefused):
    """The keys are destroyed; what was stored is gone."""


class NoPin(CommandRefused):
    """No PIN has been set for that role."""


class SelfTestFailed(CommandRefused):
    """The drive does not trust itself and does nothing more (4/3Eh/03h)."""


class NotSupported(CommandRefused):
    """The drive offers no such feature."""
