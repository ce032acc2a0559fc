"""A Linux that holds one drive: its sysfs as files, and an ioctl that runs commands on the drive.

Nodes of /dev can't be made by everybody, so the drive's is /dev/null, under whose number sysfs has
the drive. What SG_IO does with the header is what include/scsi/sg.h says.
"""

import ctypes
import errno
import os
from pathlib import Path
from typing import Any

from host_driver.linux_disks import BLKFLSBUF, BLKRRPART
from host_driver.sg import (
    SG_GET_RESERVED_SIZE,
    SG_GET_VERSION_NUM,
    SG_IO,
    SG_SET_RESERVED_SIZE,
    Direction,
    SgIoHeader,
)
from host_driver.transport import CommandTransport, ScsiStatus

NODE = Path("/dev/null")
BLOCK = "sdb"
SERIAL = "0123456789AB"
PORT = "sys/devices/pci0000:00/usb1/1-1"
SCSI = f"{PORT}/1-1:1.0/host6/target6:0:0/6:0:0:0"
QUEUE_BYTES = 120 << 10  # what usb-storage takes at high speed


def make_tree(root: Path, serial: str = SERIAL, kind: int = 0, *, behind_usb: bool = True) -> None:
    """Make the files in which such a system tells of its drive."""
    scsi = root / SCSI
    number = NODE.stat().st_rdev
    links = {
        f"sys/dev/char/{os.major(number)}:{os.minor(number)}": "scsi_generic/sg1",
        "sys/class/scsi_generic/sg1": "scsi_generic/sg1",
        f"sys/class/block/{BLOCK}": f"block/{BLOCK}",
        f"sys/class/block/{BLOCK}1": f"block/{BLOCK}/{BLOCK}1",
        "sys/class/scsi_device/6:0:0:0": "scsi_device/6:0:0:0",
    }
    for link, target in links.items():
        (scsi / target).mkdir(parents=True, exist_ok=True)
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(scsi / target)
    for folder in ("scsi_generic/sg1", f"block/{BLOCK}", "scsi_device/6:0:0:0"):
        (scsi / folder / "device").symlink_to(scsi)
    texts = {
        f"{SCSI}/vendor": "SEDLAB  \n",
        f"{SCSI}/model": "Native          \n",
        f"{SCSI}/type": f"{kind}\n",
        f"{SCSI}/block/{BLOCK}/size": "0\n",
        f"{SCSI}/block/{BLOCK}/{BLOCK}1/partition": "1\n",
        f"dev/{BLOCK}": "",
        "proc/self/mounts": "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n",
        "proc/swaps": "Filename Type Size Used Priority\n",
    }
    if behind_usb:
        texts |= {f"{PORT}/idVendor": "1209\n", f"{PORT}/idProduct": "5ed0\n"}
        texts[f"{PORT}/serial"] = f"{serial}\n"
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


class Kernel:
    """The ioctl of such a system, with the drive behind a transport of the kernel's own."""

    def __init__(self, root: Path, drive: CommandTransport) -> None:
        self._size = root / SCSI / "block" / BLOCK / "size"
        self._drive = drive
        self.seen: list[bytes] = []  # CDBs
        self.reserved = 32 << 10
        self.version = 30_536
        self.error = 0  # errno of SG_IO
        self.wrong: dict[str, int] = {}  # fields that SG_IO ends with, whatever the drive did
        self.looks = 0

    def __call__(self, fd: int, request: int, argument: Any) -> int:
        os.fstat(fd)  # raises for a node that was closed
        if request in (BLKFLSBUF, BLKRRPART):
            self.look()
        elif request == SG_GET_VERSION_NUM:
            argument.value = self.version
        elif request == SG_SET_RESERVED_SIZE:
            self.reserved = min(argument.value, QUEUE_BYTES)
        elif request == SG_GET_RESERVED_SIZE:
            argument.value = self.reserved
        elif request == SG_IO and not self.error:
            self.run(argument)
        else:
            raise OSError(self.error or errno.ENOTTY, os.strerror(self.error or errno.ENOTTY))
        return 0

    def look(self) -> None:
        """Ask the drive how large it is, as for BLKRRPART."""
        self.looks += 1
        for _ in range(2):
            answer = self._drive.execute(b"\x25" + bytes(9), data_in_length=8)
        blocks = int.from_bytes(answer.data[:4], "big") + 1 if len(answer.data) == 8 else 0
        self._size.write_text(f"{blocks}\n")

    def run(self, header: SgIoHeader) -> None:
        """Run the command of a header, and say in it how it ended."""
        assert header.interface_id == ord("S") and header.iovec_count == 0
        cdb = ctypes.string_at(header.cmdp, header.cmd_len)
        self.seen.append(cdb)
        is_out = header.dxfer_direction == Direction.TO_DEVICE
        is_in = header.dxfer_direction == Direction.FROM_DEVICE
        data = ctypes.string_at(header.dxferp, header.dxfer_len) if is_out else b""
        length = header.dxfer_len if is_in else 0
        ended = self._drive.execute(cdb, data, length, header.timeout)
        if is_in:
            ctypes.memmove(header.dxferp, ended.data, len(ended.data))
        if ended.sense is not None:
            sense = ended.sense.encode_fixed()[: header.mx_sb_len]
            ctypes.memmove(header.sbp, sense, len(sense))
            header.sb_len_wr = len(sense)
        header.status = ended.status
        header.masked_status = ended.status >> 1 & 0x7F
        header.driver_status = 0x08 if ended.status is ScsiStatus.CHECK_CONDITION else 0
        header.resid = ended.residue
        for name, value in self.wrong.items():
            setattr(header, name, value)
