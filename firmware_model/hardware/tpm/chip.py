"""What the element has a TPM do: count, answer who knows a PIN, check proofs, lock out.

The lockout is the TPM's protection against dictionary attacks: a guess that fails counts
there whoever makes it, and only a proof of the media key resets it while there are keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, Final

import tpm2_pytss as tss

from firmware_model.hardware.element_state import Slot
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.tpm import policy
from firmware_model.hardware.tpm.connection import VERIFYING, TpmConnection, TpmRefusal
from firmware_model.hardware.tpm.state import Counter, Half, Lockout

SECRET_BYTES: Final = 32
RECOVERY_S: Final = 86_400  # after which the TPM forgives one failure
_COUNTERS_AT: Final = 0x0180_5E00  # NV indices, of the range for owners
_IDENTITY_AT: Final = 0x0180_5E08
_SLOTS_AT: Final = 0x0180_5E10
_SLOTS_END: Final = _SLOTS_AT + 2 * len(Slot)
_OWNERS_OBJECTS: Final = (0x8100_0000, 0x8180_0000)  # persistent ones: keys of an owner
_REFUND_KEY_AT: Final = 0x8100_5E00


class TpmChip:
    """A TPM that serves this drive alone."""

    def __init__(self, tcti: str) -> None:
        """Connect; raise ElementError where no TPM answers."""
        self._tpm = TpmConnection(tcti)
        self._commands = self._tpm.commands
        self._challenge: tuple[Any, bytes] | None = None
        self.mac = self._tpm.mac
        self.random = self._tpm.random

    def close(self) -> None:
        """Leave nothing of this connection in the TPM, if it still answers."""
        with suppress(ElementError):
            self.forget_challenge()
        self._tpm.close()

    # --- counters and the identity ----------------------------------------------------------------

    def make_counters(self) -> None:
        """Make the counters; each begins above what any counter of this TPM ever reached."""
        counting = tss.TPM2_NT.COUNTER << tss.TPMA_NV.TPM2_NT_SHIFT
        attributes = tss.TPMA_NV.AUTHREAD | tss.TPMA_NV.AUTHWRITE | tss.TPMA_NV.NO_DA | counting
        for counter in Counter:
            self._tpm.define(_COUNTERS_AT + counter, 8, attributes)
            self.increment(counter)

    def increment(self, counter: Counter) -> None:
        """Count one more."""
        index = self._tpm.at(_COUNTERS_AT + counter)
        self._commands.nv_increment(index, index, session1=self._tpm.session)

    def counters(self) -> tuple[int, ...]:
        """Return what the counters say; raise ElementError where the TPM serves no drive."""
        if len(self._tpm.held(_COUNTERS_AT, _COUNTERS_AT + len(Counter))) < len(Counter):
            raise ElementError("the TPM serves no drive")
        values = (self._tpm.read(_COUNTERS_AT + counter, 8) for counter in Counter)
        return tuple(int.from_bytes(value, "big") for value in values)

    def keep_identity(self, seed: bytes) -> None:
        """Store the seed of the drive's identity, 32 bytes."""
        attributes = tss.TPMA_NV.AUTHREAD | tss.TPMA_NV.OWNERWRITE | tss.TPMA_NV.NO_DA
        self._tpm.define(_IDENTITY_AT, len(seed), attributes)
        self._tpm.write(_IDENTITY_AT, seed)

    def identity(self) -> bytes:
        """Return the seed of the drive's identity: no TPM signs as the drive must, with Ed25519."""
        return self._tpm.read(_IDENTITY_AT, SECRET_BYTES)

    def clear(self) -> None:
        """Undefine whatever an unfinished manufacture left."""
        for handle in self._tpm.held(_COUNTERS_AT, _SLOTS_END):
            self._tpm.undefine(handle)

    # --- slots ------------------------------------------------------------------------------------

    def slots(self) -> set[tuple[Slot, Half]]:
        """Return which secrets there are."""
        numbers = (handle - _SLOTS_AT for handle in self._tpm.held(_SLOTS_AT, _SLOTS_END))
        return {(Slot(number // 2), Half(1 + number % 2)) for number in numbers}

    def define_slot(self, slot: Slot, half: Half, stretched_pin: bytes, era: int) -> None:
        """Make a place for a secret, readable in one era by whoever knows a PIN.

        A wrong one counts as a failure for the lockout, since NO_DA is clear.
        """
        in_era = policy.counter_is(self._era_name, era, policy.COUNTER_EQUAL)
        attributes = tss.TPMA_NV.POLICYREAD | tss.TPMA_NV.OWNERWRITE
        digest, auth = policy.with_auth_value(in_era), _auth_value(slot, stretched_pin)
        self._tpm.define(_slot_at(slot, half), SECRET_BYTES, attributes, auth, digest)

    def write_slot(self, slot: Slot, half: Half, secret: bytes) -> None:
        """Put the secret there, 32 bytes."""
        self._tpm.write(_slot_at(slot, half), secret)

    def undefine_slot(self, slot: Slot, half: Half) -> None:
        """Destroy a secret."""
        self._tpm.undefine(_slot_at(slot, half))

    def guess(self, slot: Slot, half: Half, stretched_pin: bytes, era: int) -> bytes | None:
        """Return a slot's secret to whoever knows its PIN; None is a failure, or the lockout."""
        index = self._tpm.at(_slot_at(slot, half))
        self._commands.tr_set_auth(index, _auth_value(slot, stretched_pin))
        try:
            with self._tpm.policy(self._tpm.storage_key) as session:
                self._counter_is(session, era, tss.TPM2_EO.EQ)
                self._commands.policy_auth_value(session)
                secret = self._commands.nv_read(
                    index, SECRET_BYTES, 0, index, session1=session, session2=self._tpm.session
                )
                return bytes(secret)
        except TpmRefusal as refusal:
            if refusal.code in (tss.TPM2_RC.AUTH_FAIL, tss.TPM2_RC.LOCKOUT):
                return None
            raise
        finally:
            self._commands.tr_set_auth(index, b"")

    # --- proofs -----------------------------------------------------------------------------------

    def keep_refund_key(self, key: bytes) -> bytes:
        """Keep a key that checks proofs, in place of an older one, and return its proof's policy.

        The policy's digest goes into a Lockout.
        """
        self.forget_refund_key()
        self._tpm.persist(_REFUND_KEY_AT, key, VERIFYING)
        return policy.signed_by(bytes(self._commands.tr_get_name(self._tpm.at(_REFUND_KEY_AT))))

    @property
    def has_refund_key(self) -> bool:
        """Whether there is a key that checks proofs."""
        return bool(self._tpm.held(_REFUND_KEY_AT, _REFUND_KEY_AT + 1))

    def forget_refund_key(self) -> None:
        """Destroy the key that checks proofs, if there is one."""
        if self.has_refund_key:
            self._tpm.evict(_REFUND_KEY_AT)

    def challenge(self) -> bytes:
        """Return what a proof is over: aHash of TPM2_PolicySigned in a new session, 32 bytes."""
        self.forget_challenge()
        session = self._tpm.start_policy()
        nonce = bytes(self._commands.trsess_get_nonce_tpm(session))
        self._challenge = session, nonce
        return sha256(nonce + bytes(4)).digest()  # expiration 0; no cpHash, no policyRef

    def is_proven(self, proof: bytes) -> bool:
        """Tell whether `proof` is HMAC-SHA-256 by the refund key over the last challenge."""
        if self._challenge is None or len(proof) != 32 or not self.has_refund_key:
            return False
        session, nonce = self._challenge
        algorithm = tss.TPM2_ALG.SHA256
        digest = tss.TPMT_HA(hashAlg=algorithm, digest=tss.TPMU_HA(sha256=proof))
        signature = tss.TPMT_SIGNATURE(
            sigAlg=tss.TPM2_ALG.HMAC, signature=tss.TPMU_SIGNATURE(hmac=digest)
        )
        key = self._tpm.at(_REFUND_KEY_AT)
        try:
            self._commands.policy_signed(key, session, signature, nonce, b"", b"", 0)
        except TpmRefusal as refusal:
            self.forget_challenge()
            if refusal.code == tss.TPM2_RC.SIGNATURE:
                return False
            raise
        return True

    def forget_challenge(self) -> None:
        """End the session of a challenge, and with it what was proven in it."""
        if self._challenge is not None:
            session, self._challenge = self._challenge[0], None
            self._commands.flush_context(session)

    # --- the lockout ------------------------------------------------------------------------------

    @property
    def failures(self) -> int:
        """Guesses that failed, at all slots together, and were not forgiven since."""
        return self._tpm.number("LOCKOUT_COUNTER")

    @property
    def is_locked_out(self) -> bool:
        """Whether the TPM answers no slot now, whatever the PIN."""
        return self.failures >= self._tpm.number("MAX_AUTH_FAIL")

    @property
    def is_taken(self) -> bool:
        """Whether its lockout has a password, as any drive's has, or its owner keeps keys in it."""
        has_password = self._tpm.number("PERMANENT") & int(tss.TPMA_PERMANENT.LOCKOUTAUTHSET)
        return bool(has_password or self._tpm.held(*_OWNERS_OBJECTS))

    def take(self, failures_max: int, lockout: Lockout) -> None:
        """Make the lockout this drive's: its limit, who may reset it, and nobody by password."""
        session = self._tpm.session
        self._set_limit(failures_max, session)
        self._commands.set_lockout_policy(self._digest(lockout), session, tss.ESYS_TR.NONE)
        self._set_password(session, tss.ESYS_TR.NONE)

    def reset_lockout(self, lockout: Lockout) -> None:
        """Forgive all failures, by the proof that was given for the last challenge."""
        if self._challenge is None:
            raise ValueError("nothing was proven")
        session = self._challenge[0]
        self._any_of(session, lockout)
        self._commands.dictionary_attack_lock_reset(tss.ESYS_TR.LOCKOUT, session1=session)
        self.forget_challenge()

    def regain_lockout(self, failures_max: int, candidates: tuple[Lockout, ...]) -> Lockout:
        """Forgive all failures after the end of an era, and return which policy was in force.

        Limit and password are set again, since anybody could while there was nothing to protect.
        """
        for lockout in candidates:
            try:
                with self._past_era(lockout) as session:
                    self._set_password(session, self._tpm.session)
            except TpmRefusal as refusal:
                if refusal.code not in (tss.TPM2_RC.POLICY_FAIL, tss.TPM2_RC.POLICY):
                    raise
                continue
            with self._past_era(lockout) as session:
                self._set_limit(failures_max, session)
            with self._past_era(lockout) as session:
                self._commands.dictionary_attack_lock_reset(tss.ESYS_TR.LOCKOUT, session1=session)
            return lockout
        raise ElementError("the TPM's lockout is no longer this drive's")

    def replace_lockout(self, old: Lockout, new: Lockout) -> None:
        """Say who may reset the lockout in the new era."""
        with self._past_era(old) as session:
            self._commands.set_lockout_policy(self._digest(new), session, self._tpm.session)

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _era_name(self) -> bytes:
        return bytes(self._commands.tr_get_name(self._tpm.at(_COUNTERS_AT + Counter.ERA)))

    def _set_password(self, session1: Any, session2: Any) -> None:
        """Give the lockout an authorization that nobody will ever know."""
        lockout = tss.ESYS_TR.LOCKOUT
        unknown = self._tpm.random(SECRET_BYTES)
        self._commands.hierarchy_change_auth(lockout, unknown, session1=session1, session2=session2)
        self._commands.tr_set_auth(lockout, b"")  # the library would remember it

    def _set_limit(self, failures_max: int, session: Any) -> None:
        """Say how many failures the TPM bears, and when it forgives one."""
        password_recovery_s = 1  # a password that nobody knows needs no protection of its own
        self._commands.dictionary_attack_parameters(
            failures_max, RECOVERY_S, password_recovery_s, tss.ESYS_TR.LOCKOUT, session1=session
        )

    def _counter_is(self, session: Any, value: int, operation: Any) -> None:
        index = self._tpm.at(_COUNTERS_AT + Counter.ERA)
        operand = value.to_bytes(8, "big")
        self._commands.policy_nv(
            index, index, session, operand, operation, session1=self._tpm.session
        )

    def _branches(self, lockout: Lockout) -> tuple[bytes, bytes]:
        past = policy.counter_is(self._era_name, lockout.era, policy.COUNTER_ABOVE)
        return lockout.proof, past

    def _digest(self, lockout: Lockout) -> bytes:
        return policy.any_of(*self._branches(lockout))

    def _any_of(self, session: Any, lockout: Lockout) -> None:
        self._commands.policy_or(session, tss.TPML_DIGEST(list(self._branches(lockout))))

    @contextmanager
    def _past_era(self, lockout: Lockout) -> Iterator[Any]:
        """Give a session that has shown that the lockout's era has passed."""
        with self._tpm.policy() as session:
            self._counter_is(session, lockout.era, tss.TPM2_EO.UNSIGNED_GT)
            self._any_of(session, lockout)
            yield session


def _auth_value(slot: Slot, stretched_pin: bytes) -> bytes:
    """Return the authValue that stands for a PIN; it never ends in zeros, which a TPM drops."""
    digest = sha256(b"sedlab slot " + bytes((slot,)) + stretched_pin).digest()
    return digest[:-1] + b"\x01"


def _slot_at(slot: Slot, half: Half) -> int:
    return _SLOTS_AT + 2 * slot + half - 1
