"""Verdicts are honest: a drive that lets nobody look has not passed, whatever stopped the look."""

from pathlib import Path

import pytest

from hil_tests.content import Content
from hil_tests.evaluate import evaluate
from hil_tests.report.values import Outcome
from hil_tests.runs import Target

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
