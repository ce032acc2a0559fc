"""The interlock of real hardware: what passes without leave, and what does not even with it."""

import pytest

from hil_tests.ram_disk import INQUIRY, TEST_UNIT_READY, VENDOR, RamDrive, read10, write10
from hil_tests.test_libusb import CAREFUL, NAME, SERIAL, reach
from host_driver.attachment import OpenOptions
from host_driver.backends.in_process import InProcess
from host_driver.errors import CommandRefused
from host_driver.interlock import PROVISIONED_MARK, Interlocked, file_system, is_harmless
from host_driver.transport import Completion, ScsiStatus

LEAVE = OpenOptions(destroys_data=True, serial=SERIAL)
WRITE = write10(0, 1)
BLOCK = bytes(512)


NO_LEAVE: dict[str, tuple[str, OpenOptions]] = {
    "nothing was said": (NAME, CAREFUL),
    "only the serial number was said": (f"{NAME}:{SERIAL}", OpenOptions(serial=SERIAL)),
    "only --destroys-data was said": (NAME, OpenOptions(destroys_data=True)),
    "another serial number was said": (NAME, OpenOptions(destroys_data=True, serial="0" * 12)),
    "two serial numbers were said": (
        f"{NAME}:{SERIAL}",
        OpenOptions(destroys_data=True, serial="0" * 12),
    ),
}


@pytest.mark.parametrize("said", NO_LEAVE)
def test_nothing_is_written_without_leave(said: str) -> None:
    drive = RamDrive()
    name, options = NO_LEAVE[said]
    attachment = reach(name, options, InProcess([drive]))
    with pytest.raises(CommandRefused, match=r"^WRITE_10 not sent: .*serial number"):
        attachment.transport.execute(WRITE, data_out=BLOCK)

    assert not attachment.destroys_data
    assert drive.disk.executed == []


def test_drive_without_serial_number_is_never_written() -> None:
    options = OpenOptions(destroys_data=True, serial="")
    attachment = reach(NAME, options, InProcess([RamDrive("")]))

    with pytest.raises(CommandRefused, match="has no serial number"):
        attachment.transport.execute(WRITE, data_out=BLOCK)


@pytest.mark.parametrize(("name", "options"), [
    (NAME, LEAVE), (f"{NAME}:{SERIAL}", OpenOptions(destroys_data=True)),
])  # fmt: skip
def test_blank_drive_is_written_with_leave(name: str, options: OpenOptions) -> None:
    attachment = reach(name, options, InProcess([RamDrive()]))

    assert attachment.destroys_data
    assert attachment.transport.execute(WRITE, data_out=BLOCK).status is ScsiStatus.GOOD


@pytest.mark.parametrize("cdb", [WRITE, VENDOR, bytes.fromhex("b5f0000200000000020000000000")])
def test_drive_with_a_file_system_is_refused_even_with_leave(cdb: bytes) -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    attachment = reach(NAME, LEAVE, InProcess([drive]))

    with pytest.raises(CommandRefused, match="the drive holds a boot sector"):
        attachment.transport.execute(cdb, data_out=BLOCK)


def test_drive_prepared_by_sedlab_may_hold_a_file_system() -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    drive.disk.blocks[: len(PROVISIONED_MARK)] = PROVISIONED_MARK
    attachment = reach(NAME, LEAVE, InProcess([drive]))

    assert attachment.transport.execute(WRITE, data_out=BLOCK).status is ScsiStatus.GOOD


def test_locked_drive_is_looked_at_again_once_it_is_open() -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    drive.disk.is_locked = True
    attachment = reach(NAME, LEAVE, InProcess([drive]))
    while_locked = attachment.transport.execute(VENDOR)
    drive.disk.is_locked = False
    with pytest.raises(CommandRefused, match="holds a boot sector"):
        attachment.transport.execute(WRITE, data_out=BLOCK)

    assert while_locked.status is ScsiStatus.GOOD


def test_attention_does_not_hide_the_file_system() -> None:
    drive = RamDrive()
    drive.disk.blocks[510:512] = b"\x55\xaa"
    drive.disk.attentions = 1
    attachment = reach(NAME, LEAVE, InProcess([drive]))

    with pytest.raises(CommandRefused, match="holds a boot sector"):
        attachment.transport.execute(WRITE, data_out=BLOCK)


class Unreadable:
    """A transport to a drive whose every command fails without saying why."""

    def execute(
        self, cdb: bytes, data_out: bytes = b"", data_in_length: int = 0, timeout_ms: int = 0
    ) -> Completion:
        return Completion(ScsiStatus.CHECK_CONDITION, None, b"", 0)

    def close(self) -> None:
        """Nothing to close."""


def test_drive_that_cannot_be_read_is_not_written() -> None:
    with pytest.raises(CommandRefused, match="could not be read"):
        Interlocked(Unreadable(), refusal=None).execute(WRITE, data_out=BLOCK)


HARMLESS = [
    TEST_UNIT_READY,
    INQUIRY,
    read10(0, 1),
    bytes.fromhex("b5f0000100000000020000000000"),
    bytes.fromhex("3c030000000000000400"),
]
HARMFUL = {
    "WRITE(16)": b"\x8a" + bytes(15),
    "UNMAP": b"\x42" + bytes(9),
    "FORMAT UNIT": b"\x04" + bytes(5),
    "SANITIZE": b"\x48" + bytes(9),
    "MODE SELECT": b"\x15" + bytes(5),
    "WRITE BUFFER": b"\x3b\x8d" + bytes(8),
    "READ BUFFER of another mode": b"\x3c\x1c" + bytes(8),
    "ATA PASS-THROUGH": b"\x85" + bytes(15),
    "a PIN message": bytes.fromhex("b5f0000200000000020000000000"),
    "SECURITY PROTOCOL OUT to Opal": bytes.fromhex("b501000100000000020000000000"),
    "VERIFY with data": bytes.fromhex("2f020000000000000100"),
    "SERVICE ACTION IN of another kind": b"\x9e\x12" + bytes(14),
    "a truncated SECURITY PROTOCOL OUT": b"\xb5",
}


@pytest.mark.parametrize("cdb", HARMLESS)
def test_command_that_only_asks_passes(cdb: bytes) -> None:
    assert is_harmless(cdb)


@pytest.mark.parametrize("name", HARMFUL)
def test_command_that_may_change_something_does_not_pass(name: str) -> None:
    assert not is_harmless(HARMFUL[name])


@pytest.mark.parametrize(("offset", "magic", "name"), [
    (0, b"LUKS\xba\xbe\x00\x02", "LUKS"), (0x438, b"\x53\xef", "ext2, 3 or 4"),
    (0x200, b"EFI PART", "GPT"), (0x10040, b"_BHRfS_M", "Btrfs"), (0, b"XFSB", "XFS"),
])  # fmt: skip
def test_file_systems_are_known_by_their_signatures(offset: int, magic: bytes, name: str) -> None:
    assert file_system(bytes(offset) + magic) == name


@pytest.mark.parametrize("start", [b"", bytes(70000), b"\xff" * 70000])
def test_blank_medium_holds_no_file_system(start: bytes) -> None:
    assert file_system(start) is None
