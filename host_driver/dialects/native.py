"""The native dialect: PINs inside an authenticated session (SECURITY PROTOCOL F0h)."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from firmware_model.wire.attempt_log import LogPage
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.native import (
    ARGUMENT_BYTES_MAX,
    PIN_BYTES_MAX,
    PROTOCOL,
    Answer,
    Channel,
    Message,
    Operation,
    Result,
    Role,
    Status,
)
from firmware_model.wire.recovery_pin import RECOVERY_PIN_DIGITS
from host_driver.errors import (
    Blocked,
    CommandRefused,
    DriveError,
    Erased,
    Locked,
    NoPin,
    NotSupported,
    ProtocolError,
    SelfTestFailed,
    WrongPin,
)
from host_driver.scsi import ScsiDisk
from host_driver.session import HostSession, SessionEnded, open_session

NO_PIN = "no PIN has been set for that role"
# What an interlock must be told of, since it sees sealed frames only: these cost no try and keep
# all that is stored.
HARMLESS: Final = frozenset((Operation.LOCK, Operation.READ_LOG))
NOT_A_PIN = "no PIN of this drive: of impossible length, too simple, or another role's"


def read_status(disk: ScsiDisk) -> Status:
    """Return what a drive of ours tells without a session."""
    try:
        return Status.decode(disk.security_in(PROTOCOL, Channel.STATUS, Status.LAYOUT.size))
    except DecodeError as wrong:
        raise ProtocolError(f"the drive's status is none: {wrong}") from wrong


def refusal(answer: Answer) -> DriveError | None:
    """Return the exception an answer stands for, or None when it did what was asked."""
    match answer.result:
        case Result.OK:
            return None
        case Result.WRONG_PIN:
            return WrongPin(answer.tries_left)
        case Result.BLOCKED:
            return Blocked("the tries of that role are used up")
        case Result.ERASED:
            return Erased("the drive has been erased: set a PIN to use it anew")
        case Result.NO_PIN:
            return NoPin(NO_PIN)
        case Result.LOCKED:
            return Locked("the drive is locked")
        case Result.BAD_PIN:
            return CommandRefused(NOT_A_PIN)
        case Result.DENIED:
            return CommandRefused(
                "not allowed: it takes another role, another state, or the right code"
            )
        case Result.NOT_SUPPORTED:
            return NotSupported("the drive does not offer that")
        case Result.READ_ONLY:
            return CommandRefused("the drive is read-only")
        case Result.SELF_TEST_FAILED:
            return SelfTestFailed("the drive failed its self-test")
    return ProtocolError("the drive calls the message malformed")


class NativeDialect:
    """A drive that a host unlocks. `vouched` is entered while a harmless message is sent."""

    name = "native"

    def __init__(
        self,
        disk: ScsiDisk,
        draw: Callable[[int], bytes],
        check: Callable[[bytes], None],
        vouched: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._disk = disk
        self._draw = draw
        self._check = check
        self._vouched = vouched
        self._session: HostSession | None = None

    def status(self) -> Status:
        return read_status(self._disk)

    def unlock(self, pin: str, role: Role) -> None:
        self._ask(Message(Operation.UNLOCK, role, _encoded(pin)))

    def lock(self) -> None:
        self._ask(Message(Operation.LOCK))

    def set_pin(self, new_pin: str, role: Role) -> None:
        self._ask(Message(Operation.SET_PIN, role, new_pin=_encoded(new_pin)))

    def recover(self, recovery_pin: str, new_pin: str) -> None:
        entered, new = _encoded(recovery_pin), _encoded(new_pin)
        self._ask(Message(Operation.RECOVER, Role.RECOVERY, entered, new))

    def make_recovery_pins(self) -> tuple[str, ...]:
        digits = self._ask(Message(Operation.MAKE_RECOVERY)).payload.decode("ascii", "replace")
        size = RECOVERY_PIN_DIGITS
        return tuple(digits[at : at + size] for at in range(0, len(digits), size))

    def erase(self, reset_code: str | None) -> None:
        code = (reset_code or "").replace(" ", "").replace("-", "").encode("utf-8", "surrogatepass")
        if len(code) > ARGUMENT_BYTES_MAX:
            raise CommandRefused("that is not the drive's reset code")
        self._ask(Message(Operation.ERASE, argument=code))

    def set_read_only(self, is_read_only: bool) -> None:
        self._ask(Message(Operation.SET_READ_ONLY, argument=bytes((is_read_only,))))

    def log_page(self, first: int) -> LogPage:
        answer = self._ask(Message(Operation.READ_LOG, argument=first.to_bytes(8, "big")))
        try:
            return LogPage.decode(answer.payload)
        except DecodeError as wrong:
            raise ProtocolError(f"the drive's log is none: {wrong}") from wrong

    def identity(self) -> bytes:
        return self._opened().identity

    def _opened(self) -> HostSession:
        if self._session is None:
            self._session = open_session(self._disk, self._draw, self._check)
        return self._session

    def _ask(self, message: Message) -> Answer:
        """Exchange one message in the session; raise what a refusal stands for."""
        is_harmless = message.operation in HARMLESS
        try:
            with self._vouched() if is_harmless else nullcontext():
                answer = self._in_session(message)
        except DriveError:
            self._session = None  # whatever broke it, the next message begins another
            raise
        refused = refusal(answer)
        if refused is not None:
            raise refused
        return answer

    def _in_session(self, message: Message) -> Answer:
        """Exchange one message; where a reset has ended the session, in a new one."""
        had_session = self._session is not None
        try:
            return self._opened().exchange(message)
        except SessionEnded:
            if not had_session:
                raise
        self._session = None
        return self._opened().exchange(message)


def _encoded(pin: str) -> bytes:
    encoded = pin.encode("utf-8", "surrogatepass")
    if len(encoded) > PIN_BYTES_MAX:
        raise CommandRefused(NOT_A_PIN)
    return encoded
