"""Defects of the try counter, the limit and the record of attempts."""

from dataclasses import replace
from typing import Final

from firmware_model.defects.defect import Defect
from firmware_model.hardware.attempt_counter import (
    Answers,
    AttemptRequest,
    ElementCells,
    SpendFirst,
)
from firmware_model.hardware.element_state import Count, count_of


class CheckFirst(SpendFirst):
    """Answers first, and takes the try when it hears that the PIN was wrong."""

    def __init__(self) -> None:
        self._request: AttemptRequest | None = None

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        if not cells.state.tries[count_of(request.slot)]:
            return None
        self._request = request
        return cells.answers(request)

    def settle(self, cells: ElementCells, count: Count, proof: bytes | None) -> bool:
        request, state = self._request, cells.state
        if request is None:
            return False
        is_right = proof is not None and cells.proof_is_right(proof)
        if is_right and state.tries[count] == state.limits[count]:
            return True  # nothing to write: which is how a thief tells it from a wrong PIN
        left = state.limits[count] if is_right else state.tries[count] - 1
        settled = state.with_tries(count, left).logged(request.event, request.head)
        cells.commit("settle attempt", replace(settled, attempt_number=state.attempt_number + 1))
        return is_right


class RefillsFirst(SpendFirst):
    """Gives all tries back when an attempt begins, and then takes those that were used up."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        state, count = cells.state, count_of(request.slot)
        if not state.tries[count]:
            return None
        cells.commit("refill tries", state.with_tries(count, state.limits[count]))
        spent = state.with_tries(count, state.tries[count] - 1)
        spent = replace(spent, attempt_number=state.attempt_number + 1)
        cells.commit("spend tries", spent.logged(request.event, request.head))
        return cells.answers(request)


class CountsInMemory(SpendFirst):
    """Counts in memory: a power cycle gives every try back."""

    def __init__(self) -> None:
        self._spent: dict[tuple[int, Count], int] = {}

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        count = count_of(request.slot)
        if not self.tries_left(cells, count):
            return None
        key = cells.state.epoch, count
        self._spent[key] = self._spent.get(key, 0) + 1
        state = replace(cells.state, attempt_number=cells.state.attempt_number + 1)
        cells.commit("log attempt", state.logged(request.event, request.head))
        return cells.answers(request)

    def settle(self, cells: ElementCells, count: Count, proof: bytes | None) -> bool:
        if proof is None or not cells.proof_is_right(proof):
            return False
        self._spent.pop((cells.state.epoch, count), None)
        return True

    def tries_left(self, cells: ElementCells, count: Count) -> int:
        return max(cells.state.limits[count] - self._spent.get((cells.state.epoch, count), 0), 0)


class CountsInExternalFlash(SpendFirst):
    """Counts in the serial flash beside the element, which anybody can put back."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        count = count_of(request.slot)
        tries = self._tries(cells)
        if not tries[count]:
            return None
        tries[count] -= 1
        self._write(cells, tries)
        state = replace(cells.state, attempt_number=cells.state.attempt_number + 1)
        cells.commit("log attempt", state.logged(request.event, request.head))
        return cells.answers(request)

    def settle(self, cells: ElementCells, count: Count, proof: bytes | None) -> bool:
        if proof is None or not cells.proof_is_right(proof):
            return False
        tries = self._tries(cells)
        tries[count] = cells.state.limits[count]
        self._write(cells, tries)
        return True

    def tries_left(self, cells: ElementCells, count: Count) -> int:
        return self._tries(cells)[count]

    def _tries(self, cells: ElementCells) -> list[int]:
        stored = cells.external
        is_current = stored[:4] == cells.state.epoch.to_bytes(4, "big") and len(stored) == 7
        return list(stored[4:]) if is_current else list(cells.state.limits)

    def _write(self, cells: ElementCells, tries: list[int]) -> None:
        cells.write_external(cells.state.epoch.to_bytes(4, "big") + bytes(tries))


class NeverLocksOut(SpendFirst):
    """Counts down to nothing, and goes on."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        state, count = cells.state, count_of(request.slot)
        spent = state.with_tries(count, max(state.tries[count] - 1, 0))
        spent = replace(spent, attempt_number=state.attempt_number + 1)
        cells.commit("spend try", spent.logged(request.event, request.head))
        return cells.answers(request)

    def is_reached(self, tries_left: int) -> bool:
        return False


class OneTooMany(NeverLocksOut):
    """Takes one more guess than the limit says."""

    def __init__(self) -> None:
        self._at_zero = 0

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        if not cells.state.tries[count_of(request.slot)]:
            self._at_zero += 1
        return super().attempt(cells, request)

    def is_reached(self, tries_left: int) -> bool:
        return tries_left == 0 and self._at_zero > 0


class WipesEarly:
    """Takes the last try for none."""

    def is_reached(self, tries_left: int) -> bool:
        return tries_left <= 1


class RestoresAllRoles(SpendFirst):
    """Gives every role its tries back when one of them succeeds."""

    def settle(self, cells: ElementCells, count: Count, proof: bytes | None) -> bool:
        if proof is None or not cells.proof_is_right(proof):
            return False
        cells.commit("refund tries", replace(cells.state, tries=cells.state.limits))
        return True


class ForgetsOnSuccess(SpendFirst):
    """Sets the counts of the log back when a PIN was right."""

    def settle(self, cells: ElementCells, count: Count, proof: bytes | None) -> bool:
        has_refunded = super().settle(cells, count, proof)
        if has_refunded:
            counts = (0,) * len(cells.state.counts)
            cells.commit("reset counts", replace(cells.state, counts=counts))
        return has_refunded


class LeavesNoTrace(SpendFirst):
    """Spends the try and tells the log nothing."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        state, count = cells.state, count_of(request.slot)
        if not state.tries[count]:
            return None
        spent = state.with_tries(count, state.tries[count] - 1)
        cells.commit("spend try", replace(spent, attempt_number=state.attempt_number + 1))
        return cells.answers(request)


class LogsAfterwards(LeavesNoTrace):
    """Takes the try in one step, and a record of it into the count in the next."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        answers = super().attempt(cells, request)
        if answers is not None:
            cells.commit("log attempt", cells.state.logged(request.event, request.head))
        return answers


DEFECTS: Final = (
    Defect(
        "counter-after-check",
        "The try is taken after the PIN was looked at: power off in between, and it was free.",
        "iStorage diskGenie; J. Domburg, spritesmods.com, about 2010",
        {"counter": CheckFirst},
        "try-is-spent-before-pin-is-looked-at",
    ),
    Defect(
        "refund-before-spend",
        "Each attempt begins by giving all tries back: power off right then, and they are.",
        "a corollary of counter-after-check under power cut",
        {"counter": RefillsFirst},
        "tries-survive-power",
    ),
    Defect(
        "attempt-logged-afterwards",
        "Power off between the try and its record leaves an attempt that nobody hears of.",
        "a corollary of no-attempt-evidence under power cut",
        {"counter": LogsAfterwards},
        "attempts-leave-evidence",
    ),
    Defect(
        "retry-counter-resets-on-power-cut",
        "The count is kept in memory, so that a relay on the supply gives endless guesses.",
        "Thinkst, The lamest hacks, June 2012",
        {"counter": CountsInMemory},
        "tries-survive-power",
    ),
    Defect(
        "retry-counter-in-external-flash-rollback",
        "The count is kept in flash with nothing to tell that an older image was put back.",
        "S. Skorobogatov, The bumpy road towards iPhone 5c NAND mirroring, 2016",
        {"counter": CountsInExternalFlash},
        "flash-rollback-gives-nothing",
    ),
    Defect(
        "no-lockout-enforced",
        "The promised lock-out never comes.",
        "Verbatim Keypad Secure and others; SYSS-2022-004, CVE-2022-28386",
        {"counter": NeverLocksOut, "limit": NeverLocksOut},
        "limit-holds",
    ),
    Defect(
        "limit-off-by-one",
        "The drive takes one more guess than it says.",
        "The usual slip in a comparison; found in reviews more often than in advisories",
        {"counter": OneTooMany, "limit": OneTooMany},
        "limit-holds",
    ),
    Defect(
        "wipes-one-try-early",
        "The drive erases itself while it still owes its owner a try.",
        "The same slip the other way round: data loss instead of data leak",
        {"limit": WipesEarly},
        "nothing-else-destroys",
    ),
    Defect(
        "success-restores-every-role",
        "Whoever knows one PIN has endless guesses at the others.",
        "Separate budgets by role are documented for keypad drives; this is what lacking one means",
        {"counter": RestoresAllRoles},
        "tries-count-down",
    ),
    Defect(
        "counter-reset-hides-attack",
        "A right PIN erases the evidence of all wrong ones before it.",
        "weaknesses of attempt records; see NIST SP 800-63B 5.2.2 on what a count is for",
        {"counter": ForgetsOnSuccess},
        "attempts-leave-evidence",
    ),
    Defect(
        "no-attempt-evidence",
        "Attempts leave no record, so that nobody can say after a loss whether there were any.",
        "Most drives; the case of Amagasaki, June 2022",
        {"counter": LeavesNoTrace},
        "attempts-leave-evidence",
    ),
)
