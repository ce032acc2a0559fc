"""Recovery PINs: a number, 20 random digits and a check digit, so that a slip costs no try."""

from typing import Final


def _luhn(digits: str) -> str:
    """Return the check digit of `digits` (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


RECOVERY_PIN_DIGITS: Final = 22
RECOVERY_PINS: Final = 3


def recovery_pin(number: int, digits: str) -> str:
    """Return recovery PIN `number` (1 to 3): that digit, 20 random ones, and a check digit."""
    return f"{number}{digits}{_luhn(f'{number}{digits}')}"


def recovery_number(pin: str) -> int | None:
    """Return which recovery PIN this would be; None where it can be none: a slip costs no try."""
    if len(pin) != RECOVERY_PIN_DIGITS or not pin.isascii() or not pin.isdigit():
        return None
    number = int(pin[0])
    is_one = 1 <= number <= RECOVERY_PINS and pin[-1] == _luhn(pin[:-1])
    return number if is_one else None
