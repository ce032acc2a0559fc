"""Blocks written and read back, without any file system."""

from __future__ import annotations

from typing import Final

from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.outcome import NotExercised
from hil_tests.kernel.way_in import BULK_ONLY

BLOCK_BYTES: Final = 4096
PATTERN_BLOCKS: Final = 512  # at each end of the drive
VERIFIED: Final = "8m"
DISCARDED_BYTES: Final = 1 << 20


def patterns_at_both_ends_are_read_back(drive: PluggedDrive) -> None:
    last = drive.way_in.disk_bytes // BLOCK_BYTES - 1
    for end in (PATTERN_BLOCKS - 1, last):
        patterns = "-t 0x00 -t 0xff -t 0xaa -t 0x55"
        begin = end - PATTERN_BLOCKS + 1
        # It exits with 0 whatever it finds; what it says are numbers of bad blocks, and complaints.
        bad = drive.do(
            f"badblocks -w -b {BLOCK_BYTES} -c 128 {patterns} {drive.block} {end} {begin}"
        )

        assert not bad, f"bad blocks: {bad}"


def fio_verifies_what_it_wrote(drive: PluggedDrive) -> None:
    drive.do(
        f"fio --minimal --name=verify --filename={drive.block} --size={VERIFIED} --direct=1"
        " --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=512-256k --blockalign=512"
        " --verify=crc32c --verify_fatal=1 --randseed=1"
    )


def discarded_blocks_leave_others_alone(drive: PluggedDrive) -> None:
    if drive.way_in.driver == BULK_ONLY:
        raise NotExercised("Linux's usb-storage asks for no page that tells of UNMAP")
    around = f"/run/{drive.name}.before"
    whole = f"head -c {3 * DISCARDED_BYTES} {drive.block}"
    drive.do(f"head -c {3 * DISCARDED_BYTES} /dev/urandom >{around}; cat {around} >{drive.block}")
    drive.do(f"blkdiscard -o {DISCARDED_BYTES} -l {DISCARDED_BYTES} {drive.block}")
    for skipped in (0, 2 * DISCARDED_BYTES):
        drive.do(f"{whole} | cmp -i {skipped} -n {DISCARDED_BYTES} - {around}")


CHECKS: Final = (
    patterns_at_both_ends_are_read_back,
    fio_verifies_what_it_wrote,
    discarded_blocks_leave_others_alone,
)
