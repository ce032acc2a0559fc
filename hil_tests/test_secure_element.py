"""The secure element: guesses cost tries, and secrets stay inside."""

import hmac
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.attempt_counter import Answers, AttemptRequest, NewSecret, SpendFirst
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import (
    Count,
    ElementState,
    Slot,
    SlotState,
    count_of,
)
from firmware_model.hardware.embedded_element import EmbeddedElement
from firmware_model.hardware.supply import PowerCut, Supply

LIMITS = (3, 4, 5)
REFUND_KEY, SALT = b"R" * 32, b"S" * 32
SECRETS = {slot: bytes((0x40 + slot,)) * 32 for slot in Slot}
EVENT, HEAD = 7, b"h" * 32
NEW = NewSecret(b"n" * 32, b"pin")
FRESH = ElementState.fresh(LIMITS, b"i" * 32, sha256(b"reset code").digest())
IN_USE = replace(
    FRESH,
    slots=tuple(SlotState(SECRETS[slot], None, 1) for slot in Slot),
    refund_key=REFUND_KEY,
    stretch_salt=SALT,
)


class Kept:
    """An element, its supply, and every state that it stored."""

    def __init__(self, state: ElementState) -> None:
        self.supply, self.clock = Supply(), Clock()
        self.stored: list[ElementState] = []
        self.element = EmbeddedElement(state, self.supply, self.clock, Timing(), self.stored.append)


@pytest.fixture
def element() -> EmbeddedElement:
    """An element with a secret in every slot."""
    return Kept(IN_USE).element


def guess(slot: Slot = Slot.USER, pin: bytes = b"pin") -> AttemptRequest:
    return AttemptRequest(slot, pin, EVENT, HEAD)


def answers(element: EmbeddedElement, slot: Slot = Slot.USER, pin: bytes = b"pin") -> Answers:
    found = element.attempt(guess(slot, pin))
    assert found is not None
    return found


def proof_of(element: EmbeddedElement, key: bytes = REFUND_KEY) -> bytes:
    return hmac.digest(key, element.challenge(), "sha256")


def test_answer_is_the_hmac_of_the_slots_secret_and_that_of_the_duress_slot(
    element: EmbeddedElement,
) -> None:
    found = answers(element, Slot.ADMIN, b"stretched")

    assert found.slot == hmac.digest(SECRETS[Slot.ADMIN], b"stretched", "sha256")
    assert found.duress == hmac.digest(SECRETS[Slot.DURESS], b"stretched", "sha256")
    assert element.memory.attempt_number == 1


def test_try_is_spent_and_logged_before_anything_is_answered() -> None:
    kept = Kept(IN_USE)
    kept.supply.cut_at(2)  # the first step after the spending would not happen
    answers(kept.element)

    (stored,) = kept.stored
    assert stored.tries == (2, 4, 5)
    assert (stored.log_count, stored.head, stored.counts[EVENT]) == (1, HEAD, 1)


def test_guess_whose_try_could_not_be_spent_is_not_answered() -> None:
    kept = Kept(IN_USE)
    kept.supply.cut_at(1)

    with pytest.raises(PowerCut, match="element spend try"):
        kept.element.attempt(guess())
    assert kept.element.memory == IN_USE


@pytest.mark.parametrize("slot", Slot)
def test_slot_is_answered_as_often_as_it_has_tries_and_then_not_at_all(slot: Slot) -> None:
    kept = Kept(IN_USE)
    for _ in range(LIMITS[count_of(slot)]):
        answers(kept.element, slot)
    before = kept.element.memory

    assert kept.element.attempt(guess(slot)) is None
    assert kept.element.memory == before
    assert kept.element.tries_left(count_of(slot)) == 0


def test_all_recovery_slots_share_one_count(element: EmbeddedElement) -> None:
    for slot in (Slot.RECOVERY_1, Slot.RECOVERY_2, Slot.RECOVERY_3):
        answers(element, slot)

    assert element.memory.tries == (3, 4, 2)


def test_new_power_up_gives_no_try_back(element: EmbeddedElement) -> None:
    answers(element)

    element.power_on(SpendFirst())

    assert element.tries_left(Count.USER) == 2


def test_proof_gives_back_the_tries_of_that_count_alone(element: EmbeddedElement) -> None:
    answers(element, Slot.ADMIN)
    answers(element, Slot.USER)

    assert element.settle(Count.USER, proof_of(element))
    assert element.memory.tries == (3, 3, 5)


@pytest.mark.parametrize("proof", [None, b"", bytes(32), hmac.digest(b"r" * 32, b"1", "sha256")])
def test_wrong_or_missing_proof_gives_no_try_back(
    element: EmbeddedElement, proof: bytes | None
) -> None:
    answers(element)
    before = element.memory

    assert not element.settle(Count.USER, proof)
    assert element.memory == before


def test_proof_of_an_older_attempt_is_refused(element: EmbeddedElement) -> None:
    answers(element)
    proof = proof_of(element)
    answers(element)

    assert not element.settle(Count.USER, proof)
    assert element.memory.tries[Count.USER] == 1


def test_element_without_a_refund_key_accepts_no_proof() -> None:
    element = Kept(FRESH).element
    answers(element)

    assert not element.settle(Count.USER, proof_of(element, b""))
    assert not element.settle(Count.USER, proof_of(element, bytes(32)))


def test_holder_of_a_proof_is_answered_without_a_try(element: EmbeddedElement) -> None:
    expected = answers(element, Slot.ADMIN)
    before = element.memory

    assert element.answer_with_proof(Slot.ADMIN, b"pin", proof_of(element)) == expected.slot
    assert element.answer_with_proof(Slot.ADMIN, b"pin", bytes(32)) is None
    assert element.memory == before


def test_empty_slot_answers_what_no_secret_would() -> None:
    empty, full = answers(Kept(FRESH).element), answers(Kept(IN_USE).element)

    assert len(empty.slot) == len(full.slot) == 32
    assert len({empty.slot, empty.duress, full.slot, full.duress}) == 4


def test_drawn_spare_changes_no_answer(element: EmbeddedElement) -> None:
    before = answers(element)
    element.draw_spare({Slot.USER: NEW})

    assert answers(element).slot == before.slot
    assert element.spare_answer(Slot.USER, b"pin") == hmac.digest(b"n" * 32, b"pin", "sha256")


def test_slot_without_a_spare_gives_no_spare_answer(element: EmbeddedElement) -> None:
    with pytest.raises(ValueError, match="slot ADMIN has no spare secret"):
        element.spare_answer(Slot.ADMIN, b"pin")


def test_commit_makes_the_spare_secret_live_and_the_live_one_spare(
    element: EmbeddedElement,
) -> None:
    element.draw_spare({Slot.USER: NEW})

    assert element.commit((Slot.USER,), EVENT, HEAD, proof=proof_of(element))
    assert element.memory.slots[Slot.USER] == SlotState(b"n" * 32, SECRETS[Slot.USER], 2)
    assert answers(element).slot == hmac.digest(b"n" * 32, b"pin", "sha256")


@pytest.mark.parametrize("loses_power", [False, True])
def test_secret_of_the_old_pin_answers_nobody_after_the_commit(loses_power: bool) -> None:
    kept = Kept(IN_USE)
    element = kept.element
    element.draw_spare({Slot.USER: b"n" * 32})
    assert element.commit((Slot.USER,), EVENT, HEAD, proof=proof_of(element))
    if loses_power:
        element = Kept(element.memory).element

    with pytest.raises(ValueError, match="no spare secret"):
        element.spare_answer(Slot.USER, b"pin")
    assert not element.commit((Slot.USER,), EVENT, HEAD, proof=proof_of(element))


def test_destroyed_spares_are_nowhere_in_the_element(element: EmbeddedElement) -> None:
    element.draw_spare({Slot.USER: NEW})
    element.commit((Slot.USER,), EVENT, HEAD, proof=proof_of(element))
    element.destroy_spares()

    assert element.memory.slots[Slot.USER] == SlotState(b"n" * 32, None, 2)
    assert SECRETS[Slot.USER] not in element.memory.encode()


def test_destroying_spares_where_there_are_none_is_no_step() -> None:
    kept = Kept(IN_USE)
    kept.element.destroy_spares()

    assert kept.supply.names == []


def test_commit_ends_slots_and_refills_counts_in_the_same_step() -> None:
    kept = Kept(replace(IN_USE, tries=(0, 4, 2)))
    element = kept.element
    element.draw_spare({Slot.USER: NEW})
    kept.stored.clear()
    element.commit(
        (Slot.USER,),
        EVENT,
        HEAD,
        end=(Slot.RECOVERY_2,),
        refill=(Count.USER,),
        proof=proof_of(element),
    )

    (stored,) = kept.stored
    assert stored.slots[Slot.USER].live == b"n" * 32
    assert stored.slots[Slot.RECOVERY_2] == SlotState(generation=1)
    assert stored.tries == (3, 4, 2)
    assert (stored.log_count, stored.head) == (1, HEAD)


@pytest.mark.parametrize("proof", [None, bytes(32)])
@pytest.mark.parametrize("first", [None, (b"x" * 32, b"y" * 32)])
def test_commit_on_a_drive_with_keys_changes_nothing_without_a_proof(
    proof: bytes | None, first: tuple[bytes, bytes] | None
) -> None:
    kept = Kept(IN_USE)
    slots = (Slot.USER,)
    kept.element.draw_spare({Slot.USER: b"n" * 32})
    drawn = kept.element.memory
    kept.stored.clear()

    assert not kept.element.commit(
        slots, EVENT, HEAD, refill=(Count.USER,), proof=proof, first=first
    )
    assert (kept.element.memory, kept.stored) == (drawn, [])


def test_first_commit_brings_refund_key_and_salt() -> None:
    element = Kept(replace(FRESH, was_erased=True)).element
    element.draw_spare({Slot.USER: NEW})

    assert not element.commit((Slot.USER,), EVENT, HEAD)
    assert element.commit((Slot.USER,), EVENT, HEAD, first=(REFUND_KEY, SALT))
    assert (element.memory.refund_key, element.memory.stretch_salt) == (REFUND_KEY, SALT)
    assert not element.memory.was_erased


def test_destroying_all_takes_every_secret_and_keeps_what_must_outlive_it() -> None:
    kept = Kept(replace(IN_USE, tries=(0, 1, 2), is_read_only=True, log_count=5))
    identity = kept.element.identity
    kept.element.draw_spare({Slot.USER: NEW})
    kept.stored.clear()
    kept.element.destroy_all(EVENT, HEAD)

    (stored,) = kept.stored
    secrets = [*SECRETS.values(), b"n" * 32, REFUND_KEY, SALT]
    assert [secret for secret in secrets if secret in stored.encode()] == []
    assert (stored.tries, stored.epoch, stored.was_erased) == (LIMITS, 1, True)
    assert (stored.log_count, stored.head, stored.is_read_only) == (6, HEAD, False)
    assert kept.element.identity == identity
    assert kept.element.reset_code_is_right(b"reset code")


def test_erased_slot_answers_otherwise_than_before(element: EmbeddedElement) -> None:
    before = answers(element)
    element.destroy_all(EVENT, HEAD)
    after = answers(element)

    assert {before.slot, before.duress}.isdisjoint({after.slot, after.duress})


def test_signature_is_by_the_identity(element: EmbeddedElement) -> None:
    key = Ed25519PublicKey.from_public_bytes(element.identity)

    key.verify(element.sign(b"message"), b"message")
    with pytest.raises(InvalidSignature):
        key.verify(element.sign(b"message"), b"other message")


def test_only_the_printed_reset_code_is_right(element: EmbeddedElement) -> None:
    assert element.reset_code_is_right(b"reset code")
    assert not element.reset_code_is_right(b"reset cod")


GUESSES = st.tuples(
    st.sampled_from(Slot), st.binary(max_size=40), st.sampled_from(("right", "wrong", "old", None))
)


@given(st.lists(GUESSES, max_size=25))
def test_tries_are_as_counted_apart_and_no_secret_is_ever_answered(
    guesses: list[tuple[Slot, bytes, str | None]],
) -> None:
    element, left, told = Kept(IN_USE).element, list(LIMITS), b""
    old = bytes(32)
    for slot, pin, verdict in guesses:
        count = count_of(slot)
        found = element.attempt(guess(slot, pin))
        assert (found is not None) == (left[count] > 0)
        if found is None:
            continue
        left[count] -= 1
        told += found.slot + found.duress
        right = proof_of(element)
        proof = {"right": right, "wrong": right[::-1], "old": old, None: None}[verdict]
        if element.settle(count, proof):
            left[count] = LIMITS[count]
        assert element.memory.tries == tuple(left)
        old = right

    assert [secret for secret in SECRETS.values() if secret in told] == []
