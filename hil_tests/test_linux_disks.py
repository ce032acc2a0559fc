"""What Linux tells of its disks, read from files that say it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_tests.command_line import Run
from hil_tests.linux_machine import NODE, PORT, SCSI, SERIAL, make_tree
from host_driver.linux_disks import HeldDisk, LinuxDisk, usb_disks


def test_disk_behind_usb_is_listed_by_its_names(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (disk,) = usb_disks(tmp_path)

    assert disk == LinuxDisk.at(NODE, tmp_path)
    assert (disk.vendor, disk.product, disk.serial) == ("SEDLAB", "Native", SERIAL)
    assert (disk.usb, disk.kind) == ((0x1209, 0x5ED0), 0)
    assert (disk.generic, disk.block) == ("sg1", "sdb")


def test_disk_behind_another_bus_is_not_listed_and_has_the_serial_of_its_page(
    tmp_path: Path,
) -> None:
    make_tree(tmp_path, behind_usb=False)
    (tmp_path / SCSI / "vpd_pg80").write_bytes(b"\x00\x80\x00\x06 A1B2 and more")

    assert usb_disks(tmp_path) == []
    assert LinuxDisk.at(NODE, tmp_path).serial == "A1B2"


def test_cd_drive_behind_usb_is_not_listed(tmp_path: Path) -> None:
    make_tree(tmp_path, kind=5)

    assert usb_disks(tmp_path) == []


def test_system_without_scsi_lists_nothing(tmp_path: Path) -> None:
    assert usb_disks(tmp_path) == []


def test_disk_without_a_serial_number_has_none(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / PORT / "serial").unlink()

    assert LinuxDisk.at(NODE, tmp_path).serial == ""


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_of_a_device_are_texts(
    tmp_path_factory: pytest.TempPathFactory, serial: bytes, text: bytes
) -> None:
    root = tmp_path_factory.mktemp("machine")
    make_tree(root)
    (root / PORT / "serial").write_bytes(serial)
    for name in ("vendor", "type"):
        (root / SCSI / name).write_bytes(text)
    disk = LinuxDisk.at(NODE, root)
    held = HeldDisk(disk, lambda fd, request, argument: 0, root)
    (root / SCSI / "block/sdb/size").write_bytes(text)

    assert isinstance(disk.serial, str) and isinstance(disk.vendor, str)
    assert held.block_count >= 0


def test_looking_again_at_a_disk_that_cannot_be_opened_is_no_fault(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "dev/sdb").unlink()
    asked: list[int] = []

    def ioctl(fd: int, request: int, argument: object) -> int:
        asked.append(request)
        return 0

    held = HeldDisk(LinuxDisk.at(NODE, tmp_path), ioctl, tmp_path)
    held.look_again()

    assert asked == []


def test_list_has_a_place_for_disks_of_the_kernel(run: Run) -> None:
    assert isinstance(json.loads(run("list", "--json").out)["sg"], list)
