"""The state machine finds defects that it was not told of, and shortens what it finds."""

import pytest

from hil_tests.machines import search
from hil_tests.properties import BY_ID
from hil_tests.runs import Target, applicable, fails, shortened


@pytest.mark.parametrize("profile", ["native", "keypad"])
def test_reference_drive_withstands_the_machine(profile: str) -> None:
    target = Target(f"model:{profile}")

    failure, steps = search(target, applicable(target.facts), 60)

    assert failure is None
    assert steps > 500


@pytest.mark.parametrize(
    ("name", "property_id"),
    [
        ("open-in-standby", "locks-when-it-should"),
        ("success-restores-every-role", "tries-count-down"),
        ("answered-write-lost", "answered-data-survives"),
        ("no-attempt-evidence", "attempts-leave-evidence"),
    ],
)
def test_machine_finds_a_defect_and_its_finding_is_short(name: str, property_id: str) -> None:
    target = Target(f"model:native+{name}")

    # Hypothesis draws from the numbers in the code, too: each change of any moves what comes when.
    failure, _ = search(target, (BY_ID[property_id],), 1500)

    assert failure is not None
    short = shortened(target, BY_ID[property_id], failure)
    assert len(short.actions) <= 8
    assert fails(target, BY_ID[property_id], short.actions) is not None
    assert fails(Target("model:native"), BY_ID[property_id], short.actions) is None


def test_same_search_twice_does_the_same() -> None:
    target = Target("model:native+open-in-standby")
    first, second = (search(target, applicable(target.facts), 200) for _ in range(2))

    assert first[0] is not None and second[0] is not None
    assert first[0].actions == second[0].actions
    assert first[1] == second[1]
