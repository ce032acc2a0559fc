"""Glitches: code that asks, in a copy of the firmware, and the one answer that is turned."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hil_tests.actions import Action, parse_action, parse_steps
from hil_tests.fault_campaign import Tried, Verdict, run_plans
from hil_tests.fault_plans import FAMILIES, Plan
from hil_tests.glitch.glitch import Glitch, Site, WatchdogReset
from hil_tests.glitch.instrument import COMPARISON, KEPT, STEP, VERDICT, instrumented
from hil_tests.glitch.shadow import SHIPPED, shadow
from hil_tests.properties import BY_ID
from hil_tests.runs import Target, applicable, fails
from hil_tests.steps import Outcome
from hil_tests.targets import load_class

PROVISIONED = "set_pin-user-0,unlock-user-0,write-0-0-8,lock"


def compiled(source: str) -> tuple[Callable[..., Any], Glitch]:
    """Return the function `f` of some source, instrumented, and the glitch that it asks."""
    glitch = Glitch(questions_max=100)
    asks: dict[str, Any] = {
        VERDICT: glitch.verdict,
        COMPARISON: glitch.comparison,
        STEP: glitch.step,
        KEPT: glitch.kept,
    }
    exec(compile(instrumented(source, "f.py", glitch.add), "f.py", "exec"), asks)
    return asks["f"], glitch


def outcomes(source: str, *arguments: Any) -> list[Any]:
    """Return what `f` gives without a glitch, and with each; None where it is an exception."""
    function, glitch = compiled(source)
    glitch.arm(0)
    results = [function(*arguments)]
    for number in range(1, glitch.count + 1):
        glitch.arm(number)
        try:
            results.append(function(*arguments))
        except NameError:  # of a local name that holds nothing
            results.append(None)
    return results


@pytest.mark.parametrize(
    ("source", "arguments", "expected"),
    [
        ("def f(x):\n if x: return 1\n return 2", (True,), [1, 2, 2]),
        ("def f(x):\n return 1 if not x else 2", (True,), [2, None, 1]),
        ("def f(x):\n return x == 3", (3,), [True, None, False]),
        ("def f(x):\n return x < 3 < 4", (5,), [False, None, True]),
        ("def f(x):\n return x or 7", (5,), [5, None, 7]),
        ("def f(x):\n return x or 7", (0,), [7, None, 0]),
        ("def f(x):\n return x and 7", (5,), [7, None, 5]),
        ("def f(x):\n return [y for y in x if y > 1]", ([1, 2],), [[2], None, [1, 2], []]),
        ("def f(x):\n if x and x > 1: return 1\n return 0", (2,), [1, 0, 0, 0, 0]),
        ("def f(x):\n return any(y == 2 for y in x)", ([1],), [False, None, True]),
        ("def f(x):\n while x > 0:\n  x -= 1\n return x", (1,), [0, 1, 0, -1, None]),
        ("def f(x):\n x.append(1)\n return [*x]", ([],), [[1], [1], None]),
        ("def f(x):\n x[0] = 5\n return x[0]", ([4],), [5, 5, None]),
        ("def f(x):\n y = 1\n y += x\n return y", (7,), [8, None, 1, None]),
        ("def f(x):\n for y in x:\n  if y: break\n return y", ([1, 2],), [1, 2, 2, None]),
    ],
)
def test_each_verdict_is_turned_once_and_each_step_left_out(
    source: str, arguments: tuple[Any, ...], expected: list[Any]
) -> None:
    assert outcomes(source, *arguments) == expected


def test_step_that_is_left_out_leaves_things_as_they_were() -> None:
    source = "def f():\n x = [1]\n x.append(2)\n x[0] = 9\n del x[0]\n return x"

    assert outcomes(source) == [[2], None, [], [2], [9, 2], None]


def test_raise_that_is_left_out_goes_on() -> None:
    source = "def f():\n try:\n  raise ValueError\n except ValueError:\n  return 1\n return 2"

    assert outcomes(source) == [1, 2, 2]


def test_match_on_values_is_a_chain_of_verdicts() -> None:
    source = (
        "def f(x):\n match x:\n  case 1 | 2: return 'low'\n"
        "  case 3 if x > 0: return 'three'\n  case _: return 'other'"
    )

    assert outcomes(source, 3)[0] == "three"
    assert "low" in outcomes(source, 3) and "other" in outcomes(source, 3)


def test_match_on_shapes_may_be_missed() -> None:
    source = "def f(x):\n match x:\n  case [a, b]: return a + b\n  case _: return 0"

    assert outcomes(source, [1, 2]) == [3, 0, None]


def test_comparison_of_arrays_is_no_verdict() -> None:
    source = "import numpy\ndef f(x):\n return list(numpy.array(x) == 1)"

    assert outcomes(source, [1, 2]) == [[True, False], None]


def test_site_tells_where_it_stands_and_what_it_is() -> None:
    _, glitch = compiled("def f(x):\n if x == 1:\n  x.y()\n")

    assert set(glitch.sites) == {
        Site("f.py", 2, "verdict", "x == 1"),
        Site("f.py", 3, "step", "x.y()"),
    }
    assert sorted(map(str, glitch.sites)) == ["f.py:2 turned: x == 1", "f.py:3 left out: x.y()"]


def test_firmware_that_never_ends_is_reset_by_the_watchdog() -> None:
    function, glitch = compiled("def f():\n while 1 < 2: pass")
    glitch.arm(0)

    with pytest.raises(WatchdogReset):
        function()


def test_every_source_of_the_firmware_can_be_instrumented() -> None:
    places: Counter[str] = Counter()
    for path in shadow().root.rglob("*.py"):

        def add(site: Site, name: str = path.name) -> int:
            places[name] += 1
            return 0

        tree = instrumented(path.read_text("utf-8"), path.name, add)
        compile(tree, path.name, "exec")

    assert places["firmware.py"] > 100
    assert places["keys.py"] > 20


def test_shipped_code_asks_nothing_and_shares_hardware_and_wire_with_the_copy() -> None:
    made = shadow().drive()

    for name, module in sys.modules.items():
        if name.partition(".")[0] == SHIPPED:
            assert VERDICT not in vars(module), name
    assert "glitched_model.firmware.keys" in sys.modules
    assert not any(name.startswith("glitched_model.hardware") for name in sys.modules)
    assert made.__module__ == "glitched_model.emulated_drive"


def test_copy_without_a_glitch_does_what_the_shipped_drive_does() -> None:
    target = Target("model:native")
    actions = parse_steps(f"{PROVISIONED},unlock-user-1,unlock-user-0,read-0-8,erase,unlock-user-0")
    glitched = target.bench([parse_action("glitch-0")])

    copied, shipped = glitched.run_all(actions), target.bench().run_all(actions)

    assert [step.line() for step in copied] == [step.line() for step in shipped]
    assert [step.step_names for step in copied] == [step.step_names for step in shipped]
    assert [step.time_us for step in copied] == [step.time_us for step in shipped]


def test_glitch_falls_into_the_next_action_once_and_says_where() -> None:
    actions = parse_steps(f"{PROVISIONED},glitch-0,read-0-1,glitch-40,read-0-1,read-0-1")
    steps = Target("model:native").bench(actions).run_all(actions)

    counted, hit, after = steps[5], steps[7], steps[8]
    assert counted.seen["choices"] > 40 and "none" in counted.seen["glitch"]
    assert ".py:" in hit.seen["glitch"] and hit.excused
    assert "glitch" not in after.seen


def test_drive_of_shipped_code_takes_no_glitch() -> None:
    bench = Target("model:native").bench()

    with pytest.raises(ValueError, match="can't be glitched"):
        bench.run_all(parse_steps("glitch-1,read-0-1"))


def test_part_of_the_users_own_can_be_glitched(tmp_path: Path) -> None:
    path = tmp_path / "limit.py"
    path.write_text("class Mine:\n def is_reached(self, tries_left):\n  return tries_left == 0\n")
    made = shadow()

    found = load_class(f"{path}:Mine", made.module)

    made.glitch.arm(2)  # its return comes first
    assert found().is_reached(0) is False
    made.glitch.disarm()


def test_firmware_that_crashes_of_a_glitch_is_reset_and_nothing_is_lost_but_time() -> None:
    target = Target("model:native")
    family = FAMILIES["glitch"]
    scenario = next(each for each in family.scenarios(target.facts) if each.name == "locked-read")
    campaign = run_plans(target, family, scenario, applicable(target.facts), (0, 3))

    assert campaign.outcomes()[Verdict.VIOLATED] == 0
    assert campaign.outcomes()[Verdict.FAIL_SAFE] > 10
    crashed = parse_steps(
        next(t for t in campaign.tried if t.verdict == "fail-safe").replay_id[13:]
    )
    steps = target.bench(crashed).run_all(crashed)
    assert steps[-1].outcome is Outcome.OK


@pytest.mark.parametrize("name", ["wrong-pin", "erase", "lock", "unplug"])
def test_no_glitch_of_the_reference_drive_gives_anybody_anything(name: str) -> None:
    target = Target("model:native")
    family = FAMILIES["glitch"]
    scenario = next(each for each in family.scenarios(target.facts) if each.name == name)

    campaign = run_plans(target, family, scenario, applicable(target.facts), (1, 4))

    assert [each for each in campaign.tried if each.property_id] == []
    assert len(campaign.tried) > 25


def tried_at(name: str, source: str) -> Tried:
    """Return what becomes of a scenario whose action is glitched where that stands last."""
    target, family = Target("model:native"), FAMILIES["glitch"]
    scenario = next(each for each in family.scenarios(target.facts) if each.name == name)
    run = (*scenario.once(), *scenario.each_time(), *family.measure, parse_action(scenario.action))
    target.bench(run).run_all(run)
    glitch = shadow().glitch
    number = max(
        number for number, site in enumerate(glitch.asked, 1) if glitch.sites[site].source == source
    )
    plan = Plan((Action("glitch", (number,)),))
    only = replace(family, plans=lambda step: iter((plan,)))
    (tried,) = run_plans(target, only, scenario, applicable(target.facts)).tried
    assert source in tried.where
    return tried


def test_write_that_was_answered_and_left_out_is_a_loss_and_not_tolerated() -> None:
    tried = tried_at("store", "self._parts.caching.write(self._volume, lba, data)")

    assert tried.verdict is Verdict.FAIL_SAFE


def test_glitch_has_no_pin_take_the_place_of_another_that_opens_the_data() -> None:
    tried = tried_at("change-pin", "slot is Slot.DURESS")

    assert (tried.property_id, tried.verdict) == ("", Verdict.DETECTED)


def test_refusal_whose_return_is_left_out_is_not_answered_as_done() -> None:
    assert tried_at("read-only", "return WRITE_PROTECTED").property_id == ""


def test_glitch_of_the_only_verdict_opens_a_drive_whose_key_does_not_hang_on_the_pin() -> None:
    target = Target("model:native+single-check-verdict")
    actions = parse_steps(f"{PROVISIONED},glitch-0,unlock-user-1")
    bench = target.bench(actions)
    bench.run_all(actions)
    glitch = shadow().glitch
    files = [glitch.sites[site].file for site in glitch.asked]
    number = files.index("defects/faults.py") + 1
    plan = parse_steps(f"{PROVISIONED},glitch-{number},unlock-user-1,read-0-8")

    assert fails(target, BY_ID["wrong-pin-opens-nothing"], plan) is not None
    assert fails(target, BY_ID["locked-drive-gives-no-data"], plan) is not None
    assert fails(Target("model:native"), BY_ID["wrong-pin-opens-nothing"], plan) is None
