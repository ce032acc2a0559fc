"""The examiner's verbs: what they find, and what they leave to a drive's owner."""

import pytest

from hil_tests.actions import parse_steps
from hil_tests.bench.bench import Bench
from hil_tests.runs import Target
from hil_tests.steps import Step

OPENINGS = ("opened_after_erase", "opened_by_old_pin", "opened_outside_slot")


def last_of(url: str, steps: str) -> tuple[Bench, Step]:
    """Run steps on a fresh drive; return the bench and the last step."""
    bench = Target(url).bench()
    return bench, bench.run_all(parse_steps(steps))[-1]


def openings(url: str, steps: str) -> list[str]:
    """Return what was opened against which promise."""
    _, step = last_of(url, steps)
    assert step.undone is None
    return [kind for kind in OPENINGS if kind in step.seen]


@pytest.mark.parametrize("profile", ["native", "keypad"])
def test_right_pin_and_live_secret_are_the_owners_way_and_no_finding(profile: str) -> None:
    assert openings(f"model:{profile}", "set_pin-user-0,unlock-user-0,open_remnants") == []


def test_same_remnant_breaks_the_promise_that_fits_what_happened() -> None:
    leaky = "model:native+kek-without-device-secret"
    changed = "set_pin-user-0,unlock-user-0,note_flash,set_pin-user-1"

    assert openings(leaky, "set_pin-user-0,open_remnants") == ["opened_outside_slot"]
    assert "opened_by_old_pin" in openings(leaky, f"{changed},open_remnants")
    # An erase takes the salt, the last that was the device's own.
    assert openings(leaky, f"{changed},erase,open_remnants") == []


def test_pins_that_any_world_still_has_are_no_old_pins() -> None:
    bench, step = last_of(
        "model:native", "set_pin-user-0,unlock-user-0,note_flash,set_pin-user-1@4,open_remnants"
    )

    assert len(bench.worlds) >= 1
    assert not [kind for kind in OPENINGS if kind in step.seen]


def test_drive_whose_wrapped_keys_can_not_be_found_has_not_passed() -> None:
    bench = Target("model:native").bench()
    bench.run_all(parse_steps("set_pin-user-0"))
    bench.drive.power_off()
    nand = bench.drive.board.nand
    for block in list(nand.cells.blocks()):
        nand.cells.erase(block, nand.cells.state(block))

    (step,) = bench.run_all(parse_steps("open_remnants"))

    assert step.undone == "no wrapped key was found in the flash"


def test_worn_key_block_is_retired_with_what_stood_in_it() -> None:
    bench, step = last_of(
        "model:native", "set_pin-user-0,unlock-user-0,wear_out_keys,erase,search_flash"
    )

    assert step.undone is None and step.state == "erased"
    nand = bench.drive.board.nand
    assert nand.is_bad(0) and nand.programmed_in(0) == 2
    assert (
        openings("model:native", "set_pin-user-0,unlock-user-0,wear_out_keys,erase,open_remnants")
        == []
    )


def test_key_in_a_retired_block_is_found_there_and_only_there() -> None:
    url = "model:native+retired-block-keeps-key"
    _, healthy = last_of(url, "set_pin-user-0,unlock-user-0,set_pin-user-1,search_flash")
    _, worn = last_of(url, "set_pin-user-0,unlock-user-0,wear_out_keys,set_pin-user-1,search_flash")

    assert "secret_in_flash" not in healthy.seen
    assert all("in a retired block" in each for each in worn.seen["secret_in_flash"])
