"""Verdicts over USB/IP beside those in process: `python -m hil_tests.compare_served [NAME...]`.

Each defect, and each reference profile, is served by a process of its own, with an operator, and
judged there as it is here: a defect by the runs of the property that must find it, or of all with
`--all`; a profile by all. Not verdicts alone must be equal, but every line of every run. Exits 1
where one differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from firmware_model.defects import DEFECTS
from hil_tests.actions import parse_steps
from hil_tests.properties import BY_ID
from hil_tests.properties.base import Property
from hil_tests.runs import Target, applicable, run_until_failure
from hil_tests.served_target import ServedTarget, rack_of
from hil_tests.workers import workers

PROFILES: Final = ("native", "keypad", "plain")


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of one drive, here and there."""

    url: str
    runs: int
    found_here: tuple[str, ...]  # ids of properties that failed
    found_there: tuple[str, ...]
    not_exercised: str = ""  # why nothing was run there
    left_out: int = 0  # runs that take more than an operator can do
    differs: str = ""  # the first difference

    def line(self) -> str:
        """Return it as a line of the table."""
        there = self.not_exercised and f"not exercised: {self.not_exercised}"
        there = there or ", ".join(self.found_there) or "nothing"
        here = ", ".join(self.found_here) or "nothing"
        verdict = f"differs: {self.differs}" if self.differs else "equal"
        verdict = "-" if self.not_exercised else verdict
        verdict += f", {self.left_out} runs left out" if self.left_out else ""
        return f"{self.url:<52} {self.runs:>4} runs | {here} | {there} | {verdict}"


@contextmanager
def served(url: str) -> Iterator[ServedTarget]:
    """Have another process serve a model, and give it as a target."""
    server = subprocess.Popen(
        [sys.executable, "-m", "host_driver", "serve", url, "--usbip", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        drive = json.loads(server.stdout.readline())["drives"][0]
        rack = rack_of(drive["url"], drive["operator"])
        try:
            yield ServedTarget(drive["url"], rack)
        finally:
            rack.operator.close()
    finally:
        server.terminate()
        server.communicate()


def compare(url: str, property_ids: Sequence[str] = ()) -> Compared:
    """Judge a drive by the runs of some properties, or of all that apply, here and there."""
    here = Target(url)
    with served(url) as there:
        every = applicable(there.facts)
        wanted = [BY_ID[each] for each in property_ids] or every
        reasons = [reason for each in wanted if (reason := each.reason_not_to_run(there.facts))]
        if reasons:
            texts = wanted[0].sequences(here.facts)
            found, _ = _judged(here, wanted[0], texts, applicable(here.facts))
            return Compared(url, 0, found, (), not_exercised=reasons[0])
        return _compared(here, there, wanted, every)


def _judged(
    target: Target, property_: Property, texts: Sequence[str], every: Sequence[Property]
) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return which properties some runs of one break, and all lines of these runs."""
    found: set[str] = set()
    lines = []
    for text in texts:
        actions = parse_steps(text)
        steps, failures = run_until_failure(target.bench(actions), actions, every)
        broken = {failure.property_id for failure in failures}
        if broken and property_.id not in broken:
            more, failures = run_until_failure(target.bench(actions), actions, (property_,))
            steps += more
            broken |= {failure.property_id for failure in failures}
        found |= broken
        lines.append([f"{step.line()}, {step.time_us} us, {step.step_names}" for step in steps])
    return tuple(sorted(found)), lines


def _compared(
    here: Target, there: Target, wanted: Sequence[Property], every: Sequence[Property]
) -> Compared:
    found: tuple[dict[str, None], dict[str, None]] = {}, {}
    runs, left_out, differs = 0, 0, ""
    for property_ in wanted:
        texts = property_.sequences(there.facts)
        left_out += property_.left_out(there.facts)
        results = [_judged(each, property_, texts, every) for each in (here, there)]
        for ids, into in zip((result[0] for result in results), found, strict=True):
            into |= dict.fromkeys(ids)
        here_lines, there_lines = (result[1] for result in results)
        runs += len(there_lines)
        differs = differs or _difference(property_, here_lines, there_lines)
    return Compared(
        here.url,
        runs,
        tuple(sorted(found[0])),
        tuple(sorted(found[1])),
        left_out=left_out,
        differs=differs,
    )


def _difference(property_: Property, here: list[list[str]], there: list[list[str]]) -> str:
    """Return the first line in which runs differ, or which there is no counterpart of."""
    for one, other in zip(here, there, strict=True):
        pairs = zip_longest(one, other, fillvalue="nothing")
        first = next(((a, b) for a, b in pairs if a != b), None)
        if first is not None:
            return f"{property_.id}: {first[0]!r} here, {first[1]!r} there"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="defects or profiles; all of both if none")
    parser.add_argument("--all", action="store_true", help="judge defects by every property")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    plan: dict[str, tuple[str, ...]] = {}
    for name in asked.names or (*PROFILES, *DEFECTS):
        if name in DEFECTS:
            url = f"model:{DEFECTS[name].profile}+{name}"
            plan[url] = () if asked.all else (DEFECTS[name].killed_by,)
        else:
            plan[f"model:{name}"] = ()
    compared = []
    with workers(asked.jobs) as pool:
        for future in [pool.submit(compare, *each) for each in plan.items()]:
            compared.append(future.result())
            print(compared[-1].line(), flush=True)
    differing = [each.url for each in compared if each.differs]
    exercised = [each for each in compared if not each.not_exercised]
    print(f"{len(exercised) - len(differing)} equal, {len(differing)} different,", end=" ")
    print(f"{len(compared) - len(exercised)} not exercised over USB/IP")
    if differing:
        sys.exit(1)


if __name__ == "__main__":
    main()
