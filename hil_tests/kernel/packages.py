"""The programs that the kernel lab takes, and the packages of Debian that have them.

`python -m hil_tests.kernel.packages` installs what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Final

MACHINE: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "setpriv": "util-linux",
}
BATTERY: Final = {
    "badblocks": "e2fsprogs",
    "cryptsetup": "cryptsetup-bin",
    "f3write": "f3",
    "fio": "fio",
    "fsck.vfat": "dosfstools",
    "iscsi-test-cu": "libiscsi-bin",
    "lsusb": "usbutils",
    "mkfs.ext4": "e2fsprogs",
    "sdparm": "sdparm",
    "sg_inq": "sg3-utils",
    "smartctl": "smartmontools",
    "tshark": "tshark",
    "usbip": "usbip",
}
PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def lacking(programs: Mapping[str, str]) -> list[str]:
    """Return the packages of those programs that are not here."""
    return sorted({name for program, name in programs.items() if not _is_here(program)})


def missing(programs: Mapping[str, str]) -> str:
    """Return in a line what is lacking and what would help; nothing if all is here."""
    if not shutil.which("apt-get"):
        return "the kernel lab takes its kernel from Debian's packages, and here is no apt-get"
    packages = lacking(programs)
    if not packages:
        return ""
    return f"lacking for the kernel lab: as root, apt-get install {' '.join(packages)}"


def install(packages: Iterable[str]) -> None:
    """Install packages, as root; raise CalledProcessError where that fails."""
    apt_get = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*apt_get, "update"], check=True)
    subprocess.run(
        [*apt_get, "install", "--no-install-recommends", *packages],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


def main() -> None:
    """Install what is missing, or say in one line why not."""
    programs = {**MACHINE, **BATTERY}
    packages = lacking(programs)
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        install(packages)
    if said := missing(programs):
        sys.exit(said)


def _is_here(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None


if __name__ == "__main__":
    main()
