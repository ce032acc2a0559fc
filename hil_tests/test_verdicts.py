"""Verdicts are honest: a drive that lets nobody look has not passed, whatever stopped the look."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pytest

from firmware_model.defects import DEFECTS
from hil_tests.actions import parse_steps
from hil_tests.content import Content
from hil_tests.evaluate import evaluate, replay
from hil_tests.power import CutScenario, sweep
from hil_tests.properties.base import LOST, STORED
from hil_tests.report.values import Outcome
from hil_tests.runs import Target, UnsteadyDrive
from hil_tests.steps import Facts
from hil_tests.wire_target import REACHED

CONTENT = Content("a few blocks", bytes((i * i + 7 * i + i // 251) & 0xFF for i in range(64 << 9)))

# Each is broken, and in such a way that what it breaks stops the harness from looking further.
PARTS = '''
from firmware_model.firmware.reference import OpenOnly, ReadOnlyMeansIt


class NoCipher:
    """Crashes whenever the medium is to be opened."""

    def sectors(self, mek):
        raise ValueError("no cipher")


class NeverWrites(ReadOnlyMeansIt):
    """Refuses every WRITE."""

    def allows(self, is_read_only):
        return False


class ForgetsKey(OpenOnly):
    """Opens with a key that it does not keep."""

    def key(self):
        return None
'''


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "parts.py"
    path.write_text(PARTS, "utf-8")
    return path


def outcomes(parts: Path, name: str) -> dict[str, Outcome]:
    """Return what becomes of each property on the reference drive with one part replaced."""
    target = Target(f"model:native+{parts}:{name}", CONTENT)
    judged = evaluate(target, depth="survey", date="2026-11-24")
    return {verdict.property_id: verdict.outcome for verdict in judged.verdicts}


def test_drive_that_never_opens_passes_nothing_that_needs_it_open(parts: Path) -> None:
    found = outcomes(parts, "NoCipher")

    for property_id in ("right-pin-opens", "pin-change-is-atomic", "no-content-in-flash"):
        assert found[property_id] is Outcome.FAILED, property_id
    for property_id in ("ciphertext-has-no-structure", "locks-when-it-should", "limit-holds"):
        assert found[property_id] is Outcome.NOT_EXERCISED, property_id
    assert {property_id for property_id, each in found.items() if each is Outcome.PASSED} == {
        "enumerates-as-told",
        "locked-drive-gives-no-data",  # it gives none before it has a PIN
        "stretching-is-costly",
        "wrong-pin-opens-nothing",  # nothing does
    }


@pytest.mark.parametrize(
    ("name", "property_ids"),
    [
        ("NeverWrites", ("no-content-in-flash", "ciphertext-has-no-structure")),
        ("ForgetsKey", ("keys-are-unpredictable",)),
    ],
)
def test_probe_that_a_drive_prevents_is_no_pass(
    parts: Path, name: str, property_ids: tuple[str, ...]
) -> None:
    found = outcomes(parts, name)

    assert [found[property_id] for property_id in property_ids] == [Outcome.FAILED] * len(
        property_ids
    )


@pytest.mark.parametrize(
    ("defect", "property_id", "steps"),
    [
        # It was open before: no PIN opened it.
        (
            "session-survives-usb-reset",
            "wrong-pin-opens-nothing",
            "set_pin-user-0,unlock-user-0,reset,unlock-admin-1",
        ),
        # It was the duress PIN that should have erased it, not the last try.
        (
            "erase-ignored",
            "limit-holds",
            "set_pin-user-0,unlock-user-0,set_duress-3,unlock-user-3",
        ),
    ],
)
def test_property_is_not_blamed_for_what_another_broke(
    defect: str, property_id: str, steps: str
) -> None:
    target = Target(f"model:native+{defect}", CONTENT)

    assert replay(target, property_id, parse_steps(steps)) is None


CRASHES = """
class AtTheStart:
    part = "pin_policy"

    def __init__(self):
        raise Exception("there is no start")

    def is_possible(self, pin, fewest, most): ...

    def is_accepted(self, pin): ...


class WhenLocking:
    def locks_on(self, cause):
        raise EOFError("there is no lock")
"""


@pytest.mark.parametrize(("name", "steps"), [("AtTheStart", "lock"), ("WhenLocking", LOST)])
def test_part_that_crashes_anywhere_is_a_finding_and_no_traceback(
    tmp_path: Path, name: str, steps: str
) -> None:
    path = tmp_path / "crashes.py"
    path.write_text(CRASHES, "utf-8")
    target = Target(f"model:native+{path}:{name}", CONTENT)

    found = replay(target, "malformed-is-harmless", parse_steps(steps))

    assert found is not None


UNSTEADY = """
from firmware_model.firmware.reference import WriteThrough


class Unsteady(WriteThrough):
    calls = 0

    def write(self, volume, lba, data):
        Unsteady.calls += 1
        for _ in range(2 if Unsteady.calls == 2 else 1):
            volume.write(lba, data)
"""


def test_drive_that_does_not_do_the_same_twice_gets_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "unsteady.py"
    path.write_text(UNSTEADY, "utf-8")
    target = Target(f"model:native+{path}:Unsteady", CONTENT)
    write = CutScenario("write", STORED, "write-0-9-8", "unlock-user-0")

    with pytest.raises(UnsteadyDrive, match="does not do the same twice"):
        sweep(target, write, ())


CALM = """
from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.wire.bot import CswStatus


class Calm(BulkOnlyRules):
    def wrap(self, tag, residue, status):
        told = CswStatus.PASSED if status is CswStatus.PHASE_ERROR else status
        return super().wrap(tag, residue, told)
"""


def test_disagreement_that_a_drive_hides_from_its_host_is_found(tmp_path: Path) -> None:
    path = tmp_path / "calm.py"
    path.write_text(CALM, "utf-8")
    target = Target(f"model:native+{path}:Calm", CONTENT)

    for case in ("hn_lt_di", "hi_lt_di", "ho_ne_di"):
        steps = parse_steps(f"bot_case-{case}_inquiry")
        found = replay(target, "data-phases-end-as-they-must", steps)

        assert found is not None
        assert "status 00, not 02" in found.said


class OutOfReach(Target):
    """A target whose bench has the bus, and nothing else."""

    @cached_property
    def facts(self) -> Facts:
        return replace(Target(self.url, self.content).facts, capabilities=REACHED)


def test_property_half_of_whose_runs_are_out_of_reach_has_not_passed() -> None:
    defects = ("pin-change-not-atomic", "erase-put-off")  # shown by power cuts alone
    target = OutOfReach(f"model:native+{'+'.join(defects)}", CONTENT)
    judged = evaluate(target, depth="survey", date="2026-11-24")
    found = {each.property_id: each for each in judged.verdicts}
    killers = [found[DEFECTS[each].killed_by] for each in defects]

    assert [each.outcome for each in killers] == [Outcome.NOT_EXERCISED] * 2
    assert all("more than the bench can do" in each.reason for each in killers)
    assert found["limit-holds"].outcome is Outcome.PASSED
