"""What the tools of Linux for SCSI disks ask, through /dev/sg."""

from __future__ import annotations

import re
from typing import Final

from hil_tests.kernel.drive import PluggedDrive


def inquiry_and_capacity_agree_with_the_kernel(drive: PluggedDrive) -> None:
    inquiry = drive.do(f"sg_inq {drive.generic}")
    blocks, block_bytes = (
        int(each, 16) for each in drive.do(f"sg_readcap --brief {drive.generic}").split()
    )

    for attribute, title in (("vendor", "Vendor identification"), ("model", "Product ident")):
        told = drive.attribute(f"device/{attribute}")
        assert re.search(rf"{title}\w*: {re.escape(told)}", inquiry), f"not {told!r}: {inquiry}"
    assert blocks * block_bytes == drive.way_in.disk_bytes, f"{blocks} blocks of {block_bytes}"


def read_capacity_16_agrees(drive: PluggedDrive) -> None:
    said = drive.do(f"sg_readcap --16 --brief {drive.generic}")
    blocks, block_bytes = (int(each, 16) for each in said.split()[:2])

    assert blocks * block_bytes == drive.way_in.disk_bytes, said


def report_luns_tells_lun_0(drive: PluggedDrive) -> None:
    said = drive.do(f"sg_luns --quiet {drive.generic}")

    assert said.split() == ["0000000000000000"], said


def every_vpd_page_it_lists_can_be_read(drive: PluggedDrive) -> None:
    said = drive.do(f"set -o pipefail; sg_vpd --page=0 --raw {drive.generic} | od -An -v -tx1")
    data = bytes.fromhex(said)
    pages = list(data[4:])

    assert data[1] == 0 and int.from_bytes(data[2:4], "big") == len(pages), data.hex()
    assert pages == sorted(set(pages)) and pages[:1] == [0], f"not ascending: {data.hex()}"
    for page in pages:
        drive.do(f"sg_vpd --page={page:#x} {drive.generic}")


def every_mode_page_can_be_read(drive: PluggedDrive) -> None:
    drive.do(f"sg_modes --all --six {drive.generic}")
    drive.do(f"sg_modes --all {drive.generic}")
    drive.do(f"sdparm --six --page=ca {drive.generic}")


def supported_operation_codes_are_told(drive: PluggedDrive) -> None:
    said = drive.do(f"sg_opcodes {drive.generic}")

    for needed in ("Inquiry", "Read(10)", "Write(10)", "Test Unit Ready"):
        assert needed in said, f"no {needed}: {said}"


def verify_and_synchronize_cache_are_obeyed(drive: PluggedDrive) -> None:
    drive.do(f"sg_turs {drive.generic} && sg_requests {drive.generic}")
    drive.do(f"sg_sync {drive.generic}")
    drive.do(f"sg_verify --lba=0 --count=256 {drive.generic}")


def smartctl_can_tell_health(drive: PluggedDrive) -> None:
    said = drive.do(f"smartctl --device=scsi --info --health {drive.block}")

    assert "SMART Health Status: OK" in said, said


CHECKS: Final = (
    inquiry_and_capacity_agree_with_the_kernel,
    read_capacity_16_agrees,
    report_luns_tells_lun_0,
    every_vpd_page_it_lists_can_be_read,
    every_mode_page_can_be_read,
    supported_operation_codes_are_told,
    verify_and_synchronize_cache_are_obeyed,
    smartctl_can_tell_health,
)
