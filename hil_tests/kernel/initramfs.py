"""The first file system of the machine: busybox, a few modules, and the script that does the rest.

An archive of cpio's newc format (Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final

from hil_tests.kernel.image import Image

# Until the host's files are there. All others are loaded from those, when something needs them.
MODULES: Final = (
    *("virtio_pci", "virtio_console", "virtio_net"),
    *("9pnet_virtio", "9p", "overlay", "configfs"),
)
FOLDERS: Final = "bin sbin dev proc sys host memory root modules"
FILE, FOLDER, DEVICE = 0o100000, 0o040000, 0o020000
CONSOLE: Final = (5, 1)  # number of the device
# The kernel calls this one when it misses a module.
MODPROBE: Final = b'#!/bin/busybox sh\nexec chroot /root /sbin/modprobe "$@"\n'


def initramfs(image: Image, settings: Mapping[str, str]) -> bytes:
    """Return the archive; `settings` become variables of init.sh."""
    tree = image.modules / image.release
    order = load_order((tree / "modules.dep").read_text(), MODULES)
    names = [PurePosixPath(path).name for path in order]
    variables = "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
    archive = [_entry(name, FOLDER | 0o755) for name in FOLDERS.split()]
    archive.append(_entry("dev/console", DEVICE | 0o600, device=CONSOLE))
    contents = {
        "init": files(__package__).joinpath("init.sh").read_bytes(),
        "bin/busybox": image.busybox.read_bytes(),
        "sbin/modprobe": MODPROBE,
        "settings": variables.encode(),
        "modules/order": "".join(f"{name}\n" for name in names).encode(),
    }
    for name, path in zip(names, order, strict=True):
        contents[f"modules/{name}"] = (tree / path).read_bytes()
    archive += [_entry(name, FILE | 0o755, content) for name, content in contents.items()]
    return b"".join([*archive, _entry("TRAILER!!!", 0)])


def load_order(dependencies: str, wanted: tuple[str, ...]) -> list[str]:
    """Return paths of modules so that each comes after all that it depends on.

    `dependencies` is a modules.dep: a module, a colon, and what it needs, the deepest last. Raises
    KeyError for a module that it doesn't have.
    """
    needed: dict[str, list[str]] = {}
    for line in dependencies.splitlines():
        path, _, before = line.partition(":")
        needed[_name(path)] = [*reversed(before.split()), path]
    return list(dict.fromkeys(path for name in wanted for path in needed[_name(name)]))


def _name(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0].replace("-", "_")


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return a file of the archive: magic, thirteen numbers as eight hex digits, name, content."""
    path = name.encode() + b"\0"
    inode = user = group = time = checksum = 0
    numbers = (inode, mode, user, group, 1, time, len(content), 0, 0, *device, len(path), checksum)
    head = "070701" + "".join(f"{number:08X}" for number in numbers)
    return _padded(head.encode() + path) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
