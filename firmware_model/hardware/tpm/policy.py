"""Digests of the TPM policies that the element uses (TPM 2.0 Library specification, part 3).

They are computed here and not in a trial session because a policy must be known before the key it
speaks of is in the TPM, and after that key has gone.
"""

from hashlib import sha256
from typing import Final

COUNTER_EQUAL: Final = 0  # TPM_EO_EQ
COUNTER_ABOVE: Final = 3  # TPM_EO_UNSIGNED_GT
_POLICY_NV: Final = 0x149
_POLICY_SIGNED: Final = 0x160
_POLICY_AUTH_VALUE: Final = 0x16B
_POLICY_OR: Final = 0x171
_START: Final = bytes(32)


def signed_by(key_name: bytes) -> bytes:
    """Return the digest of PolicySigned: who shows an HMAC by a key over the session's nonce."""
    return sha256(_extended(_START, _POLICY_SIGNED, key_name)).digest()  # policyRef is empty


def counter_is(name: bytes, value: int, operation: int) -> bytes:
    """Return the digest of PolicyNV: while a counter stands so to a value."""
    operand = value.to_bytes(8, "big") + bytes(2) + operation.to_bytes(2, "big")
    return _extended(_START, _POLICY_NV, sha256(operand).digest(), name)


def with_auth_value(digest: bytes) -> bytes:
    """Return a digest with PolicyAuthValue added: who knows the authValue, too."""
    return _extended(digest, _POLICY_AUTH_VALUE)


def any_of(*digests: bytes) -> bytes:
    """Return the digest of PolicyOR over two to eight policies."""
    return _extended(_START, _POLICY_OR, *digests)


def _extended(digest: bytes, command: int, *arguments: bytes) -> bytes:
    return sha256(digest + command.to_bytes(4, "big") + b"".join(arguments)).digest()
