"""Defects of the transport: wrappers, data phases, halts and resets of Bulk-Only."""

from typing import Final

from firmware_model.defects.defect import Defect
from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.wire.bot import Case, Csw, CswStatus

IN_CASES: Final = (Case.HI_GT_DN, Case.HI_GT_DI, Case.HI_LT_DI, Case.HI_NE_DO)


class NoResidue(BulkOnlyRules):
    """Claims to have moved everything that was announced."""

    def wrap(self, tag: int, residue: int, status: CswStatus) -> Csw:
        return Csw(tag, 0, status)


class ResidueOfOneMore(BulkOnlyRules):
    """Tells of every command that a byte of it was left."""

    def wrap(self, tag: int, residue: int, status: CswStatus) -> Csw:
        return Csw(tag, residue + 1, status)


class PhaseErrorForAll(BulkOnlyRules):
    """Calls every refusal a phase error."""

    def wrap(self, tag: int, residue: int, status: CswStatus) -> Csw:
        is_failure = status is CswStatus.FAILED
        return Csw(tag, residue, CswStatus.PHASE_ERROR if is_failure else status)


class OwnTags(BulkOnlyRules):
    """Counts commands itself, and says that number."""

    def __init__(self) -> None:
        self._count = 0

    def wrap(self, tag: int, residue: int, status: CswStatus) -> Csw:
        self._count += 1
        return Csw(self._count << 24, residue, status)


class Obliging(BulkOnlyRules):
    """Does what the command says, whatever the host has announced."""

    def refuses(self, case: Case) -> bool:
        return False


class StatusForData(BulkOnlyRules):
    """Sends the status where the host waits for data."""

    def halts(self, case: Case) -> bool:
        return case not in IN_CASES and super().halts(case)


class DeafToSurplus(BulkOnlyRules):
    """Neither takes data that it has no use for nor says so."""

    def halts(self, case: Case) -> bool:
        return case in IN_CASES


class ForgivesBadWrappers(BulkOnlyRules):
    """Takes a clear-halt for Reset Recovery."""

    def keeps_halt(self, is_bad_cbw: bool) -> bool:
        return False


class StatusGoesWithTheHalt(BulkOnlyRules):
    """Forgets the status when the host clears the halt that stands before it."""

    def drops_status(self) -> bool:
        return True


class ResetForShow(BulkOnlyRules):
    """Answers a reset and goes on with the command that the host gave up."""

    def reset_drops_command(self) -> bool:
        return False


class ResetOfAll(BulkOnlyRules):
    """Clears halts, and so data toggles, by a reset that must leave both."""

    def reset_clears_halts(self) -> bool:
        return True


DEFECTS: Final = (
    Defect(
        "residue-not-told",
        "A short answer is reported as a full one.",
        "Linux usb-storage, unusual_devs.h: drives that need US_FL_IGNORE_RESIDUE",
        {"transport": NoResidue},
        "data-phases-end-as-they-must",
    ),
    Defect(
        "residue-off-by-one",
        "A full answer is reported as one byte short.",
        "Linux usb-storage, unusual_devs.h: residues that are wrong and not only absent",
        {"transport": ResidueOfOneMore},
        "data-phases-end-as-they-must",
        profile="plain",
    ),
    Defect(
        "refusal-as-phase-error",
        "Every refusal breaks the transport.",
        "An emulated disk that answered 02h for any failure",
        {"transport": PhaseErrorForAll},
        "malformed-is-harmless",
    ),
    Defect(
        "tag-not-echoed",
        "A status does not say which command it answers.",
        "Linux usb-storage, unusual_devs.h: drives that need US_FL_BULK_IGNORE_TAG",
        {"transport": OwnTags},
        "enumerates-as-told",
    ),
    Defect(
        "disagreement-not-told",
        "A command that moves other data than the host announced is run all the same.",
        "BOT 1.0 6.7: cases 2, 3, 7, 8, 10 and 13 of many small stacks, which look at the CDB only",
        {"transport": Obliging},
        "data-phases-end-as-they-must",
    ),
    Defect(
        "status-in-place-of-data",
        "Where there is no data, the status is sent as if it were.",
        'Linux usb-storage, transport.c: "Device skipped data phase"',
        {"transport": StatusForData},
        "data-phases-end-as-they-must",
    ),
    Defect(
        "surplus-never-taken",
        "The host waits for ever to send what the drive has no use for.",
        "BOT 1.0 6.7.3: case 9 has to end in a halt or in all data taken",
        {"transport": DeafToSurplus},
        "data-phases-end-as-they-must",
    ),
    Defect(
        "clear-halt-forgives",
        "After a wrapper that is none, a clear-halt is enough.",
        "BOT 1.0 6.6.1: host and drive then take different bytes for a command",
        {"transport": ForgivesBadWrappers},
        "halts-end-as-they-must",
    ),
    Defect(
        "status-lost-with-the-halt",
        "The status that stands behind a halt never comes.",
        "BOT 1.0 6.7.2: the host clears the halt and reads the status",
        {"transport": StatusGoesWithTheHalt},
        "halts-end-as-they-must",
    ),
    Defect(
        "reset-for-show",
        "A reset is answered, and the old command goes on.",
        "BOT 1.0 3.1; why Linux usb-storage resets the port before it tries the class request",
        {"transport": ResetForShow},
        "halts-end-as-they-must",
    ),
    Defect(
        "reset-clears-halts",
        "A reset clears halts: the host's data toggles are no longer the drive's.",
        "BOT 1.0 3.1; Linux f_mass_storage clears IN by a reset after a bad wrapper",
        {"transport": ResetOfAll},
        "halts-end-as-they-must",
    ),
)
