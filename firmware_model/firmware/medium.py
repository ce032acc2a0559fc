"""What the medium can't do, however right the command is."""


class MediumError(Exception):
    """The flash can't do it; the logical unit answers MEDIUM ERROR."""


class Unreadable(MediumError):
    """More bits of a page have flipped than the ECC corrects."""


class WornOut(MediumError):
    """Too many blocks have gone bad to take what is to be written."""
