"""What was seen of a step, told to the oracle: which of its worlds fit, and what fits none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from firmware_model.wire.native import State
from hil_tests.actions import PIN_TABLE
from hil_tests.bench import updates
from hil_tests.oracle import Branch, Oracle, World
from hil_tests.steps import MAY_LOCK, Excused, Mismatch, Outcome, Step
from host_driver.errors import DriveError

if TYPE_CHECKING:
    from hil_tests.bench.bench import Bench

_TOLD: Final = {
    Outcome.OK: True,
    Outcome.CUT: None,
    Outcome.FAULT: None,
    Outcome.CRASH: None,
}
COUNTS: Final = ("user", "admin", "recovery")


def compare(bench: Bench, step: Step, expected: tuple[Any, ...], was_cut: bool) -> None:
    """Tell the oracle what happened, then narrow its worlds by what can be seen."""
    oracle, (verb, *args) = bench.oracle, expected
    may_lock = verb == MAY_LOCK
    verb = "lock" if may_lock else verb
    before = oracle.branches
    if step.is_faulty and Excused.DATA in step.excused and verb == "write":
        _, lba, *contents = args
        bench.memory.losable |= set(range(lba, lba + len(contents)))
    if step.outcome in (Outcome.FAULT, Outcome.CRASH):
        _miss_answer(oracle, step, verb, args)
    oracle.act(verb, *args, was_cut=was_cut, may_fail=step.is_tampered)
    if may_lock:
        oracle.branches += tuple((None, world) for _, world in before)
    told = {success for success, _ in oracle.branches}
    step.is_refused_by_all = told == {False}
    step.may_be_refused = False in told
    if step.excused and step.outcome is not Outcome.OK:
        oracle.branches += tuple(_losses(oracle, before, step, verb, args))
    elif step.excused and told == {None}:
        oracle.branches += ((None, World(oracle.limits, "erased")),)
    success = _TOLD.get(step.outcome, False)
    if success is not None and not oracle.narrow(lambda s, w: s in (None, success)):
        wanted = tuple("ok" if each else "refused" for each in told if each is not None)
        seen = "ok" if success else step.outcome.value
        step.mismatches.append(Mismatch("outcome", wanted, seen))
        if success and verb in ("erase", "write"):  # what was stored is changed, by anybody
            oracle.branches = tuple((s, replace(w, data={})) for s, w in oracle.branches)
    if step.is_over:
        oracle.act("lock")
    _look(bench, step)
    _note_erase(bench, step)


def _miss_answer(oracle: Oracle, step: Step, verb: str, args: list[Any]) -> None:
    """No answer at all is no answer to a command that every drive must obey."""
    promised = replace(oracle)
    promised.act(verb, *args)
    if all(success for success, _ in promised.branches):
        step.mismatches.append(Mismatch("outcome", ("ok",), step.outcome.value))


def _losses(
    oracle: Oracle, before: tuple[Branch, ...], step: Step, verb: str, args: list[Any]
) -> Iterator[Branch]:
    """Give what may follow from a fault, when nobody was told of success.

    Nothing may have happened, or all of it, or the drive is erased. But a verdict on a PIN has cost
    a try.
    """
    worlds = [world for _, world in before]
    for world in (*worlds, *(world for _, world in oracle.branches)):
        if verb in ("unlock", "recover") and world in worlds:
            count = str(args[0])
            if world.tries[count]:
                yield None, replace(world, tries={**world.tries, count: world.tries[count] - 1})
            if step.outcome is Outcome.WRONG_PIN:
                continue
        yield from ((None, world), (None, world.locked()))
    yield None, World(oracle.limits, "erased")


def _look(bench: Bench, step: Step) -> None:
    """Ask the drive for its state, and compare."""
    try:
        status = bench.status()
    except DriveError as fault:
        if step.outcome is not Outcome.CRASH:
            told = f"status: {type(fault).__name__}: {fault}"
            step.outcome, step.detail = Outcome.FAULT, told
        bench.memory.firmware.given = None  # what became of it is not to be seen
        bench.reconnect()
        return
    if status is None:
        return
    step.state = bench.memory.state = status.state.name.lower()
    step.tries = dict(zip(COUNTS, status.tries, strict=True))
    updates.judge(bench, step, status)
    oracle, tries = bench.oracle, step.tries
    if (step.is_tampered or step.excused) and status.state is State.FAILED:
        # Without its own flash it may refuse to work: then nothing happens, whatever is asked.
        oracle.branches = tuple((None, world.locked()) for world in step.before)
        return
    if not oracle.narrow(lambda s, w: w.state == step.state):
        states = tuple(world.state for world in bench.worlds)
        step.mismatches.append(Mismatch("state", states, step.state))
    if not oracle.narrow(lambda s, w: _fits(w.tries, tries, step.is_tampered)):
        expected = tuple(_spelled(world.tries) for world in bench.worlds)
        step.mismatches.append(Mismatch("tries", expected, _spelled(tries)))
    elif step.tries_told is not None and step.state in ("locked", "unlocked", "blocked"):
        _compare_told(step)
    _note_spent(bench, step, tries)


def _note_spent(bench: Bench, step: Step, tries: Mapping[str, int]) -> None:
    """Count a cut attempt that cost a try: it happened, and has to be in the log."""
    if step.outcome is Outcome.CUT and step.verb in ("unlock", "recover"):
        count = _count_of(step)
        is_spent = all(tries[count] < world.tries[count] for world in step.before)
        bench.memory.attempts.least += is_spent


def _count_of(step: Step) -> str:
    """Return which count an attempt is taken from."""
    return "recovery" if step.verb == "recover" else str(step.action.args[0])


def _compare_told(step: Step) -> None:
    """A wrong-PIN answer says how many tries are left; it must be what the status says."""
    count = _count_of(step)
    if step.tries is not None and step.tries_told != step.tries[count]:
        expected = (f"{step.tries[count]} told",)
        step.mismatches.append(Mismatch("tries", expected, f"{step.tries_told} told"))


def _note_erase(bench: Bench, step: Step) -> None:
    """Keep by what the drive was erased, as long as it is."""
    memory = bench.memory
    if not all(world.state == "erased" for world in bench.worlds):
        memory.erased_by = None
    elif memory.erased_by is None:
        memory.erased_numbers |= set(memory.numbers.values())
        pin = PIN_TABLE[int(step.action.args[1])] if step.verb == "unlock" else ""
        is_duress = any(pin and world.pins.get("duress") == pin for world in step.before)
        by_try = step.verb in ("unlock", "recover", "record_unlock")
        memory.erased_by = "duress" if is_duress else "limit" if by_try else "command"
    step.erased_by = memory.erased_by


def _fits(expected: Any, seen: Any, is_tampered: bool) -> bool:
    """Whether the tries seen are those expected; exchanged flash may cost some, but give none."""
    if is_tampered:
        return all(seen[count] <= expected[count] for count in COUNTS)
    return bool(expected == seen)


def _spelled(tries: Any) -> str:
    return "/".join(str(tries[count]) for count in COUNTS)
