"""What the owner of a drive does with it on Linux, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.machine import CommandFailed, KernelMachine
from hil_tests.kernel.ours import DISK_BYTES, PIN, UsbRedir, drive_file, sedlab

SECTORS = str(DISK_BYTES // 512)
NATIVE = UsbRedir("owner native")
KEYPAD = UsbRedir("owner keypad", profile="keypad", pin="")
KEYS = "1357924"
MOUNT = "/run/owners"
POLLING = "/sys/module/block/parameters/events_dfl_poll_msecs"
MEDIUM_CHANGE = {"ACTION": "change", "SUBSYSTEM": "block", "DISK_MEDIA_CHANGE": "1"}

Attach = Callable[[UsbRedir], PluggedDrive]

pytestmark = pytest.mark.xdist_group("owner")


@pytest.fixture
def attach(machine: KernelMachine) -> Iterator[Attach]:
    """Puts drives in as they come; those that are in are taken out."""
    with ExitStack() as stack:

        def attached(way_in: UsbRedir) -> PluggedDrive:
            drive = PluggedDrive(machine, way_in)
            drive.attach()
            stack.callback(drive.unplug)
            return drive

        yield attached


def test_native_drive_is_unlocked_mounted_written_and_locked(attach: Attach) -> None:
    drive = attach(NATIVE)
    locked = drive.attribute("size")
    typed = f"cd {drive.machine.folder} && XDG_CONFIG_HOME=. SEDLAB_PIN_USER={PIN} sedlab"
    unlocked = drive.do(f"{typed} {' '.join(drive.unlocking)}")
    drive.do(
        f"""set -e
        mkfs.vfat {drive.block} && mkdir -p {MOUNT} && mount {drive.block} {MOUNT}
        echo "what must not be lost" >{MOUNT}/file"""
    )
    with pytest.raises(CommandFailed, match=f"mounted on {MOUNT}"):
        drive.lock()
    drive.do(f"umount {MOUNT}")
    drive.lock()
    locked_again = drive.attribute("size")
    drive.unplug()
    drive.attach()
    drive.unlock()
    found = drive.do(f"mount {drive.block} {MOUNT} && cat {MOUNT}/file; umount {MOUNT}")

    assert (locked, locked_again) == ("0", "0")
    assert unlocked.splitlines()[-1] == f"{drive.block}: {SECTORS} blocks, to be mounted"
    assert found == "what must not be lost\n"


def test_keypad_drive_is_unlocked_by_its_keys_while_the_kernel_holds_it(attach: Attach) -> None:
    drive = attach(KEYPAD)
    machine, file = drive.machine, drive_file(drive.machine, KEYPAD).name
    sedlab(machine, "press", file, "SET", KEYS, "UNLOCK", KEYS, "UNLOCK")
    locked = drive.attribute("size")
    machine.run(f"blkid {drive.block}; echo 200 >{POLLING}")  # as udev does, with 2000 ms
    before = machine.moment()
    sedlab(machine, "press", file, KEYS, "UNLOCK")
    told = machine.event_since(before, MEDIUM_CHANGE | {"DEVNAME": drive.name})
    machine.output_of(f"echo 0 >{POLLING}")
    drive.do(f"mkfs.vfat {drive.block} && mkdir -p {MOUNT} && mount {drive.block} {MOUNT}")
    drive.do(f"echo kept >{MOUNT}/file && umount {MOUNT}")
    sedlab(machine, "press", file, "LOCK")
    read = machine.run(f"dd if={drive.block} of=/dev/null bs=4096 count=1 iflag=direct")
    sedlab(machine, "press", file, KEYS, "UNLOCK")
    found = drive.do(f"mount {drive.block} {MOUNT} && cat {MOUNT}/file; umount {MOUNT}")

    assert locked == "0"
    assert told is not None, "the kernel did not notice"
    assert "No medium found" in read.text, read.text
    assert found == "kept\n"
