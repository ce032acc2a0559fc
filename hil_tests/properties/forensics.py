"""Forensics: what dumps of the flash are good for, when PINs were changed and keys destroyed."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.properties.base import CUTS, LOST, STORED, Block, Property, found, join, times
from hil_tests.properties.confidentiality import everything
from hil_tests.steps import Capability, Facts

DUMP = frozenset({Capability.DUMP_FLASH})
_OPEN = "unlock-user-0"


def _change_scenarios(facts: Facts) -> Iterator[str]:
    """Give runs in which the examiner has dumps of before and after a change, and the old PIN."""
    yield join(STORED, "note_flash,set_pin-user-1,open_remnants,power_cycle,open_remnants")
    yield join(STORED, "set_pin-user-1,set_pin-user-2,set_pin-user-3,open_remnants")
    if "admin" in facts.features:
        owned = join(STORED, "set_pin-admin-1,note_flash,lock,unlock-admin-1")
        yield join(owned, "set_pin-user-2,set_pin-admin-3,open_remnants")
    if "recovery" in facts.features:
        yield join(STORED, "make_recovery,note_flash,lock,recover-0-2,make_recovery,open_remnants")
    for cut in CUTS:
        # It takes a right PIN to know which of both it is.
        yield join(STORED, f"note_flash,set_pin-user-1@{cut},unlock-user-1,open_remnants")


def _erase_scenarios(facts: Facts) -> Iterator[str]:
    """Give runs in which the examiner has dumps of before and after an erase, and every PIN."""
    noted = join(STORED, "lock,unlock-user-0,note_flash")
    limit = facts.limits.get("user") or 10
    anew = "open_remnants,set_pin-user-0,unlock-user-0,open_remnants"
    for erase in (
        "erase",
        "sanitize",
        "erase_by_code",
        join("lock", times(limit, "unlock-user-1")),
    ):
        yield join(noted, erase, anew)
    yield join(STORED, "wear_out_keys,set_pin-user-1,note_flash,erase", anew)
    if "duress" in facts.features:
        yield join(STORED, "set_duress-3,note_flash,lock,unlock-user-3", anew)
    for cut in CUTS:
        yield join(noted, f"erase_by_code@{cut},erase_by_code,open_remnants")


def _slot_scenarios(facts: Facts) -> Iterator[str]:
    yield join(LOST, "note_flash,open_remnants")
    yield join(everything(facts), "open_remnants")


def _area_scenarios(facts: Facts) -> Iterator[str]:
    yield join(everything(facts), "unlock-user-1,write-4-0-8,search_flash")
    yield join(STORED, "wear_out_keys,set_pin-user-1,search_flash,erase,search_flash")
    yield join(LOST, _OPEN, "write-1-3-1,search_flash")


PROPERTIES = (
    Property(
        id="old-pin-opens-no-copy",
        sentence="After a change no copy of the key, in any dump, opens with the old PIN"
        " and all that the element then holds.",
        block=Block.ENCRYPTION,
        check=found("opened_by_old_pin", "an old PIN opens a wrapped key", "open_remnants"),
        scenarios=_change_scenarios,
        requirements=("FCS_CKM.4 / _EXT.4", "FCS_CKM_EXT.6 / CKM.6/KEK", "88-2"),
        weaknesses=("wear-leveled-old-key-blob", "old-slot-secret-kept"),
        features=frozenset({"PIN"}),
        capabilities=DUMP,
    ),
    Property(
        id="erased-flash-opens-with-nothing",
        sentence="After an erase no dump of before or after opens, with every right PIN"
        " and all that the element then holds.",
        block=Block.ERASE,
        check=found("opened_after_erase", "an erased key opens", "open_remnants"),
        scenarios=_erase_scenarios,
        requirements=("FCS_CKM.4 / _EXT.4", "EE FCS_CKM.1(DEK)", "F-ZERO-1", "88-2"),
        weaknesses=("erase-forgets-spare-copy", "erase-does-not-rewrap"),
        features=frozenset({"PIN"}),
        capabilities=DUMP,
    ),
    Property(
        id="wrapped-key-needs-its-slot",
        sentence="A wrapped key opens with the live secret of its own slot, and with no other.",
        block=Block.ENCRYPTION,
        check=found("opened_outside_slot", "a key opens without its slot", "open_remnants"),
        scenarios=_slot_scenarios,
        requirements=("EE FCS_KYC_EXT.2", "UFD-4"),
        weaknesses=("kek-without-device-secret", "hardcoded-wrapping-key"),
        features=frozenset({"PIN"}),
        capabilities=DUMP,
    ),
    Property(
        id="wrapped-keys-stand-in-their-area",
        sentence="Wrapped keys stand in the pages that are for them: in no spare area, in no data,"
        " not beside the element.",
        block=Block.ERASE,
        check=found("stray_keys", "a wrapped key stands elsewhere", "search_flash"),
        scenarios=_area_scenarios,
        requirements=("EE/AA FPT_KYP_EXT.1", "88-2"),
        weaknesses=("backup-blob-in-data-area", "key-blob-readable-unauthenticated"),
        features=frozenset({"PIN"}),
        capabilities=DUMP,
    ),
)
