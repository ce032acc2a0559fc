"""What BOT 1.0 leaves to a device to decide on its bulk endpoints, decided as it asks for."""

from typing import Final

from firmware_model.wire.bot import Case, Csw, CswStatus

DISAGREEMENTS: Final = frozenset(
    (
        Case.HN_LT_DI,
        Case.HN_LT_DO,
        Case.HI_LT_DI,
        Case.HI_NE_DO,
        Case.HO_NE_DI,
        Case.HO_LT_DO,
    )
)
# Less moves than the host has announced. What it sends beyond a whole Do is taken and dropped.
HALTS: Final = frozenset(
    (
        Case.HI_GT_DN,
        Case.HI_GT_DI,
        Case.HI_LT_DI,
        Case.HI_NE_DO,
        Case.HO_GT_DN,
        Case.HO_NE_DI,
        Case.HO_LT_DO,
    )
)


class BulkOnlyRules:
    """The reference: phase errors and halts as in 6.7, a bad CBW as in 6.6.1, a reset as in 3.1."""

    def wrap(self, tag: int, residue: int, status: CswStatus) -> Csw:
        return Csw(tag, residue, status)

    def refuses(self, case: Case) -> bool:
        return case in DISAGREEMENTS

    def halts(self, case: Case) -> bool:
        return case in HALTS

    def keeps_halt(self, is_bad_cbw: bool) -> bool:
        return is_bad_cbw

    def drops_status(self) -> bool:
        return False

    def reset_drops_command(self) -> bool:
        return True

    def reset_clears_halts(self) -> bool:
        return False
