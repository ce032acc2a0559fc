"""Firmware updates: whose firmware runs, never an older one, and always one."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.actions import IMAGES
from hil_tests.properties.base import CUTS, LOST, STORED, Block, Property, found, join
from hil_tests.steps import Capability, Facts

UPDATES = frozenset({"firmware update"})
SIGNS = frozenset({Capability.SIGN_FIRMWARE})
# Images of `hil_tests.firmware_images`, by their places.
NEWER, NEWEST, AS_SAFE, OLDER = range(4)
BAD = range(4, IMAGES)
OPEN = "unlock-user-0"


def _unsigned_scenarios(facts: Facts) -> Iterator[str]:
    for number in BAD:
        yield join(STORED, f"update-{number},power_cycle", OPEN, "read-0-8")
    yield join(LOST, f"update-{NEWER},update-{NEWEST}", OPEN, "read-0-8")
    yield join(f"update-{NEWER}", STORED, f"update-{AS_SAFE},power_cycle")
    if "admin" in facts.features:
        yield join(STORED, "set_pin-admin-1,lock", OPEN, f"update-{NEWER},read-0-8")


def _altered_scenarios(facts: Facts) -> Iterator[str]:
    yield join(STORED, f"update-{AS_SAFE},tamper_firmware,power_cycle")
    yield join(STORED, f"update-{NEWER}", OPEN, f"update-{NEWEST},tamper_firmware")
    yield join(STORED, f"update_swapped-{NEWER},power_cycle")


def _downgrade_scenarios(facts: Facts) -> Iterator[str]:
    yield join(STORED, f"update-{OLDER},power_cycle", OPEN, f"update-{AS_SAFE}")
    up = join(STORED, f"update-{NEWER}", OPEN, f"update-{NEWEST}", OPEN)
    down = f"update-{AS_SAFE}", OPEN, f"update-{NEWER}", OPEN, f"update-{OLDER}"
    yield join(up, *down, "power_cycle")
    yield join(up, "erase,set_pin-user-0", *down)
    again = join("rollback_flash", OPEN, f"update-{AS_SAFE},power_cycle")
    yield join(STORED, f"update-{NEWER}", OPEN, "note_flash", f"update-{NEWEST}", again)
    for cut in CUTS:
        yield join(STORED, f"update-{NEWEST}@{cut}", OPEN, f"update-{NEWER}", OPEN, *down[2:])


def _cut_scenarios(facts: Facts) -> Iterator[str]:
    yield join(STORED, f"update-{AS_SAFE}", OPEN, f"update-{NEWER}", OPEN, f"update-{NEWEST}")
    yield join(STORED, f"update-{NEWER},power_cycle", OPEN, f"update-{BAD[0]},power_cycle")
    waits = join(STORED, f"update-{NEWER}", OPEN, f"stage-{NEWEST}", OPEN)
    for number in (NEWEST, BAD[0]):
        yield join(waits, f"stage-{number},power_cycle", OPEN, "read-0-8")
    for cut in CUTS:
        yield join(waits, f"stage-{NEWEST}@{cut},power_cycle", OPEN)
        yield join(STORED, f"update-{NEWER}@{cut},power_cycle", OPEN, "read-0-8")
        yield join(STORED, f"update-{NEWER}", OPEN, f"update-{NEWEST}@{cut},power_cycle", OPEN)


PROPERTIES = (
    Property(
        id="unsigned-never-runs",
        sentence="No firmware runs that its maker did not sign for this drive, whoever sends it.",
        block=Block.FIRMWARE,
        check=found("ran", "firmware that may not run"),
        scenarios=_unsigned_scenarios,
        requirements=("UFD-8", "FPT_TUD_EXT.1", "F-SVC-2"),
        weaknesses=("firmware-update-unauthenticated", "firmware-auth-symmetric-key"),
        features=UPDATES,
        capabilities=SIGNS,
    ),
    Property(
        id="altered-never-runs",
        sentence="No firmware runs that was altered in flash, before its last check or after it.",
        block=Block.FIRMWARE,
        check=found("ran", "firmware that may not run"),
        scenarios=_altered_scenarios,
        requirements=("UFD-8", "FPT_TUD_EXT.1", "F-SVC-2"),
        weaknesses=("secure-boot-bypass",),
        features=UPDATES,
        capabilities=SIGNS | {Capability.RESTORE_FLASH},
    ),
    Property(
        id="no-downgrade",
        sentence="The security version of the firmware never falls, after an erase neither.",
        block=Block.FIRMWARE,
        check=found("downgrade", "older firmware"),
        scenarios=_downgrade_scenarios,
        requirements=("FPT_TUD_EXT.1", "193-4.2.1.3"),
        weaknesses=("firmware-rollback",),
        features=UPDATES,
        capabilities=SIGNS,
    ),
    Property(
        id="cut-update-leaves-one",
        sentence="After an update, cut or refused or not, the old firmware runs or the new.",
        block=Block.FIRMWARE,
        check=found("left_without", "not the old firmware, and not the new"),
        scenarios=_cut_scenarios,
        requirements=("FPT_TUD_EXT.1",),
        features=UPDATES,
        capabilities=SIGNS,
    ),
)
