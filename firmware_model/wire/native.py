"""The native dialect: messages of one fixed size inside an authenticated session.

It rides on SECURITY PROTOCOL IN/OUT, vendor protocol F0h. Integers are big-endian. A session is
opened by an exchange of ephemeral X25519 keys, the drive's signed with its identity key; every
message and answer after it is one sealed frame, so that a trace of the bus shows no PIN, no length
of a PIN and no verdict.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import ClassVar, Final, Self, TypeVar

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import Version

PROTOCOL: Final = 0xF0  # SECURITY PROTOCOL of a vendor (SPC-4 table 212)
MESSAGE_BYTES: Final = 512
TAG_BYTES: Final = 16  # of ChaCha20-Poly1305 (RFC 8439)
SEALED_BYTES: Final = 8 + MESSAGE_BYTES + TAG_BYTES
PIN_BYTES_MAX: Final = 64
ARGUMENT_BYTES_MAX: Final = 32
PAYLOAD_BYTES_MAX: Final = 480

KEY_LABEL_HOST: Final = b"sedlab native 1 host to drive"
KEY_LABEL_DRIVE: Final = b"sedlab native 1 drive to host"
SESSION_LABEL: Final = b"sedlab native 1 session"


class Channel(IntEnum):
    """SECURITY PROTOCOL SPECIFIC: what a transfer carries."""

    SESSION = 0x0001  # OUT a HostHello, IN a DriveHello
    MESSAGE = 0x0002  # OUT a sealed Message, IN a sealed Answer
    STATUS = 0x0010  # IN a Status; needs no session
    EVIDENCE = 0x0011  # OUT a nonce of 32 bytes, IN Evidence over it


class Role(IntEnum):
    """Whose PIN it is."""

    USER = 0
    ADMIN = 1
    RECOVERY = 2
    DURESS = 3


class State(IntEnum):
    """The states of the drive."""

    FACTORY = 0
    LOCKED = 1
    UNLOCKED = 2
    BLOCKED = 3
    ERASED = 4
    FAILED = 5


class Entry(IntEnum):
    """Where a PIN is entered."""

    HOST = 0
    KEYPAD = 1


class Feature(IntFlag):
    """What the drive offers beyond locking, a try limit and erase."""

    RECOVERY = 0x01
    DURESS = 0x02
    LOG = 0x04
    READ_ONLY = 0x08
    AUTO_LOCK = 0x10


NO_ROLE: Final = 0xFF
_E = TypeVar("_E", bound=IntEnum)


def _member(kind: type[_E], value: int) -> _E:
    try:
        return kind(value)
    except ValueError:
        raise DecodeError(f"{value:#04x} is no {kind.__name__.lower()}") from None


@dataclass(frozen=True, slots=True)
class Status:
    """What a drive tells without a PIN, 64 bytes."""

    state: State
    entry: Entry
    features: Feature
    tries: tuple[int, int, int]  # left, of user, admin and recovery
    limits: tuple[int, int, int]
    unlocked_as: Role | None
    is_read_only: bool
    has_admin: bool
    recovery_left: int  # unused recovery PINs
    block_count: int  # of 512 bytes; 0 unless unlocked
    version: Version  # of the firmware that runs; both are 0 where none may
    security_version: int

    LAYOUT: ClassVar[Struct] = Struct(">BBH3B3B4BQII34x")

    def encode(self) -> bytes:
        """Return the 64 bytes."""
        role = NO_ROLE if self.unlocked_as is None else self.unlocked_as
        return self.LAYOUT.pack(
            self.state,
            self.entry,
            self.features,
            *self.tries,
            *self.limits,
            role,
            self.is_read_only,
            self.has_admin,
            self.recovery_left,
            self.block_count,
            self.version.number,
            self.security_version,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the status in `data`; unknown features and what follows are left out."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"a status has {cls.LAYOUT.size} bytes, this one {len(data)}")
        (
            state,
            entry,
            features,
            t0,
            t1,
            t2,
            l0,
            l1,
            l2,
            role,
            read_only,
            admin,
            left,
            blocks,
            version,
            security_version,
        ) = cls.LAYOUT.unpack(data)
        return cls(
            _member(State, state),
            _member(Entry, entry),
            Feature(features & 0x1F),
            (t0, t1, t2),
            (l0, l1, l2),
            None if role == NO_ROLE else _member(Role, role),
            bool(read_only),
            bool(admin),
            left,
            blocks,
            Version.numbered(version),
            security_version,
        )


@dataclass(frozen=True, slots=True)
class HostHello:
    """The host's ephemeral X25519 key, 32 bytes (RFC 7748)."""

    ephemeral: bytes

    def encode(self) -> bytes:
        """Return the 32 bytes."""
        return self.ephemeral

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the greeting in `data`: its first 32 bytes, the rest being zero fill."""
        if len(data) < 32 or any(data[32:]):
            raise DecodeError(f"a host hello has 32 bytes and zero fill, not these {len(data)}")
        return cls(data[:32])


@dataclass(frozen=True, slots=True)
class DriveHello:
    """The drive's ephemeral key, its identity and the signature over both sides, 128 bytes."""

    ephemeral: bytes
    identity: bytes  # Ed25519 public key (RFC 8032)
    signature: bytes

    def encode(self) -> bytes:
        """Return the 128 bytes."""
        return self.ephemeral + self.identity + self.signature

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the greeting in `data`; raise DecodeError on another length."""
        if len(data) != 128:
            raise DecodeError(f"a drive hello has 128 bytes, this one {len(data)}")
        return cls(data[:32], data[32:64], data[64:])


def transcript(host_ephemeral: bytes, drive_ephemeral: bytes, identity: bytes) -> bytes:
    """Return what the drive signs, and what salts the session's keys."""
    return SESSION_LABEL + host_ephemeral + drive_ephemeral + identity


def nonce(sequence: int) -> bytes:
    """Return the 12-byte AEAD nonce of a frame: each key seals each number once."""
    return sequence.to_bytes(12, "big")


@dataclass(frozen=True, slots=True)
class Sealed:
    """One frame of a session, 536 bytes: its number in clear, bound as associated data."""

    sequence: int
    ciphertext: bytes  # 512 bytes and the tag

    def encode(self) -> bytes:
        """Return the 536 bytes."""
        return self.sequence.to_bytes(8, "big") + self.ciphertext

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the frame in `data`; raise DecodeError on another length."""
        if len(data) != SEALED_BYTES:
            raise DecodeError(f"a frame has {SEALED_BYTES} bytes, this one {len(data)}")
        return cls(int.from_bytes(data[:8], "big"), data[8:])


class Operation(IntEnum):
    """What a message asks for."""

    STATUS = 0
    UNLOCK = 1
    LOCK = 2
    SET_PIN = 3  # role; new_pin; duress is a role here
    RECOVER = 4  # pin is the recovery PIN, new_pin the user's next
    MAKE_RECOVERY = 5
    ERASE = 6  # argument: the reset code, or empty when a session is open
    SET_READ_ONLY = 7  # argument: 01 or 00
    READ_LOG = 8  # argument: number of the first record, 8 bytes


@dataclass(frozen=True, slots=True)
class Message:
    """What the host asks, 512 bytes whatever it is."""

    operation: Operation
    role: Role = Role.USER
    pin: bytes = b""
    new_pin: bytes = b""
    argument: bytes = b""

    HEAD: ClassVar[Struct] = Struct(">BBBBB")

    def encode(self) -> bytes:
        """Return the 512 bytes; raise ValueError when a PIN or argument is too long."""
        for name, value, most in (
            ("a PIN", self.pin, PIN_BYTES_MAX),
            ("a new PIN", self.new_pin, PIN_BYTES_MAX),
            ("an argument", self.argument, ARGUMENT_BYTES_MAX),
        ):
            if len(value) > most:
                raise ValueError(f"{name} has at most {most} bytes, this one {len(value)}")
        head = self.HEAD.pack(
            self.operation, self.role, len(self.pin), len(self.new_pin), len(self.argument)
        )
        fields = (
            self.pin.ljust(PIN_BYTES_MAX, b"\0")
            + self.new_pin.ljust(PIN_BYTES_MAX, b"\0")
            + self.argument.ljust(ARGUMENT_BYTES_MAX, b"\0")
        )
        return (head + fields).ljust(MESSAGE_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the message in `data`; raise DecodeError for any other bytes than its encoding."""
        if len(data) != MESSAGE_BYTES:
            raise DecodeError(f"a message has {MESSAGE_BYTES} bytes, this one {len(data)}")
        operation, role, pin, new_pin, argument = cls.HEAD.unpack_from(data)
        if pin > PIN_BYTES_MAX or new_pin > PIN_BYTES_MAX or argument > ARGUMENT_BYTES_MAX:
            raise DecodeError("a message announces a field longer than there is room for")
        first = cls.HEAD.size
        second = first + PIN_BYTES_MAX
        third = second + PIN_BYTES_MAX
        message = cls(
            _member(Operation, operation),
            _member(Role, role),
            data[first : first + pin],
            data[second : second + new_pin],
            data[third : third + argument],
        )
        if message.encode() != data:
            raise DecodeError("a message has bytes outside its fields")
        return message


class Result(IntEnum):
    """How a message ended."""

    OK = 0
    WRONG_PIN = 1
    BLOCKED = 2
    ERASED = 3
    NO_PIN = 4
    LOCKED = 5
    BAD_PIN = 6  # of impossible length or alphabet, or against the policy
    DENIED = 7  # not by this role, or not in this state
    NOT_SUPPORTED = 8
    READ_ONLY = 9
    SELF_TEST_FAILED = 10
    MALFORMED = 11


@dataclass(frozen=True, slots=True)
class Answer:
    """What the drive answers, 512 bytes whatever it is."""

    result: Result
    tries_left: int
    state: State
    payload: bytes = b""

    HEAD: ClassVar[Struct] = Struct(">BBBH")

    def encode(self) -> bytes:
        """Return the 512 bytes; raise ValueError when the payload is too long."""
        if len(self.payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"a payload has at most {PAYLOAD_BYTES_MAX} bytes")
        head = self.HEAD.pack(self.result, self.tries_left, self.state, len(self.payload))
        return (head + self.payload).ljust(MESSAGE_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the answer in `data`; raise DecodeError for any other bytes than its encoding."""
        if len(data) != MESSAGE_BYTES:
            raise DecodeError(f"an answer has {MESSAGE_BYTES} bytes, this one {len(data)}")
        result, tries, state, length = cls.HEAD.unpack_from(data)
        if length > PAYLOAD_BYTES_MAX or any(data[cls.HEAD.size + length :]):
            raise DecodeError("an answer has bytes outside its payload")
        payload = data[cls.HEAD.size : cls.HEAD.size + length]
        return cls(_member(Result, result), tries, _member(State, state), payload)
