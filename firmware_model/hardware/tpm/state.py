"""What an element with a TPM keeps outside it: bookkeeping without a secret, as bytes.

It lies in serial flash that anybody can write. The TPM's HMAC over it says that it is genuine; that
it names the value of every counter in the TPM says that it is the last one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from firmware_model.hardware.element_state import (
    KINDS,
    SECRET_BYTES,
    Count,
    FirmwareSlot,
    PublicSlot,
    PublicState,
    Slot,
)
from firmware_model.hardware.secure_element import ElementError


class TpmStateError(ElementError):
    """The bytes hold no state."""


class Counter(IntEnum):
    """A counter in the TPM's own memory, which only ever goes up."""

    USER = 0  # guesses, by Count
    ADMIN = 1
    RECOVERY = 2
    STATE = 3  # every other change of the state
    ERA = 4  # erases, and first PINs after them: slots are of one era, and end with it


class Half(IntEnum):
    """Where a slot's secret is in the TPM; the other half is for the one that follows."""

    NONE = 0
    A = 1
    B = 2


@dataclass(frozen=True, slots=True)
class TpmSlot:
    """A slot: where the secret that counts is, and the one that may follow it."""

    live: Half = Half.NONE
    spare: Half = Half.NONE
    generation: int = 0

    @property
    def free(self) -> Half:
        """Where a new secret may go."""
        return Half.B if self.live is Half.A else Half.A


@dataclass(frozen=True, slots=True)
class Lockout:
    """What the TPM demands of whoever resets its lockout: a proof, or that the era has passed."""

    proof: bytes  # digest of the policy that a proof satisfies
    era: int


EMPTY: Final = TpmSlot()


@dataclass(frozen=True, slots=True)
class TpmState:
    """All of it. Replaced as a whole, by one increment of one counter."""

    counters: tuple[int, ...]  # by Counter: the values that make this state the valid one
    limits: tuple[int, int, int]  # by Count
    reset_code_hash: bytes  # SHA-256
    update_key: bytes
    lockout: Lockout
    bases: tuple[int, ...]  # by Count: the counter's value when its tries were whole
    next_lockout: Lockout | None = None  # perhaps in force already: its change was not completed
    slots: tuple[TpmSlot, ...] = (EMPTY,) * len(Slot)
    has_keys: bool = False
    stretch_salt: bytes | None = None
    attempt_number: int = 0
    head: bytes = bytes(32)
    log_count: int = 0
    counts: tuple[int, ...] = (0,) * KINDS
    epoch: int = 0
    was_erased: bool = False
    is_read_only: bool = False
    firmware_floor: int = 0
    firmware_slot: FirmwareSlot = FirmwareSlot.BUILT_IN

    @property
    def public(self) -> PublicState:
        """What of it the element tells."""
        return PublicState(
            limits=self.limits,
            slots=tuple(PublicSlot(bool(each.live), each.generation) for each in self.slots),
            stretch_salt=self.stretch_salt,
            attempt_number=self.attempt_number,
            head=self.head,
            log_count=self.log_count,
            counts=self.counts,
            epoch=self.epoch,
            was_erased=self.was_erased,
            is_read_only=self.is_read_only,
            update_key=self.update_key,
            firmware_floor=self.firmware_floor,
            firmware_slot=self.firmware_slot,
        )

    def tries(self, count: Count) -> int:
        """Return how many guesses are left."""
        return self.limits[count] - (self.counters[count] - self.bases[count])

    def counted(self, counter: Counter) -> TpmState:
        """Return the state as the next increment of a counter makes it valid."""
        counters = list(self.counters)
        counters[counter] += 1
        return replace(self, counters=tuple(counters))

    def logged(self, event: int, head: bytes) -> TpmState:
        """Return the state with one more record in its log."""
        counts = (*self.counts[:event], self.counts[event] + 1, *self.counts[event + 1 :])
        return replace(self, head=head, log_count=self.log_count + 1, counts=counts)

    def with_slots(self, changes: Mapping[Slot, TpmSlot]) -> TpmState:
        """Return the state with some slots replaced."""
        slots = tuple(changes.get(Slot(i), old) for i, old in enumerate(self.slots))
        return replace(self, slots=slots)

    def with_all_tries(self, *counts: Count) -> TpmState:
        """Return the state with the tries of some counts whole."""
        bases = tuple(
            self.counters[i] if Count(i) in counts else base for i, base in enumerate(self.bases)
        )
        return replace(self, bases=bases)

    def encode(self) -> bytes:
        """Return the state as bytes of one length."""
        salt, pending = self.stretch_salt, self.next_lockout
        flags = (self.has_keys, self.was_erased, self.is_read_only, salt is not None, bool(pending))
        pending = pending or _NO_LOCKOUT
        return _LAYOUT.pack(
            _MAGIC,
            sum(flag << bit for bit, flag in enumerate(flags)),
            *self.counters,
            *self.bases,
            *self.limits,
            *(number for each in self.slots for number in (each.live, each.spare)),
            *(each.generation for each in self.slots),
            self.reset_code_hash,
            self.update_key,
            self.lockout.proof,
            self.lockout.era,
            pending.proof,
            pending.era,
            salt or bytes(SECRET_BYTES),
            self.attempt_number,
            self.log_count,
            self.epoch,
            self.firmware_floor,
            self.firmware_slot,
            self.head,
            *self.counts,
        )

    @classmethod
    def decode(cls, data: bytes) -> TpmState:
        """Return the state in `data`; raise TpmStateError where there is none."""
        if len(data) != ENCODED_BYTES or not data.startswith(_MAGIC):
            raise TpmStateError("no state of an element with a TPM")
        _, flags, *rest = _LAYOUT.unpack(data)
        numbers = iter(rest)

        def take(count: int) -> tuple[int, ...]:
            return tuple(next(numbers) for _ in range(count))

        counters, bases, limits = take(len(Counter)), take(len(Count)), take(len(Count))
        halves, generations = take(2 * len(Slot)), take(len(Slot))
        if max(halves) > Half.B:
            raise TpmStateError("a slot in no half")
        slots = tuple(
            TpmSlot(Half(halves[2 * i]), Half(halves[2 * i + 1]), generation)
            for i, generation in enumerate(generations)
        )
        code, update_key, proof, era, next_proof, next_era, salt = (next(numbers) for _ in range(7))
        attempt_number, log_count, epoch, floor, firmware_slot = take(5)
        if firmware_slot >= len(FirmwareSlot):
            raise TpmStateError(f"there is no firmware slot {firmware_slot}")
        state = cls(
            counters=counters,
            limits=(limits[0], limits[1], limits[2]),
            reset_code_hash=code,
            update_key=update_key,
            lockout=Lockout(proof, era),
            bases=bases,
            next_lockout=Lockout(next_proof, next_era) if flags & 16 else None,
            slots=slots,
            has_keys=bool(flags & 1),
            stretch_salt=salt if flags & 8 else None,
            attempt_number=attempt_number,
            head=next(numbers),
            log_count=log_count,
            counts=take(KINDS),
            epoch=epoch,
            was_erased=bool(flags & 2),
            is_read_only=bool(flags & 4),
            firmware_floor=floor,
            firmware_slot=FirmwareSlot(firmware_slot),
        )
        if state.encode() != data:
            raise TpmStateError("bytes outside the fields of the state")
        return state


_MAGIC: Final = b"SEDLABTP"
_NO_LOCKOUT: Final = Lockout(bytes(32), 0)
_LAYOUT: Final = struct.Struct(
    f">8sB{len(Counter)}Q{len(Count)}Q{len(Count)}B{2 * len(Slot)}B{len(Slot)}I"
    f"32s32s32sQ32sQ32sQQIIB32s{KINDS}I"
)
ENCODED_BYTES: Final = _LAYOUT.size
