"""Power cut at every named step, enumerated, once and twice, and judged by every property."""

import json

import pytest
from click.testing import CliRunner

from firmware_model.hardware.supply import Torn
from hil_tests.actions import Cut, ReplayId, parse_action, parse_steps
from hil_tests.commands_power import power_sweep
from hil_tests.power import CutScenario, Swept, cuts_of, scenarios, sweep, sweep_all
from hil_tests.properties import BY_ID
from hil_tests.runs import Target, applicable, fails
from hil_tests.snapshot import Snapshot
from hil_tests.steps import Outcome


def scenario_named(target: Target, name: str) -> CutScenario:
    return next(each for each in scenarios(target.facts) if each.name == name)


def swept(target: Target, name: str, depth: str = "single") -> Swept:
    return sweep(target, scenario_named(target, name), applicable(target.facts), depth)


def swept_for(target: Target, name: str, property_id: str) -> Swept:
    return sweep(target, scenario_named(target, name), (BY_ID[property_id],))


@pytest.mark.parametrize("profile", ["native", "keypad"])
def test_no_cut_anywhere_breaks_a_promise(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    every = sweep_all(Target(f"model:{profile}"))

    with capsys.disabled():
        single, torn = sum(each.single for each in every), sum(each.torn for each in every)
        print(f"\n{profile}: {single} cuts and {torn} torn steps in {len(every)} scenarios")
    assert [f"{each.scenario.name}: {f.said}" for each in every for f in each.failures] == []
    assert [each.scenario.name for each in every if not each.step_names or each.missed] == []


@pytest.mark.parametrize("name", ["unlock-wrong", "last-wrong"])
def test_no_second_cut_during_recovery_breaks_a_promise(name: str) -> None:
    pairs = swept(Target("model:native"), name, "double")

    assert [failure.said for failure in pairs.failures] == []
    assert pairs.double > 10 * pairs.single


@pytest.mark.parametrize(
    ("defect", "name", "broken"),
    [
        ("counter-after-check", "unlock-wrong", "try-is-spent-before-pin-is-looked-at"),
        ("refund-before-spend", "unlock-wrong", "tries-survive-power"),
        ("attempt-logged-afterwards", "unlock-wrong", "attempts-leave-evidence"),
        ("pin-change-not-atomic", "change-pin", "pin-change-is-atomic"),
        ("wipe-order-key-last", "erase", "right-pin-opens"),
        ("answered-write-lost", "write-pages", "answered-data-survives"),
        ("erase-put-off", "duress", "duress-destroys"),
        ("erase-put-off", "erase", "erase-is-final"),
    ],
)
def test_cuts_find_what_only_a_cut_shows(defect: str, name: str, broken: str) -> None:
    found = swept_for(Target(f"model:native+{defect}"), name, broken)

    assert found.failures
    assert not swept_for(Target("model:native"), name, broken).failures


def test_every_step_is_cut_and_what_touches_flash_is_torn_too() -> None:
    names = ("program data", "element commit slot", "erase key block", "program external flash")

    assert [*map(str, cuts_of(names))] == [
        *("@1", "@1.half", "@1.weak", "@2", "@3", "@3.half", "@3.weak", "@4")
    ]


@pytest.mark.parametrize(
    ("passes", "names", "missed"),
    [
        ("", ("erase key block",), ""),
        ("", (), "durable step"),
        ("program moved data", ("program data",), "program moved data"),
        ("program moved data", ("program moved data",), ""),
    ],
)
def test_scenario_without_what_it_is_about_has_not_held(
    passes: str, names: tuple[str, ...], missed: str
) -> None:
    scenario = CutScenario("one", "", "lock", "lock", passes=passes)

    assert Swept(scenario, names, 0, 0, 0, ()).missed == missed


def test_second_cut_of_an_action_falls_into_the_start_after_the_first() -> None:
    bench = Target("model:native").bench()
    bench.run_all(parse_steps("set_pin-user-0,unlock-user-0"))

    step = bench.run(parse_action("set_pin-user-1@5@1@2"))

    assert step.outcome is Outcome.CUT
    assert step.boots == (
        (),
        ("element destroy spares",),
        ("program log record", "element extend log"),
    )


def test_snapshot_runs_as_the_whole_sequence_does() -> None:
    target = Target("model:native")
    before, then = (
        parse_steps("set_pin-user-0,unlock-user-0,write-0-0-8"),
        parse_steps(
            "power_cycle,unlock-user-0,set_pin-user-1@4@1,unlock-user-0,unlock-user-1,read-0-8"
        ),
    )
    whole = target.bench().run_all([*before, *then])

    start = Snapshot.after(target.bench(), before).branch()
    start.run(then[:2], ())
    lost = start.cut(then[2])
    assert lost is not None
    for _ in range(2):  # a snapshot is not used up
        branch = lost.branch()
        branch.run(then[2:], ())

        assert [each.line() for each in branch.steps] == [each.line() for each in whole]
        assert [each.step_names for each in branch.steps] == [each.step_names for each in whole]


def test_cut_after_the_last_step_did_not_happen() -> None:
    branch = Snapshot.after(Target("model:native").bench(), ()).branch()
    branch.run(parse_steps("power_cycle"), ())

    assert branch.cut(parse_action("set_pin-user-0").at(Cut(99, Torn.HALF))) is None


def test_sweep_names_the_cut_that_breaks_a_drive_and_the_id_replays_it() -> None:
    arguments = ["--scenario", "change-pin", "--depth", "single", "--jobs", "1", "--json"]
    result = CliRunner().invoke(power_sweep, ["model:native+pin-change-not-atomic", *arguments])

    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["scenarios"][0]["violations"]
    wanted = ReplayId.parse(document["shortest"][0]["replay_id"])
    assert any(action.cuts for action in wanted.actions)
    assert fails(Target(wanted.target), BY_ID[wanted.property_id], wanted.actions) is not None
    assert fails(Target("model:native"), BY_ID[wanted.property_id], wanted.actions) is None


def test_sweep_counts_what_it_did_and_refuses_a_scenario_there_is_not() -> None:
    arguments = ["model:native", "--scenario", "lock", "--depth", "double", "--jobs", "1"]
    result = CliRunner().invoke(power_sweep, arguments)
    refused = CliRunner().invoke(power_sweep, ["model:native", "--scenario", "fly"])

    assert result.exit_code == 0
    assert "1 scenario: 3 cuts, 2 inside a step" in result.stdout
    assert "0 violations" in result.stdout
    assert refused.exit_code == 2
    assert "no scenario 'fly'; there are provision" in refused.output
