"""Defects of elements, each found by the test of elements that is there for it."""

from collections.abc import Callable
from typing import Any

import pytest

from firmware_model.defects import attempts
from firmware_model.hardware.element_state import Count, Slot
from firmware_model.hardware.embedded_element import EmbeddedElement
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.tpm.element import TpmElement
from firmware_model.hardware.tpm.provisioning import sealed
from firmware_model.hardware.tpm.state import Counter, TpmState
from hil_tests import test_element_cuts as of_cuts
from hil_tests import test_secure_element as of_any
from hil_tests import test_tpm_element as of_tpm
from hil_tests import test_tpm_lockout as of_lockout
from hil_tests.element_model import ALL_SLOTS, Model, do
from hil_tests.elements import ElementBench, EmbeddedBench, TpmBench
from hil_tests.swtpm import Swtpm

Test = Callable[[ElementBench], None]


def used(test: Callable[..., None], *arguments: Any) -> Test:
    """Return a test of an element in use as one of a fresh element."""

    def run(bench: ElementBench) -> None:
        test((bench, do(bench.element, Model(), ALL_SLOTS)), *arguments)

    return run


def cut(name: str) -> Test:
    """Return the test that cuts power at every step of an action."""
    return lambda bench: of_cuts.test_cut_at_any_step_leaves_what_was_or_what_was_to_be(bench, name)


class CommitsTheRecordApart(EmbeddedElement):
    """Takes the record of an act in a step of its own."""

    def set_read_only(self, is_read_only: bool, event: int, head: bytes) -> None:
        super().set_read_only(is_read_only, event, head)
        self.extend(event, head)


class AnswersTheOldPin(EmbeddedElement):
    """Leaves the secret that was live where guesses at it cost nothing."""

    def spare_answer(self, slot: Slot, stretched_pin: bytes) -> bytes:
        self._drawn |= {slot}
        return super().spare_answer(slot, stretched_pin)


class KeepsASlot(EmbeddedElement):
    """Erases all but one slot."""

    def destroy_all(self, event: int, head: bytes) -> None:
        before = self.memory.slots[Slot.ADMIN]
        super().destroy_all(event, head)
        self._cells.commit("keep", self.memory.with_slots({Slot.ADMIN: before}))


class BelievesAnyProof(EmbeddedElement):
    """Gives tries back to whoever asks."""

    def settle(self, count: Count, proof: bytes | None) -> bool:
        self._cells.commit("refund tries", self.memory.with_tries(count, self.memory.limits[count]))
        return True


COUNTERS: list[tuple[type, Test]] = [
    (
        attempts.CheckFirst,
        of_cuts.test_no_guess_is_answered_for_nothing_wherever_power_is_cut,
    ),
    (attempts.CountsInMemory, used(of_any.test_restart_gives_no_try_back)),
    (
        attempts.CountsInExternalFlash,
        used(of_any.test_serial_flash_that_is_put_back_gives_nothing_back),
    ),
    (
        attempts.NeverLocksOut,
        used(of_any.test_slot_is_answered_as_often_as_it_has_tries_and_then_not_at_all, Slot.USER),
    ),
    (
        attempts.RestoresAllRoles,
        used(of_any.test_only_a_right_proof_gives_tries_back_and_of_one_count_alone, "right"),
    ),
    (attempts.ForgetsOnSuccess, cut("refund")),
    (attempts.LeavesNoTrace, cut("wrong guess")),
]
EMBEDDED: list[tuple[type[EmbeddedElement], Test]] = [
    (CommitsTheRecordApart, cut("read-only")),
    (
        AnswersTheOldPin,
        used(of_any.test_secret_of_the_old_pin_answers_nobody_after_the_commit, False),
    ),
    (KeepsASlot, used(of_any.test_erase_ends_every_pin_and_keeps_what_must_outlive_it)),
    (
        BelievesAnyProof,
        used(of_any.test_only_a_right_proof_gives_tries_back_and_of_one_count_alone, "none"),
    ),
]


@pytest.mark.parametrize(("counter", "test"), COUNTERS)
def test_defect_of_a_counter_is_found(counter: type, test: Test) -> None:
    bench = EmbeddedBench(counter=counter)

    with pytest.raises(AssertionError):
        test(bench)


@pytest.mark.parametrize(("kind", "test"), EMBEDDED)
def test_defect_of_an_embedded_element_is_found(kind: type[EmbeddedElement], test: Test) -> None:
    bench = EmbeddedBench(kind)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(bench)


class NeverDestroys(TpmElement):
    """Leaves in the TPM what no state names."""

    def _sweep(self) -> None:
        pass


class CountsNoPowerUp(TpmElement):
    """Takes up its state, and lets it stand."""

    def _commit(self, name: str, state: TpmState, counter: Counter = Counter.STATE) -> None:
        if name != "count power-up":
            super()._commit(name, state, counter)


class CountsFirst(TpmElement):
    """Increments the counter before the state that names it is written."""

    def _commit(self, name: str, state: TpmState, counter: Counter = Counter.STATE) -> None:
        state = state.counted(counter)
        kept = sealed(self._chip, state)
        self._supply.step(f"element {name}")
        self._chip.increment(counter)
        self._supply.step("program external flash")
        self._external.write(kept + self._kept)
        self._adopt(state, kept)


class ErasesInItsBooksOnly(TpmElement):
    """Lets the era of erased secrets go on."""

    def _commit(self, name: str, state: TpmState, counter: Counter = Counter.STATE) -> None:
        super()._commit(name, state, Counter.STATE if name == "destroy secrets" else counter)


class ResetsNoLockout(TpmElement):
    """Lets failures add up until its owner is locked out."""

    def _reset_lockout(self) -> None:
        self._chip.forget_challenge()


TPM: list[tuple[type[TpmElement], Callable[[TpmBench], None]]] = [
    (NeverDestroys, of_tpm.test_tpm_holds_the_secrets_that_count_and_no_others),
    (CountsNoPowerUp, of_tpm.test_state_whose_increment_was_cut_off_is_not_put_into_force_later),
    (CountsFirst, cut("record")),
    (
        ErasesInItsBooksOnly,
        of_tpm.test_moment_of_erasure_is_one_step_after_which_the_right_pin_opens_nothing,
    ),
    (
        ResetsNoLockout,
        of_lockout.test_wrong_guesses_of_a_drive_count_for_the_lockout_until_a_proof,
    ),
]


@pytest.mark.parametrize(("kind", "test"), TPM)
def test_defect_of_an_element_with_a_tpm_is_found(
    swtpm: Swtpm, kind: type[TpmElement], test: Callable[[TpmBench], None]
) -> None:
    bench = TpmBench(swtpm, kind)

    with pytest.raises((AssertionError, ElementError, pytest.fail.Exception)):
        test(bench)
