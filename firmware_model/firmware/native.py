"""The native dialect as the drive speaks it: channels of SECURITY PROTOCOL F0h."""

from collections.abc import Callable

from firmware_model.firmware.firmware import Firmware
from firmware_model.firmware.session import Session, accept
from firmware_model.hardware.entropy import HealthTestFailed
from firmware_model.wire.attempt_log import Evidence
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.native import (
    Answer,
    Channel,
    Entry,
    Feature,
    HostHello,
    Message,
    Operation,
    Result,
    Role,
    Sealed,
    State,
)
from firmware_model.wire.sense import (
    COMMAND_SEQUENCE_ERROR,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETERS,
    SELF_TEST_FAILED,
    Sense,
)


class NativeChannels:
    """What a host may send and fetch. A drive with a keypad offers status and evidence alone."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._session: Session | None = None
        self._pending: dict[Channel, bytes] = {}  # what the next IN of a channel gets

    def end_session(self) -> None:
        """Forget the session, as a reset or another host demands."""
        self._session = None
        self._pending.clear()

    def send(self, specific: int) -> bytes | Sense:
        """Answer SECURITY PROTOCOL IN; what was fetched is gone."""
        if specific == Channel.STATUS:
            return self._firmware.status().encode()
        if not self._offers(specific):
            return INVALID_FIELD_IN_CDB
        return self._pending.pop(Channel(specific), None) or COMMAND_SEQUENCE_ERROR

    def receive(self, specific: int, data: bytes) -> Sense | None:
        """Take SECURITY PROTOCOL OUT."""
        if specific == Channel.STATUS or not self._offers(specific):
            return INVALID_FIELD_IN_CDB
        if self._firmware.state is State.FAILED:
            return SELF_TEST_FAILED
        try:
            if specific == Channel.SESSION:
                return self._greet(HostHello.decode(data))
            if specific == Channel.MESSAGE:
                return self._message(Sealed.decode(data))
            return self._evidence(data)
        except DecodeError:
            return INVALID_FIELD_IN_PARAMETERS
        except HealthTestFailed as failed:
            self._firmware.fail(f"entropy: {failed}")
            return SELF_TEST_FAILED

    def _offers(self, specific: int) -> bool:
        if specific == Channel.EVIDENCE:
            return bool(self._firmware.policy.features & Feature.LOG)
        is_host = self._firmware.policy.entry is Entry.HOST
        return is_host and specific in (Channel.SESSION, Channel.MESSAGE)

    def _greet(self, hello: HostHello) -> Sense | None:
        self.end_session()
        board = self._firmware.board
        sessions = self._firmware.parts.sessions
        element = board.element
        accepted = accept(hello, element.identity, element.sign, board.entropy.draw, sessions)
        if accepted is None:
            return INVALID_FIELD_IN_PARAMETERS
        self._session, greeting = accepted
        self._pending[Channel.SESSION] = greeting.encode()
        return None

    def _message(self, frame: Sealed) -> Sense | None:
        """Open a frame and obey; what does not authenticate ends the session and costs no try."""
        session = self._session
        if session is None:
            return COMMAND_SEQUENCE_ERROR
        opened = session.open(frame)
        if opened is None:
            self.end_session()
            return INVALID_FIELD_IN_PARAMETERS
        try:
            message = Message.decode(opened)
            answer = self._operations()[message.operation](message)
        except DecodeError:
            answer = Answer(Result.MALFORMED, 0, self._firmware.state)
        self._pending[Channel.MESSAGE] = session.seal(answer.encode()).encode()
        return None

    # A table, not a chain of verdicts: no glitch makes one operation another.
    def _operations(self) -> dict[Operation, Callable[[Message], Answer]]:
        firmware = self._firmware
        return {
            Operation.STATUS: self._tell_status,
            Operation.UNLOCK: lambda message: firmware.unlock(message.role, message.pin),
            Operation.LOCK: self._lock,
            Operation.SET_PIN: self._set_pin,
            Operation.RECOVER: lambda message: firmware.recover(message.pin, message.new_pin),
            Operation.MAKE_RECOVERY: lambda message: firmware.make_recovery(),
            Operation.ERASE: lambda message: firmware.erase(message.argument),
            Operation.SET_READ_ONLY: self._set_read_only,
            Operation.READ_LOG: self._read_log,
        }

    def _tell_status(self, message: Message) -> Answer:
        status = self._firmware.status()
        return Answer(Result.OK, 0, status.state, status.encode())

    def _lock(self, message: Message) -> Answer:
        self._firmware.lock()
        is_locked = not self._firmware.access.is_open
        result = Result.OK if is_locked else Result.SELF_TEST_FAILED
        return Answer(result, 0, self._firmware.state)

    def _set_pin(self, message: Message) -> Answer:
        if message.role is Role.RECOVERY:
            return Answer(Result.NOT_SUPPORTED, 0, self._firmware.state)
        return self._firmware.set_pin(message.role, message.new_pin)

    def _set_read_only(self, message: Message) -> Answer:
        is_read_only = {b"\0": False, b"\1": True}.get(message.argument)
        if is_read_only is None:
            return Answer(Result.MALFORMED, 0, self._firmware.state)
        return self._firmware.set_read_only(is_read_only)

    def _read_log(self, message: Message) -> Answer:
        if len(message.argument) != 8:
            return Answer(Result.MALFORMED, 0, self._firmware.state)
        return self._firmware.read_log(int.from_bytes(message.argument, "big"))

    def _evidence(self, data: bytes) -> Sense | None:
        """Sign head and counts over the asker's nonce: 32 bytes, the rest zero fill."""
        if len(data) < 32 or any(data[32:]):
            return INVALID_FIELD_IN_PARAMETERS
        element = self._firmware.board.element
        state = element.state
        unsigned = Evidence(
            data[:32], state.head, state.log_count, state.counts, element.identity, b""
        )
        signature = element.sign(unsigned.signed_bytes())
        self._pending[Channel.EVIDENCE] = (unsigned.encode()[:-64]) + signature
        return None
