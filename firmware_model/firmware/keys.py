"""The key hierarchy: PIN, stretched PIN, the element's answer, KEK, wrapped MEK.

The media key is wrapped once for each role. Whether a PIN is right is told by nothing but the
unwrap; no PIN and no hash of one is kept anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from firmware_model.firmware import crypto
from firmware_model.firmware.keystore import KeyRecord, KeyStore
from firmware_model.firmware.parts import Parts
from firmware_model.hardware.attempt_counter import AttemptRequest, NewSecret
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import Count, Slot
from firmware_model.hardware.entropy import Entropy
from firmware_model.hardware.secure_element import SecureElement
from firmware_model.wire.attempt_log import Event

SECRET_BYTES: Final = 32
SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Guess:
    """What one try brought: the media key, the duress PIN, or neither."""

    mek: bytes | None
    is_duress: bool


class KeyHierarchy:
    """Keys of one drive, and the only way to them."""

    def __init__(
        self,
        element: SecureElement,
        store: KeyStore,
        entropy: Entropy,
        parts: Parts,
        clock: Clock,
        timing: Timing,
        kdf_iterations: int,
    ) -> None:
        self._element = element
        self._store = store
        self._entropy = entropy
        self._parts = parts
        self._clock = clock
        self._timing = timing
        self._kdf_iterations = kdf_iterations

    def is_set(self, slot: Slot) -> bool:
        """Tell whether a role has a PIN."""
        return self._element.state.slots[slot].is_set

    def guess(self, slot: Slot, pin: bytes, event: Event, head: bytes) -> Guess | None:
        """Spend a try on a PIN; None when there was no try to spend."""
        stretched = self._stretch(pin)
        request = AttemptRequest(slot, stretched, event, head)
        answers = self._element.attempt(request)
        if answers is None:
            return None
        mek = self._open(slot, answers.slot, stretched)
        duress = self._open(Slot.DURESS, answers.duress, stretched)
        return Guess(mek, slot is Slot.USER and mek is None and duress is not None)

    def settle(self, count: Count, mek: bytes | None) -> bool:
        """Tell the element the verdict: with the media key the tries come back."""
        return self._element.settle(count, None if mek is None else self._proof(mek))

    def collides(self, slot: Slot, pin: bytes, mek: bytes) -> bool:
        """Tell whether with a new PIN for `slot` the duress PIN would be another role's PIN too.

        Other PINs may be the same: who was refused one would know somebody else's, for no try.
        """
        stretched = self._stretch(pin)
        for other in (Slot.USER, Slot.ADMIN) if slot is Slot.DURESS else (Slot.DURESS,):
            if not self.is_set(other):
                continue
            answer = self._element.answer_with_proof(other, stretched, self._proof(mek))
            if answer is None or self._open(other, answer, stretched) is not None:
                return True
        return False

    def new_mek(self) -> bytes:
        """Draw a media key."""
        return self._parts.key_source.mek(self._entropy.draw, self._clock.now_us)

    def install(
        self,
        pins: Mapping[Slot, bytes],
        mek: bytes,
        event: Event,
        head: bytes,
        *,
        end: tuple[Slot, ...] = (),
        refill: tuple[Count, ...] = (),
    ) -> bool:
        """Give slots new PINs, all in one commit; on a drive without keys `mek` is its first.

        Returns False where the element refused: `mek` is not the key of this drive.
        """
        before = self._element.state.slots
        self._parts.pin_change.change(_Change(self, pins, mek, event, head, end, refill))
        after = self._element.state.slots
        return all(after[slot].generation > before[slot].generation for slot in pins)

    def _stretch(self, pin: bytes, salt: bytes | None = None) -> bytes:
        salt = salt or self._element.state.stretch_salt or bytes(SECRET_BYTES)
        self._clock.charge(self._timing.kdf_us)
        return self._parts.stretching.stretch(pin, salt, self._kdf_iterations)

    def _kek(self, slot: Slot, answer: bytes, stretched: bytes, salt: bytes) -> bytes:
        return self._parts.derivation.kek(answer, stretched, salt, slot)

    def _open(self, slot: Slot, answer: bytes, stretched: bytes) -> bytes | None:
        """Return what is wrapped for a slot, if the answer is the right one."""
        state = self._element.state.slots[slot]
        record = self._store.find(slot, state.generation)
        if record is None or not state.is_set:
            return None
        kek = self._kek(slot, answer, stretched, record.salt)
        unwrapped = self._parts.wrapping.unwrap(kek, record.wrapped)
        return unwrapped.key if unwrapped.is_right else None

    def _proof(self, mek: bytes) -> bytes:
        return crypto.hmac_sha256(refund_key(mek), self._element.challenge())


def refund_key(mek: bytes) -> bytes:
    """Return what the element keeps to recognise a proof of the media key."""
    return crypto.hmac_sha256(mek, b"refund")


class _Change:
    """The steps of giving slots new PINs."""

    def __init__(
        self,
        keys: KeyHierarchy,
        pins: Mapping[Slot, bytes],
        mek: bytes,
        event: Event,
        head: bytes,
        end: tuple[Slot, ...],
        refill: tuple[Count, ...],
    ) -> None:
        self._keys = keys
        self._element = keys._element
        self._mek = mek
        self._event, self._head = event, head
        self._end, self._refill = end, refill
        draw = keys._entropy.draw
        self._first: tuple[bytes, bytes] | None = None
        salt = self._element.state.stretch_salt
        if salt is None:
            salt = draw(SECRET_BYTES)
            self._first = (refund_key(mek), salt)
        self._stretched = {slot: keys._stretch(pin, salt) for slot, pin in pins.items()}
        self._records: list[KeyRecord] = []

    def draw(self) -> None:
        """Draw new slot secrets beside the live ones."""
        draw = self._keys._entropy.draw
        new = {slot: NewSecret(draw(SECRET_BYTES), pin) for slot, pin in self._stretched.items()}
        self._element.draw_spare(new)

    def wrap(self) -> None:
        """Wrap the keys for the new PINs; the duress slot gets noise."""
        keys, state = self._keys, self._element.state
        draw = keys._entropy.draw
        for slot, stretched in self._stretched.items():
            salt = draw(SALT_BYTES)
            answer = self._element.spare_answer(slot, stretched)
            kek = keys._kek(slot, answer, stretched, salt)
            key = draw(len(self._mek)) if slot is Slot.DURESS else self._mek
            wrapped = keys._parts.wrapping.wrap(kek, key)
            if slot is not Slot.DURESS and not self._opens(kek, wrapped):
                return
            generation = state.slots[slot].generation + 1
            self._records.append(KeyRecord(slot, generation, state.epoch, salt, wrapped))

    def _opens(self, kek: bytes, wrapped: bytes) -> bool:
        """Tell whether the media key can be had back: no single verdict says what was wrapped."""
        return self._keys._parts.wrapping.unwrap(kek, wrapped).key == self._mek

    def store(self) -> None:
        """Write the wrapped keys; what no slot names any more may go."""
        slots = self._element.state.slots
        keep = {(Slot(i), each.generation) for i, each in enumerate(slots)}
        keep |= {(record.slot, record.generation) for record in self._records}
        for record in self._records:
            self._keys._store.write(record, frozenset(keep))

    def commit(self) -> None:
        """Make the new secrets the live ones, in one step with the log record."""
        if len(self._records) < len(self._stretched):
            return  # a PIN that opens nothing must not take the place of one that does
        proof = None if self._first else self._keys._proof(self._mek)
        self._element.commit(
            tuple(self._stretched),
            self._event,
            self._head,
            end=self._end,
            refill=self._refill,
            proof=proof,
            first=self._first,
        )

    def finish(self) -> None:
        """Destroy the old secrets."""
        self._element.destroy_spares()
