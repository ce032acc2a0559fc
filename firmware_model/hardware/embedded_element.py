"""The model's own secure element: all it remembers is one value, replaced as a whole."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_model.hardware.attempt_counter import (
    Answers,
    AttemptCounter,
    AttemptRequest,
    ElementCells,
    External,
    NewSecret,
    SpendFirst,
)
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import (
    Count,
    ElementState,
    FirmwareSlot,
    PublicState,
    Slot,
    SlotState,
)
from firmware_model.hardware.supply import Supply


class EmbeddedElement:
    """An element in the controller's own package (secure_element.SecureElement)."""

    def __init__(
        self,
        state: ElementState,
        supply: Supply,
        clock: Clock,
        timing: Timing,
        store: Callable[[ElementState], None] | None = None,
        external: External | None = None,
    ) -> None:
        self._external = external or External()
        self._cells = ElementCells(state, supply, store, self._external)
        self._public = state.public, state
        self._clock = clock
        self._timing = timing
        self._counter: AttemptCounter = SpendFirst()
        self._drawn: frozenset[Slot] = frozenset()  # whose spare is new, and was never live
        self._key: Ed25519PrivateKey | None = None
        self._identity = b""

    @property
    def memory(self) -> ElementState:
        """Everything it remembers, as whoever opens the package sees it."""
        return self._cells.state

    @property
    def state(self) -> PublicState:
        """What it tells of itself; no secret is in it."""
        if self._public[1] is not self._cells.state:
            self._public = self._cells.state.public, self._cells.state
        return self._public[0]

    @property
    def external(self) -> External:
        """The serial flash beside it."""
        return self._external

    def power_on(self, counter: AttemptCounter) -> None:
        """Begin with an attempt counter that remembers nothing outside the element."""
        self._counter = counter
        self._drawn = frozenset()

    def attempt(self, request: AttemptRequest) -> Answers | None:
        """Spend a try and answer one guess; None when there is no try left."""
        self._charge()
        return self._counter.attempt(self._cells, request)

    def settle(self, count: Count, proof: bytes | None) -> bool:
        """Tell the counter the verdict; a right proof gives the tries back."""
        self._charge()
        return self._counter.settle(self._cells, count, proof)

    def tries_left(self, count: Count) -> int:
        """Return how many guesses are left."""
        return self._counter.tries_left(self._cells, count)

    def challenge(self) -> bytes:
        """Return what the next proof is over."""
        return self._cells.challenge()

    def answer_with_proof(self, slot: Slot, stretched_pin: bytes, proof: bytes) -> bytes | None:
        """Answer without a try, for whoever proves to hold the media key already."""
        self._charge()
        if not self._cells.proof_is_right(proof):
            return None
        return self._cells.answer(slot, stretched_pin)

    def extend(self, event: int, head: bytes) -> None:
        """Take one more record into the head and the counts: one durable step."""
        self._charge()
        self._cells.commit("extend log", self.memory.logged(event, head))

    def draw_spare(self, new: Mapping[Slot, NewSecret]) -> None:
        """Put new secrets beside the live ones: one durable step."""
        self._charge()
        slots = {
            slot: replace(self.memory.slots[slot], spare=each.secret) for slot, each in new.items()
        }
        self._cells.commit("draw spare", self.memory.with_slots(slots))
        self._drawn |= frozenset(new)

    def spare_answer(self, slot: Slot, stretched_pin: bytes) -> bytes:
        """Return what the spare secret answers; raise ValueError where none was drawn.

        One that was live before a commit is not asked: its old PIN could be guessed at no cost.
        """
        self._charge()
        spare = self.memory.slots[slot].spare
        if spare is None or slot not in self._drawn:
            raise ValueError(f"slot {slot.name} has no spare secret")
        return hmac.digest(spare, stretched_pin, "sha256")

    def commit(
        self,
        slots: tuple[Slot, ...],
        event: int,
        head: bytes,
        *,
        end: tuple[Slot, ...] = (),
        refill: tuple[Count, ...] = (),
        proof: bytes | None = None,
        first: tuple[bytes, bytes] | None = None,
    ) -> bool:
        """Make the spare secrets of `slots` the live ones (SecureElement.commit): one step."""
        self._charge()
        state = self.memory
        if any(state.slots[slot].spare is None or slot not in self._drawn for slot in slots):
            return False
        if state.refund_key is None:
            if first is None:
                return False
            state = replace(state, refund_key=first[0], stretch_salt=first[1], was_erased=False)
        elif proof is None or not self._cells.proof_is_right(proof):
            return False
        changes = {slot: SlotState(generation=state.slots[slot].generation) for slot in end}
        for slot in slots:
            old = state.slots[slot]
            changes[slot] = SlotState(old.spare, old.live, old.generation + 1)
        for count in refill:
            state = state.with_tries(count, state.limits[count])
        self._cells.commit("commit slot", state.with_slots(changes).logged(event, head))
        self._drawn -= frozenset(slots)
        return True

    def destroy_spares(self) -> None:
        """Destroy whatever stands beside the live secrets: one durable step, if there is any."""
        self._charge()
        spares = {
            Slot(i): replace(slot, spare=None)
            for i, slot in enumerate(self.memory.slots)
            if slot.spare is not None
        }
        if spares:
            self._cells.commit("destroy spares", self.memory.with_slots(spares))

    def destroy_all(self, event: int, head: bytes) -> None:
        """Destroy every slot secret and the refund key: the moment of erasure, in one step."""
        self._charge()
        state = self.memory.logged(event, head)
        empty = {
            Slot(i): SlotState(generation=slot.generation) for i, slot in enumerate(state.slots)
        }
        erased = replace(
            state.with_slots(empty),
            refund_key=None,
            stretch_salt=None,
            tries=state.limits,
            epoch=state.epoch + 1,
            was_erased=True,
            is_read_only=False,
        )
        self._cells.commit("destroy secrets", erased)

    def set_read_only(self, is_read_only: bool, event: int, head: bytes) -> None:
        """Keep the read-only flag: one durable step."""
        self._charge()
        state = replace(self.memory, is_read_only=is_read_only)
        self._cells.commit("set read-only", state.logged(event, head))

    def switch_firmware(self, slot: FirmwareSlot, floor: int, event: int, head: bytes) -> bool:
        """Name the slot to begin with and raise the floor of security versions: one durable step.

        Returns False, and changes nothing, for a floor below the one there is.
        """
        self._charge()
        if floor < self.memory.firmware_floor:
            return False
        state = replace(self.memory, firmware_slot=slot, firmware_floor=floor)
        self._cells.commit("switch firmware", state.logged(event, head))
        return True

    def reset_code_is_right(self, code: bytes) -> bool:
        """Tell whether `code` is the one printed when the drive was made."""
        self._charge()
        return hmac.compare_digest(sha256(code).digest(), self.memory.reset_code_hash)

    @property
    def identity(self) -> bytes:
        """The public key of the drive, 32 bytes (Ed25519, RFC 8032)."""
        if not self._identity:
            self._identity = self._private().public_key().public_bytes_raw()
        return self._identity

    def sign(self, message: bytes) -> bytes:
        """Return the drive's signature, 64 bytes."""
        self._charge()
        return self._private().sign(message)

    def on(self, supply: Supply, clock: Clock) -> "EmbeddedElement":
        """Return an element in the same state, on another board and kept nowhere."""
        other = EmbeddedElement(
            self.memory, supply, clock, self._timing, external=External(self.external.value)
        )
        other._key, other._identity = self._key, self._identity
        return other

    def _private(self) -> Ed25519PrivateKey:
        if self._key is None:
            self._key = Ed25519PrivateKey.from_private_bytes(self.memory.identity_seed)
        return self._key

    def _charge(self) -> None:
        self._clock.charge(self._timing.element_us)
