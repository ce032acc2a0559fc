"""What every secure element must do when power is cut, and when anything is done in any order."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from firmware_model.hardware.attempt_counter import AttemptRequest
from firmware_model.hardware.element_state import Count, FirmwareSlot, Slot
from firmware_model.hardware.supply import PowerCut
from hil_tests.element_model import (
    EVENT,
    NEW_USER,
    PIN,
    WRONG,
    Action,
    Attempt,
    Change,
    DestroyAll,
    Extend,
    Model,
    Refund,
    SetReadOnly,
    SwitchFirmware,
    differences,
    do,
    is_cut,
)
from hil_tests.elements import LIMITS, ElementBench, MakeBench

FEW_SLOTS = Change(tuple((s, PIN[s]) for s in (Slot.USER, Slot.RECOVERY_1, Slot.DURESS)))
STEPS_MAX = 60


@pytest.fixture
def bench(make_element: MakeBench) -> ElementBench:
    """An element as it leaves the factory."""
    return make_element()


# Power cuts

CASES: dict[str, tuple[tuple[Action, ...], Action]] = {
    "right guess": ((Refund(Count.USER, "right"),), Attempt(Slot.USER, PIN[Slot.USER])),
    "wrong guess": ((Refund(Count.USER, "right"),), Attempt(Slot.USER, WRONG)),
    "refund": ((Attempt(Slot.USER, WRONG),), Refund(Count.USER, "right")),
    "record": ((), Extend()),
    "change": ((), Change(((Slot.USER, PIN[Slot.USER]),))),
    "changes at once": ((), Change(((Slot.ADMIN, b"admin"), (Slot.DURESS, b"duress")))),
    "recovery": (
        (Change(((Slot.RECOVERY_1, b"recovery"),)), Attempt(Slot.RECOVERY_1, b"recovery")),
        Change(((Slot.USER, PIN[Slot.USER]),), (Slot.RECOVERY_1,), (Count.USER, Count.RECOVERY)),
    ),
    "read-only": ((), SetReadOnly(True)),
    "firmware": ((), SwitchFirmware(FirmwareSlot.A, 2)),
    "erase": ((Change(((Slot.USER, b"1"), (Slot.ADMIN, b"2"))),), DestroyAll()),
    "first PIN": ((DestroyAll(),), NEW_USER),
}


CUT_AGAIN = ("changes at once", "erase", "first PIN")  # where there is most to complete or undo


def restart(bench: ElementBench) -> None:
    """Restart an element as a drive does, whose firmware destroys spares."""
    bench.restart()
    bench.element.destroy_spares()


def restart_with_cuts(bench: ElementBench) -> None:
    """Restart an element whose power is cut at every step of that, one after the other."""
    for number in count(1):
        bench.supply.cut_at(number)
        try:
            restart(bench)
        except PowerCut:
            continue
        bench.supply.cut_at(None)
        return


@pytest.mark.parametrize("name", CASES)
def test_cut_at_any_step_leaves_what_was_or_what_was_to_be(bench: ElementBench, name: str) -> None:
    model = do(bench.element, Model(), FEW_SLOTS)
    prepare, action = CASES[name]
    for number in range(1, STEPS_MAX):
        model = do(bench.element, model, *prepare)
        was_cut = is_cut(bench, model, action, number)
        if was_cut and name in CUT_AGAIN:
            restart_with_cuts(bench)
        elif was_cut:
            restart(bench)
        before, after = model, action.expected(model)
        found = differences(bench.element, after)
        if found and was_cut:
            assert differences(bench.element, before) == [], f"cut at step {number}: {found}"
        else:
            assert found == []
            model = after
        if not was_cut:
            return
        model = do(bench.element, model, *prepare, action)  # it can still do it, and more
        assert differences(bench.element, model) == []
    raise AssertionError(f"{name} has more than {STEPS_MAX} steps")


def test_no_guess_is_answered_for_nothing_wherever_power_is_cut(bench: ElementBench) -> None:
    first = Change(((Slot.USER, b"pin"), (Slot.DURESS, b"duress")))
    model = do(bench.element, Model(), first)
    for number in range(1, STEPS_MAX):
        model = do(bench.element, model, replace(NEW_USER, refill=(Count.USER,)))
        request = AttemptRequest(Slot.USER, WRONG, EVENT, bytes(32))
        answered, was_cut = 0, False
        for _ in range(2 * LIMITS[Count.USER]):
            bench.supply.cut_at(number)
            try:
                answered += bench.element.attempt(request) is not None
            except PowerCut:
                was_cut = True
            bench.supply.cut_at(None)
            bench.restart()
        left = bench.element.tries_left(Count.USER)
        assert answered <= LIMITS[Count.USER] - left
        spent = bench.element.state.attempt_number - model.attempts
        logged = model.log_count + spent
        model = replace(model, attempts=model.attempts + spent, log_count=logged)
        model = replace(model, head=bench.element.state.head).with_tries(Count.USER, left)
        assert differences(bench.element, model) == []
        if not was_cut:
            assert answered == LIMITS[Count.USER]
            return


# Everything in any order

PINS = st.sampled_from([b"1", b"2", b"3"])
SLOT = st.sampled_from([Slot.USER, Slot.ADMIN, Slot.RECOVERY_1, Slot.DURESS])
CUTS = st.none() | st.integers(1, 12)


class AnyOrder(RuleBasedStateMachine):
    """Anything that a firmware could do, with power cut anywhere."""

    make: MakeBench

    @initialize()
    def begin(self) -> None:
        self.bench, self.model = self.make(), Model()

    def act(self, action: Action, cut: int | None) -> None:
        if cut is not None and is_cut(self.bench, self.model, action, cut):
            restart(self.bench)
            if differences(self.bench.element, self.model) == []:
                return
        elif cut is None:
            action.run(self.bench.element, self.model)
        self.model = action.expected(self.model)
        assert differences(self.bench.element, self.model) == []

    @rule(slot=SLOT, pin=PINS, cut=CUTS)
    def attempt(self, slot: Slot, pin: bytes, cut: int | None) -> None:
        self.act(Attempt(slot, pin if slot is not Slot.DURESS else b"duress"), cut)

    @rule(
        of=st.sampled_from(Count),
        proof=st.sampled_from(["right", "wrong", "short", "none"]),
        cut=CUTS,
    )
    def refund(self, of: Count, proof: str, cut: int | None) -> None:
        self.act(Refund(of, proof), cut)  # type: ignore[arg-type]

    @rule(
        slots=st.sets(SLOT, min_size=1, max_size=2),
        pin=PINS,
        end=st.sets(SLOT, max_size=1),
        refill=st.sets(st.sampled_from(Count)),
        has_proof=st.booleans(),
        cut=CUTS,
    )
    def change(
        self,
        slots: set[Slot],
        pin: bytes,
        end: set[Slot],
        refill: set[Count],
        has_proof: bool,
        cut: int | None,
    ) -> None:
        pins = tuple((s, b"duress" if s is Slot.DURESS else pin) for s in sorted(slots))
        ends = tuple(sorted(end - slots))
        self.act(Change(pins, ends, tuple(sorted(refill)), has_proof), cut)

    @rule(is_read_only=st.booleans(), cut=CUTS)
    def set_read_only(self, is_read_only: bool, cut: int | None) -> None:
        self.act(SetReadOnly(is_read_only), cut)

    @rule(slot=st.sampled_from(FirmwareSlot), floor=st.integers(0, 3), cut=CUTS)
    def switch_firmware(self, slot: FirmwareSlot, floor: int, cut: int | None) -> None:
        self.act(SwitchFirmware(slot, floor), cut)

    @rule(cut=CUTS)
    def destroy_all(self, cut: int | None) -> None:
        self.act(DestroyAll(), cut)

    @rule()
    def restart(self) -> None:
        self.bench.restart()
        assert differences(self.bench.element, self.model) == []


def test_element_is_as_its_model_whatever_is_done_in_whatever_order(
    make_element: MakeBench, request: pytest.FixtureRequest
) -> None:
    class OfThisKind(AnyOrder):
        pass

    OfThisKind.make = staticmethod(make_element)
    is_tpm = "tpm" in request.node.name
    run_state_machine_as_test(
        OfThisKind,
        settings=settings(
            max_examples=15 if is_tpm else 60,
            stateful_step_count=12 if is_tpm else 30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
