"""The firmware: boot, who may do what, and the order in which it happens."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from firmware_model.firmware import attempt_log
from firmware_model.firmware.access import Access
from firmware_model.firmware.boot import Running
from firmware_model.firmware.erasure import Erasure
from firmware_model.firmware.firmware_slots import SLOTS
from firmware_model.firmware.keys import KeyHierarchy
from firmware_model.firmware.keystore import KeyStore
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.medium import MediumError
from firmware_model.firmware.parts import FailedAttempt, LockCause, Parts
from firmware_model.firmware.policy import Policy
from firmware_model.firmware.self_test import known_answer_tests
from firmware_model.firmware.settings import SettingsStore
from firmware_model.firmware.translation import Translation
from firmware_model.firmware.update import FirmwareUpdate
from firmware_model.hardware.board import Board
from firmware_model.hardware.element_state import (
    RECOVERY_SLOTS,
    Count,
    FirmwareSlot,
    Slot,
    count_of,
)
from firmware_model.hardware.entropy import HealthTestFailed, random_digits
from firmware_model.wire.attempt_log import Event
from firmware_model.wire.native import (
    Answer,
    Feature,
    Result,
    Role,
    State,
    Status,
)
from firmware_model.wire.recovery_pin import RECOVERY_PINS, recovery_number, recovery_pin

_ATTEMPTS: Final = {
    Count.USER: Event.ATTEMPT_USER,
    Count.ADMIN: Event.ATTEMPT_ADMIN,
    Count.RECOVERY: Event.ATTEMPT_RECOVERY,
}
_SLOTS: Final = {Role.USER: Slot.USER, Role.ADMIN: Slot.ADMIN, Role.DURESS: Slot.DURESS}


class Firmware:
    """What runs on the board from one power-up to the next loss of power."""

    def __init__(
        self,
        board: Board,
        policy: Policy,
        parts: Parts,
        running: Running | None = None,
        self_test: Callable[[], tuple[str, ...]] = known_answer_tests,
    ) -> None:
        self.board = board
        self.running = running or Running(FirmwareSlot.BUILT_IN, policy)
        self.policy = self.running.policy
        self.parts = parts
        self.on_open: Callable[[], None] = lambda: None  # told when the medium becomes readable
        element, nand, clock, timing = board.element, board.nand, board.clock, board.timing
        self._element = element
        layout = Layout.of(policy)
        clock.charge(timing.boot_us)
        self.failures = self_test()
        if self.running.slot is None:
            self.failures += ("firmware: none that may run",)
        is_checked = self.running.slot in SLOTS  # at the first thing at power-up, and twice
        if not is_checked and self.running.security_version < element.state.firmware_floor:
            self.failures += ("firmware: none that may run",)  # no single verdict starts it
        self._draw_first()
        element.power_on(parts.counter)
        epoch = element.state.epoch
        self._store = KeyStore(nand, 0, epoch, parts.storing)
        self.log = attempt_log.AttemptLog(
            nand, layout.log_block, policy.log_records, element, clock
        )
        translation = Translation(
            nand, layout.data_block, layout.data_blocks, layout.logical_pages, epoch
        )
        self.keys = KeyHierarchy(
            element, self._store, board.entropy, parts, clock, timing, policy.kdf_iterations
        )
        self.access = Access(translation, self.log, parts, clock, timing, nand.geometry.page_bytes)
        self.settings = SettingsStore(
            nand, layout.settings_block, lambda: self._element.state.epoch
        )
        self.update = FirmwareUpdate(board, policy, parts, self.running, self.log, self.close)
        self.restart_is_due = False  # once the host has heard how its command ended
        self._look_for_keys()
        if not self.failures:
            self._start()

    def _draw_first(self) -> None:
        """Try the entropy source before anything depends on it."""
        try:
            self.board.entropy.power_on(self.parts.health)
        except HealthTestFailed as failed:
            self.failures += (f"entropy: {failed}",)

    def _look_for_keys(self) -> None:
        """Find what is wrapped for each PIN: without it, a right PIN would count as a wrong one."""
        for slot, state in zip(Slot, self._element.state.slots, strict=True):
            if state.is_set and self._store.find(slot, state.generation) is None:
                self.failures += (f"flash: no wrapped key of {slot.name} can be read",)

    def _start(self) -> None:
        try:
            self._finish_what_was_cut()
            self._refresh_keys()
            self._tell_of_fallback()
            self.log.add(Event.BOOT)
            with suppress(MediumError):  # then it stays where it is
                self.update.refresh()
        except MediumError as worn:
            self.failures += (f"flash: {worn}",)

    def _finish_what_was_cut(self) -> None:
        """Complete a change or an erase that lost power, and do what a used-up limit demands."""
        self._element.destroy_spares()
        if not self._store.is_blank and not self._has_keys:
            self._store.wipe(self._element.state.epoch)
        for count in Count:
            self._enforce_limit(count)

    def _refresh_keys(self) -> None:
        """Write wrapped keys anew while they can be read; where there is no room, they stay."""
        slots = self._element.state.slots
        live = {(slot, state.generation) for slot, state in zip(Slot, slots, strict=True)}
        with suppress(MediumError):
            self._store.refresh(frozenset(live))

    def _tell_of_fallback(self) -> None:
        """Leave evidence when the firmware is not the one that was switched to."""
        running = self.running
        if running.slot is not self._element.state.firmware_slot:
            detail = running.version.number << 32 | running.security_version
            self.log.add(Event.FELL_BACK, detail=detail)

    # --- what anybody may ask -------------------------------------------------------------------

    @property
    def _has_keys(self) -> bool:
        return self.keys.is_set(Slot.USER) or self.keys.is_set(Slot.ADMIN)

    @property
    def state(self) -> State:
        """The state as design and native status name it."""
        if self.failures:
            return State.FAILED
        if not self._has_keys:  # then it is not open either, whatever was left undone
            return State.ERASED if self._element.state.was_erased else State.FACTORY
        if self.access.is_open:
            return State.UNLOCKED
        is_blocked = self.policy.at_limit == "block" and self._is_used_up(Count.USER)
        return State.BLOCKED if is_blocked else State.LOCKED

    @property
    def is_owned(self) -> bool:
        """Whether the open session may decide on PINs, policy and erase."""
        role = self.access.role
        return role is Role.ADMIN or (role is Role.USER and not self.keys.is_set(Slot.ADMIN))

    def tries_left(self, count: Count) -> int:
        """Return what is left of a role's tries."""
        return min(self._element.tries_left(count), 255)

    def status(self) -> Status:
        """Return what a drive tells without a PIN."""
        user, admin, recovery = (self.tries_left(count) for count in Count)
        is_open = self.access.is_open
        return Status(
            state=self.state,
            entry=self.policy.entry,
            features=self.policy.features,
            tries=(user, admin, recovery),
            limits=self.policy.limits,
            unlocked_as=self.access.role,
            is_read_only=self._element.state.is_read_only,
            has_admin=self.keys.is_set(Slot.ADMIN),
            recovery_left=sum(self.keys.is_set(slot) for slot in RECOVERY_SLOTS),
            block_count=self.policy.block_count if is_open else 0,
            version=self.running.version,
            security_version=self.running.security_version,
        )

    # --- opening and closing --------------------------------------------------------------------

    def unlock(self, role: Role, pin: bytes) -> Answer:
        """Try a PIN: one try, spent before anything depends on the PIN."""
        slot = _SLOTS.get(role)
        if slot is None or slot is Slot.DURESS:
            return self._answer(Result.DENIED)
        if not self._is_possible(pin):
            return self._answer(Result.BAD_PIN, slot)
        if not self.keys.is_set(slot):
            return self._answer(self._nothing_set(), slot)
        mek = self._attempt(slot, role, pin)
        if isinstance(mek, Answer):
            return mek
        self.keys.settle(count_of(slot), mek)
        self._open(mek, role)
        return self._answer(Result.OK, slot)

    def lock(self, cause: LockCause = LockCause.COMMAND) -> None:
        """Close the medium, if it is open and the cause is one that closes it."""
        for _ in range(2):  # what a glitch leaves out the first time is done the second
            if self.access.is_open and self.parts.locking.locks_on(cause):
                self.close()

    def close(self) -> None:
        """Close the medium, if it is open, for a reason that is no matter of policy."""
        for _ in range(2):  # what a glitch leaves out the first time is done the second
            if self.access.is_open:
                self.log.add(Event.LOCK, detail=self.access.totals)
                self.access.close()

    def _open(self, mek: bytes, role: Role) -> None:
        was_open = self.access.is_open
        if self.access.totals:
            self.log.add(Event.TOTALS, detail=self.access.totals)
        self.log.add(Event.UNLOCK, role)
        self.access.open(mek, role)
        if not was_open:
            self.on_open()

    def _attempt(self, slot: Slot, role: Role, pin: bytes) -> bytes | Answer:
        """Spend a try; return the media key, or how the attempt failed."""
        count = count_of(slot)
        began_us = self.board.clock.now_us
        if self.parts.limit.is_reached(self._element.tries_left(count)):
            return self._answer(Result.BLOCKED, slot)
        event = _ATTEMPTS[count]
        guess = self.keys.guess(slot, pin, event, self.log.write(event, role))
        if guess is None:
            return self._answer(Result.BLOCKED, slot)
        if guess.mek is not None:
            return guess.mek
        self.keys.settle(count, None)
        tries_left = self.tries_left(count)
        reason = Event.ERASE_DURESS if guess.is_duress else Event.ERASE_LIMIT
        self._enforce_limit(count, reason)
        state = self.state
        if guess.is_duress and self._has_keys:
            self._erase(reason)
        budget_us = self.board.timing.attempt_us
        failed = FailedAttempt(len(pin), guess.is_duress)
        pace = self.parts.pacing.answer_at(began_us, budget_us, failed)
        self.board.clock.charge_until(pace)
        return Answer(Result.WRONG_PIN, tries_left, state)

    def _enforce_limit(self, count: Count, reason: Event = Event.ERASE_LIMIT) -> None:
        """Erase when a role's tries are used up, unless somebody else may still open the drive."""
        if not self._is_used_up(count) or not self._has_keys:
            return
        others = (Slot.ADMIN, *RECOVERY_SLOTS)
        has_others = any(self.keys.is_set(slot) for slot in others)
        if self.policy.at_limit == "erase" or count is Count.ADMIN or not has_others:
            self._erase(reason)
        elif count is Count.USER:
            self.lock()

    def _is_used_up(self, count: Count) -> bool:
        return self.parts.limit.is_reached(self._element.tries_left(count))

    # --- PINs -----------------------------------------------------------------------------------

    def set_pin(self, role: Role, pin: bytes) -> Answer:
        """Give a role a PIN: the first of a blank drive, or a new one by whoever may."""
        slot = _SLOTS.get(role)
        if slot is None or (role is Role.DURESS and not self._offers(Feature.DURESS)):
            return self._answer(Result.NOT_SUPPORTED)
        if not self._is_accepted(pin):
            return self._answer(Result.BAD_PIN, slot)
        if not self._has_keys and role is not Role.DURESS:
            head = self.log.write(Event.PIN_SET, role)
            is_set = self.keys.install({slot: pin}, self.keys.new_mek(), Event.PIN_SET, head)
            return self._answer(Result.OK if is_set else Result.DENIED, slot)
        mek = self.access.mek
        if mek is None or not (self.is_owned or self.access.role is role):
            return self._answer(Result.LOCKED if mek is None else Result.DENIED, slot)
        if self.keys.collides(slot, pin, mek):
            return self._answer(Result.BAD_PIN, slot)
        if not (self.access.role is role or self.is_owned):  # no single verdict gives a right
            return self._answer(Result.DENIED, slot)
        event = Event.PIN_CHANGED if self.keys.is_set(slot) else Event.PIN_SET
        refill = () if role is Role.DURESS else (count_of(slot),)
        if role is Role.DURESS:
            event = Event.DURESS_SET
        head = self.log.write(event, role)
        is_set = self.keys.install({slot: pin}, mek, event, head, refill=refill)
        return self._answer(Result.OK if is_set else Result.DENIED, slot)

    def make_recovery(self) -> Answer:
        """Draw three recovery PINs; they are told this once, and replace earlier ones."""
        mek = self.access.mek
        if not self._offers(Feature.RECOVERY):
            return self._answer(Result.NOT_SUPPORTED)
        if mek is None or not self.is_owned:
            return self._answer(Result.LOCKED if mek is None else Result.DENIED)
        pins = [
            recovery_pin(number, random_digits(self.board.entropy.draw, 20)).encode()
            for number in range(1, RECOVERY_PINS + 1)
        ]
        head = self.log.write(Event.RECOVERY_MADE)
        new = dict(zip(RECOVERY_SLOTS, pins, strict=True))
        if not self.keys.install(new, mek, Event.RECOVERY_MADE, head, refill=(Count.RECOVERY,)):
            return self._answer(Result.DENIED)
        return self._answer(Result.OK, payload=b"".join(pins))

    def recover(self, entered: bytes, new_pin: bytes) -> Answer:
        """Open with a recovery PIN, once, to give the user a new PIN."""
        number = recovery_number(entered.decode("latin-1"))
        if number is None or not self._is_accepted(new_pin):
            return self._answer(Result.BAD_PIN, RECOVERY_SLOTS[0])
        if not any(self.keys.is_set(slot) for slot in RECOVERY_SLOTS):
            return self._answer(self._nothing_set(), RECOVERY_SLOTS[0])
        slot = RECOVERY_SLOTS[number - 1]
        mek = self._attempt(slot, Role.RECOVERY, entered)
        if isinstance(mek, Answer):
            return mek
        if self.keys.collides(Slot.USER, new_pin, mek):
            self.keys.settle(Count.RECOVERY, mek)
            return self._answer(Result.BAD_PIN, slot)
        head = self.log.write(Event.RECOVERED)
        refill = (Count.USER, Count.RECOVERY)
        new = {Slot.USER: new_pin}
        if not self.keys.install(new, mek, Event.RECOVERED, head, end=(slot,), refill=refill):
            return self._answer(Result.DENIED, slot)
        self._open(mek, Role.USER)
        return self._answer(Result.OK, slot)

    # --- policy, erase, log ---------------------------------------------------------------------

    def set_read_only(self, is_read_only: bool) -> Answer:
        """Make the medium read-only, or writable again, for good."""
        if not self._offers(Feature.READ_ONLY):
            return self._answer(Result.NOT_SUPPORTED)
        if not self.is_owned:
            return self._answer(Result.DENIED if self.access.is_open else Result.LOCKED)
        head = self.log.write(Event.READ_ONLY_SET)
        if not self.is_owned:  # no single verdict gives a right
            return self._answer(Result.DENIED)
        self._element.set_read_only(is_read_only, Event.READ_ONLY_SET, head)
        is_set = self._element.state.is_read_only is is_read_only
        return self._answer(Result.OK if is_set else Result.SELF_TEST_FAILED)

    def erase(self, reset_code: bytes) -> Answer:
        """Destroy all keys, by the right of the open session or of the reset code."""
        if not self._may_erase(reset_code):
            is_locked = not reset_code and not self.access.is_open
            return self._answer(Result.LOCKED if is_locked else Result.DENIED)
        if not self._may_erase(reset_code):  # no single verdict gives a right
            return self._answer(Result.DENIED)
        is_erased = self._erase(Event.ERASE_COMMAND)
        return self._answer(Result.OK if is_erased else Result.SELF_TEST_FAILED)

    def _may_erase(self, reset_code: bytes) -> bool:
        return self._element.reset_code_is_right(reset_code) if reset_code else self.is_owned

    def sanitize(self) -> bool:
        """Destroy all keys, as SANITIZE and FORMAT UNIT do; return whether it is so."""
        return self._erase(Event.ERASE_SANITIZE)

    def _erase(self, event: Event) -> bool:
        """Erase, and tell whether it is so; a drive that can't trusts itself no more."""
        totals = self.access.totals
        self.access.close()
        head = self.log.write(event, detail=totals)
        translation = self.access.translation
        steps = Erasure(self._element, self._store, translation, event, head)
        is_erased = self.parts.erasing.erase(steps)
        if not is_erased:
            self.fail("erase: the keys are still there")
        return is_erased

    def read_log(self, first: int) -> Answer:
        """Return a page of the log to its owner."""
        if not self._offers(Feature.LOG):
            return self._answer(Result.NOT_SUPPORTED)
        if not self.is_owned:
            return self._answer(Result.DENIED if self.access.is_open else Result.LOCKED)
        page = self.log.page(first).encode()
        if not self.is_owned:  # no single verdict gives a right
            return self._answer(Result.DENIED)
        return self._answer(Result.OK, payload=page)

    def poll(self) -> None:
        """Lock an open medium that was not used for as long as the policy says."""
        limit_s = self.policy.auto_lock_s
        if limit_s is None or not self.access.is_open:
            return
        idle_us = self.board.clock.now_us - self.access.used_at_us
        if idle_us < 0 or idle_us >= limit_s * 1_000_000:  # a clock that ran back counts nothing
            self.lock(LockCause.TIMER)

    def fail(self, reason: str) -> None:
        """Stop trusting oneself: nothing works until the next power-up."""
        self.access.close()
        self.failures += (reason,)

    # --- small things ---------------------------------------------------------------------------

    def _offers(self, feature: Feature) -> bool:
        return bool(self.policy.features & feature)

    def _is_possible(self, pin: bytes) -> bool:
        return self.parts.pin_policy.is_possible(pin, *self.policy.pin_digits)

    def _is_accepted(self, pin: bytes) -> bool:
        return self._is_possible(pin) and self.parts.pin_policy.is_accepted(pin)

    def _nothing_set(self) -> Result:
        return Result.ERASED if self.state is State.ERASED else Result.NO_PIN

    def _answer(self, result: Result, slot: Slot = Slot.USER, payload: bytes = b"") -> Answer:
        return Answer(result, self.tries_left(count_of(slot)), self.state, payload)
