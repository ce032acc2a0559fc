"""PINs entered on the drive: what sequences of keys mean, and what the lights say.

<digits> UNLOCK                            unlock as user (also the duress PIN)
ADMIN <digits> UNLOCK                      unlock as admin
LOCK                                       lock; while entering: begin again
SET [ADMIN|DURESS] <new> UNLOCK <new> UNLOCK   give a role a PIN
READONLY 1 UNLOCK, READONLY 0 UNLOCK       read-only on, off
ERASE ERASE UNLOCK                         erase, by whoever may
ERASE <reset code> UNLOCK                  erase with the reset code
"""

from typing import Final

from firmware_model.firmware.firmware import Firmware
from firmware_model.hardware.entropy import HealthTestFailed
from firmware_model.hardware.keypad import Key, Keypad, Leds, Light
from firmware_model.wire.native import Answer, Result, Role, State

ENTRY_KEYS_MAX: Final = 160  # a longer entry is no entry
_SETTINGS: Final = {Key.DIGIT_0: False, Key.DIGIT_1: True}
_ROLES: Final = {Key.ADMIN: Role.ADMIN, Key.DURESS: Role.DURESS}


class KeypadEntry:
    """Collects keys until they mean something."""

    def __init__(self, firmware: Firmware, keypad: Keypad) -> None:
        self._firmware = firmware
        self._keypad = keypad
        self._keys: list[Key] = []
        self._pressed = 0  # how many: a key that a glitch leaves out would make another entry
        self._show(None)
        keypad.listen(self._press)

    def refresh(self) -> None:
        """Have the lights follow a state that changed by other means than keys."""
        self._firmware.poll()
        if self._firmware.state is not self._shown:
            self._show(None)

    def _press(self, key: Key) -> None:
        self._firmware.poll()
        self._pressed += 1
        for _ in range(2):  # what a glitch leaves out the first time is done the second
            if key is Key.LOCK:
                self._begin()
                self._firmware.lock()
                self._show(None)
        if key is Key.LOCK:
            return
        self._keys.append(key)
        if len(self._keys) > ENTRY_KEYS_MAX:
            self._begin()
            self._show(Result.BAD_PIN)
        elif key is Key.UNLOCK and not self._waits_for_second():
            entered, is_whole = self._keys[:-1], self._pressed == len(self._keys)
            self._begin()
            self._show(self._enter(entered) if is_whole else Result.BAD_PIN)
        else:
            self._show(None)

    def _begin(self) -> None:
        self._keys.clear()
        self._pressed = 0

    def _waits_for_second(self) -> bool:
        """Whether this is the first of the two times that a new PIN is entered."""
        return self._keys[0] is Key.SET and self._keys.count(Key.UNLOCK) == 1

    def _enter(self, keys: list[Key]) -> Result:
        if self._firmware.state is State.FAILED:
            return Result.SELF_TEST_FAILED
        try:
            return self._obey(keys).result
        except HealthTestFailed as failed:
            self._firmware.fail(f"entropy: {failed}")
            return Result.SELF_TEST_FAILED

    def _obey(self, keys: list[Key]) -> Answer:
        first = keys[0] if keys else Key.UNLOCK
        match first:
            case Key.SET:
                return self._set(keys[1:])
            case Key.READ_ONLY if len(keys) == 2 and keys[1] in _SETTINGS:
                return self._firmware.set_read_only(_SETTINGS[keys[1]])
            case Key.ERASE if keys[1:] == [Key.ERASE]:
                return self._firmware.erase(b"")
            case Key.ERASE if len(keys) > 1 and all(key.is_digit for key in keys[1:]):
                return self._firmware.erase(_digits(keys[1:]))
            case Key.ADMIN:
                return self._unlock(Role.ADMIN, keys[1:])
        return self._unlock(Role.USER, keys)

    def _unlock(self, role: Role, keys: list[Key]) -> Answer:
        if not all(key.is_digit for key in keys):
            return self._nonsense()
        return self._firmware.unlock(role, _digits(keys))

    def _set(self, keys: list[Key]) -> Answer:
        role = _ROLES.get(keys[0], Role.USER)
        keys = keys if role is Role.USER else keys[1:]
        middle = keys.index(Key.UNLOCK)
        pin, again = keys[:middle], keys[middle + 1 :]
        if pin != again or not all(key.is_digit for key in pin):
            return self._nonsense()
        return self._firmware.set_pin(role, _digits(pin))

    def _nonsense(self) -> Answer:
        return Answer(Result.BAD_PIN, 0, self._firmware.state)

    def _show(self, result: Result | None) -> None:
        """Set the lights: after an entry, red blinks for a refusal and green for success.

        Each is a verdict of its own, so that no glitch makes one look like the other. Blue blinks
        while more keys are awaited.
        """
        self._shown = state = self._firmware.state
        is_open = state is State.UNLOCKED
        is_blank = state in (State.FACTORY, State.ERASED)
        blue = Light.BLINK if self._keys else Light.ON if is_blank else Light.OFF
        if result not in (None, Result.OK) or state is State.FAILED:
            red = Light.BLINK
        else:
            red = Light.OFF if is_open or is_blank else Light.ON
        green = Light.ON if is_open else Light.OFF
        self._keypad.leds = Leds(red, Light.BLINK if result is Result.OK else green, blue)


def _digits(keys: list[Key]) -> bytes:
    return "".join(key.value for key in keys).encode()
