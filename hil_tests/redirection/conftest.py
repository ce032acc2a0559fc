"""A drive, a server that gives it away, and a guest that has it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_tests.ram_disk import RamDrive
from hil_tests.redirection.guest import Guest, Redirecting, redirecting


@pytest.fixture
def drive() -> RamDrive:
    return RamDrive()


@pytest.fixture
def served(drive: RamDrive, tmp_path: Path) -> Iterator[Redirecting]:
    with redirecting(drive, tmp_path / "socket") as found:
        yield found


@pytest.fixture
def guest(served: Redirecting) -> Iterator[Guest]:
    """A guest that has configured the drive."""
    with served.using() as found:
        yield found
