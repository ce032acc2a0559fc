"""The logical unit of a real drive: what comes before any command in each state of the drive."""

import pytest

from firmware_model.firmware.commands.traits import TRAITS
from firmware_model.wire import mode, scsi
from firmware_model.wire.cdb import FORMS, decode_cdb
from firmware_model.wire.native import Role
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPCODE,
    LOCKED,
    MEDIUM_CHANGED,
    NO_SENSE,
    POWER_ON_RESET,
    SELF_TEST_FAILED,
    SOFTWARE_WRITE_PROTECTED,
    WRITE_PROTECTED,
    Sense,
)
from hil_tests.logical_units import BLOCK, PIN, SAMPLES, NativeUnit

NEED_MEDIUM = [each for each in SAMPLES if TRAITS[type(each)].needs_medium]
WRITES = [each for each in SAMPLES if TRAITS[type(each)].writes]
# What says what the drive is, in any state; starting a locked one is another matter.
ALWAYS = [
    each
    for each in SAMPLES
    if not TRAITS[type(each)].needs_medium
    and not isinstance(each, scsi.SecurityProtocolOut | scsi.SendDiagnostic)
    and not isinstance(each, scsi.ActivateMicrocode | scsi.DownloadMicrocode)
]


def test_every_command_has_traits_a_form_and_a_sample() -> None:
    of_forms = {form.command for form in FORMS} | {scsi.ActivateMicrocode}

    assert set(TRAITS) == of_forms == {type(each) for each in SAMPLES}
    for command in SAMPLES:
        assert decode_cdb(command.encode()) == command


@pytest.mark.parametrize("command", NEED_MEDIUM, ids=str)
def test_locked_drive_answers_media_access_as_if_there_were_none(
    locked: NativeUnit, command: scsi.Command
) -> None:
    assert locked.run(command, SAMPLES[command]) == LOCKED


@pytest.mark.parametrize("command", NEED_MEDIUM, ids=str)
def test_drive_locked_again_answers_no_more_than_one_that_was_never_opened(
    opened: NativeUnit, command: scsi.Command
) -> None:
    """The blocks are there, and are what the host sends or are not: it makes no difference."""
    opened.run(scsi.Write(0, 1), BLOCK)
    opened.firmware.lock()

    for data in (SAMPLES[command], bytes(len(SAMPLES[command]))):
        reply = opened.unit.execute(command.encode(), data)
        assert (reply.sense, reply.data) == (LOCKED, b"")
        assert reply.sense is not None and reply.sense.information is None


@pytest.mark.parametrize("command", ALWAYS, ids=str)
def test_locked_drive_still_says_what_it_is(locked: NativeUnit, command: scsi.Command) -> None:
    locked.unit.use_statuses(True)

    assert isinstance(locked.run(command, SAMPLES[command]), bytes)


@pytest.mark.parametrize("command", NEED_MEDIUM, ids=str)
def test_drive_that_failed_its_self_test_says_so(command: scsi.Command) -> None:
    unit = NativeUnit(failed=("AES",))
    unit.settle()

    assert unit.run(command, SAMPLES[command]) == SELF_TEST_FAILED


@pytest.mark.parametrize("command", WRITES, ids=str)
def test_read_only_drive_refuses_what_writes(opened: NativeUnit, command: scsi.Command) -> None:
    opened.run(scsi.Write(0, 1), BLOCK)
    opened.firmware.set_read_only(True)

    assert opened.unit.transfer(command.encode()) == scsi.NOTHING
    assert opened.run(command, SAMPLES[command]) == WRITE_PROTECTED
    assert opened.run(command, bytes(2048)) == WRITE_PROTECTED  # whatever it is compared with
    assert opened.run(scsi.Read(0, 1)) == BLOCK


@pytest.mark.parametrize("command", WRITES, ids=str)
def test_medium_that_the_host_protects_is_not_written(
    opened: NativeUnit, command: scsi.Command
) -> None:
    opened.run(scsi.Write(0, 1), BLOCK)
    protected = bytes(4) + bytes((0x0A, 0x0A, 0, 0, 0x08)) + bytes(7)
    opened.run(scsi.ModeSelect(len(protected)), protected)

    assert opened.run(command, SAMPLES[command]) == SOFTWARE_WRITE_PROTECTED
    assert opened.run(scsi.Read(0, 1)) == BLOCK


def test_read_only_drive_says_so_in_its_mode_header(opened: NativeUnit) -> None:
    opened.firmware.set_read_only(True)

    header = opened.run(scsi.ModeSense(mode.ALL_PAGES))
    assert isinstance(header, bytes)
    assert mode.ModeParameters.decode(header, 6).is_write_protected


def test_unit_attention_is_told_once_and_not_to_inquiry() -> None:
    unit = NativeUnit()

    assert isinstance(unit.run(scsi.Inquiry()), bytes)
    assert unit.run(scsi.TestUnitReady()) == POWER_ON_RESET
    assert unit.run(scsi.TestUnitReady()) == LOCKED


def test_unlocking_is_told_as_a_new_medium(locked: NativeUnit) -> None:
    locked.open()
    locked.firmware.lock()
    locked.firmware.unlock(Role.USER, PIN)

    assert locked.run(scsi.TestUnitReady()) == MEDIUM_CHANGED
    assert locked.run(scsi.TestUnitReady()) == b""


def test_request_sense_tells_the_last_refusal_in_either_format(locked: NativeUnit) -> None:
    for wants_descriptor in (False, True):
        assert locked.run(scsi.Read(0, 1)) == LOCKED
        told = locked.run(scsi.RequestSense(252, wants_descriptor))
        again = locked.run(scsi.RequestSense(252, wants_descriptor))

        assert isinstance(told, bytes) and Sense.decode(told) == LOCKED
        assert told[0] == (0x72 if wants_descriptor else 0x70)
        assert isinstance(again, bytes) and Sense.decode(again) == NO_SENSE


def test_request_sense_tells_a_unit_attention_that_waits() -> None:
    assert NativeUnit().told() == POWER_ON_RESET


def test_sense_data_that_went_with_a_status_is_not_told_again(locked: NativeUnit) -> None:
    refused = locked.run(scsi.Read(0, 1))
    assert isinstance(refused, Sense)

    assert locked.unit.sense_data(refused) == LOCKED.encode_fixed()
    assert locked.told() == NO_SENSE


def test_d_sense_has_a_status_come_with_descriptor_format(opened: NativeUnit) -> None:
    wants_descriptors = bytes(4) + bytes((0x0A, 0x0A, 0x04)) + bytes(9)
    opened.run(scsi.ModeSelect(len(wants_descriptors)), wants_descriptors)
    refused = opened.run_cdb(bytes.fromhex("28 20 00 00 00 00 00 00 01 00"))
    assert isinstance(refused, Sense)

    data = opened.unit.sense_data(refused)
    assert data.hex() == "72052400000000080206" + "0000" + "cf0001" + "00"


def test_answers_are_cut_to_the_allocation_length(opened: NativeUnit) -> None:
    for length in (0, 1, 5, 17, 36):
        assert len(opened.run(scsi.Inquiry(length))) == length  # type: ignore[arg-type]
        assert len(opened.run(scsi.RequestSense(min(length, 18)))) == min(length, 18)  # type: ignore[arg-type]


@pytest.mark.parametrize(("command", "length"), [
    (scsi.Inquiry(255), 74), (scsi.Inquiry(8), 8), (scsi.Inquiry(255, 0xB2), 8),
    (scsi.ReadCapacity(), 8), (scsi.ReadCapacity(16, 255), 32), (scsi.ReportLuns(256), 16),
    (scsi.ReadFormatCapacities(252), 12), (scsi.ModeSense(0x08, 192), 24),
    (scsi.Inquiry(255, 0xC0), 0), (scsi.GetLbaStatus(0, 1024), 24), (scsi.ReadDefectData(), 4),
    (scsi.ReportTaskFunctions(255), 4), (scsi.ReportSupportedOpcodes(1, 0x28), 14),
])  # fmt: skip
def test_command_moves_what_it_has_to_say_and_not_its_allocation_length(
    opened: NativeUnit, command: scsi.Command, length: int
) -> None:
    assert opened.unit.transfer(command.encode()).length == length


def test_command_that_the_medium_is_missing_for_moves_nothing(locked: NativeUnit) -> None:
    assert locked.unit.transfer(scsi.GetLbaStatus(0, 1024).encode()) == scsi.NOTHING
    assert locked.unit.transfer(scsi.ReadCapacity(16).encode()) == scsi.NOTHING


def test_transfer_beyond_the_limit_that_is_told_is_refused(opened: NativeUnit) -> None:
    most = scsi.TRANSFER_BLOCKS_MAX
    beyond = (
        scsi.Read(0, most + 1, 16),
        scsi.Write(0, most + 1, 16),
        scsi.WriteAndVerify(0, most + 1, 16),
        scsi.OrWrite(0, most + 1),
        scsi.Verify(0, most + 1, 16, compares=True),
    )

    assert [opened.run(each) for each in beyond] == [INVALID_FIELD_IN_CDB] * 5
    assert [opened.unit.transfer(each.encode()) for each in beyond] == [scsi.NOTHING] * 5
    assert len(opened.run(scsi.Read(0, most, 16))) == most * 512  # type: ignore[arg-type]


def test_unknown_and_vendor_opcodes_are_refused(opened: NativeUnit) -> None:
    for opcode in (0x02, 0x7F, 0xC0, 0xFF):
        assert opened.unit.execute(bytes((opcode,)) + bytes(15), b"").sense == INVALID_OPCODE


def test_ordinary_stick_does_not_know_what_takes_a_lock_or_firmware(plain: NativeUnit) -> None:
    for command in (
        scsi.SecurityProtocolIn(0, 0, 64),
        scsi.SecurityProtocolOut(0, 0, 0),
        scsi.ReadBufferDescriptor(),
        scsi.ActivateMicrocode(),
    ):
        assert plain.run(command) == INVALID_OPCODE


def test_persistent_reservations_are_there_where_a_conflict_can_be_told(
    opened: NativeUnit,
) -> None:
    command = scsi.PersistentReserveIn(scsi.ReserveIn.READ_KEYS)
    assert opened.run(command) == INVALID_OPCODE

    opened.unit.use_statuses(True)
    assert opened.run(command) == bytes(8)
