"""What the unit is and can do, and whether its medium is there."""

from dataclasses import replace

import pytest

from firmware_model.firmware.policy import Policy
from firmware_model.wire import scsi
from firmware_model.wire.cdb import FORMS, Form
from firmware_model.wire.native import State
from firmware_model.wire.security import SupportedProtocols
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    LBA_OUT_OF_RANGE,
    LOCKED,
    REMOVAL_PREVENTED,
    SELF_TEST_FAILED,
    START_REQUIRED,
    FieldPointer,
    Sense,
)
from hil_tests.logical_units import BLOCK, NativeUnit, PlainUnit, Unit

EJECT, LOAD = scsi.StartStopUnit(False, True), scsi.StartStopUnit(True, True)
STOP, START = scsi.StartStopUnit(False), scsi.StartStopUnit(True)


def data(unit: Unit, command: scsi.Command) -> bytes:
    """Return the data a command answers."""
    answer = unit.run(command)
    assert isinstance(answer, bytes)
    return answer


# --- what it is --------------------------------------------------------------------------------


def test_inquiry_is_that_of_a_removable_disk_of_these_standards(opened: NativeUnit) -> None:
    inquiry = data(opened, scsi.Inquiry(255))

    assert inquiry[:8].hex() == "0080060245000002"
    assert inquiry[8:36] == b"sedlab  Native          0001"
    assert inquiry[36:58] == bytes(22)
    # SAM-5, SPC-4, SBC-3, USB 2.0, Bulk-Only, UAS
    assert inquiry[58:].hex() == "00a0046004c017291730174000000000"


def test_vital_product_data_names_its_pages(opened: NativeUnit) -> None:
    listed = data(opened, scsi.Inquiry(255, 0x00))

    assert list(listed[4:]) == [0x00, 0x80, 0x83, 0x86, 0xB0, 0xB1, 0xB2]
    for code in listed[4:]:
        page = data(opened, scsi.Inquiry(255, code))
        assert page[1] == code and int.from_bytes(page[2:4], "big") == len(page) - 4
    refused = opened.run(scsi.Inquiry(255, 0xC0))
    assert refused == INVALID_FIELD_IN_CDB
    assert isinstance(refused, Sense) and refused.specific == FieldPointer(2)


def test_pages_tell_serial_number_and_designation(opened: NativeUnit) -> None:
    assert data(opened, scsi.Inquiry(255, 0x80))[4:] == b"0123456789AB"
    designation = data(opened, scsi.Inquiry(255, 0x83))[4:]

    assert designation[:4].hex() == "02010024"  # ASCII, T10 vendor identification, of the unit
    assert designation[4:] == b"sedlab  Native          0123456789AB"


def test_commands_may_be_simple_ordered_or_for_the_head_of_the_queue(opened: NativeUnit) -> None:
    assert data(opened, scsi.Inquiry(255, 0x86))[5] == 0x07


def test_medium_does_not_rotate_and_can_be_read_after_an_erase(opened: NativeUnit) -> None:
    page = data(opened, scsi.Inquiry(255, 0xB1))

    assert page[4:9].hex() == "0001001001"  # WACEREQ 01b, VBULS
    assert page[9:] == bytes(55)


@pytest.mark.parametrize(("select", "luns"), [(0, 1), (1, 0), (2, 1)])
def test_there_is_one_unit_and_no_well_known_one(
    opened: NativeUnit, select: int, luns: int
) -> None:
    told = data(opened, scsi.ReportLuns(64, select))

    assert told == (8 * luns).to_bytes(4, "big") + bytes(4 + 8 * luns)


# --- whether the medium is there ---------------------------------------------------------------


def test_ejecting_locks_unless_it_is_prevented(opened: NativeUnit) -> None:
    opened.run(scsi.PreventAllow(True))
    assert opened.run(EJECT) == REMOVAL_PREVENTED
    opened.run(scsi.PreventAllow(False))

    assert opened.run(EJECT) == b""
    assert opened.firmware.state is State.LOCKED
    assert opened.run(scsi.TestUnitReady()) == LOCKED


def test_what_was_locked_is_not_loaded_without_a_pin(opened: NativeUnit) -> None:
    opened.run(EJECT)

    assert opened.run(LOAD) == opened.run(START) == LOCKED
    assert opened.run(scsi.Read(0, 1)) == LOCKED
    assert opened.open().run(LOAD) == b""


def test_ordinary_stick_has_no_medium_until_it_is_loaded(plain: PlainUnit) -> None:
    plain.run(scsi.Write(0, 1), BLOCK)
    assert plain.run(EJECT) == b""
    for command in (scsi.TestUnitReady(), scsi.ReadCapacity(), scsi.Read(0, 1), START):
        assert plain.run(command) == LOCKED  # medium not present
    assert data(plain, scsi.ReadFormatCapacities())[8] == 0x03

    assert plain.run(LOAD) == b""
    assert plain.run(scsi.Read(0, 1)) == BLOCK


def test_diagnostic_that_asks_for_nothing_tests_nothing(opened: NativeUnit) -> None:
    opened.firmware.fail("worn out")

    assert opened.run(scsi.SendDiagnostic()) == SELF_TEST_FAILED
    assert opened.run(scsi.SendDiagnostic(tests_itself=False)) == b""


def test_medium_is_not_loaded_while_the_door_is_locked(plain: PlainUnit) -> None:
    plain.run(EJECT)
    plain.run(scsi.PreventAllow(True))
    assert plain.run(LOAD) == REMOVAL_PREVENTED
    plain.run(scsi.PreventAllow(False))

    assert plain.run(LOAD) == b""


def test_reset_ends_what_prevents_removal(plain: PlainUnit) -> None:
    plain.run(scsi.PreventAllow(True))
    plain.unit.reset()
    plain.settle()

    assert plain.run(EJECT) == b""


@pytest.mark.parametrize("condition", range(1, 16))
def test_power_condition_makes_no_difference(opened: NativeUnit, condition: int) -> None:
    assert opened.run(scsi.StartStopUnit(False, True, condition)) == b""

    assert opened.run(scsi.TestUnitReady()) == b""


def test_stopped_drive_is_used_again_as_it_is_or_when_it_is_started(opened: NativeUnit) -> None:
    assert opened.run(STOP) == b""
    assert opened.run(scsi.TestUnitReady()) == b""

    def needs_start(policy: Policy) -> Policy:
        return replace(policy, start_after_stop=True)

    strict = NativeUnit(change=needs_start).own().open()
    assert strict.run(STOP) == b""
    for command in (scsi.TestUnitReady(), scsi.Read(0, 1), scsi.ReadCapacity(), scsi.Sanitize()):
        assert strict.run(command) == START_REQUIRED
    assert isinstance(strict.run(scsi.Inquiry()), bytes)
    assert strict.run(START) == b""
    assert strict.run(scsi.Read(0, 1)) == bytes(512)


# --- what it can do ----------------------------------------------------------------------------


def supported(unit: Unit, wants_timeouts: bool = False) -> list[tuple[int, int | None, int]]:
    """Return operation code, service action and CDB length of every command that is listed."""
    told = data(unit, scsi.ReportSupportedOpcodes(wants_timeouts=wants_timeouts))
    step = 20 if wants_timeouts else 8
    assert int.from_bytes(told[:4], "big") == len(told) - 4 and not (len(told) - 4) % step
    found = []
    for at in range(4, len(told), step):
        each = told[at : at + step]
        assert bool(each[5] & 2) is wants_timeouts
        if wants_timeouts:
            assert each[8:10] == b"\x00\x0a" and int.from_bytes(each[16:20], "big") > 0
        action = int.from_bytes(each[2:4], "big") if each[5] & 1 else None
        found.append((each[0], action, int.from_bytes(each[6:8], "big")))
    return found


@pytest.mark.parametrize("wants_timeouts", [False, True])
def test_all_commands_are_listed(opened: NativeUnit, wants_timeouts: bool) -> None:
    opened.unit.use_statuses(True)

    assert supported(opened, wants_timeouts) == [
        (form.opcode, form.service_action, len(form.usage)) for form in FORMS
    ]


def test_no_command_is_listed_that_this_drive_does_not_have(
    opened: NativeUnit, plain: PlainUnit
) -> None:
    opcodes = [opcode for opcode, _, _ in supported(plain)]

    assert 0x5E not in [opcode for opcode, _, _ in supported(opened)]
    assert not {0xA2, 0xB5, 0x3B, 0x3C} & set(opcodes)
    for opcode in opcodes:
        refused = plain.run_cdb(bytes((opcode,)) + bytes(15))
        assert not isinstance(refused, Sense) or (refused.asc, refused.ascq) != (0x20, 0x00)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.usage[:2].hex())
def test_one_command_is_told_with_the_bits_that_mean_something(
    opened: NativeUnit, form: Form
) -> None:
    opened.unit.use_statuses(True)
    usage, action = form.usage, form.service_action
    fitting, other = (1, 2) if action is None else (2, 1)
    wanted = bytes((0, 3)) + len(usage).to_bytes(2, "big") + usage
    ask = scsi.ReportSupportedOpcodes(fitting, usage[0], action or 0)

    assert data(opened, ask) == wanted
    assert data(opened, replace(ask, options=3)) == wanted
    timed = data(opened, replace(ask, wants_timeouts=True))
    assert timed[:2] == b"\x00\x83" and timed[2 : len(wanted)] == wanted[2:]
    assert len(timed) == len(wanted) + 12
    assert opened.run(replace(ask, options=other)) == INVALID_FIELD_IN_CDB


def test_command_that_there_is_not_is_told_as_such(opened: NativeUnit) -> None:
    for ask in (
        scsi.ReportSupportedOpcodes(1, 0x02),
        scsi.ReportSupportedOpcodes(2, 0x02, 1),
        scsi.ReportSupportedOpcodes(3, 0x02),
        scsi.ReportSupportedOpcodes(2, 0x9E, 0x1F),
        scsi.ReportSupportedOpcodes(3, 0x28, 0x01),
    ):
        assert data(opened, ask).hex() == "00010000"


def test_dpo_and_fua_are_among_the_bits_of_what_reads_and_writes(opened: NativeUnit) -> None:
    for opcode in (0x28, 0x2A, 0x88, 0x8A, 0x89, 0x8B, 0xA8, 0xAA):
        told = data(opened, scsi.ReportSupportedOpcodes(1, opcode))
        assert told[5] & 0x18 == 0x18


def test_task_management_functions_are_told(opened: NativeUnit) -> None:
    assert data(opened, scsi.ReportTaskFunctions(64)).hex() == "dc070000"
    assert data(opened, scsi.ReportTaskFunctions(64, True)).hex() == "dc07000c" + "00" * 12
    assert data(opened, scsi.ReportTaskFunctions(4, True)).hex() == "dc07000c"


# --- security and the end ----------------------------------------------------------------------


def test_security_information_lists_protocols_and_has_no_certificate(locked: NativeUnit) -> None:
    listed = data(locked, scsi.SecurityProtocolIn(0, 0, 512, True))

    assert SupportedProtocols.decode(listed).protocols == (0x00, 0xF0)
    assert data(locked, scsi.SecurityProtocolIn(0, 1, 64)).hex() == "00000000"
    assert data(locked, scsi.SecurityProtocolIn(0, 2, 64)).hex() == "00000000"
    refused = locked.run(scsi.SecurityProtocolIn(0, 3, 64))
    assert refused == INVALID_FIELD_IN_CDB
    assert isinstance(refused, Sense) and refused.specific == FieldPointer(2)
    unknown = locked.run(scsi.SecurityProtocolIn(0x01, 1, 64))
    assert isinstance(unknown, Sense) and unknown.specific == FieldPointer(1)


@pytest.mark.parametrize(
    "command",
    [scsi.FormatUnit(), scsi.Sanitize(), scsi.Sanitize(True, True)],
    ids=str,
)
def test_erase_is_over_when_it_is_answered(opened: NativeUnit, command: scsi.Command) -> None:
    opened.run(scsi.Write(0, 1), BLOCK)

    assert opened.run(command) == b""
    assert opened.firmware.state is State.ERASED
    assert opened.run(scsi.Read(0, 1)) == LOCKED
    assert opened.told() == LOCKED  # and nothing of an erase that goes on


def test_there_is_no_failure_to_leave(opened: NativeUnit) -> None:
    assert opened.run(scsi.ExitFailureMode()) == b""


def test_other_ways_to_sanitize_are_refused(opened: NativeUnit) -> None:
    opened.run(scsi.Write(0, 1), BLOCK)
    for text in (
        "48 01 00 00 00 00 00 02 04 00",  # overwrite
        "48 02 00 00 00 00 00 00 00 00",  # block erase
        "48 03 00 00 00 00 00 00 08 00",  # with a parameter list
        "48 43 00 00 00 00 00 00 00 00",  # a reserved bit
        "04 10 00 00 00 00",  # FORMAT UNIT with one
    ):
        assert opened.run_cdb(bytes.fromhex(text), bytes(1024)) == INVALID_FIELD_IN_CDB

    assert opened.run(scsi.Read(0, 1)) == BLOCK
    assert opened.run(scsi.Read(1 << 31, 1)) == LBA_OUT_OF_RANGE
