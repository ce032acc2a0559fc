"""A drive that the Linux kernel holds, `sg:/dev/sgN` or `sg:/dev/sdX`, through SG_IO.

The kernel keeps the drive: whoever unlocks it this way can mount it then. Source: version 3 of the
interface in include/scsi/sg.h; drivers/scsi/sg.c, scsi_ioctl.c; include/scsi/scsi_status.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from typing import ClassVar, Final

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.sense import Sense
from host_driver.attachment import Attachment, OpenOptions
from host_driver.errors import (
    AccessDenied,
    Disconnected,
    DriveError,
    DriveInUse,
    NoBackend,
    NotFound,
    ProtocolError,
    Timeout,
    TransportError,
)
from host_driver.interlock import Interlocked, why_not
from host_driver.linux_disks import DISK, ROOT, HeldDisk, Ioctl, LinuxDisk
from host_driver.transport import DEFAULT_TIMEOUT_MS, CommandTransport, Completion, ScsiStatus
from host_driver.verbose import Verbose, command_name

SG_SET_RESERVED_SIZE, SG_GET_RESERVED_SIZE, SG_GET_VERSION_NUM, SG_IO = (
    0x2275,
    0x2272,
    0x2282,
    0x2285,
)
VERSION_MIN: Final = 30_000  # from here on, SG_IO takes the header below
INTERFACE: Final = ord("S")
SENSE_BYTES: Final = 252  # the most that SPC-4 4.5.2.1 allows
BLOCK_BYTES: Final = 512
WANTED_BYTES: Final = 1 << 20  # to move with one command; the kernel gives what the bus takes
NO_LIMIT_MS: Final = 0xFFFF_FFFF
DRIVER_TIMEOUT, DRIVER_SENSE = 0x06, 0x08  # in the lower four bits; up to Linux 5.13 only


class Direction(IntEnum):
    """dxfer_direction."""

    NONE = -1
    TO_DEVICE = -2
    FROM_DEVICE = -3


class HostStatus(IntEnum):
    """What the kernel's own adapter driver says of a command (DID_…)."""

    OK = 0x00
    NO_CONNECT = 0x01
    BUS_BUSY = 0x02
    TIME_OUT = 0x03
    BAD_TARGET = 0x04
    ABORT = 0x05
    PARITY = 0x06
    ERROR = 0x07
    RESET = 0x08
    BAD_INTR = 0x09
    PASSTHROUGH = 0x0A
    SOFT_ERROR = 0x0B
    IMM_RETRY = 0x0C
    REQUEUE = 0x0D
    TRANSPORT_DISRUPTED = 0x0E
    TRANSPORT_FAILFAST = 0x0F
    TARGET_FAILURE = 0x10
    NEXUS_FAILURE = 0x11
    ALLOC_FAILURE = 0x12
    MEDIUM_ERROR = 0x13
    TRANSPORT_MARGINAL = 0x14


GONE: Final = frozenset(
    (HostStatus.NO_CONNECT, HostStatus.BAD_TARGET, HostStatus.TRANSPORT_DISRUPTED)
)
# usb-storage aborts a command because its time is over, and for nothing else.
LATE: Final = frozenset((HostStatus.TIME_OUT, HostStatus.ABORT))


class SgIoHeader(ctypes.Structure):
    """struct sg_io_hdr: 88 bytes where pointers have 8, and 64 where they have 4."""

    _fields_: ClassVar = [
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),  # ms
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    ]


class SgIoTransport:
    """A command transport over an open node, which it closes.

    `generic` is the node of the same drive that takes every command from who may open it; a block
    device takes most of them from root alone.
    """

    def __init__(self, fd: int, node: str, generic: str, ioctl: Ioctl) -> None:
        self._fd: int | None = fd
        self._node = node
        self._generic = generic
        self._ioctl = ioctl

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run one command; its sense data comes with its status."""
        if data_out and data_in_length:
            raise ValueError("a command moves data one way")
        if self._fd is None:
            raise Disconnected(f"{self._node} is closed")
        sense = ctypes.create_string_buffer(SENSE_BYTES)
        command = ctypes.create_string_buffer(cdb, len(cdb))
        length = data_in_length or len(data_out)
        data = ctypes.create_string_buffer(data_out, length) if length else None
        header = SgIoHeader(
            interface_id=INTERFACE,
            dxfer_direction=_direction(data_out, data_in_length),
            cmd_len=len(cdb),
            mx_sb_len=SENSE_BYTES,
            dxfer_len=length,
            dxferp=None if data is None else ctypes.addressof(data),
            cmdp=ctypes.addressof(command),
            sbp=ctypes.addressof(sense),
            timeout=min(timeout_ms, NO_LIMIT_MS) or NO_LIMIT_MS,
        )
        try:
            self._ioctl(self._fd, SG_IO, header)
        except OSError as error:
            raise self._failure(error, cdb) from error
        came = length - header.resid
        if data_in_length and data is not None and 0 <= came <= length:
            return completion(self._named(cdb), header, sense.raw, ctypes.string_at(data, came))
        return completion(self._named(cdb), header, sense.raw, b"")

    def close(self) -> None:
        """Close the node."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def _named(self, cdb: bytes) -> str:
        return f"{command_name(cdb)} through {self._node}"

    def _failure(self, error: OSError, cdb: bytes) -> DriveError:
        what = self._named(cdb)
        match error.errno:
            case errno.EPERM | errno.EACCES:
                other = self._generic and self._generic != self._node
                hint = f": sg:{self._generic} takes it" if other else ""
                return AccessDenied(f"{what} is for root{hint}")
            case errno.ENODEV | errno.ENXIO:
                return Disconnected(f"{what}: the drive is gone")
            case errno.EBUSY | errno.EAGAIN:
                return DriveInUse(f"{what}: the drive is in use by another process")
            case errno.ENOTTY | errno.ENOSYS:
                return NotFound(f"{self._node} is no SCSI device of this kernel")
            case errno.ETIMEDOUT:
                return Timeout(f"{what}: no answer in time")
        return TransportError(f"{what}: {error.strerror or error}")


def completion(what: str, header: SgIoHeader, sense: bytes, data: bytes) -> Completion:
    """Return how a command, `what`, ended, from what the kernel wrote into a header.

    Raises Timeout, Disconnected or TransportError where the drive did not end it, and
    ProtocolError where it ended in something that is no end of a SCSI command.
    """
    host, driver = header.host_status, header.driver_status & 0x0F
    if host in LATE or driver == DRIVER_TIMEOUT:
        raise Timeout(f"{what}: no answer in time")
    if host in GONE:
        raise Disconnected(f"{what}: the drive is gone")
    if host:
        known = host in HostStatus._value2member_map_
        name = HostStatus(host).name if known else f"{host:02X}h"
        raise TransportError(f"{what}: the kernel tells {name}")
    if driver not in (0, DRIVER_SENSE):
        raise TransportError(f"{what}: the kernel tells of driver status {driver:02X}h")
    if not 0 <= header.resid <= header.dxfer_len:
        raise ProtocolError(f"{what}: residue {header.resid} of {header.dxfer_len} bytes")
    try:
        status = ScsiStatus(header.status)
    except ValueError:
        raise ProtocolError(f"{what}: {header.status:02X}h is no SCSI status") from None
    found = None
    if status is ScsiStatus.CHECK_CONDITION:
        try:
            found = Sense.decode(sense[: header.sb_len_wr])
        except DecodeError:
            found = None
    return Completion(status, found, data, header.resid)


def attach(
    rest: str,
    options: OpenOptions,
    ioctl: Ioctl | None = None,
    root: Path = ROOT,  # where /dev, /proc and /sys are looked for
    platform: str = sys.platform,
) -> Attachment:
    """Open the drive at the node that `rest` names; raise DriveError when it is not to be had."""
    if not rest:
        raise ValueError("sg: is not sg:/dev/sgN or sg:/dev/sdX")
    if platform != "linux":
        raise NoBackend("sg: is for Linux; here, use usb:VID:PID")
    if options.trace is not None:
        raise ValueError("sg: shows no bus to trace: -v shows the commands, usb:VID:PID the bus")
    if ioctl is None:
        from fcntl import ioctl  # of Unix alone
    assert ioctl is not None
    node = Path(rest)
    disk = LinuxDisk.at(node, root)
    if disk.kind not in (DISK, None):
        raise NotFound(f"{node} is no disk, but a SCSI device of type {disk.kind:02X}h")
    with ExitStack() as undo:
        fd = _opened(node, disk)
        generic = f"/dev/{disk.generic}" if disk.generic else ""
        opened = SgIoTransport(fd, str(node), generic, ioctl)
        undo.callback(opened.close)
        transfer_bytes = _transfer_bytes(fd, str(node), ioctl)
        transport: CommandTransport = opened
        if options.on_exchange is not None:
            transport = Verbose(transport, options.on_exchange)
        refusal = why_not(options, None, disk.serial)
        interlocked = Interlocked(transport, refusal, lambda: disk.uses(root))
        return Attachment(
            transport=interlocked,
            operator=options.operator,
            is_trusted=False,
            serial=disk.serial,
            destroys_data=refusal is None,
            close=undo.pop_all().close,
            holder=HeldDisk(disk, ioctl, root),
            transfer_bytes=transfer_bytes,
            vouched=interlocked.vouched,
        )


def _direction(data_out: bytes, data_in_length: int) -> Direction:
    if data_in_length:
        return Direction.FROM_DEVICE
    return Direction.TO_DEVICE if data_out else Direction.NONE


def _opened(node: Path, disk: LinuxDisk) -> int:
    """Open for all commands, also where there is no medium; one that is read-only, for reading."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(node, os.O_RDWR | flags)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise _not_opened(error, node, disk) from error
    try:
        return os.open(node, os.O_RDONLY | flags)
    except OSError as error:
        raise _not_opened(error, node, disk) from error


def _not_opened(error: OSError, node: Path, disk: LinuxDisk) -> DriveError:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return AccessDenied(f"not allowed to open {node}{_remedy(disk)}")
        case errno.EBUSY:
            return DriveInUse(f"{node} is in use by another process")
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return NotFound(f"{node}: no drive is there")
    return TransportError(f"{node}: {error.strerror or error}")


def _remedy(disk: LinuxDisk) -> str:
    """Return how to let whoever sits at the machine open the drive."""
    if disk.usb is None:
        return ": try it as root"
    vendor, product = disk.usb
    return (
        '; add to /etc/udev/rules.d/70-sedlab.rules: SUBSYSTEM=="scsi_generic", '
        f'ATTRS{{idVendor}}=="{vendor:04x}", ATTRS{{idProduct}}=="{product:04x}", TAG+="uaccess"'
    )


def _transfer_bytes(fd: int, node: str, ioctl: Ioctl) -> int:
    """Return what one command may move; raise NotFound for a node that takes no SG_IO."""
    number = ctypes.c_int()
    try:
        ioctl(fd, SG_GET_VERSION_NUM, number)
        if number.value < VERSION_MIN:
            raise NotFound(f"{node} takes no SG_IO of version 3")
        # The buffer is of no use here: asking for a large one tells the largest that there can be.
        ioctl(fd, SG_SET_RESERVED_SIZE, ctypes.c_int(WANTED_BYTES))
        ioctl(fd, SG_GET_RESERVED_SIZE, number)
    except OSError as error:
        raise NotFound(f"{node} is no SCSI device of this kernel") from error
    return max(number.value // BLOCK_BYTES, 1) * BLOCK_BYTES
