"""What a thief tries who knows people, vendors and careless comparisons."""

from pathlib import Path

import pytest

from firmware_model.hardware.embedded_element import EmbeddedElement
from hil_tests.actions import PINS, parse_steps
from hil_tests.bench.guesses import near_pins
from hil_tests.properties import BY_ID
from hil_tests.runs import Target, fails

PARTS = """
from firmware_model.firmware.reference import Pbkdf2


class Looks(Pbkdf2):
    part = "stretching"


class AtTwelveDigits(Looks):
    def stretch(self, pin, salt, iterations):
        return super().stretch(pin[:12], salt, iterations)


class AtNoOrder(Looks):
    def stretch(self, pin, salt, iterations):
        return super().stretch(bytes(sorted(pin)), salt, iterations)


class AtValue(Looks):
    def stretch(self, pin, salt, iterations):
        return super().stretch(pin.lstrip(b"0"), salt, iterations)
"""


@pytest.mark.parametrize("name", ["AtTwelveDigits", "AtNoOrder", "AtValue"])
def test_careless_comparison_opens_for_a_pin_that_nobody_set(tmp_path: Path, name: str) -> None:
    path = tmp_path / "parts.py"
    path.write_text(PARTS, "utf-8")
    property_ = BY_ID["wrong-pin-opens-nothing"]
    steps = parse_steps("set_pin-user-0,guess_near")

    found = fails(Target(f"model:native+{path}:{name}"), property_, steps)

    assert found is not None and "nobody set" not in found.said
    assert fails(Target("model:native"), property_, steps) is None


STRETCHING = """
from hashlib import sha256
from firmware_model.firmware.reference import Pbkdf2


class NoSalt(Pbkdf2):
    part = "stretching"

    def stretch(self, pin, salt, iterations):
        return super().stretch(pin, bytes(16), iterations)


class ForShow(Pbkdf2):
    part = "stretching"

    def stretch(self, pin, salt, iterations):
        super().stretch(pin, salt, iterations)
        return sha256(salt + pin).digest()
"""


@pytest.mark.parametrize(("name", "ignored"), [("NoSalt", "salt"), ("ForShow", "iterations")])
def test_stretching_that_costs_the_drive_and_not_the_thief_is_found(
    tmp_path: Path, name: str, ignored: str
) -> None:
    path = tmp_path / "parts.py"
    path.write_text(STRETCHING, "utf-8")
    property_, steps = BY_ID["stretching-is-costly"], parse_steps("measure_kdf")

    found = fails(Target(f"model:native+{path}:{name}"), property_, steps)

    assert found is not None and ignored in found.said


def test_code_that_is_nearly_the_reset_code_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target("model:native")
    right = (target.facts.reset_code or "").encode()
    property_, steps = BY_ID["no-command-opens"], parse_steps("set_pin-user-0,sweep")
    assert fails(target, property_, steps) is None
    monkeypatch.setattr(
        EmbeddedElement, "reset_code_is_right", lambda self, code: code.startswith(right[:8])
    )

    found = fails(target, property_, steps)

    assert found is not None and "not the reset code" in found.said


@pytest.mark.parametrize("right", PINS)
def test_near_pins_are_many_and_never_the_right_one(right: str) -> None:
    near = near_pins(right)

    assert right not in near.values()
    assert len(set(near.values())) > 3 * len(right) - 6
