"""What a thief learns by guessing: which PINs open, how answers look, what a guess costs."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from hil_tests.actions import PIN_TABLE, PINS
from hil_tests.bench.bench import Bench, forked
from hil_tests.opened_firmware import measure_stretching
from hil_tests.steps import Step
from host_driver.errors import DriveError, WrongPin

CHEAP_PER_MILLE: Final = 500  # of what the profile's cost takes here, measured beside it
# What drives were sold with, or opened for besides the owner's PIN; and what firmware calls empty.
KNOWN_PINS: Final = (
    "",
    "0000",
    "1234",
    "000000",
    "123456",
    "111111",
    "0000000",
    "1234567",
    "00000000",
    "11111111",
    "11223344",
    "12345678",
    "88888888",
    "99999999",
    "000000000000",
    "123456789012",
)


def guess_near(bench: Bench, step: Step) -> None:
    """Try PINs that are nearly the user's, and those that drives are sold with, each on a copy."""
    pins = [world.pins.get("user") for world in bench.worlds]
    right = pins[0]
    if right is None or any(pin != right for pin in pins):
        return
    known = {pin for world in bench.worlds for pin in world.pins.values()}
    near = {name: pin for name, pin in near_pins(right).items() if pin not in known}
    near |= {f"PIN {pin!r}, which nobody set,": pin for pin in (*KNOWN_PINS, bench.unit.serial)}
    opened = []
    for role in ("user", "admin"):
        for name, pin in near.items():
            copy = forked(bench)
            try:
                copy.host().unlock(pin, role)
            except DriveError:
                continue
            opened.append(f"{name} opened as {role}")
    if opened:
        step.seen["opened_by_guess"] = opened


def near_pins(right: str) -> dict[str, str]:
    """Return PINs that a careless comparison takes for the right one, by what is done to it."""
    near = {
        f"the right PIN with digit {at + 1} changed": _with(right, at, (int(digit) + 5) % 10)
        for at, digit in enumerate(right)
    }
    for at, (one, other) in enumerate(pairwise(right)):
        swapped = right[:at] + other + one + right[at + 2 :]
        near[f"the right PIN with digits {at + 1} and {at + 2} swapped"] = swapped
    near |= {f"the first {count} digits of it": right[:count] for count in range(4, len(right))}
    near |= {f"it with {digits} behind": right + digits for digits in ("0", "7", "0000")}
    return near | {
        "it with 0 before": "0" + right,
        "it without its first digit": right[1:],
        "it twice": right + right,
        "it backwards": right[::-1],
        "its digits in order": "".join(sorted(right)),
    }


def _with(pin: str, at: int, digit: int) -> str:
    return f"{pin[:at]}{digit}{pin[at + 1 :]}"


def compare_wrong(bench: Bench, step: Step) -> None:
    """Try wrong PINs of every kind on copies of the drive, and compare all a thief can see."""
    known = {pin for world in bench.worlds for pin in world.pins.values()}
    right = next((w.pins["user"] for w in bench.worlds if "user" in w.pins), PINS[0])
    kinds = {
        "a wrong PIN": "1029384756",
        "a shorter one": "1029384",
        "a longer one": "1029384756102938",
        "the right one but for its last digit": right[:-1] + str((int(right[-1]) + 5) % 10),
        "the start of the right one": right[:-1],
    }
    duress = next((w.pins["duress"] for w in bench.worlds if "duress" in w.pins), None)
    if duress is not None:
        kinds["the duress PIN"] = duress
    kinds = {name: pin for name, pin in kinds.items() if pin not in known or pin == duress}
    looks = {name: _look_of_attempt(bench, pin) for name, pin in kinds.items()}
    first_name, first = next(iter(looks.items()))
    differences = [
        f"{name}: {look}, and {first_name}: {first}"
        for name, look in looks.items()
        if look != first
    ]
    if differences:
        step.seen["differences"] = differences


def _look_of_attempt(bench: Bench, pin: str) -> str:
    """Return how an attempt on a copy looks from outside: answer, sizes on the bus, time."""
    copy = forked(bench)
    copy.host()
    payloads = copy.recorder.payloads
    began_us, first = copy.unit.now_us, len(payloads)
    try:
        copy.host().unlock(pin)
        answer = "opened"
    except WrongPin:
        answer = "wrong PIN"
    except DriveError as refused:
        answer = str(refused)
    sizes = [len(payload) for payload in payloads[first:]]
    return f"{answer} after {copy.unit.now_us - began_us} us, transfers of {sizes}"


def compare_cuts(bench: Bench, step: Step, role: str, wrong: int, right: int) -> None:
    """Cut a wrong and a right attempt at each step: before the try is spent, they must be alike."""
    if not all(role in world.pins for world in bench.worlds):
        return
    spent_at = None
    for cut in range(1, 40):
        names, tries, is_on = _cut_attempt(bench, role, wrong, cut)
        others, _, _ = _cut_attempt(bench, role, right, cut)
        before = bench.status()
        count = owner_count(role)
        if before is not None and tries is not None and tries < before.tries[count]:
            spent_at = cut
            break
        if names != others:
            step.seen["told_before_spent"] = f"at step {cut}: {names} for wrong, {others} for right"
            return
        if is_on:
            break
    if spent_at is None:
        step.seen["told_before_spent"] = "a wrong attempt spends no try at all"


def owner_count(role: str) -> int:
    """Return where a role's tries stand in a status."""
    return {"user": 0, "admin": 1}[role]


def _cut_attempt(
    bench: Bench, role: str, pin: int, cut: int
) -> tuple[tuple[str, ...], int | None, bool]:
    """Return steps and time of a cut attempt, the tries left after it, and whether it ended."""
    copy = forked(bench)
    copy.host()
    copy.unit.begin_steps()
    began_us = copy.unit.now_us
    copy.unit.cut_at(cut)
    try:
        copy.host().unlock(PIN_TABLE[pin], role)
    except DriveError:
        copy.reconnect()
    is_on = copy.unit.is_on
    passed_us = copy.unit.now_us - began_us
    names = (*copy.unit.step_names, f"cut before: {copy.unit.cut_name}", f"{passed_us} us")
    copy.unit.cut_at(None)
    if not is_on:
        copy.unit.power_on()
        copy.reconnect()
    status = copy.status()
    return names, None if status is None else status.tries[owner_count(role)], is_on


def measure_kdf(bench: Bench, step: Step) -> None:
    """Measure one stretching at the profile's cost beside the reference's at the same cost."""
    iterations = bench.facts.kdf_iterations
    if bench.model is not None:
        found = measure_stretching(bench.model, iterations)
    else:
        found = bench.remote.measure(iterations)
    step.seen["kdf_iterations"] = iterations
    step.seen["ignored_by_stretching"] = [*found.ignored]
    if found.per_mille < CHEAP_PER_MILLE:
        share = found.per_mille / 1000
        step.seen["cheap_stretching"] = f"{share:.3f} of {iterations} iterations of PBKDF2"
