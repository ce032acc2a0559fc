"""Guesses at an element with a TPM, past the element: what the lockout bears, and who resets it.

`bench.chip` is the TPM as replaced firmware has it: every command, but no PIN and no media key.
"""

import pytest

from firmware_model.hardware.element_state import Count, Slot
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.tpm.provisioning import failures_max, unsealed
from hil_tests.element_model import (
    Attempt,
    Change,
    DestroyAll,
    Model,
    Refund,
    differences,
    do,
)
from hil_tests.elements import LIMITS, TpmBench

PIN, WRONG = b"pin", b"wrong"
SET_USER = Change(((Slot.USER, PIN),))
SET_BOTH = Change(((Slot.USER, PIN), (Slot.DURESS, b"duress")))


@pytest.fixture
def bench(tpm_bench: TpmBench) -> TpmBench:
    """An element with a TPM, as it leaves the factory."""
    return tpm_bench


def test_right_pin_past_the_element_opens_its_slot(bench: TpmBench) -> None:
    model = do(bench.element, Model(), SET_USER)

    assert bench.guess(PIN) == model.slots[Slot.USER].secret


def test_whoever_commands_the_tpm_has_only_the_guesses_that_its_lockout_bears(
    bench: TpmBench,
) -> None:
    do(bench.element, Model(), SET_USER)
    for _ in range(failures_max(LIMITS)):
        assert bench.guess(WRONG) is None

    assert bench.chip.is_locked_out
    assert bench.guess(PIN) is None
    bench.cut_all_power()
    assert bench.guess(PIN) is None


def test_element_whose_tpm_is_locked_out_spends_no_try_and_erases_itself_all_the_same(
    bench: TpmBench,
) -> None:
    model = do(bench.element, Model(), SET_USER)
    while not bench.chip.is_locked_out:
        bench.guess(WRONG)
    with pytest.raises(AssertionError):
        do(bench.element, model, Attempt(Slot.USER, PIN))
    assert bench.element.tries_left(Count.USER) == LIMITS[Count.USER]

    model = do(bench.element, model, DestroyAll(), SET_USER)
    assert bench.chip.failures == 0
    assert differences(bench.element, model) == []


def test_wrong_guesses_of_a_drive_count_for_the_lockout_until_a_proof(bench: TpmBench) -> None:
    model = do(bench.element, Model(), SET_BOTH, *[Attempt(Slot.USER, WRONG)] * 2)
    counted = bench.chip.failures
    do(bench.element, model, Attempt(Slot.USER, PIN), Refund(Count.USER, "right"))

    assert counted == 4  # each at the user's slot and at the duress slot
    assert bench.chip.failures == 0


def test_lockout_bears_all_that_an_owner_can_get_wrong(bench: TpmBench) -> None:
    every = Change(tuple((slot, b"pin of %d" % slot) for slot in Slot))
    model = do(bench.element, Model(), every)
    for slot in (Slot.USER, Slot.ADMIN, Slot.RECOVERY_1):
        while any(model.tries[each] for each in (Count(min(slot, 2)),)):
            model = do(bench.element, model, Attempt(slot, WRONG))
            bench.cut_all_power()

    assert not bench.chip.is_locked_out


def test_lockout_is_reset_by_nothing_but_a_proof_while_there_are_keys(bench: TpmBench) -> None:
    import tpm2_pytss as tss

    do(bench.element, Model(), SET_USER)
    bench.guess(WRONG)
    _, state = next(unsealed(bench.chip, bench.outside.value))
    lockout, commands = state.lockout, bench.chip._commands
    bench.chip.challenge()
    with pytest.raises(ElementError):
        bench.chip.reset_lockout(lockout)
    with pytest.raises(ElementError):
        bench.chip.regain_lockout(10_000, (lockout,))
    with pytest.raises(ElementError):
        bench.chip.replace_lockout(lockout, lockout)
    with pytest.raises(ElementError):
        commands.dictionary_attack_lock_reset(tss.ESYS_TR.LOCKOUT)

    assert bench.chip.failures == 1


def test_key_that_checks_proofs_makes_none(bench: TpmBench) -> None:
    import tpm2_pytss as tss

    do(bench.element, Model(), SET_USER)
    key = bench.chip._tpm.at(0x8100_5E00)

    with pytest.raises(ElementError, match="hmac"):
        bench.chip._commands.hmac(key, bench.chip.challenge(), tss.TPM2_ALG.SHA256)


def test_proof_holds_once(bench: TpmBench) -> None:
    model = do(bench.element, Model(), SET_USER, Attempt(Slot.USER, WRONG))
    proof = model.proof(bench.element)

    assert bench.element.settle(Count.USER, proof)
    assert not bench.element.settle(Count.USER, proof)
    bench.element.challenge()
    assert not bench.element.settle(Count.USER, proof)
