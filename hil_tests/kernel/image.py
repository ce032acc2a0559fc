"""The kernel that the machine boots: Debian's own, unpacked from its package and not installed.

It is kept in a cache, one folder for each kernel.
"""

from __future__ import annotations

import fcntl
import functools
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

META_PACKAGE: Final = "linux-image-amd64"  # depends on the package of the kernel itself
KERNEL_PACKAGE: Final = re.compile(r"^ *Depends: (linux-image-\d\S*)$", re.MULTILINE)
BUSYBOX_PACKAGE: Final = "busybox-static"
SETUP_SECTORS: Final = 0x1F1  # of the boot protocol's header (Documentation/x86/boot.rst)
PAYLOAD: Final = 0x248


class NoImage(Exception):
    """There is no kernel to boot, and this says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """Files of a kernel, in a folder."""

    folder: Path

    @property
    def vmlinux(self) -> Path:
        """The kernel as ELF: unpacking itself would take it seconds of each boot."""
        return self.folder / "vmlinux"

    @property
    def modules(self) -> Path:
        """What belongs at /lib/modules."""
        return self.folder / "lib" / "modules"

    @property
    def busybox(self) -> Path:
        """A busybox that needs no library."""
        return self.folder / "bin" / "busybox"

    @property
    def release(self) -> str:
        """What `uname -r` says in the machine."""
        return next(self.modules.iterdir()).name

    @classmethod
    def cached(cls, cache: Path, say: Callable[[str], None]) -> Self:
        """Return the image of Debian's kernel, downloaded unless the cache has it.

        Raises NoImage if it can't be had.
        """
        with _alone(cache):
            package = _kernel_package(cache)
            image = cls(cache / package)
            if not image.folder.exists():
                say(f"downloading {package}: once")
                _make(package, image.folder)
        return image


def default_cache() -> Path:
    """Return where this user's kernels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "sedlab", "kernels")


def elf_kernel(bzimage: bytes) -> bytes:
    """Return the ELF file inside a kernel of the x86 boot protocol that XZ compressed.

    Raises NoImage if it is none.
    """
    try:
        setup_bytes = ((bzimage[SETUP_SECTORS] or 4) + 1) * 512
        offset, length = struct.unpack_from("<II", bzimage, PAYLOAD)
        payload = bzimage[setup_bytes + offset :][:length]
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    except (IndexError, struct.error, lzma.LZMAError) as other:
        raise NoImage(f"the kernel is not packed as expected: {other}") from other


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Keep other processes from filling the cache meanwhile."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@functools.cache  # apt-cache takes a second, and a process boots many machines
def _kernel_package(cache: Path) -> str:
    """Return the name of Debian's current kernel; where nobody knows, of the newest kept one."""
    if shutil.which("apt-cache"):
        depends = _run("apt-cache", "depends", META_PACKAGE)
        if found := KERNEL_PACKAGE.search(depends):
            return found[1]
    kept = sorted(cache.glob("linux-image-*"), key=lambda each: each.stat().st_mtime)
    if kept:
        return kept[-1].name
    raise NoImage(f"no package {META_PACKAGE} is known here: as root, apt-get update")


def _make(package: str, folder: Path) -> None:
    """Download and unpack; the folder appears when all is in it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        for name in (package, BUSYBOX_PACKAGE):
            _run("apt-get", "-qq", "download", name, folder=made)
        for archive in sorted(Path(made).glob("*.deb")):
            _run("dpkg-deb", "-x", str(archive), f"{made}/root")
            archive.unlink()
        root = Path(made, "root")
        image = Image(root)
        packed = next(root.glob("boot/vmlinuz-*"))
        image.vmlinux.write_bytes(elf_kernel(packed.read_bytes()))
        shutil.rmtree(root / "boot")
        _run("depmod", "-b", str(root), image.release)
        root.rename(folder)


def _run(*command: str, folder: str | None = None) -> str:
    """Run a program and return what it printed; raise NoImage with what it said went wrong."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except subprocess.CalledProcessError as failed:
        said = (failed.stderr or failed.stdout).strip().splitlines()
        raise NoImage(f"{' '.join(command)}: {said[-1] if said else failed}") from failed
