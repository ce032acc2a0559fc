"""What every secure element must do, whatever it is made of."""

import hmac
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from firmware_model.hardware.attempt_counter import AttemptRequest, NewSecret
from firmware_model.hardware.element_state import (
    RECOVERY_SLOTS,
    Count,
    FirmwareSlot,
    Slot,
    count_of,
)
from firmware_model.hardware.secure_element import ElementError
from hil_tests.element_model import (
    ALL_SLOTS,
    EVENT,
    NEW_USER,
    PIN,
    WRONG,
    Attempt,
    DestroyAll,
    Extend,
    Model,
    Refund,
    SetReadOnly,
    SwitchFirmware,
    differences,
    do,
)
from hil_tests.elements import LIMITS, RESET_CODE, ElementBench, MakeBench


@pytest.fixture
def bench(make_element: MakeBench) -> ElementBench:
    """An element as it leaves the factory."""
    return make_element()


@pytest.fixture
def used(bench: ElementBench) -> tuple[ElementBench, Model]:
    """An element with a secret in every slot."""
    return bench, do(bench.element, Model(), ALL_SLOTS)


Used = tuple[ElementBench, Model]

# Guesses


@pytest.mark.parametrize("slot", Slot)
def test_slot_is_answered_as_often_as_it_has_tries_and_then_not_at_all(
    used: Used, slot: Slot
) -> None:
    bench, model = used
    for _ in range(LIMITS[count_of(slot)]):
        model = do(bench.element, model, Attempt(slot, PIN[slot]))
    steps = bench.supply.count

    do(bench.element, model, Attempt(slot, PIN[slot]))
    assert bench.supply.count == steps
    assert differences(bench.element, model) == []


def test_all_recovery_slots_share_one_count(used: Used) -> None:
    bench, model = used
    do(bench.element, model, *(Attempt(slot, WRONG) for slot in RECOVERY_SLOTS))

    assert [bench.element.tries_left(count) for count in Count] == [3, 4, 2]


def test_guess_at_the_user_tells_the_duress_pin_by_its_answer(used: Used) -> None:
    bench, model = used
    request = AttemptRequest(Slot.USER, PIN[Slot.DURESS], EVENT, model.next_head)
    answers = bench.element.attempt(request)

    assert answers is not None
    assert answers.duress == model.slots[Slot.DURESS].answer


def test_guess_at_an_empty_slot_costs_a_try_and_opens_nothing(bench: ElementBench) -> None:
    model = do(bench.element, Model(), Attempt(Slot.USER, WRONG))

    assert differences(bench.element, model) == []


def test_restart_gives_no_try_back(used: Used) -> None:
    bench, model = used
    model = do(bench.element, model, Attempt(Slot.USER, WRONG), Attempt(Slot.ADMIN, WRONG))
    bench.restart()

    assert differences(bench.element, model) == []


# Proofs


@pytest.mark.parametrize("proof", ["right", "wrong", "short", "none"])
def test_only_a_right_proof_gives_tries_back_and_of_one_count_alone(used: Used, proof: str) -> None:
    bench, model = used
    guesses = Attempt(Slot.ADMIN, WRONG), Attempt(Slot.USER, WRONG), Attempt(Slot.USER, WRONG)
    model = do(bench.element, model, *guesses, Refund(Count.USER, proof))  # type: ignore[arg-type]

    assert differences(bench.element, model) == []


def test_proof_of_an_older_attempt_is_refused(used: Used) -> None:
    bench, model = used
    model = do(bench.element, model, Attempt(Slot.USER, WRONG))
    old = model.proof(bench.element)
    model = do(bench.element, model, Attempt(Slot.USER, WRONG))
    bench.element.challenge()

    assert not bench.element.settle(Count.USER, old)
    assert bench.element.answer_with_proof(Slot.USER, PIN[Slot.USER], old) is None
    assert differences(bench.element, model) == []


def test_proof_of_before_the_last_record_answers_no_guess_after_a_restart(used: Used) -> None:
    bench, model = used
    model = do(bench.element, model, Attempt(Slot.USER, PIN[Slot.USER]))
    recorded = model.proof(bench.element)
    assert bench.element.settle(Count.USER, recorded)
    do(bench.element, model, Extend())

    bench.restart()
    bench.element.challenge()

    assert bench.element.answer_with_proof(Slot.USER, WRONG, recorded) is None


@pytest.mark.parametrize("key", [b"", bytes(32)])
def test_element_without_keys_accepts_no_proof(bench: ElementBench, key: bytes) -> None:
    def proof() -> bytes:
        return hmac.digest(key, bench.element.challenge(), "sha256")

    model = do(bench.element, Model(), Attempt(Slot.USER, WRONG))

    assert not bench.element.settle(Count.USER, proof())
    assert bench.element.answer_with_proof(Slot.USER, WRONG, proof()) is None
    assert differences(bench.element, model) == []


def test_holder_of_a_proof_is_answered_without_a_try_right_or_wrong(used: Used) -> None:
    bench, model = used
    asked = [PIN[Slot.ADMIN], *[WRONG] * 40, PIN[Slot.ADMIN]]
    answers = [
        bench.element.answer_with_proof(Slot.ADMIN, pin, model.proof(bench.element))
        for pin in asked
    ]
    right = [answer == model.slots[Slot.ADMIN].answer for answer in answers]

    assert right == [pin != WRONG for pin in asked]
    assert differences(bench.element, model) == []


# Changes


def test_drawn_spare_changes_no_answer(used: Used) -> None:
    bench, model = used
    bench.element.draw_spare({Slot.USER: NewSecret(b"n" * 32, b"new")})
    expected = hmac.digest(b"n" * 32, b"new", "sha256")

    assert bench.element.spare_answer(Slot.USER, b"new") == expected
    assert differences(bench.element, model) == []


def test_slot_without_a_spare_gives_no_spare_answer(used: Used) -> None:
    with pytest.raises(ValueError, match="slot ADMIN has no spare secret"):
        used[0].element.spare_answer(Slot.ADMIN, b"pin")


@pytest.mark.parametrize("loses_power", [False, True])
def test_secret_of_the_old_pin_answers_nobody_after_the_commit(
    used: Used, loses_power: bool
) -> None:
    bench, model = used
    bench.element.draw_spare({Slot.USER: NewSecret(b"n" * 32, b"new")})
    proof = model.proof(bench.element)
    assert bench.element.commit((Slot.USER,), EVENT, model.next_head, proof=proof)
    if loses_power:
        bench.restart()

    with pytest.raises(ValueError, match="no spare secret"):
        bench.element.spare_answer(Slot.USER, PIN[Slot.USER])
    proof = model.proof(bench.element)
    assert not bench.element.commit((Slot.USER,), EVENT, model.next_head, proof=proof)


def test_spare_secret_does_not_outlive_the_power_up_that_drew_it(used: Used) -> None:
    bench, model = used
    bench.element.draw_spare({Slot.USER: NewSecret(b"n" * 32, b"new")})
    bench.restart()

    with pytest.raises(ValueError, match="no spare secret"):
        bench.element.spare_answer(Slot.USER, b"new")
    assert differences(bench.element, model) == []


def test_slot_without_a_spare_is_not_committed(used: Used) -> None:
    bench, model = used
    proof = model.proof(bench.element)

    assert not bench.element.commit((Slot.USER,), EVENT, model.next_head, proof=proof)
    assert differences(bench.element, model) == []


@pytest.mark.parametrize("has_proof", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_pins_change_for_a_proof_and_else_not_at_all(
    bench: ElementBench, is_first: bool, has_proof: bool
) -> None:
    model = Model() if is_first else do(bench.element, Model(), ALL_SLOTS)
    model = do(bench.element, model, replace(NEW_USER, has_proof=has_proof))
    bench.restart()

    assert differences(bench.element, model) == []


def test_refund_key_is_not_replaced_while_there_are_keys(used: Used) -> None:
    bench, model = used
    bench.element.draw_spare({Slot.USER: NewSecret(b"n" * 32, b"new")})
    first = (b"R" * 32, b"S" * 32)

    assert not bench.element.commit((Slot.USER,), EVENT, model.next_head, first=first)
    assert differences(bench.element, model) == []


def test_commit_ends_slots_and_gives_tries_back_with_the_new_pin(used: Used) -> None:
    bench, model = used
    guesses = [Attempt(Slot.USER, WRONG)] * 3 + [Attempt(Slot.RECOVERY_1, PIN[Slot.RECOVERY_1])]
    recovered = replace(NEW_USER, end=(Slot.RECOVERY_1,), refill=(Count.USER, Count.RECOVERY))
    model = do(bench.element, model, *guesses, recovered)

    assert differences(bench.element, model) == []


# Erase, identity, reset code


def test_erase_ends_every_pin_and_keeps_what_must_outlive_it(used: Used) -> None:
    bench, model = used
    identity = bench.element.identity
    model = do(bench.element, model, *[Attempt(Slot.USER, WRONG)] * 3, SetReadOnly(True))
    model = do(bench.element, model, DestroyAll())
    bench.restart()

    assert differences(bench.element, model) == []
    do(bench.element, model, *(Attempt(slot, pin) for slot, pin in PIN.items()))
    assert bench.element.identity == identity
    assert bench.element.reset_code_is_right(RESET_CODE)


def test_floor_of_security_versions_never_falls_not_even_by_an_erase(used: Used) -> None:
    bench, model = used
    switches = [SwitchFirmware(FirmwareSlot.B, floor) for floor in (2, 1, 2, 3, 0)]
    model = do(bench.element, model, *switches, DestroyAll())
    bench.restart()

    assert model.firmware == (FirmwareSlot.B, 3)
    assert differences(bench.element, model) == []


def test_erased_element_begins_anew(used: Used) -> None:
    bench, model = used
    model = do(bench.element, model, DestroyAll(), ALL_SLOTS, DestroyAll(), NEW_USER)
    bench.restart()

    assert differences(bench.element, model) == []


def test_signature_is_by_the_identity(bench: ElementBench) -> None:
    key = Ed25519PublicKey.from_public_bytes(bench.element.identity)

    key.verify(bench.element.sign(b"message"), b"message")
    with pytest.raises(InvalidSignature):
        key.verify(bench.element.sign(b"message"), b"other message")


def test_only_the_printed_reset_code_is_right(bench: ElementBench) -> None:
    assert bench.element.reset_code_is_right(RESET_CODE)
    assert not bench.element.reset_code_is_right(RESET_CODE[:-1])


# What lies outside


def test_serial_flash_that_is_put_back_gives_nothing_back(used: Used) -> None:
    bench, model = used
    noted = bench.outside.value
    model = do(bench.element, model, Attempt(Slot.USER, WRONG), NEW_USER)
    newest, bench.outside.value = bench.outside.value, noted
    try:
        bench.restart()
    except ElementError as refused:
        assert "does not vouch" in str(refused)
        bench.outside.value = newest
        bench.restart()

    assert differences(bench.element, model) == []
