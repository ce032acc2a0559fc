"""Two drives, a server that gives them away, and a client that has one."""

from collections.abc import Iterator

import pytest

from firmware_model.wire.usbip import (
    OpStatus,
)
from hil_tests.ram_disk import RamDrive
from hil_tests.served import RawClient, Serving, serving
from hil_tests.usbip.said import SERIALS


@pytest.fixture
def drives() -> tuple[RamDrive, RamDrive]:
    return RamDrive(SERIALS[0]), RamDrive(SERIALS[1])


@pytest.fixture
def served(drives: tuple[RamDrive, RamDrive]) -> Iterator[Serving]:
    with serving(drives) as found:
        yield found


@pytest.fixture
def client(served: Serving) -> Iterator[RawClient]:
    """A client that has the first drive, and has configured it."""
    with RawClient(served.address) as found:
        assert found.ask_for("1-1") == OpStatus.OK
        found.configure()
        yield found
