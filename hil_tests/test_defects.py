"""Every defect falls to the property that is there to find it, and to no reference drive."""

import pytest

from firmware_model.defects import DEFECTS
from firmware_model.firmware.parts import PART_NAMES, check_fit
from hil_tests.actions import ReplayId, parse_steps
from hil_tests.properties import BY_ID, PROPERTIES
from hil_tests.runs import Failure, Target, fails, shortened


def first_failure(target: Target, property_id: str) -> Failure | None:
    """Return how the scenarios of a property break it on a target, if they do."""
    property_ = BY_ID[property_id]
    for text in property_.sequences(target.facts):
        if "store_register" not in text:
            failure = fails(target, property_, parse_steps(text))
            if failure is not None:
                return shortened(target, property_, failure)
    return None


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_found_and_its_replay_id_tells_it_from_the_reference(name: str) -> None:
    defect = DEFECTS[name]
    target = Target(f"model:{defect.profile}+{name}")

    failure = first_failure(target, defect.killed_by)

    assert failure is not None
    again = ReplayId.parse(str(failure.replay_id(target.url)))
    property_ = BY_ID[again.property_id]
    repeated = fails(Target(again.target), property_, again.actions)
    assert repeated is not None and repeated.said == failure.said
    assert fails(Target(f"model:{defect.profile}"), property_, again.actions) is None


def test_every_property_has_been_seen_to_fail() -> None:
    killers = {defect.killed_by for defect in DEFECTS.values()}
    # These fall together with others, to defects that are listed under another property.
    shown_by_others = {"locked-drive-gives-no-data": "open-in-standby"}

    for property_id, name in shown_by_others.items():
        target = Target(f"model:native+{name}")
        assert first_failure(target, property_id) is not None, property_id
    assert {each.id for each in PROPERTIES} == killers | set(shown_by_others)


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_replaces_parts_that_fit_and_says_where_it_was_published(name: str) -> None:
    defect = DEFECTS[name]

    for part, replacement in defect.parts.items():
        check_fit(part, replacement)
    assert set(defect.parts) <= set(PART_NAMES)
    assert defect.sentence.endswith(".") and defect.citation and defect.killed_by in BY_ID
