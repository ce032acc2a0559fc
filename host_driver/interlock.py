"""The interlock of real hardware: nothing that destroys happens by mistake.

Without leave, only commands known to change nothing pass. With leave, the medium is looked at
before the first command that may change it: a drive that holds a file system somebody made is
refused. What a locked drive holds cannot be seen, so it is looked at again after it opens.

A drive that the system holds meanwhile, and uses, is neither changed nor locked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from firmware_model.wire.sense import SenseKey
from host_driver.attachment import OpenOptions
from host_driver.errors import CommandRefused, DriveInUse
from host_driver.transport import DEFAULT_TIMEOUT_MS, CommandTransport, Completion, ScsiStatus
from host_driver.verbose import command_name

# Stands at the start of block 0 of a drive that was handed to sedlab to be overwritten.
PROVISIONED_MARK: Final = b"SEDLAB TEST DRIVE\n"

# Reading, asking and flushing. START STOP UNIT may lock the drive, and changes nothing stored.
HARMLESS: Final = frozenset(bytes.fromhex("00 03 08 12 1A 1B 1E 23 25 28 35 5A 88 91 A0 A2 A3 A8"))
START_STOP_UNIT = 0x1B
SERVICE_ACTION_IN_16, READ_CAPACITY_16 = 0x9E, 0x10
VERIFY_10, VERIFY_16 = 0x2F, 0x8F
READ_BUFFER, DESCRIPTOR_MODE = 0x3C, 0x03
SECURITY_PROTOCOL_OUT, NATIVE_PROTOCOL = 0xB5, 0xF0
# The native channels that carry no operation: a session's opening, and a nonce for evidence.
HARMLESS_CHANNELS: Final = frozenset((0x0001, 0x0011))

READ_CAPACITY_10: Final = bytes.fromhex("25000000000000000000")
LOOK_BYTES: Final = 0x1_0080  # as far as the farthest signature below
MAX_ATTENTIONS: Final = 4
SIGNATURES: Final = (
    (0x000, b"LUKS\xba\xbe", "LUKS"),
    (0x000, b"XFSB", "XFS"),
    (0x020, b"NXSB", "APFS"),
    (0x1FE, b"\x55\xaa", "a boot sector"),  # MBR and so GPT, FAT, exFAT, NTFS
    (0x200, b"EFI PART", "GPT"),
    (0x200, b"LABELONE", "LVM"),
    (0x400, b"H+", "HFS+"),
    (0x400, b"\x10\x20\xf5\xf2", "F2FS"),
    (0x438, b"\x53\xef", "ext2, 3 or 4"),
    (0xFF6, b"SWAPSPACE2", "swap"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x1_0040, b"_BHRfS_M", "Btrfs"),
)


def is_harmless(cdb: bytes) -> bool:
    """Return whether a command surely changes nothing; what is not known is not harmless."""
    opcode = cdb[0]
    if opcode in HARMLESS:
        return True
    if opcode == SERVICE_ACTION_IN_16:
        return cdb[1:2] == bytes((READ_CAPACITY_16,))
    if opcode == READ_BUFFER:
        return cdb[1:2] == bytes((DESCRIPTOR_MODE,))
    if opcode in (VERIFY_10, VERIFY_16):
        return len(cdb) > 1 and not cdb[1] & 0x06  # BYTCHK 0: the drive compares with itself
    if opcode == SECURITY_PROTOCOL_OUT and cdb[1:2] == bytes((NATIVE_PROTOCOL,)):
        return int.from_bytes(cdb[2:4], "big") in HARMLESS_CHANNELS
    return False


def file_system(start: bytes) -> str | None:
    """Return what the first bytes of a medium say it holds; None for nothing, or for our mark."""
    if start.startswith(PROVISIONED_MARK):
        return None
    for offset, magic, name in SIGNATURES:
        if start[offset : offset + len(magic)] == magic:
            return name
    return None


def why_not(options: OpenOptions, named: str | None, serial: str) -> str | None:
    """Return why nothing may be changed on a drive; None when all was said that must be.

    `named` is the serial number in the URL, `serial` the drive's own.
    """
    if not options.destroys_data:
        return "it may change a real drive, which needs --destroys-data and its serial number"
    said = [one for one in (named, options.serial) if one is not None]
    if not said:
        return "--destroys-data needs the drive's serial number as well"
    if not serial:
        return "the drive has no serial number by which to mean it"
    if any(one != serial for one in said):
        return "the serial number given is not that of the drive"
    return None


def nothing() -> list[str]:
    """Return no use: of a drive that the system does not hold."""
    return []


class Interlocked:
    """A command transport that refuses what it was not given leave for.

    `refusal` is why nothing may be changed; None gives leave. `uses` is asked before each command
    that may change or lock the drive: what the system does with it now.
    """

    def __init__(
        self,
        inner: CommandTransport,
        refusal: str | None,
        uses: Callable[[], list[str]] = nothing,
    ) -> None:
        self._inner = inner
        self._refusal = refusal
        self._uses = uses
        self._was_looked_at = False
        self._is_vouched_for = False

    @contextmanager
    def vouched(self) -> Iterator[None]:
        """Take it on trust, for a while, that no command changes anything, whatever its CDB is."""
        self._is_vouched_for = True
        try:
            yield
        finally:
            self._is_vouched_for = False

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run the command; raise CommandRefused where it might change a drive that it must not.

        Raises DriveInUse where it might change or lock one that the system uses.
        """
        harmless = is_harmless(cdb)
        if not harmless or cdb[0] == START_STOP_UNIT:
            used = self._uses()
            if used:
                name = command_name(cdb)
                raise DriveInUse(f"{name} not sent: the drive is {', '.join(used)}")
        if not harmless and not self._is_vouched_for:
            if self._refusal is not None:
                raise CommandRefused(f"{command_name(cdb)} not sent: {self._refusal}")
            if not self._was_looked_at:
                self.look()
        return self._inner.execute(cdb, data_out, data_in_length, timeout_ms)

    def close(self) -> None:
        """Close the transport below."""
        self._inner.close()

    def look(self) -> None:
        """Raise CommandRefused if the medium holds a file system, or cannot be told not to."""
        capacity = self._read(READ_CAPACITY_10, 8)
        if capacity is None:
            return
        block_count = int.from_bytes(capacity[:4], "big") + 1
        block_bytes = int.from_bytes(capacity[4:8], "big")
        if not 512 <= block_bytes <= LOOK_BYTES:
            raise CommandRefused(f"not sent: the drive says its blocks have {block_bytes} bytes")
        wanted = min(block_count, -(-LOOK_BYTES // block_bytes))
        read = b"\x28" + bytes(6) + wanted.to_bytes(2, "big") + b"\x00"
        start = self._read(read, wanted * block_bytes)
        if start is None:
            return
        held = file_system(start)
        if held is not None:
            raise CommandRefused(f"not sent: the drive holds {held}, and sedlab did not prepare it")
        self._was_looked_at = True

    def _read(self, cdb: bytes, length: int) -> bytes | None:
        """Return data of exactly `length`, or None when the drive keeps its medium to itself."""
        for _ in range(MAX_ATTENTIONS):
            completion = self._inner.execute(cdb, data_in_length=length)
            if completion.status is ScsiStatus.GOOD and len(completion.data) == length:
                return completion.data
            key = None if completion.sense is None else completion.sense.key
            if key in (SenseKey.NOT_READY, SenseKey.DATA_PROTECT):
                return None
            if key is not SenseKey.UNIT_ATTENTION:
                break
        raise CommandRefused("not sent: what the drive holds could not be read", completion.sense)
