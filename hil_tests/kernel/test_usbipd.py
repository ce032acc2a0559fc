"""Our USB/IP client at Linux's own server, usbipd, which knows nothing of us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.machine import CommandFailed, KernelMachine
from hil_tests.kernel.ours import PIN, UsbRedir
from hil_tests.kernel.usbipd import given_away
from hil_tests.kernel.way_in import BULK_ONLY

WAY_IN = UsbRedir("usbipd", BULK_ONLY)
SESSION = """
from host_driver import OpenOptions, open_drive
from usb.core import USBTimeoutError

data = bytes(range(256)) * 512
options = OpenOptions(destroys_data=True, serial={serial!r})
with open_drive({url!r}, options) as drive:
    drive.unlock({pin!r})
    drive.write(8, data)
    try:
        drive.device.read(0x81, 13, 500)  # of which there is nothing: it is withdrawn
    except USBTimeoutError:
        print("timed out")
    print("same" if drive.read(8, len(data) // 512) == data else "different")
"""

pytestmark = pytest.mark.xdist_group("bulk_only")


@pytest.fixture
def drive(machine: KernelMachine) -> Iterator[PluggedDrive]:
    """A drive that is in, and locked."""
    with PluggedDrive(machine, WAY_IN) as drive:
        drive.attach()
        yield drive


@pytest.fixture
def url(drive: PluggedDrive) -> Iterator[str]:
    """Where the machine's own server gives it away."""
    with given_away(drive) as url:
        yield url


def test_drive_is_used_through_it(drive: PluggedDrive, url: str) -> None:
    script = SESSION.format(serial=drive.serial, url=url, pin=PIN)
    at_home = f"XDG_CONFIG_HOME={drive.machine.folder} exec python3 -"
    said = drive.machine.output_of(at_home, stdin=script.encode())

    assert said.split() == ["timed", "out", "same"]


def test_drive_there_may_be_real(drive: PluggedDrive, url: str) -> None:
    told = drive.sedlab("info", url)
    with pytest.raises(CommandFailed, match="--destroys-data"):
        drive.sedlab("unlock", url, SEDLAB_PIN_USER=PIN)

    assert drive.serial in told


def test_what_it_offers_is_told_to_who_asks_for_something_else(
    drive: PluggedDrive, url: str
) -> None:
    with pytest.raises(CommandFailed, match=f"offered are: {url.rpartition('/')[2]}"):
        drive.sedlab("info", "usbip://127.0.0.1/9-9")
