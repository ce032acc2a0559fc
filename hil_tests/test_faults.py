"""Parts that fail: what each fault does, what it may cost, and what the campaign finds."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.attempt_counter import SpendFirst
from firmware_model.hardware.element_state import Count
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.hardware.faults import COMMANDS, ElementLine, RepeatingNoise, StuckNoise
from firmware_model.hardware.secure_element import ElementError
from hil_tests import actions
from hil_tests.actions import ReplayId, parse_steps
from hil_tests.bench.faults import FAULTS
from hil_tests.commands_faults import faults
from hil_tests.drive_faults import IN_DRIVE
from hil_tests.fault_campaign import Campaign, Verdict, run_plans
from hil_tests.fault_plans import FAMILIES
from hil_tests.promises import without_losses
from hil_tests.properties import BY_ID
from hil_tests.runs import Target, applicable, fails, judge
from hil_tests.steps import Excused, Mismatch, Outcome, Step

LOST = "set_pin-user-0,unlock-user-0,write-0-0-8,lock"


def campaign(url: str, family: str, name: str, share: tuple[int, int] = (0, 1)) -> Campaign:
    target = Target(url)
    scenario = next(s for s in FAMILIES[family].scenarios(target.facts) if s.name == name)
    return run_plans(target, FAMILIES[family], scenario, applicable(target.facts), share)


def ran(text: str, url: str = "model:native") -> list[Step]:
    steps = parse_steps(text)
    return Target(url).bench(steps).run_all(steps)


def test_every_name_of_a_fault_has_what_does_it() -> None:
    assert {*FAULTS, *IN_DRIVE} == set(actions.FAULTS)


# --- parts --------------------------------------------------------------------------------------


@given(st.integers(1, 700), st.lists(st.integers(1, 900), min_size=1, max_size=5))
def test_repeating_noise_is_one_period_over_and_over(period: int, counts: list[int]) -> None:
    source = RepeatingNoise.of(SeededNoise(b"noise"), period)
    first = SeededNoise(b"noise").samples(period)
    copy = source.copy()

    drawn = b"".join(source.samples(count) for count in counts)
    assert drawn == (first * (sum(counts) // period + 1))[: sum(counts)]
    assert b"".join(copy.samples(count) for count in counts) == drawn
    assert StuckNoise(7).copy().samples(3) == b"\x07\x07\x07"


def test_line_to_the_element_breaks_once_and_until_power_up() -> None:
    board = Target("model:native").bench().drive.board
    line = ElementLine(board.embedded)
    tries = board.element.tries_left(Count.USER)

    line.break_at(2)
    assert board.element.tries_left(Count.USER) == tries
    for _ in range(3):
        with pytest.raises(ElementError):
            board.element.sign(b"")
    board.element.power_on(SpendFirst())
    assert len(board.element.sign(b"")) == 64
    assert line.count == 4 and "attempt" in COMMANDS


def test_command_whose_answer_is_lost_was_obeyed() -> None:
    bench = Target("model:native").bench()
    board = bench.drive.board
    line = ElementLine(board.embedded)
    before = board.element.state.log_count

    line.break_at(1, is_late=True)
    with pytest.raises(ElementError):
        board.element.extend(0, bytes(32))

    assert board.element.state.log_count == before + 1


def test_counter_that_sticks_answers_no_guess_right_or_wrong() -> None:
    steps = ran(f"{LOST},fault-counter_sticks-0,unlock-user-1,unlock-user-0,read-0-1,power_cycle")

    assert [step.outcome for step in steps[5:8]] == [Outcome.REFUSED] * 3
    assert steps[8].tries == {"user": 10, "admin": 10, "recovery": 10}


def test_cable_pulled_in_the_middle_of_a_write_locks_and_tears_nothing() -> None:
    opened = "set_pin-user-0,unlock-user-0,write-0-0-8,write-0-9-8"
    count = ran(f"{opened},fault-disconnect-0,write-0-20-8")[-1].seen["choices"]
    for number in range(1, count + 1):
        for name in ("disconnect", "disconnect_late"):
            steps = ran(f"{opened},fault-{name}-{number},write-0-20-8,unlock-user-0,read-0-8")
            assert steps[5].is_severed and steps[5].state == "locked"
            assert all(not judge(step, BY_ID.values()) for step in steps)


def test_clock_that_ran_back_locks_an_open_drive_and_one_that_ran_on_may() -> None:
    opened = "set_pin-user-0,unlock-user-0,read-0-1"

    assert ran(f"{opened},fault-clock_back-1,read-0-1")[-1].outcome is Outcome.REFUSED
    assert ran(f"{opened},fault-clock_forward-100,read-0-1")[-1].outcome is Outcome.OK
    assert ran(f"{opened},fault-clock_forward-601,read-0-1")[-1].outcome is Outcome.REFUSED


@pytest.mark.parametrize(("bits", "outcome"), [(8, Outcome.OK), (9, Outcome.REFUSED)])
def test_flash_is_read_up_to_what_its_ecc_carries(bits: int, outcome: Outcome) -> None:
    steps = ran(f"{LOST},unlock-user-0,fault-flip_data-{bits},read-0-8")

    assert steps[-1].outcome is outcome
    assert steps[-1].mismatch("data") is None


def test_key_records_that_are_lost_fail_the_drive_and_one_copy_of_two_does_not() -> None:
    assert ran(f"{LOST},fault-flip_one_key-20,power_cycle,unlock-user-0")[-1].outcome is Outcome.OK
    assert ran(f"{LOST},fault-flip_keys-20,power_cycle")[-1].state == "failed"


def test_noise_that_sticks_fails_the_drive_at_the_next_window() -> None:
    steps = ran(f"{LOST},fault-noise_sticks-3,power_cycle,unlock-user-0")

    assert steps[-2].state == "failed" and steps[-1].outcome is Outcome.REFUSED


# --- what a fault may cost ----------------------------------------------------------------------


def faulty(*mismatches: Mismatch) -> Step:
    action = parse_steps("unlock-user-1")[0]
    return Step(1, action, (), mismatches=list(mismatches), excused=frozenset(Excused))


@pytest.mark.parametrize(
    ("mismatch", "is_kept"),
    [
        (Mismatch("outcome", ("refused",), "ok"), True),
        (Mismatch("outcome", ("ok",), "refused"), False),
        (Mismatch("state", ("locked",), "unlocked"), True),
        (Mismatch("state", ("locked", "unlocked"), "failed"), False),
        (Mismatch("state", ("locked",), "erased"), False),
        (Mismatch("state", ("erased",), "locked"), True),
        (Mismatch("state", ("erased",), "failed"), False),
        (Mismatch("tries", ("9/10/10",), "10/10/10"), True),
        (Mismatch("tries", ("9/10/10", "8/10/10"), "8/10/9"), False),
        (Mismatch("tries", ("9/10/10",), "9/10/11"), True),
        (Mismatch("tries", ("8 told",), "9 told"), False),
        (Mismatch("lost", ("what was written",), "other content"), False),
        (Mismatch("data", ("what was written",), "other content"), True),
    ],
)
def test_fault_may_cost_availability_and_gives_nothing(mismatch: Mismatch, is_kept: bool) -> None:
    assert bool(without_losses(faulty(mismatch)).mismatches) is is_kept


# --- the campaign -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "glitch"])
def test_no_fault_of_the_reference_drive_gives_anybody_anything(family: str) -> None:
    facts = Target("model:native").facts
    names = [scenario.name for scenario in FAMILIES[family].scenarios(facts)]

    done = [campaign("model:native", family, name, (0, 5)) for name in names]

    assert [each for part in done for each in part.tried if each.property_id] == []
    assert sum(len(part.tried) for part in done) >= len(names)
    if family != "flash":  # of which no scenario uses every area
        assert sum(part.outcomes()[Verdict.UNMET] for part in done) == 0


@pytest.mark.parametrize(
    ("defect", "family", "scenario", "broken"),
    [
        ("counter-write-failure-ignored", "counter", "wrong-pin", "tries-count-down"),
        ("trusts-any-entropy", "noise", "provision", "keys-are-unpredictable"),
        ("ignores-uncorrectable", "flash", "read", "answered-data-survives"),
    ],
)
def test_campaign_finds_what_only_a_fault_shows(
    defect: str, family: str, scenario: str, broken: str
) -> None:
    found = campaign(f"model:native+{defect}", family, scenario)
    clean = campaign("model:native", family, scenario)

    assert broken in {each.property_id for each in found.tried}
    assert clean.outcomes()[Verdict.VIOLATED] == 0
    again = ReplayId.parse(next(t.replay_id for t in found.tried if t.property_id == broken))
    assert fails(Target(again.target), BY_ID[broken], again.actions) is not None
    assert fails(Target("model:native"), BY_ID[broken], again.actions) is None


def test_plan_that_changes_nothing_is_tolerated_and_one_that_stops_the_drive_detected() -> None:
    tried = {
        each.replay_id.split("fault-")[1].split(",")[0]: each.verdict
        for each in campaign("model:native", "flash", "start").tried
    }

    assert tried["flip_data-8"] is Verdict.TOLERATED
    assert tried["flip_keys-9"] is Verdict.DETECTED
    assert tried["flip_log-30"] is tried["fail_keys-1"] is Verdict.UNMET  # nobody looked there


def test_drive_that_is_locked_afterwards_has_not_told_of_the_fault() -> None:
    pulled = campaign("model:native", "usb", "read").outcomes()

    assert pulled[Verdict.FAIL_SAFE] == pulled.total()


def test_block_that_is_to_fail_next_is_the_next_one_there_is_and_no_more_of_them() -> None:
    part = Target("model:native").bench().drive.board.nand
    part.fail_next(300, 301, 302, count=2)

    erased = []
    for block in (301, 302, 300):
        erased.append(part.erase(block, "anything"))
        if not erased[-1]:
            part.mark_bad(block)

    assert erased == [False, False, True]
    assert part.failures_left == 0


def test_command_counts_plans_by_outcome_and_fails_on_a_violation() -> None:
    arguments = ["--family", "counter", "--jobs", "1"]
    good = CliRunner().invoke(faults, ["model:native", *arguments])
    bad = CliRunner().invoke(
        faults, ["model:native+counter-write-failure-ignored", *arguments, "--json"]
    )

    assert good.exit_code == 0
    assert good.stdout.splitlines()[0].split() == ["plans", *Verdict]
    assert good.stdout.splitlines()[-1].split()[0] == "all"
    assert bad.exit_code == 1
    document = json.loads(bad.stdout)
    assert document["plans"] == sum(document["families"][0]["outcomes"].values())
    assert document["violated"][0]["property"] == "tries-count-down"


def test_command_says_which_families_and_scenarios_there_are() -> None:
    family = CliRunner().invoke(faults, ["model:native", "--family", "fire"])
    scenario = CliRunner().invoke(faults, ["model:native", "--scenario", "fire"])

    assert family.exit_code == scenario.exit_code == 2
    assert "there are glitch, flash" in family.output
    assert "wrong-pin" in scenario.output
