"""What the medium can't do, however right the command is, and when it is about to fail."""

from typing import Final

REFRESH_AT: Final = 6  # bits corrected in one codeword: the page moves before more of them flip


class MediumError(Exception):
    """The flash can't do it; the logical unit answers MEDIUM ERROR."""


class Unreadable(MediumError):
    """More bits of a page have flipped than the ECC corrects."""


class WornOut(MediumError):
    """Too many blocks have gone bad to take what is to be written."""
