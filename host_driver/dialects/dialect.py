"""What every way of managing a drive has to offer."""

from typing import Final, Protocol

from firmware_model.wire.attempt_log import LogPage
from firmware_model.wire.native import Role, Status

ROLES: Final = {"user": Role.USER, "admin": Role.ADMIN, "duress": Role.DURESS}


def role_named(name: str) -> Role:
    """Return the role of that name; raise ValueError for any other."""
    if name not in ROLES:
        raise ValueError(f"role {name!r} is not one of {', '.join(ROLES)}")
    return ROLES[name]


class Dialect(Protocol):
    """How PINs reach a drive. Every method raises DriveError where the drive refuses."""

    name: str

    def status(self) -> Status | None:
        """Return what the drive tells of itself; None for one that has no lock at all."""
        ...

    def unlock(self, pin: str, role: Role) -> None: ...

    def lock(self) -> None: ...

    def set_pin(self, new_pin: str, role: Role) -> None: ...

    def recover(self, recovery_pin: str, new_pin: str) -> None: ...

    def make_recovery_pins(self) -> tuple[str, ...]: ...

    def erase(self, reset_code: str | None) -> None: ...

    def set_read_only(self, is_read_only: bool) -> None: ...

    def log_page(self, first: int) -> LogPage: ...

    def identity(self) -> bytes:
        """Return the drive's identity key, proved where the dialect can."""
        ...
