"""A secure element made of a TPM 2.0 and a little serial flash (secure_element.SecureElement).

The TPM keeps what is secret and what must not go back: slot secrets, each behind its PIN and under
its lockout, the key that checks proofs, and counters. The rest is a state in the serial flash,
which holds if the TPM vouches for it and it names the value of every counter. So each change is two
durable steps: the new state is written beside the old one, and one increment of one counter is what
happens: it makes the new state the valid one. A try is spent by an increment of its own counter.

What a state no longer names is then destroyed, at the latest at the next power-up.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_model.hardware.attempt_counter import (
    Answers,
    AttemptCounter,
    AttemptRequest,
    External,
    NewSecret,
    SpendFirst,
)
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import Count, FirmwareSlot, PublicState, Slot, count_of
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.supply import Supply
from firmware_model.hardware.tpm.provisioning import failures_max, sealed, unsealed
from firmware_model.hardware.tpm.state import Counter, Half, Lockout, TpmSlot, TpmState

if TYPE_CHECKING:
    from firmware_model.hardware.tpm.chip import TpmChip


class TpmElement:
    """The element. Only one may be made of a TPM at a time."""

    def __init__(
        self,
        chip: "TpmChip",
        supply: Supply,
        clock: Clock,
        timing: Timing,
        external: External,
        sync: Callable[[], None],
    ) -> None:
        """Take up the last state; raise ElementError unless the TPM vouches for it.

        `sync` has what was stored outlive a crash of the computer, as the TPM does.
        """
        self._chip = chip
        self._supply = supply
        self._clock = clock
        self._timing = timing
        self._external = external
        self._sync = sync
        self._read_state()
        self._seed = chip.identity()
        self._key = Ed25519PrivateKey.from_private_bytes(self._seed)

    @property
    def state(self) -> PublicState:
        """What it tells of itself; no secret is in it."""
        return self._public

    @property
    def external(self) -> External:
        """The serial flash beside it."""
        return self._external

    @property
    def identity(self) -> bytes:
        """The public key of the drive, 32 bytes (Ed25519, RFC 8032)."""
        return self._key.public_key().public_bytes_raw()

    def power_on(self, counter: AttemptCounter) -> None:
        """Complete or undo what lost power, and count the power-up.

        So a state whose increment was cut off is not put into force later. No spare outlives it,
        nor an era without its first PIN. Raises ElementError for another counter of guesses.
        """
        if type(counter) is not SpendFirst:
            raise ElementError("a TPM counts by itself: the drive's counter can't be replaced")
        self._chip.forget_challenge()
        self._read_state()
        counts = Counter.STATE if self._state.has_keys or not self._has_spares else Counter.ERA
        self._commit("count power-up", self._without_spares(), counts)
        self._sweep()

    def attempt(self, request: AttemptRequest) -> Answers | None:
        """Spend a try and answer one guess; None when there is no try left."""
        self._charge()
        count = count_of(request.slot)
        if not self._state.tries(count) or self._chip.is_locked_out:
            return None
        spent = replace(self._state, attempt_number=self._state.attempt_number + 1)
        self._commit("spend try", spent.logged(request.event, request.head), Counter(count))
        answer, is_right = self._answer(request.slot, request.stretched_pin)
        if is_right or request.slot is not Slot.USER:
            return Answers(answer, self._empty_answer(Slot.DURESS, request.stretched_pin))
        return Answers(answer, self._answer(Slot.DURESS, request.stretched_pin)[0])

    def settle(self, count: Count, proof: bytes | None) -> bool:
        """Hear the verdict: a proof that the PIN was right gives the tries back."""
        self._charge()
        if proof is None or not self._is_proven(proof):
            return False
        self._reset_lockout()
        self._commit("refund tries", self._state.with_all_tries(count))
        return True

    def tries_left(self, count: Count) -> int:
        """Return how many guesses are left."""
        return self._state.tries(count)

    def challenge(self) -> bytes:
        """Return what the next proof is over."""
        return self._chip.challenge()

    def answer_with_proof(self, slot: Slot, stretched_pin: bytes, proof: bytes) -> bytes | None:
        """Answer without a try, for whoever proves to hold the media key already."""
        self._charge()
        if not self._is_proven(proof):
            return None
        answer, is_right = self._answer(slot, stretched_pin)
        if is_right:
            self._chip.forget_challenge()
        else:
            self._reset_lockout()
        return answer

    def extend(self, event: int, head: bytes) -> None:
        """Take one more record into the head and the counts."""
        self._charge()
        self._commit("extend log", self._state.logged(event, head))

    def draw_spare(self, new: Mapping[Slot, NewSecret]) -> None:
        """Put new secrets beside the live ones. The first ones of a drive begin an era."""
        self._charge()
        state = self._state
        begins = not state.has_keys and not self._has_spares
        era = state.counters[Counter.ERA] + begins
        held = self._chip.slots()
        for slot, each in new.items():
            half = state.slots[slot].free
            if (slot, half) in held:
                self._step("destroy secret", self._chip.undefine_slot, slot, half)
            pin = each.stretched_pin
            self._step("define secret", self._chip.define_slot, slot, half, pin, era)
            self._step("write secret", self._chip.write_slot, slot, half, each.secret)
        slots = {slot: replace(state.slots[slot], spare=state.slots[slot].free) for slot in new}
        counter = Counter.ERA if begins else Counter.STATE
        self._commit("draw spare", state.with_slots(slots), counter)
        if begins:
            self._regain_lockout()

    def spare_answer(self, slot: Slot, stretched_pin: bytes) -> bytes:
        """Return what the spare secret answers; raise ValueError where none was drawn."""
        self._charge()
        spare = self._state.slots[slot].spare
        if not spare:
            raise ValueError(f"slot {slot.name} has no spare secret")
        return self._answer(slot, stretched_pin, spare)[0]

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
        """Make the spare secrets of `slots` the live ones (SecureElement.commit)."""
        self._charge()
        if any(not self._state.slots[slot].spare for slot in slots):
            return False
        if self._state.has_keys:
            if proof is None or not self._is_proven(proof):
                return False
            self._reset_lockout()
            state = self._state
        elif first is not None:
            state = self._with_first_key(*first)
        else:
            return False
        changes = {slot: TpmSlot(generation=state.slots[slot].generation) for slot in end}
        for slot in slots:
            old = state.slots[slot]
            changes[slot] = TpmSlot(old.spare, generation=old.generation + 1)
        state = state.with_all_tries(*refill).with_slots(changes)
        self._commit("commit slot", state.logged(event, head))
        self._sweep()
        return True

    def destroy_spares(self) -> None:
        """Destroy whatever stands beside the live secrets, if anything does."""
        self._charge()
        if self._has_spares:
            self._commit("destroy spares", self._without_spares())
            self._sweep()

    def destroy_all(self, event: int, head: bytes) -> None:
        """End the era, which no slot secret outlives: the moment of erasure. Then destroy them."""
        self._charge()
        state = self._state.logged(event, head).with_all_tries(*Count)
        erased = replace(
            state,
            slots=tuple(TpmSlot(generation=each.generation) for each in state.slots),
            has_keys=False,
            stretch_salt=None,
            epoch=state.epoch + 1,
            was_erased=True,
            is_read_only=False,
        )
        self._commit("destroy secrets", erased, Counter.ERA)
        self._sweep()

    def set_read_only(self, is_read_only: bool, event: int, head: bytes) -> None:
        """Keep the read-only flag."""
        self._charge()
        state = self._state.logged(event, head)
        self._commit("set read-only", replace(state, is_read_only=is_read_only))

    def switch_firmware(self, slot: FirmwareSlot, floor: int, event: int, head: bytes) -> bool:
        """Name the slot to begin with and raise the floor of security versions."""
        self._charge()
        if floor < self._state.firmware_floor:
            return False
        state = self._state.logged(event, head)
        self._commit("switch firmware", replace(state, firmware_slot=slot, firmware_floor=floor))
        return True

    def reset_code_is_right(self, code: bytes) -> bool:
        """Tell whether `code` is the one printed when the drive was made."""
        self._charge()
        return hmac.compare_digest(sha256(code).digest(), self._state.reset_code_hash)

    def sign(self, message: bytes) -> bytes:
        """Return the drive's signature, 64 bytes."""
        self._charge()
        return self._key.sign(message)

    # --- the state --------------------------------------------------------------------------------

    def _read_state(self) -> None:
        """Take up the state that holds; raise ElementError where none does."""
        counters, stored = self._chip.counters(), self._external.value
        for kept, state in unsealed(self._chip, stored):
            if state.counters == counters:
                self._adopt(state, kept)
                return
        raise ElementError(
            "the TPM does not vouch for the state beside it: rolled back, altered, or another's"
        )

    def _commit(self, name: str, state: TpmState, counter: Counter = Counter.STATE) -> None:
        """Replace the state: until the counter is incremented, the old one holds."""
        state = state.counted(counter)
        kept = sealed(self._chip, state)
        self._supply.step("program external flash")
        self._external.write(kept + self._kept)
        self._sync()
        self._supply.step(f"element {name}")
        self._chip.increment(counter)
        self._adopt(state, kept)

    @property
    def _has_spares(self) -> bool:
        return any(each.spare for each in self._state.slots)

    def _without_spares(self) -> TpmState:
        slots = tuple(replace(each, spare=Half.NONE) for each in self._state.slots)
        return replace(self._state, slots=slots)

    def _adopt(self, state: TpmState, kept: bytes) -> None:
        self._state, self._public, self._kept = state, state.public, kept

    def _step(self, name: str, act: Callable[..., object], *arguments: object) -> None:
        self._supply.step(f"element {name}")
        act(*arguments)

    def _sweep(self) -> None:
        """Destroy every secret that the state does not name."""
        slots = self._state.slots
        for slot, half in sorted(self._chip.slots()):
            if half not in (slots[slot].live, slots[slot].spare):
                self._step("destroy secret", self._chip.undefine_slot, slot, half)
        if not self._state.has_keys and self._chip.has_refund_key:
            self._step("destroy refund key", self._chip.forget_refund_key)

    # --- guesses and proofs -----------------------------------------------------------------------

    def _answer(
        self, slot: Slot, stretched_pin: bytes, half: Half | None = None
    ) -> tuple[bytes, bool]:
        """Return the answer of a slot, and whether the TPM took the PIN for the right one."""
        half = self._state.slots[slot].live if half is None else half
        if half:
            era = self._state.counters[Counter.ERA]
            self._supply.step("element guess")  # a wrong one is counted by the TPM, too
            secret = self._chip.guess(slot, half, stretched_pin, era)
            if secret is not None:
                return hmac.digest(secret, stretched_pin, "sha256"), True
        return self._empty_answer(slot, stretched_pin), False

    def _empty_answer(self, slot: Slot, stretched_pin: bytes) -> bytes:
        """Return what opens nothing."""
        secret = hmac.digest(self._seed, bytes((slot,)), "sha256")
        return hmac.digest(secret, stretched_pin, "sha256")

    def _is_proven(self, proof: bytes) -> bool:
        return self._state.has_keys and self._chip.is_proven(proof)

    def _reset_lockout(self) -> None:
        self._step("reset lockout", self._chip.reset_lockout, self._state.lockout)

    def _regain_lockout(self) -> Lockout:
        """Have failures of past eras forgiven, and return who may reset the lockout."""
        state = self._state
        known = (state.next_lockout, state.lockout) if state.next_lockout else (state.lockout,)
        self._supply.step("element regain lockout")
        return self._chip.regain_lockout(failures_max(state.limits), known)

    def _with_first_key(self, refund_key: bytes, salt: bytes) -> TpmState:
        """Have proofs by a first refund key reset the lockout; return the state with that key."""
        chip, state = self._chip, self._state
        lockout = self._regain_lockout()
        self._supply.step("element keep refund key")
        following = Lockout(chip.keep_refund_key(refund_key), state.counters[Counter.ERA])
        # Noted before it is in force: after a cut in between, either may be.
        self._commit("note lockout", replace(state, lockout=lockout, next_lockout=following))
        self._step("replace lockout", chip.replace_lockout, lockout, following)
        return replace(
            self._state,
            lockout=following,
            next_lockout=None,
            has_keys=True,
            stretch_salt=salt,
            was_erased=False,
        )

    def _charge(self) -> None:
        self._clock.charge(self._timing.element_us)
