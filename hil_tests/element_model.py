"""What any secure element must do, as values; and actions that hold an element against that.

`run` does a thing to the element and asserts what it answers, `expected` says what then is. An
action that lost power has happened or has not: nothing in between, and nothing twice.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal, Protocol

from firmware_model.hardware.attempt_counter import AttemptRequest, NewSecret
from firmware_model.hardware.element_state import Count, FirmwareSlot, Slot, count_of
from firmware_model.hardware.secure_element import SecureElement
from firmware_model.hardware.supply import PowerCut
from hil_tests.elements import LIMITS, ElementBench

EVENT = 7
Proof = Literal["right", "wrong", "short", "none"]


@dataclass(frozen=True, slots=True)
class Key:
    """What is in a slot."""

    pin: bytes
    secret: bytes

    @property
    def answer(self) -> bytes:
        return hmac.digest(self.secret, self.pin, "sha256")


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of an element by all that was done to it."""

    tries: tuple[int, ...] = LIMITS
    slots: Mapping[Slot, Key] = field(default_factory=dict)
    former: tuple[tuple[Slot, Key], ...] = ()  # that must never be answered again
    generations: tuple[int, ...] = (0,) * len(Slot)
    refund_key: bytes | None = None
    salt: bytes | None = None
    attempts: int = 0
    log_count: int = 0
    head: bytes = bytes(32)
    epoch: int = 0
    was_erased: bool = False
    is_read_only: bool = False
    firmware: tuple[FirmwareSlot, int] = (FirmwareSlot.BUILT_IN, 0)  # with the floor

    @property
    def next_head(self) -> bytes:
        return sha256(b"head %d" % self.log_count).digest()

    def logged(self) -> "Model":
        return replace(self, log_count=self.log_count + 1, head=self.next_head)

    def with_tries(self, count: Count, left: int) -> "Model":
        tries = tuple(left if i == count else tries for i, tries in enumerate(self.tries))
        return replace(self, tries=tries)

    def proof(self, element: SecureElement) -> bytes:
        """Return a right proof; on a drive without keys, one by a key that it never had."""
        return hmac.digest(self.refund_key or bytes(32), element.challenge(), "sha256")


def differences(element: SecureElement, model: Model) -> list[str]:
    """Return in what an element is not as the model says; it spends no tries to find out."""
    state = element.state
    pairs = {
        "limits": (state.limits, LIMITS),
        "tries": (tuple(element.tries_left(count) for count in Count), model.tries),
        "slots set": ({slot for slot in Slot if state.slots[slot].is_set}, set(model.slots)),
        "generations": (tuple(slot.generation for slot in state.slots), model.generations),
        "salt": (state.stretch_salt, model.salt),
        "attempts": (state.attempt_number, model.attempts),
        "records": (state.log_count, model.log_count),
        "records of the event": (state.counts[EVENT], model.log_count),
        "head": (state.head, model.head),
        "epoch": (state.epoch, model.epoch),
        "erased": (state.was_erased, model.was_erased),
        "firmware": ((state.firmware_slot, state.firmware_floor), model.firmware),
        "read-only": (state.is_read_only, model.is_read_only),
    }
    found = [f"{name}: {seen!r}, not {due!r}" for name, (seen, due) in pairs.items() if seen != due]
    if found:
        return found
    if model.refund_key is None:
        if element.answer_with_proof(Slot.USER, b"pin", model.proof(element)) is not None:
            found.append("a proof on a drive without keys")
        return found
    for slot, key in model.slots.items():
        if element.answer_with_proof(slot, key.pin, model.proof(element)) != key.answer:
            found.append(f"answer of {slot.name}")
    for slot, key in model.former[-2:]:
        if element.answer_with_proof(slot, key.pin, model.proof(element)) == key.answer:
            found.append(f"answer of {slot.name} to a PIN that was ended")
    return found


class Action(Protocol):
    """One thing that is done to an element."""

    def run(self, element: SecureElement, model: Model) -> None: ...

    def expected(self, model: Model) -> Model: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """A guess at a slot."""

    slot: Slot
    pin: bytes

    def run(self, element: SecureElement, model: Model) -> None:
        request = AttemptRequest(self.slot, self.pin, EVENT, model.next_head)
        answers = element.attempt(request)
        assert (answers is None) == (model.tries[count_of(self.slot)] == 0)
        if answers is None:
            return
        opened = self._opened(model, self.slot)
        duress = self._opened(model, Slot.DURESS) if self.slot is Slot.USER else None
        keys = [*model.slots.values(), *(key for _, key in model.former)]
        never = {key.answer for key in keys} | {key.secret for key in keys}
        assert answers.slot == opened.answer if opened else answers.slot not in never
        if self.slot is Slot.USER and opened is None:
            assert answers.duress == duress.answer if duress else answers.duress not in never

    def _opened(self, model: Model, slot: Slot) -> Key | None:
        key = model.slots.get(slot)
        return key if key is not None and key.pin == self.pin else None

    def expected(self, model: Model) -> Model:
        count = count_of(self.slot)
        if not model.tries[count]:
            return model
        spent = model.with_tries(count, model.tries[count] - 1)
        return replace(spent, attempts=model.attempts + 1).logged()


@dataclass(frozen=True, slots=True)
class Refund:
    """The verdict on a guess, with a proof or what is given for one."""

    count: Count
    proof: Proof

    def run(self, element: SecureElement, model: Model) -> None:
        proof = self._given(element, model)
        is_right = self.proof == "right" and model.refund_key is not None
        assert element.settle(self.count, proof) == is_right

    def _given(self, element: SecureElement, model: Model) -> bytes | None:
        right = model.proof(element)
        match self.proof:
            case "right":
                return right
            case "wrong":
                return right[::-1]
            case "short":
                return right[:-1]
            case "none":
                return None

    def expected(self, model: Model) -> Model:
        if self.proof != "right" or model.refund_key is None:
            return model
        return model.with_tries(self.count, LIMITS[self.count])


@dataclass(frozen=True, slots=True)
class Change:
    """New PINs for slots, all at once, as the firmware changes them."""

    pins: tuple[tuple[Slot, bytes], ...]
    end: tuple[Slot, ...] = ()
    refill: tuple[Count, ...] = ()
    has_proof: bool = True

    def run(self, element: SecureElement, model: Model) -> None:
        keys = self._keys(model)
        element.draw_spare({slot: NewSecret(key.secret, key.pin) for slot, key in keys.items()})
        for slot, key in keys.items():
            assert element.spare_answer(slot, key.pin) == key.answer
        is_first = model.refund_key is None
        first = (_refund_key(model), _salt(model)) if is_first and self.has_proof else None
        proof = None if is_first else model.proof(element)
        if proof is not None and not self.has_proof:
            proof = proof[::-1]
        head, slots = model.next_head, tuple(keys)
        done = element.commit(
            slots, EVENT, head, end=self.end, refill=self.refill, proof=proof, first=first
        )
        assert done == self.has_proof
        element.destroy_spares()

    def expected(self, model: Model) -> Model:
        if not self.has_proof:
            return model
        keys = self._keys(model)
        gone = [(s, model.slots[s]) for s in (*keys, *self.end) if s in model.slots]
        slots = {s: key for s, key in model.slots.items() if s not in self.end} | keys
        generations = tuple(
            number + (Slot(i) in keys) for i, number in enumerate(model.generations)
        )
        changed = replace(
            model, slots=slots, generations=generations, former=(*model.former, *gone)
        )
        for count in self.refill:
            changed = changed.with_tries(count, LIMITS[count])
        if model.refund_key is None:
            changed = replace(
                changed, refund_key=_refund_key(model), salt=_salt(model), was_erased=False
            )
        return changed.logged()

    def _keys(self, model: Model) -> dict[Slot, Key]:
        def secret(slot: Slot) -> bytes:
            return sha256(b"secret %d %d" % (slot, model.log_count)).digest()

        return {slot: Key(pin, secret(slot)) for slot, pin in self.pins}


def _refund_key(model: Model) -> bytes:
    return sha256(b"refund key %d" % model.log_count).digest()


def _salt(model: Model) -> bytes:
    return sha256(b"salt %d" % model.log_count).digest()


@dataclass(frozen=True, slots=True)
class DestroyAll:
    """An erase."""

    def run(self, element: SecureElement, model: Model) -> None:
        element.destroy_all(EVENT, model.next_head)

    def expected(self, model: Model) -> Model:
        return replace(
            model,
            tries=LIMITS,
            slots={},
            former=(*model.former, *model.slots.items()),
            refund_key=None,
            salt=None,
            epoch=model.epoch + 1,
            was_erased=True,
            is_read_only=False,
        ).logged()


@dataclass(frozen=True, slots=True)
class Extend:
    """One more record."""

    def run(self, element: SecureElement, model: Model) -> None:
        element.extend(EVENT, model.next_head)

    def expected(self, model: Model) -> Model:
        return model.logged()


@dataclass(frozen=True, slots=True)
class SetReadOnly:
    """The read-only flag."""

    is_read_only: bool

    def run(self, element: SecureElement, model: Model) -> None:
        element.set_read_only(self.is_read_only, EVENT, model.next_head)

    def expected(self, model: Model) -> Model:
        return replace(model, is_read_only=self.is_read_only).logged()


@dataclass(frozen=True, slots=True)
class SwitchFirmware:
    """Another firmware to begin with, and a floor, which never falls."""

    slot: FirmwareSlot
    floor: int

    def run(self, element: SecureElement, model: Model) -> None:
        done = element.switch_firmware(self.slot, self.floor, EVENT, model.next_head)
        assert done == (self.floor >= model.firmware[1])

    def expected(self, model: Model) -> Model:
        if self.floor < model.firmware[1]:
            return model
        return replace(model, firmware=(self.slot, self.floor)).logged()


PIN = {slot: b"pin of %d" % slot for slot in Slot}
WRONG = b"wrong"
ALL_SLOTS = Change(tuple(PIN.items()))
NEW_USER = Change(((Slot.USER, b"new"),))


def do(element: SecureElement, model: Model, *actions: Action) -> Model:
    """Do things to an element that must all happen, and return what then is."""
    for action in actions:
        action.run(element, model)
        model = action.expected(model)
    return model


def is_cut(bench: ElementBench, model: Model, action: Action, number: int) -> bool:
    """Do something with power cut at one of its steps; return whether that came to pass."""
    bench.supply.cut_at(number)
    try:
        action.run(bench.element, model)
    except PowerCut:
        return True
    finally:
        bench.supply.cut_at(None)
    return False
