"""A drive without any lock of ours: an ordinary stick, or one whose way is not known here."""

from typing import NoReturn

from firmware_model.wire.attempt_log import LogPage
from firmware_model.wire.native import Role
from host_driver.errors import NotSupported
from host_driver.scsi import ScsiDisk

NO_LOCK = "the drive offers no PIN, no lock and no log that sedlab knows"


class PlainDialect:
    """What can be asked of any drive, and nothing else."""

    name = "none"

    def __init__(self, disk: ScsiDisk) -> None:
        self._disk = disk

    def status(self) -> None:
        return None

    def unlock(self, pin: str, role: Role) -> None:
        _refuse()

    def lock(self) -> None:
        _refuse()

    def set_pin(self, new_pin: str, role: Role) -> None:
        _refuse()

    def recover(self, recovery_pin: str, new_pin: str) -> None:
        _refuse()

    def make_recovery_pins(self) -> tuple[str, ...]:
        _refuse()

    def erase(self, reset_code: str | None) -> None:
        if reset_code is not None:
            _refuse()
        self._disk.sanitize()

    def set_read_only(self, is_read_only: bool) -> None:
        _refuse()

    def log_page(self, first: int) -> LogPage:
        _refuse()

    def identity(self) -> bytes:
        _refuse()


def _refuse() -> NoReturn:
    raise NotSupported(NO_LOCK)
