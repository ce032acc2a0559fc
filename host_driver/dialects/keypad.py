"""A drive whose PINs are entered on its own keys: the operator presses, the host looks on.

No command of the host unlocks such a drive. What became of an entry is read from its lights and
from the status that it tells without a PIN.
"""

from firmware_model.wire.attempt_log import LogPage
from firmware_model.wire.native import Role, State, Status
from host_driver.attachment import Operator
from host_driver.dialects.native import NO_PIN, NOT_A_PIN, read_status
from host_driver.errors import (
    Blocked,
    CommandRefused,
    Disconnected,
    Erased,
    Locked,
    NoPin,
    NotSupported,
    WrongPin,
)
from host_driver.scsi import ScsiDisk

NO_KEYS = "the drive has no host command for that, and nobody is at its keys"
ON_KEYS_ONLY = "a keypad drive does not offer that"
_PREFIX = {Role.USER: "", Role.ADMIN: "ADMIN ", Role.DURESS: "DURESS "}


class KeypadDialect:
    """A drive with a keypad, and the hands on it."""

    name = "keypad"

    def __init__(self, disk: ScsiDisk, operator: Operator | None) -> None:
        self._disk = disk
        self._operator = operator

    def status(self) -> Status:
        return read_status(self._disk)

    def unlock(self, pin: str, role: Role) -> None:
        before = self.status()
        if role is Role.DURESS:
            raise CommandRefused("the duress PIN is entered where a user PIN is")
        if before.state is State.ERASED:
            raise Erased("the drive has been erased: set a PIN to use it anew")
        if before.state is State.FACTORY or (role is Role.ADMIN and not before.has_admin):
            raise NoPin(NO_PIN)
        self._press(f"{_PREFIX[role]}{_digits(pin)} UNLOCK")
        after = self.status()
        tries, tries_before = after.tries[role], before.tries[role]
        if after.state in (State.ERASED, State.FACTORY):
            raise WrongPin(0)
        if tries < tries_before:
            raise WrongPin(tries)
        if after.state is State.UNLOCKED and after.unlocked_as is role and self._is_content():
            return
        if not tries_before:
            raise Blocked("the tries of that role are used up")
        raise CommandRefused(NOT_A_PIN)

    def lock(self) -> None:
        self._press("LOCK")

    def set_pin(self, new_pin: str, role: Role) -> None:
        before = self.status()
        digits = _digits(new_pin)
        self._press(f"SET {_PREFIX[role]}{digits} UNLOCK {digits} UNLOCK")
        if not self._is_content():
            is_first = before.state in (State.FACTORY, State.ERASED)
            if before.state is not State.UNLOCKED and not is_first:
                raise Locked("the drive is locked")
            raise CommandRefused(NOT_A_PIN)

    def recover(self, recovery_pin: str, new_pin: str) -> None:
        raise NotSupported(ON_KEYS_ONLY)

    def make_recovery_pins(self) -> tuple[str, ...]:
        raise NotSupported(ON_KEYS_ONLY)

    def erase(self, reset_code: str | None) -> None:
        code = (reset_code or "").replace(" ", "").replace("-", "")
        self._press(f"ERASE {_digits(code) if reset_code else 'ERASE'} UNLOCK")
        if self.status().state is not State.ERASED or not self._is_content():
            raise CommandRefused("not erased: it takes an open drive or the right reset code")

    def set_read_only(self, is_read_only: bool) -> None:
        self._press(f"READONLY {int(is_read_only)} UNLOCK")
        if not self._is_content():
            raise CommandRefused("not changed: it takes a drive opened by whoever decides")

    def log_page(self, first: int) -> LogPage:
        raise NotSupported("a keypad drive tells single records to nobody; its counts are signed")

    def identity(self) -> bytes:
        raise NotSupported("a keypad drive proves its identity by signed evidence only")

    def _press(self, keys: str) -> None:
        if self._operator is None:
            raise NotSupported(NO_KEYS)
        self._operator.press(keys)

    def _is_content(self) -> bool:
        """Whether the lights show that the last entry was accepted."""
        if self._operator is None:
            return False
        leds = self._operator.leds()
        if all(light == "off" for light in leds.values()):
            raise Disconnected("the drive has no power")
        return leds["green"] == "blink" and leds["red"] != "blink"


def _digits(pin: str) -> str:
    if not pin.isascii() or not pin.isdecimal() or len(pin) > 128:
        raise CommandRefused(NOT_A_PIN)
    return pin
