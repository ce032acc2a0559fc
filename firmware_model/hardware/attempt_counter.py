"""How guesses are counted: what a counter is asked, and what it may use of its element."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from firmware_model.hardware.element_state import Count, ElementState, Slot, count_of
from firmware_model.hardware.supply import Supply


@dataclass(frozen=True, slots=True)
class AttemptRequest:
    """One guess: at which slot, with what, and the log record that tells of it."""

    slot: Slot
    stretched_pin: bytes
    event: int
    head: bytes  # of the log, with that record


@dataclass(frozen=True, slots=True)
class Answers:
    """What a guess is answered: HMAC(slot secret, stretched PIN), 32 bytes, where it is right."""

    slot: bytes
    duress: bytes


@dataclass(frozen=True, slots=True)
class NewSecret:
    """What a slot is given anew: 32 random bytes, and the PIN that is to open it."""

    secret: bytes
    stretched_pin: bytes


class External:
    """A few bytes of serial flash beside the element: anybody with a clip can write them."""

    def __init__(self, value: bytes = b"", store: Callable[[bytes], None] | None = None) -> None:
        self.value = value
        self._store = store

    def write(self, value: bytes) -> None:
        """Replace all of it."""
        self.value = value
        if self._store is not None:
            self._store(value)


class ElementCells:
    """What an attempt counter may use of its element."""

    def __init__(
        self,
        state: ElementState,
        supply: Supply,
        store: Callable[[ElementState], None] | None,
        external: External,
    ) -> None:
        self.state = state
        self._supply = supply
        self._store = store
        self._external = external

    def commit(self, name: str, state: ElementState) -> None:
        """Replace the state: one durable step, which happens as a whole or not at all."""
        self._supply.step(f"element {name}")
        self.state = state
        if self._store is not None:
            self._store(state)

    def answers(self, request: AttemptRequest) -> Answers:
        """Return the answers to a guess. An empty slot answers too, with what opens nothing."""
        pin = request.stretched_pin
        return Answers(self.answer(request.slot, pin), self.answer(Slot.DURESS, pin))

    def answer(self, slot: Slot, stretched_pin: bytes) -> bytes:
        """Return the answer of one slot."""
        secret = self.state.slots[slot].live
        if secret is None:
            secret = hmac.digest(self.state.identity_seed, bytes((slot,)), "sha256")
        return hmac.digest(secret, stretched_pin, "sha256")

    def challenge(self) -> bytes:
        """Return what a proof is over, 16 bytes: the numbers of the last attempt and record.

        So a proof that somebody recorded answers no more guesses once anything was logged, as the
        unlock that it belongs to is.
        """
        state = self.state
        return state.attempt_number.to_bytes(8, "big") + state.log_count.to_bytes(8, "big")

    def proof_is_right(self, proof: bytes) -> bool:
        """Tell whether `proof` is HMAC(refund key, challenge)."""
        if self.state.refund_key is None:
            return False
        right = hmac.digest(self.state.refund_key, self.challenge(), "sha256")
        return hmac.compare_digest(right, proof)

    @property
    def external(self) -> bytes:
        """What stands in the serial flash outside the element."""
        return self._external.value

    def write_external(self, value: bytes) -> None:
        """Write the serial flash outside the element: one durable step."""
        self._supply.step("program external flash")
        self._external.write(value)


class AttemptCounter(Protocol):
    """The part that counts guesses. It is made anew, without arguments, at every power-up."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        """Answer one guess, or return None when no try is left."""
        ...

    def settle(self, cells: ElementCells, count: Count, proof: bytes | None) -> bool:
        """Hear the verdict: a proof that the PIN was right, which gives the tries back, or None.

        Returns whether the tries were given back.
        """
        ...

    def tries_left(self, cells: ElementCells, count: Count) -> int:
        """Return how many guesses are left."""
        ...


class SpendFirst:
    """The reference counter: the try is spent, and the log knows, before anything is answered."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        """Answer one guess, or return None when no try is left."""
        state, count = cells.state, count_of(request.slot)
        if not state.tries[count]:
            return None
        left = state.tries[count] - 1
        spent = replace(state.with_tries(count, left), attempt_number=state.attempt_number + 1)
        cells.commit("spend try", spent.logged(request.event, request.head))
        # Read back: a counter that sticks must not make guesses free.
        return cells.answers(request) if cells.state.tries[count] == left else None

    def settle(self, cells: ElementCells, count: Count, proof: bytes | None) -> bool:
        """Give the tries back for a right proof."""
        if proof is None or not cells.proof_is_right(proof):
            return False
        cells.commit("refund tries", cells.state.with_tries(count, cells.state.limits[count]))
        return True

    def tries_left(self, cells: ElementCells, count: Count) -> int:
        """Return how many guesses are left."""
        return cells.state.tries[count]
