"""The drive's side of an authenticated session of the native dialect.

Ephemeral X25519 on both sides (RFC 7748), the transcript signed with the identity key (RFC 8032),
a key for each direction by HKDF (RFC 5869), frames sealed with ChaCha20-Poly1305 (RFC 8439).
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from firmware_model.firmware import crypto
from firmware_model.firmware.parts import Sessions
from firmware_model.wire.native import (
    KEY_LABEL_DRIVE,
    KEY_LABEL_HOST,
    DriveHello,
    HostHello,
    Sealed,
    nonce,
    transcript,
)


class Session:
    """One session: it opens frames in order, and seals one answer to each."""

    def __init__(self, host_key: bytes, drive_key: bytes, sessions: Sessions) -> None:
        self._from_host = ChaCha20Poly1305(host_key)
        self._to_host = ChaCha20Poly1305(drive_key)
        self._sessions = sessions
        self._expected = 0

    def open(self, frame: Sealed) -> bytes | None:
        """Return what a frame holds, or None when it is not the next one of this session."""
        if not self._sessions.takes(frame.sequence, self._expected):
            return None
        try:
            message = self._from_host.decrypt(nonce(frame.sequence), frame.ciphertext, None)
        except InvalidTag:
            return None
        self._expected = frame.sequence + 1
        return message

    def seal(self, answer: bytes) -> Sealed:
        """Return the answer to the frame that was opened last, under its number."""
        sequence = self._expected - 1
        return Sealed(sequence, self._to_host.encrypt(nonce(sequence), answer, None))


def accept(
    hello: HostHello,
    identity: bytes,
    sign: Callable[[bytes], bytes],
    draw: Callable[[int], bytes],
    sessions: Sessions,
) -> tuple[Session, DriveHello] | None:
    """Return a session and the greeting that proves it; None for a key of low order."""
    private = X25519PrivateKey.from_private_bytes(sessions.ephemeral(draw))
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(hello.ephemeral))
    except ValueError:
        return None
    ephemeral = private.public_key().public_bytes_raw()
    signed = transcript(hello.ephemeral, ephemeral, identity)
    salt = crypto.sha256(signed)
    host_key = crypto.hkdf_sha256(shared, salt=salt, info=KEY_LABEL_HOST, length=32)
    drive_key = crypto.hkdf_sha256(shared, salt=salt, info=KEY_LABEL_DRIVE, length=32)
    session = Session(host_key, drive_key, sessions)
    return session, DriveHello(ephemeral, identity, sign(signed))
