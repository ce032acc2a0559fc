"""What Linux tells of its disks in sysfs and /proc, which anybody may read.

Source: Documentation/ABI/{stable/sysfs-block,testing/sysfs-bus-usb}; drivers/scsi/scsi_sysfs.c,
sd.c; block/disk-events.c, ioctl.c. `root` is where /sys, /proc and /dev are looked for.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from host_driver.errors import NotFound

ROOT: Final = Path("/")
DISK: Final = 0x00  # peripheral device type (SPC-4 table 139)
SCSI_ADDRESS: Final = re.compile(r"\d+:\d+:\d+:\d+")  # host, channel, target, unit
BLKRRPART, BLKFLSBUF = 0x125F, 0x1261  # include/uapi/linux/fs.h

Ioctl = Callable[[int, int, Any], int]  # fcntl.ioctl, or what stands in its place


@dataclass(frozen=True, slots=True)
class LinuxDisk:
    """A SCSI device as the kernel shows it; texts are as the device gave them."""

    folder: Path  # in sysfs, resolved
    kind: int | None  # peripheral device type; None where the kernel does not tell
    vendor: str
    product: str
    serial: str  # of USB, or else of VPD page 80h; empty where there is none
    usb: tuple[int, int] | None  # vendor and product number; None behind any other bus
    generic: str  # sgN; empty where the kernel's module sg is not loaded
    block: str  # sdX; empty where no disk driver has it

    @classmethod
    def at(cls, node: Path, root: Path = ROOT) -> LinuxDisk:
        """Return the device that a node of /dev leads to, by whatever links.

        Raises NotFound where there is none, or none that is a whole SCSI device.
        """
        try:
            found = node.stat()
        except OSError as error:
            raise NotFound(f"{node}: {error.strerror}") from error
        kinds = {stat.S_IFCHR: "char", stat.S_IFBLK: "block"}
        kind = kinds.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            raise NotFound(f"{node} is no device: sg:/dev/sgN and sg:/dev/sdX are")
        number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        entry = root / "sys/dev" / kind / number
        if (entry / "partition").exists():
            whole = entry.resolve().parent.name
            raise NotFound(f"{node} is a partition: the drive is sg:/dev/{whole}")
        folder = (entry / "device").resolve()
        if not SCSI_ADDRESS.fullmatch(folder.name):
            raise NotFound(f"{node} is no SCSI device of this kernel")
        return cls.in_folder(folder)

    @classmethod
    def in_folder(cls, folder: Path) -> LinuxDisk:
        """Return the device whose folder in sysfs this is."""
        usb = next((each for each in folder.parents if (each / "idVendor").is_file()), None)
        ids = None if usb is None else (_hex(usb / "idVendor"), _hex(usb / "idProduct"))
        serial = _page_80(folder) if usb is None else _text(usb / "serial").rstrip("\n")
        kind = _text(folder / "type").strip()
        return cls(
            folder=folder,
            kind=int(kind) if re.fullmatch(r"\d{1,3}", kind) else None,
            vendor=_text(folder / "vendor").strip(),
            product=_text(folder / "model").strip(),
            serial=serial,
            usb=ids,
            generic=_only(folder / "scsi_generic"),
            block=_only(folder / "block"),
        )

    def uses(self, root: Path = ROOT) -> list[str]:
        """Return what the system does with its blocks."""
        return uses(blocks(lambda block: self.folder in block.parents, root), root)


def usb_disks(root: Path = ROOT) -> list[LinuxDisk]:
    """Return the disks behind USB that the kernel holds and has a node for."""
    try:
        every = sorted((root / "sys/class/scsi_device").iterdir())
    except OSError:
        return []
    disks = (LinuxDisk.in_folder((each / "device").resolve()) for each in every)
    held = [disk for disk in disks if disk.usb is not None and disk.kind == DISK]
    return [disk for disk in held if disk.generic or disk.block]


def blocks(is_meant: Callable[[Path], bool], root: Path = ROOT) -> list[Path]:
    """Return the block devices, partitions too, whose resolved folder in sysfs is meant."""
    try:
        every = sorted((root / "sys/class/block").iterdir())
    except OSError:
        return []
    return [block for block in every if is_meant(block.resolve())]


def uses(blocks: list[Path], root: Path = ROOT) -> list[str]:
    """Return what the system does with block devices.

    A volume that is stacked on one (LUKS, LVM, RAID) is mounted under its own name: what tells of
    it are the holders of the blocks below.
    """
    names = [f"/dev/{block.name}" for block in blocks]
    mounted = [fields[1] for fields in _table(root / "proc/self/mounts") if fields[0] in names]
    swaps = [fields[0] for fields in _table(root / "proc/swaps") if fields[0] in names]
    holders = [each.name for block in blocks for each in sorted(block.glob("holders/*"))]
    return [
        *(f"mounted on {point}" for point in mounted),
        *(f"used as swap ({name})" for name in swaps),
        *(f"held by {holder}" for holder in holders),
    ]


class HeldDisk:
    """A disk that the kernel holds meanwhile: what it knows of the medium may be out of date."""

    def __init__(self, disk: LinuxDisk, ioctl: Ioctl, root: Path = ROOT) -> None:
        self._disk = disk
        self._ioctl = ioctl
        self._root = root

    @property
    def node(self) -> str:
        """The block device's path; empty where no disk driver has the drive."""
        return f"/dev/{self._disk.block}" if self._disk.block else ""

    @property
    def block_count(self) -> int:
        """The blocks of 512 bytes that the kernel sees; 0 without a medium."""
        size = _text(self._root / "sys/class/block" / self._disk.block / "size").strip()
        return int(size) if re.fullmatch(r"\d{1,18}", size) else 0

    def look_again(self) -> None:
        """Have the kernel look at the medium, and forget what it remembers of another.

        Opening the node of a removable disk has it do so; then come the partitions, for which the
        kernel sends uevents. A fixed disk is looked at for BLKRRPART only, which takes root.
        """
        if not self.node:
            return
        try:
            fd = os.open(self._root / self.node[1:], os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # no medium, which the kernel knows now; or not for this user to open
            return
        try:
            for request in (BLKFLSBUF, BLKRRPART):
                with suppress(OSError):  # not for this user, or partitions are in use
                    self._ioctl(fd, request, 0)
        finally:
            os.close(fd)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _hex(path: Path) -> int:
    text = _text(path).strip()
    return int(text, 16) if re.fullmatch(r"[0-9a-f]{1,4}", text) else 0


def _only(folder: Path) -> str:
    """Return the name of what is in a folder; empty where there is nothing."""
    return next((each.name for each in folder.glob("*")), "")


def _page_80(folder: Path) -> str:
    """Return the unit's serial number (SPC-4 7.8.18), as the kernel keeps it."""
    try:
        page = (folder / "vpd_pg80").read_bytes()
    except OSError:
        return ""
    return page[4 : 4 + int.from_bytes(page[2:4], "big")].decode("ascii", "replace").strip()


def _table(path: Path) -> Iterator[list[str]]:
    lines = _text(path).splitlines()
    return (fields for line in lines if len(fields := line.split()) > 1)
