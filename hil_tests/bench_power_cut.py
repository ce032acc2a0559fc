"""How long one power cut takes, beside the start and the check of the same run without one.

    python -m hil_tests.bench_power_cut

A cut is: restore the snapshot, run to the cut, start the drive, check it. Beside it stands what
the run without a cut takes from its end on: start the drive, check it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from hil_tests.actions import parse_action, parse_steps
from hil_tests.power import cuts_of, scenarios
from hil_tests.runs import Target, applicable
from hil_tests.snapshot import RESTART, Scenario, Snapshot

WANTED: Final = 3.0
SCENARIOS: Final = ("unlock-right", "change-pin", "erase", "write-pages")
ROUNDS: Final = 15


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measured(target: Target, scenario: Scenario) -> tuple[float, float]:
    """Return seconds of start and check without a cut, and of a whole cut, the middle of each."""
    properties = applicable(target.facts)
    start = Snapshot.after(target.bench(), scenario.once())
    action, after = parse_action(scenario.action), parse_steps(scenario.after)
    restart = parse_action(RESTART)
    uncut = start.branch()
    uncut.run((*scenario.each_time(), action), properties)
    ended = Snapshot(uncut.bench.fork())
    cuts = [*cuts_of(uncut.steps[-1].step_names)]

    def checked() -> None:
        ended.branch().run((restart, *after), properties)

    def cut_at(number: int) -> None:
        branch = start.branch()
        branch.run((*scenario.each_time(), action.at(cuts[number % len(cuts)]), *after), properties)

    without = sorted(seconds(checked) for _ in range(ROUNDS))[ROUNDS // 2]
    each = sorted(seconds(partial(cut_at, number)) for number in range(ROUNDS))
    return without, each[ROUNDS // 2]


def main() -> None:
    target = Target("model:native")
    ratios = []
    for scenario in scenarios(target.facts):
        if scenario.name in SCENARIOS:
            without, cut = measured(target, scenario)
            ratios.append(cut / without)
            print(
                f"{scenario.name:<14} start and check {without * 1e3:6.2f} ms"
                f"   cut {cut * 1e3:6.2f} ms, {1 / cut:5.0f} a second   {ratios[-1]:.2f}"
            )
    print(f"a cut, of start and check without one: at most {max(ratios):.2f} (wanted {WANTED})")


if __name__ == "__main__":
    main()
