"""Power cut at every named step, enumerated, and judged by every property."""

import pytest

from hil_tests.power import scenarios, sweep, sweep_all
from hil_tests.properties import BY_ID
from hil_tests.runs import Target


@pytest.mark.parametrize("profile", ["native", "keypad"])
def test_no_cut_anywhere_breaks_a_promise(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    swept = sweep_all(Target(f"model:{profile}"))

    cuts = sum(len(each.step_names) for each in swept)
    with capsys.disabled():
        print(f"\n{profile}: {cuts} cut points in {len(swept)} scenarios")
    broken = [f"{each.scenario.name}: {f.said}" for each in swept for f in each.failures]
    assert broken == []


def test_every_scenario_has_steps_to_cut() -> None:
    swept = sweep_all(Target("model:native"))

    assert [each.scenario.name for each in swept if not each.step_names] == []
    assert len(swept) == len(list(scenarios(Target("model:native").facts)))


@pytest.mark.parametrize(
    ("defect", "broken"),
    [
        ("pin-change-not-atomic", "pin-change-is-atomic"),
        ("wipe-order-key-last", "right-pin-opens"),
        ("answered-write-lost", "answered-data-survives"),
    ],
)
def test_cuts_find_what_only_a_cut_shows(defect: str, broken: str) -> None:
    target = Target(f"model:native+{defect}")
    swept = [sweep(target, each, (BY_ID[broken],)) for each in scenarios(target.facts)]

    assert any(each.failures for each in swept)
