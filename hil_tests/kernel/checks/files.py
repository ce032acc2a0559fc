"""File systems on a drive, and the register that a city lost among their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil_tests import register
from hil_tests.kernel.drive import PluggedDrive
from hil_tests.kernel.machine import KernelMachine

SOURCES: Final = Path(__file__).parents[3] / "firmware_model"  # many small files
TREE: Final = "/run/tree"
REGISTER: Final = "/run/register.csv"
PART: Final = "/run/register-part.csv"  # the first 4 MiB of it
MOUNT: Final = "/run/medium"
MAPPED: Final = "sedlab-lab"
F3_KIB: Final = 32 << 10  # f3 fills the file system
F3_SECTORS_MIN: Final = F3_KIB * 2 * 9 // 10  # the rest is what vfat keeps for itself
F3_READ: Final = re.compile(r"^ *Data OK: .* \((\d+) sectors\)$", re.MULTILINE)
# What a writer is told then; a full medium would end it too.
PULLED: Final = re.compile("Input/output error|Read-only file system|No such device")
IN_FLIGHT_SECTORS: Final = 4096  # written before the drive is pulled in the middle of the next


@dataclass(frozen=True, slots=True)
class FileSystem:
    """How one is made and checked."""

    name: str
    make: str
    check: str  # exits 0 if there is nothing to mend
    mend: str  # exits 0, or 1 if it had something to mend


VFAT: Final = FileSystem("vfat", "mkfs.vfat", "fsck.vfat -n", "fsck.vfat -a")
EXT4: Final = FileSystem("ext4", "mkfs.ext4 -q -F", "e2fsck -f -n", "e2fsck -f -p")


def vfat_keeps_the_register(drive: PluggedDrive) -> None:
    _keeps_files(drive, drive.block, VFAT, REGISTER)


def ext4_keeps_the_register(drive: PluggedDrive) -> None:
    _keeps_files(drive, drive.block, EXT4, REGISTER)


def luks_volume_keeps_files(drive: PluggedDrive) -> None:
    cheap = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file -"
    drive.do(f"echo -n secret | cryptsetup luksFormat -q --type luks2 {cheap} {drive.block}")
    unlock = f"echo -n secret | cryptsetup open --key-file - {drive.block} {MAPPED}"
    drive.do(unlock)
    try:
        _keeps_files(drive, f"/dev/mapper/{MAPPED}", EXT4, PART)
    finally:
        drive.do(f"cryptsetup close {MAPPED}")
    drive.do(f"{unlock} && cryptsetup close {MAPPED}")


def f3_finds_every_byte(drive: PluggedDrive) -> None:
    drive.do(f"mkfs.vfat {drive.block} {F3_KIB} && {_mounted(drive.block)}")
    try:
        drive.do(f"f3write {MOUNT}", 300)
        _drop_caches(drive)
        said = drive.do(f"f3read {MOUNT}", 300)
    finally:
        drive.do(f"umount {MOUNT}")

    read = F3_READ.search(said)
    # It exits with 0 whatever it finds, and loses nothing where nothing is.
    assert read is not None and int(read[1]) >= F3_SECTORS_MIN, said
    assert "Data LOST: 0.00 Byte (0 sectors)" in said, said


def vfat_outlives_a_plug_pulled_in_a_write(drive: PluggedDrive) -> None:
    _outlives_pull(drive, VFAT)


def ext4_outlives_a_plug_pulled_in_a_write(drive: PluggedDrive) -> None:
    _outlives_pull(drive, EXT4)


def _keeps_files(drive: PluggedDrive, device: str, system: FileSystem, records: str) -> None:
    """Copy files, and find them after they were unmounted and checked."""
    _bring_files(drive.machine)
    drive.do(
        f"""set -e
        {system.make} {device}
        {_mounted(device)}
        cp {records} {MOUNT}/register.csv
        cp -r {TREE} {MOUNT}/tree
        umount {MOUNT}"""
    )
    drive.do(f"{system.check} {device}")
    drive.do(_mounted(device))
    _drop_caches(drive)
    try:
        drive.do(f"cmp -s {records} {MOUNT}/register.csv")
        drive.do(f"diff -r {TREE} {MOUNT}/tree")
    finally:
        drive.do(f"umount {MOUNT}")


def _outlives_pull(drive: PluggedDrive, system: FileSystem) -> None:
    """Pull the drive while it is written to; what was synchronized before is there again."""
    _bring_files(drive.machine)
    drive.do(
        f"""set -e
        {system.make} {drive.block}
        {_mounted(drive.block)}
        cp {PART} {MOUNT}/kept; sync -f {MOUNT}/kept"""
    )
    copy = f"dd if={REGISTER} of={MOUNT}/torn bs=64k oflag=direct status=none"
    writing = drive.machine.start(f"while {copy}; do :; done", timeout_s=120)
    written = f"/sys/block/{drive.name}/stat"
    drive.do(
        f"""before=$(awk '{{ print $7 }}' {written})
        until [ $(awk '{{ print $7 }}' {written}) -gt $((before + {IN_FLIGHT_SECTORS})) ]; do
            sleep 0.01
        done"""
    )
    drive.unplug()
    ended = writing.wait()
    drive.do(f"umount -l {MOUNT}")
    drive.plug()
    mended = drive.machine.run(f"{system.mend} {drive.block}")
    drive.do(f"{system.check} {drive.block} && {_mounted(drive.block)}")
    try:
        drive.do(f"cmp -s {PART} {MOUNT}/kept")
    finally:
        drive.do(f"umount {MOUNT}")

    assert PULLED.search(ended.text), f"the writer saw no error: {ended.text}"
    assert mended.status in (0, 1), mended.text


def _bring_files(machine: KernelMachine) -> None:
    """Have the register in the machine's memory, a part of it, and many small files."""
    if machine.run(f"test -e {PART}").status != 0:
        shared = machine.folder / "register.csv"
        shared.write_bytes(register.register())
        machine.output_of(
            f"""set -e -o pipefail
            mkdir -p {TREE}
            tar -C {SOURCES} --exclude __pycache__ -c . | tar -C {TREE} -x
            mv {shared} {REGISTER} && head -c 4M {REGISTER} >{PART}"""
        )


def _mounted(device: str) -> str:
    return f"mkdir -p {MOUNT} && mount {device} {MOUNT}"


def _drop_caches(drive: PluggedDrive) -> None:
    """Have the kernel read from the drive what it reads next."""
    drive.do(
        f"sync -f {MOUNT}; blockdev --flushbufs {drive.block}; echo 1 >/proc/sys/vm/drop_caches"
    )


CHECKS: Final = (
    vfat_keeps_the_register,
    ext4_keeps_the_register,
    luks_volume_keeps_files,
    f3_finds_every_byte,
    vfat_outlives_a_plug_pulled_in_a_write,
    ext4_outlives_a_plug_pulled_in_a_write,
)
