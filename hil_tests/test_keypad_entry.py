"""PINs entered on the drive: what keys do, and what the lights tell."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.hardware.entropy import SeededNoise
from firmware_model.hardware.keypad import Key
from firmware_model.wire.native import State
from hil_tests.actions import PINS
from hil_tests.facts import reset_code_of
from hil_tests.test_emulated_drive import drive, opened, state

PIN, WRONG = PINS[0], PINS[1]


def test_lights_tell_blank_locked_open_refused_done_and_waiting() -> None:
    made = drive("keypad")
    assert set(made.leds().values()) == {"off"}
    made.power_on()
    assert made.leds() == {"red": "off", "green": "off", "blue": "on"}
    made.press(f"SET {PIN} UNLOCK {PIN}")
    assert made.leds()["blue"] == "blink"
    made.press("UNLOCK")
    assert made.leds() == {"red": "on", "green": "blink", "blue": "off"}
    made.press(f"{WRONG} UNLOCK")
    assert made.leds() == {"red": "blink", "green": "off", "blue": "off"}
    made.press(f"{PIN} UNLOCK")
    assert made.leds() == {"red": "off", "green": "blink", "blue": "off"}
    made.press("1")
    assert made.leds() == {"red": "off", "green": "on", "blue": "blink"}
    made.press("LOCK")
    assert made.leds() == {"red": "on", "green": "off", "blue": "off"}


@pytest.mark.parametrize(
    "keys",
    [
        f"SET {PIN} UNLOCK {WRONG} UNLOCK",
        "SET UNLOCK UNLOCK",
        f"SET ADMIN LOCK {PIN} UNLOCK",
        "SET 7777777 UNLOCK 7777777 UNLOCK",
        "SET 12345678 UNLOCK 12345678 UNLOCK",
    ],
)
def test_new_pin_that_is_not_entered_twice_or_too_simple_is_not_set(keys: str) -> None:
    made = drive("keypad")
    made.power_on()

    made.press(keys)

    assert made.firmware is not None and made.firmware.state is State.FACTORY


def test_lock_key_forgets_what_was_entered() -> None:
    on = opened("keypad")
    on.drive.press("LOCK")
    on.drive.press(f"{PIN[:6]} LOCK {PIN} UNLOCK")

    assert state(on) is State.UNLOCKED


def test_reset_code_on_the_keys_erases_and_another_does_not() -> None:
    on = opened("keypad")
    code = reset_code_of(on.drive.profile, SeededNoise(b"drive"))
    on.drive.press("LOCK")
    on.drive.press(f"ERASE {'1' * 32} UNLOCK")
    assert state(on) is State.LOCKED

    on.drive.press(f"ERASE {code} UNLOCK")

    assert state(on) is State.ERASED


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(Key), max_size=60), st.none() | st.integers(1, 12))
def test_any_keys_at_any_cut_are_taken_without_an_exception(
    pressed: list[Key], cut: int | None
) -> None:
    made = drive("keypad")
    made.power_on()
    made.press(f"SET {PIN} UNLOCK {PIN} UNLOCK")
    made.cut_at(cut)

    made.press(" ".join(key.value for key in pressed))

    made.cut_at(None)
    made.power_off()
    made.power_on()
    assert made.firmware is not None
    assert made.firmware.state in (State.LOCKED, State.ERASED, State.FACTORY)


def test_endless_entry_is_cut_short() -> None:
    made = drive("keypad")
    made.power_on()

    made.press("1" * 2000)

    assert made.leds()["red"] in ("blink", "off")
    made.press("LOCK")
    made.press(f"SET {PIN} UNLOCK {PIN} UNLOCK")
    assert made.firmware is not None and made.firmware.state is State.LOCKED
