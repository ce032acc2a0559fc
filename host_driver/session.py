"""The host's side of an authenticated session of the native dialect.

The drive proves its identity before any PIN is sent; each message and answer is one sealed frame.
"""

import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.native import (
    KEY_LABEL_DRIVE,
    KEY_LABEL_HOST,
    PROTOCOL,
    SEALED_BYTES,
    Answer,
    Channel,
    DriveHello,
    HostHello,
    Message,
    Sealed,
    nonce,
    transcript,
)
from firmware_model.wire.sense import COMMAND_SEQUENCE_ERROR
from host_driver.errors import CommandRefused, ProtocolError
from host_driver.scsi import ScsiDisk


class SessionEnded(CommandRefused):
    """The drive knows of no session, and did not take the message."""


class HostSession:
    """A session with one drive, whose identity was checked."""

    def __init__(self, disk: ScsiDisk, identity: bytes, host_key: bytes, drive_key: bytes) -> None:
        self._disk = disk
        self.identity = identity
        self._to_drive = ChaCha20Poly1305(host_key)
        self._from_drive = ChaCha20Poly1305(drive_key)
        self._sequence = 0

    def exchange(self, message: Message) -> Answer:
        """Send one message and return its answer; raise ProtocolError for a forged or lost one.

        Raises SessionEnded when the message was not taken, and so may be sent again.
        """
        sequence = self._sequence
        self._sequence += 1
        frame = Sealed(sequence, self._to_drive.encrypt(nonce(sequence), message.encode(), None))
        try:
            self._disk.security_out(PROTOCOL, Channel.MESSAGE, frame.encode())
        except CommandRefused as refused:
            if _is_out_of_sequence(refused):
                raise SessionEnded(str(refused), refused.sense) from refused
            raise
        try:
            answer = Sealed.decode(self._disk.security_in(PROTOCOL, Channel.MESSAGE, SEALED_BYTES))
            if answer.sequence != sequence:
                raise ProtocolError("the drive answered another message of the session")
            return Answer.decode(self._from_drive.decrypt(nonce(sequence), answer.ciphertext, None))
        except CommandRefused as refused:
            if _is_out_of_sequence(refused):
                raise ProtocolError(
                    "the drive was reset before it answered; what was asked may have been done"
                ) from refused
            raise
        except (DecodeError, InvalidTag) as wrong:
            raise ProtocolError(f"the drive's answer is not authentic: {wrong}") from wrong


def _is_out_of_sequence(refused: CommandRefused) -> bool:
    return refused.sense is not None and refused.sense.asc == COMMAND_SEQUENCE_ERROR.asc


def open_session(
    disk: ScsiDisk, draw: Callable[[int], bytes], check: Callable[[bytes], None]
) -> HostSession:
    """Open a session; `check` sees the proved identity, and raises if it is not the right one."""
    private = X25519PrivateKey.from_private_bytes(draw(32))
    ephemeral = private.public_key().public_bytes_raw()
    disk.security_out(PROTOCOL, Channel.SESSION, HostHello(ephemeral).encode())
    try:
        hello = DriveHello.decode(disk.security_in(PROTOCOL, Channel.SESSION, 128))
        signed = transcript(ephemeral, hello.ephemeral, hello.identity)
        Ed25519PublicKey.from_public_bytes(hello.identity).verify(hello.signature, signed)
        shared = private.exchange(X25519PublicKey.from_public_bytes(hello.ephemeral))
    except InvalidSignature:
        raise ProtocolError("the drive's greeting is not signed by its identity key") from None
    except (DecodeError, ValueError) as wrong:
        raise ProtocolError(f"the drive's greeting is no greeting: {wrong}") from wrong
    check(hello.identity)
    salt = hashlib.sha256(signed).digest()
    keys = [HKDF(SHA256(), 32, salt, label).derive(shared) for label in _LABELS]
    return HostSession(disk, hello.identity, *keys)


_LABELS = (KEY_LABEL_HOST, KEY_LABEL_DRIVE)
