"""The logical unit of a real drive: what it answers in each state, and to any bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.controller import DriveController
from firmware_model.firmware.firmware import Firmware
from firmware_model.firmware.logical_unit import Identity, LogicalUnit
from firmware_model.firmware.native import NativeChannels
from firmware_model.firmware.parts import make_parts
from firmware_model.firmware.reference import REFERENCE
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire import mode, scsi
from firmware_model.wire.native import Role
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETERS,
    INVALID_OPCODE,
    LBA_OUT_OF_RANGE,
    LOCKED,
    MEDIUM_CHANGED,
    MISCOMPARE,
    NO_SENSE,
    PARAMETER_LIST_LENGTH_ERROR,
    POWER_ON_RESET,
    REMOVAL_PREVENTED,
    SAVING_NOT_SUPPORTED,
    SELF_TEST_FAILED,
    UNRECOVERED_READ,
    WRITE_PROTECTED,
    Sense,
)
from hil_tests.actions import PINS

PIN = PINS[0].encode()
BLOCK = bytes(range(256)) * 2


class Unit:
    """The logical unit of a drive, with the firmware behind it."""

    def __init__(self, failed: tuple[str, ...] = ()) -> None:
        drive = EmulatedDrive.new(profiles.load("native"), SeededNoise(b"unit"), kdf_iterations=1)
        parts = make_parts(REFERENCE)
        self.firmware = Firmware(drive.board, drive.policy, parts, self_test=lambda: failed)
        controller = DriveController(self.firmware, NativeChannels(self.firmware))
        self.unit = LogicalUnit(Identity("sedlab", "Native", "0001", "0123456789AB"), controller)
        self.firmware.on_open = lambda: self.unit.attention(MEDIUM_CHANGED)

    def run(self, command: scsi.Command, data: bytes = b"") -> bytes | Sense:
        reply = self.unit.execute(command.encode(), data)
        return reply.data if reply.sense is None else reply.sense

    def settle(self) -> None:
        """Hear the unit attentions that wait."""
        while isinstance(heard := self.run(scsi.TestUnitReady()), Sense) and heard.key == 6:
            pass


@pytest.fixture
def locked() -> Unit:
    unit = Unit()
    unit.firmware.set_pin(Role.USER, PIN)
    unit.settle()
    return unit


@pytest.fixture
def opened(locked: Unit) -> Unit:
    locked.firmware.unlock(Role.USER, PIN)
    locked.settle()
    return locked


MEDIUM = (
    scsi.TestUnitReady(),
    scsi.ReadCapacity(),
    scsi.ReadCapacity(16),
    scsi.Read(0, 1),
    scsi.Write(0, 1),
    scsi.Verify(0, 1),
    scsi.SynchronizeCache(),
    scsi.FormatUnit(),
    scsi.Sanitize(),
    scsi.StartStopUnit(True),
)
ALWAYS = (
    scsi.Inquiry(),
    scsi.Inquiry(255, 0x80),
    scsi.RequestSense(),
    scsi.ReportLuns(),
    scsi.ModeSense(0x3F),
    scsi.PreventAllow(False),
    scsi.SecurityProtocolIn(0, 0, 64),
    scsi.ReadFormatCapacities(),
)


@pytest.mark.parametrize("command", MEDIUM, ids=str)
def test_locked_drive_answers_media_access_as_if_there_were_none(
    locked: Unit, command: scsi.Command
) -> None:
    assert locked.run(command, BLOCK) == LOCKED


@pytest.mark.parametrize("command", ALWAYS, ids=str)
def test_locked_drive_still_says_what_it_is(locked: Unit, command: scsi.Command) -> None:
    assert isinstance(locked.run(command), bytes)


@pytest.mark.parametrize("command", MEDIUM, ids=str)
def test_drive_that_failed_its_self_test_says_so(command: scsi.Command) -> None:
    unit = Unit(failed=("AES",))
    unit.settle()

    assert unit.run(command, BLOCK) == SELF_TEST_FAILED


def test_blocks_written_are_read_and_compared(opened: Unit) -> None:
    assert opened.run(scsi.Write(5, 2), BLOCK * 2) == b""

    assert opened.run(scsi.Read(5, 2)) == BLOCK * 2
    assert opened.run(scsi.Verify(5, 2, compares=True), BLOCK * 2) == b""
    assert opened.run(scsi.Verify(5, 2, compares=True), bytes(1024)) == MISCOMPARE


@pytest.mark.parametrize("compares", [False, True])
def test_verify_finds_a_block_that_cannot_be_read(opened: Unit, compares: bool) -> None:
    opened.run(scsi.Write(0, 16), BLOCK * 16)
    nand = opened.firmware.board.nand
    assert opened.run(scsi.Verify(0, 16, compares=compares), BLOCK * 16) == b""
    for page, _, _ in list(nand.contents()):
        nand.flip(page, range(0, 4096 * 8, 3))

    assert opened.run(scsi.Verify(0, 16, compares=compares), BLOCK * 16) == UNRECOVERED_READ


@pytest.mark.parametrize("size", [10, 12, 16])
def test_blocks_beyond_the_end_are_refused(opened: Unit, size: int) -> None:
    end = opened.firmware.policy.block_count

    assert opened.run(scsi.Read(end - 1, 1, size)) == bytes(512)
    assert opened.run(scsi.Read(end, 1, size)) == LBA_OUT_OF_RANGE
    assert opened.run(scsi.Read(end - 1, 2, size)) == LBA_OUT_OF_RANGE
    assert opened.run(scsi.Write(end, 1, size), BLOCK) == LBA_OUT_OF_RANGE
    assert opened.run(scsi.Read(end, 0, size)) == b""


def test_write_of_fewer_bytes_than_told_changes_nothing(opened: Unit) -> None:
    opened.run(scsi.Write(0, 1), BLOCK)

    assert opened.run(scsi.Write(0, 2), bytes(1000)) == INVALID_FIELD_IN_CDB
    assert opened.run(scsi.Read(0, 1)) == BLOCK


def test_read_only_drive_refuses_writes_and_says_so_in_its_mode_header(opened: Unit) -> None:
    opened.firmware.set_read_only(True)

    assert opened.run(scsi.Write(0, 1), BLOCK) == WRITE_PROTECTED
    assert opened.run(scsi.Sanitize()) == WRITE_PROTECTED
    header = opened.run(scsi.ModeSense(0x3F))
    assert isinstance(header, bytes)
    assert mode.ModeParameters.decode(header, 6).is_write_protected


def test_unit_attention_is_told_once_and_not_to_inquiry() -> None:
    unit = Unit()

    assert isinstance(unit.run(scsi.Inquiry()), bytes)
    assert unit.run(scsi.TestUnitReady()) == POWER_ON_RESET
    assert unit.run(scsi.TestUnitReady()) == LOCKED


def test_unlocking_is_told_as_a_new_medium(locked: Unit) -> None:
    locked.firmware.unlock(Role.USER, PIN)

    assert locked.run(scsi.TestUnitReady()) == MEDIUM_CHANGED
    assert locked.run(scsi.TestUnitReady()) == b""


def test_request_sense_tells_the_last_refusal_in_either_format(locked: Unit) -> None:
    for wants_descriptor in (False, True):
        assert locked.run(scsi.Read(0, 1)) == LOCKED
        told = locked.run(scsi.RequestSense(252, wants_descriptor))
        again = locked.run(scsi.RequestSense(252, wants_descriptor))

        assert isinstance(told, bytes) and Sense.decode(told) == LOCKED
        assert isinstance(again, bytes) and Sense.decode(again) == NO_SENSE


def test_answers_are_cut_to_the_allocation_length(opened: Unit) -> None:
    for length in (0, 1, 5, 17, 36):
        assert len(opened.run(scsi.Inquiry(length))) == length  # type: ignore[arg-type]
        assert len(opened.run(scsi.RequestSense(min(length, 18)))) == min(length, 18)  # type: ignore[arg-type]


@pytest.mark.parametrize(("command", "length"), [
    (scsi.Inquiry(255), 36), (scsi.Inquiry(8), 8), (scsi.Inquiry(255, 0xB2), 8),
    (scsi.ReadCapacity(), 8), (scsi.ReadCapacity(16, 255), 32), (scsi.ReportLuns(256), 16),
    (scsi.ReadFormatCapacities(252), 12), (scsi.ModeSense(0x08, 192), 24),
    (scsi.Inquiry(255, 0xC0), 0),
])  # fmt: skip
def test_command_moves_what_it_has_to_say_and_not_its_allocation_length(
    opened: Unit, command: scsi.Command, length: int
) -> None:
    assert opened.unit.transfer(command.encode()).length == length


def test_vital_product_data_names_its_pages(opened: Unit) -> None:
    listed = opened.run(scsi.Inquiry(255, 0x00))
    assert isinstance(listed, bytes)

    assert list(listed[4:]) == [0x00, 0x80, 0x83, 0x86, 0xB0, 0xB1, 0xB2]
    for code in listed[4:]:
        page = opened.run(scsi.Inquiry(255, code))
        assert isinstance(page, bytes) and page[1] == code
    assert opened.run(scsi.Inquiry(255, 0xC0)) == INVALID_FIELD_IN_CDB


def test_block_limits_are_where_the_standard_has_them(opened: Unit) -> None:
    page = opened.run(scsi.Inquiry(255, 0xB0))
    assert isinstance(page, bytes)
    fields = {"granularity": (6, 8), "transfer": (8, 12), "unmap": (20, 24), "extents": (24, 28)}
    told = {name: int.from_bytes(page[slice(*at)], "big") for name, at in fields.items()}

    assert told == {"granularity": 256, "transfer": 32768, "unmap": 0xFFFF_FFFF, "extents": 256}


def test_transfer_beyond_the_limit_that_is_told_is_refused(opened: Unit) -> None:
    most = scsi.TRANSFER_BLOCKS_MAX
    beyond = (
        scsi.Read(0, most + 1, 16),
        scsi.Write(0, most + 1, 16),
        scsi.Verify(0, most + 1, 16, compares=True),
    )

    assert [opened.run(each) for each in beyond] == [INVALID_FIELD_IN_CDB] * 3
    assert [opened.unit.transfer(each.encode()) for each in beyond] == [scsi.NOTHING] * 3
    assert len(opened.run(scsi.Read(0, most, 16))) == most * 512  # type: ignore[arg-type]


def test_mode_pages_are_told_and_not_changed(opened: Unit) -> None:
    told = opened.run(scsi.ModeSense(0x3F))
    assert isinstance(told, bytes)
    as_they_are = bytes(4) + told[4:]

    assert opened.run(scsi.ModeSelect(len(as_they_are)), as_they_are) == b""
    changed = as_they_are[:6] + bytes((as_they_are[6] ^ 0xFF,)) + as_they_are[7:]
    assert opened.run(scsi.ModeSelect(len(changed)), changed) == INVALID_FIELD_IN_PARAMETERS
    assert opened.run(scsi.ModeSelect(3), bytes(3)) == PARAMETER_LIST_LENGTH_ERROR
    assert opened.run(scsi.ModeSelect(0)) == b""
    assert opened.run(scsi.ModeSense(0x3F, control=3)) == SAVING_NOT_SUPPORTED


def test_block_descriptor_that_would_change_the_block_length_is_refused(opened: Unit) -> None:
    descriptor = bytes(5) + (4096).to_bytes(3, "big")
    lists = {6: bytes((0, 0, 0, 8)) + descriptor, 10: bytes((0,) * 7 + (8,)) + descriptor}

    for size, data in lists.items():
        assert opened.run(scsi.ModeSelect(len(data), size), data) == INVALID_FIELD_IN_PARAMETERS


@pytest.mark.parametrize("length", [1, 7])
def test_unmap_list_without_room_for_its_header_has_a_wrong_length(
    opened: Unit, length: int
) -> None:
    assert opened.run(scsi.Unmap(length), bytes(length)) == PARAMETER_LIST_LENGTH_ERROR


def test_ejecting_locks_unless_it_is_prevented(opened: Unit) -> None:
    opened.run(scsi.PreventAllow(True))
    assert opened.run(scsi.StartStopUnit(False, True)) == REMOVAL_PREVENTED
    opened.run(scsi.PreventAllow(False))

    assert opened.run(scsi.StartStopUnit(False, True)) == b""
    assert opened.run(scsi.TestUnitReady()) == LOCKED


def test_unknown_and_vendor_opcodes_are_refused(opened: Unit) -> None:
    for opcode in (0x02, 0x7F, 0xC0, 0xFF):
        assert opened.unit.execute(bytes((opcode,)) + bytes(15), b"").sense == INVALID_OPCODE


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=16), st.binary(max_size=1100)), max_size=6))
def test_any_cdb_with_any_data_is_answered_and_the_drive_goes_on(
    commands: list[tuple[bytes, bytes]],
) -> None:
    unit = Unit()
    unit.firmware.set_pin(Role.USER, PIN)
    unit.firmware.unlock(Role.USER, PIN)
    for cdb, data in commands:
        unit.unit.transfer(cdb)
        unit.unit.execute(cdb, data)

    assert isinstance(unit.run(scsi.Inquiry()), bytes)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from((0xA2, 0xB5, 0x15, 0x55, 0x1A, 0x5A, 0x9E, 0x48, 0x42)),
    st.binary(min_size=15, max_size=15),
    st.binary(max_size=600),
)
def test_any_fields_of_a_known_opcode_are_answered(opcode: int, rest: bytes, data: bytes) -> None:
    unit = Unit()

    unit.unit.execute(bytes((opcode,)) + rest, data)

    assert isinstance(unit.run(scsi.Inquiry()), bytes)
