"""A keypad and its three lights."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Key(Enum):
    """What can be pressed; the value is how it is written."""

    DIGIT_0 = "0"
    DIGIT_1 = "1"
    DIGIT_2 = "2"
    DIGIT_3 = "3"
    DIGIT_4 = "4"
    DIGIT_5 = "5"
    DIGIT_6 = "6"
    DIGIT_7 = "7"
    DIGIT_8 = "8"
    DIGIT_9 = "9"
    UNLOCK = "UNLOCK"
    LOCK = "LOCK"
    SET = "SET"
    ADMIN = "ADMIN"
    DURESS = "DURESS"
    RECOVER = "RECOVER"
    READ_ONLY = "READONLY"
    ERASE = "ERASE"

    @property
    def is_digit(self) -> bool:
        return len(self.value) == 1


class Light(Enum):
    """What a light does."""

    OFF = "off"
    ON = "on"
    BLINK = "blink"


@dataclass(frozen=True, slots=True)
class Leds:
    """Red: locked or refused. Green: open or done. Blue: waiting for more, or blank."""

    red: Light = Light.OFF
    green: Light = Light.OFF
    blue: Light = Light.OFF


def keys(text: str) -> tuple[Key, ...]:
    """Return the keys that `text` writes: `SET 1234 UNLOCK`; raise ValueError for any other."""
    pressed: list[Key] = []
    for word in text.split():
        names = word if word.isdecimal() and word.isascii() else (word.upper(),)
        for name in names:
            try:
                pressed.append(Key(name))
            except ValueError:
                known = " ".join(key.value for key in Key if not key.is_digit)
                raise ValueError(f"no key {name!r}; there are 0 to 9 and {known}") from None
    return tuple(pressed)


class Keypad:
    """Keys that tell whoever listens, and lights."""

    def __init__(self) -> None:
        self.leds = Leds()
        self._listener: Callable[[Key], None] | None = None

    def listen(self, listener: Callable[[Key], None] | None) -> None:
        """Tell `listener` of every key from now on; None: nobody."""
        self._listener = listener

    def press(self, key: Key) -> None:
        """Press one key; without power nothing happens."""
        if self._listener is not None:
            self._listener(key)
