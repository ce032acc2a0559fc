"""CDBs and sense data: bytes of the standards' tables, and any bytes at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire import mode, scsi
from firmware_model.wire.capacity import Capacity
from firmware_model.wire.cdb import FORMS, Form, decode_cdb
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.inquiry import StandardInquiry, VpdPage
from firmware_model.wire.mode import ModeParameters
from firmware_model.wire.reports import LbaStatus, decode_lba_statuses
from firmware_model.wire.scsi import ReservationType, ReserveIn, ReserveOut, buffer
from firmware_model.wire.scsi.reservations import ReserveParameters
from firmware_model.wire.security import SupportedProtocols
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPCODE,
    FieldPointer,
    Progress,
    Sense,
    SenseKey,
)

# Written from the tables of SPC-4 and SBC-3, not by our own encoders.
BY_HAND: dict[str, scsi.Command] = {
    "00 00 00 00 00 00": scsi.TestUnitReady(),
    "03 00 00 00 12 00": scsi.RequestSense(18),
    "03 01 00 00 fc 00": scsi.RequestSense(252, wants_descriptor=True),
    "12 00 00 00 24 00": scsi.Inquiry(36),
    "12 01 83 01 00 00": scsi.Inquiry(256, 0x83),
    "1a 00 3f 00 c0 00": scsi.ModeSense(0x3F, 192),
    "5a 08 48 00 00 00 00 01 00 00": scsi.ModeSense(8, 256, 10, 1, no_block_descriptors=True),
    "15 10 00 00 18 00": scsi.ModeSelect(24),
    "55 11 00 00 00 00 00 00 10 00": scsi.ModeSelect(16, 10, saves=True),
    "1b 00 00 00 02 00": scsi.StartStopUnit(False, True),
    "1e 00 00 00 01 00": scsi.PreventAllow(True),
    "1d 04 00 00 00 00": scsi.SendDiagnostic(),
    "1d 00 00 00 00 00": scsi.SendDiagnostic(tests_itself=False),
    "23 00 00 00 00 00 00 00 fc 00": scsi.ReadFormatCapacities(),
    "25 00 00 00 00 00 00 00 00 00": scsi.ReadCapacity(),
    "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00": scsi.ReadCapacity(16),
    "08 1f ff ff 00 00": scsi.Read(0x1FFFFF, 256, 6),
    "28 00 00 00 10 00 00 00 08 00": scsi.Read(0x1000, 8),
    "a8 00 00 00 10 00 00 01 00 00 00 00": scsi.Read(0x1000, 65536, 12),
    "88 00 00 00 00 01 00 00 00 00 00 00 00 01 00 00": scsi.Read(1 << 32, 1, 16),
    "0a 00 00 05 02 00": scsi.Write(5, 2, 6),
    "2a 00 00 00 10 00 00 00 08 00": scsi.Write(0x1000, 8),
    "28 08 00 00 10 00 00 00 08 00": scsi.Read(0x1000, 8, fua=True),
    "8a 08 00 00 00 01 00 00 00 00 00 00 00 01 00 00": scsi.Write(1 << 32, 1, 16, fua=True),
    "2f 02 00 00 00 07 00 00 01 00": scsi.Verify(7, 1, compares=True),
    "af 06 00 00 00 07 00 00 00 01 00 00": scsi.Verify(7, 1, 12, compares=True, repeats=True),
    "2e 00 00 00 00 07 00 00 01 00": scsi.WriteAndVerify(7, 1),
    "ae 02 00 00 00 07 00 00 00 01 00 00": scsi.WriteAndVerify(7, 1, 12, compares=True),
    "8e 00 00 00 00 00 00 00 00 07 00 00 00 01 00 00": scsi.WriteAndVerify(7, 1, 16),
    "89 08 00 00 00 01 00 00 00 00 00 00 00 02 00 00": scsi.CompareAndWrite(1 << 32, 2, True),
    "8b 00 00 00 00 01 00 00 00 00 00 00 00 02 00 00": scsi.OrWrite(1 << 32, 2),
    "34 02 00 00 10 00 00 00 08 00": scsi.PreFetch(0x1000, 8, is_immediate=True),
    "90 00 00 00 00 01 00 00 00 00 00 00 00 02 00 00": scsi.PreFetch(1 << 32, 2, 16),
    "41 00 00 00 10 00 00 00 08 00": scsi.WriteSame(0x1000, 8),
    "93 09 00 00 00 01 00 00 00 00 00 00 00 02 00 00": scsi.WriteSame(1 << 32, 2, 16, True, True),
    "42 00 00 00 00 00 00 00 18 00": scsi.Unmap(24),
    "37 00 1d 00 00 00 00 01 00 00": scsi.ReadDefectData(True, True, 5, 256),
    "b7 08 00 00 00 00 00 00 01 00 00 00": scsi.ReadDefectData(False, True, 0, 256, 12),
    "9e 12 00 00 00 01 00 00 00 00 00 00 00 18 00 00": scsi.GetLbaStatus(1 << 32),
    "91 02 00 00 00 01 00 00 00 00 00 00 00 02 00 00": scsi.SynchronizeCache(
        1 << 32, 2, 16, is_immediate=True
    ),
    "16 00 00 00 00 00": scsi.Reserve(),
    "57 00 00 00 00 00 00 00 00 00": scsi.Release(10),
    "5e 03 00 00 00 00 00 01 00 00": scsi.PersistentReserveIn(ReserveIn.READ_FULL_STATUS, 256),
    "5f 01 03 00 00 00 00 00 18 00": scsi.PersistentReserveOut(
        ReserveOut.RESERVE, ReservationType.EXCLUSIVE_ACCESS
    ),
    "5f 06 00 00 00 00 00 00 18 00": scsi.PersistentReserveOut(
        ReserveOut.REGISTER_AND_IGNORE_EXISTING_KEY
    ),
    "a3 0c 82 9e 00 12 00 00 01 00 00 00": scsi.ReportSupportedOpcodes(2, 0x9E, 0x12, True, 256),
    "a3 0d 80 00 00 00 00 00 00 10 00 00": scsi.ReportTaskFunctions(16, is_extended=True),
    "1b 00 00 00 30 00": scsi.StartStopUnit(False, power_condition=3),
    "48 a3 00 00 00 00 00 00 00 00": scsi.Sanitize(is_immediate=True, is_unrestricted=True),
    "48 1f 00 00 00 00 00 00 00 00": scsi.ExitFailureMode(),
    "8f 00 00 00 00 00 00 00 00 07 00 00 00 01 00 00": scsi.Verify(7, 1, 16),
    "35 00 00 00 00 00 00 00 00 00": scsi.SynchronizeCache(),
    "a0 00 00 00 00 00 00 00 00 10 00 00": scsi.ReportLuns(),
    "04 00 00 00 00 00": scsi.FormatUnit(),
    "48 03 00 00 00 00 00 00 00 00": scsi.Sanitize(),
    "a2 f0 00 10 00 00 00 00 00 40 00 00": scsi.SecurityProtocolIn(0xF0, 0x10, 64),
    "3b 8d 00 00 10 00 00 20 00 00": buffer.DownloadMicrocode(0x1000, 0x2000),
    "3b 0f 00 00 00 00 00 00 00 00": buffer.ActivateMicrocode(),
    "3c 03 00 00 00 00 00 00 04 00": buffer.ReadBufferDescriptor(4),
    "b5 f0 00 02 80 00 00 00 00 02 00 00": scsi.SecurityProtocolOut(0xF0, 2, 1024, True),
}


@pytest.mark.parametrize("text", BY_HAND)
def test_cdb_of_the_standard_is_the_command_and_back(text: str) -> None:
    cdb, command = bytes.fromhex(text), BY_HAND[text]

    assert command.encode() == cdb
    assert decode_cdb(cdb) == command


@pytest.mark.parametrize(
    "text",
    [
        "3b 07 00 00 00 00 00 10 00 00",  # save and activate
        "3b 0d 00 00 00 00 00 10 00 00",  # no power on is to activate
        "3b ed 00 00 00 00 00 10 00 00",  # other events are
        "3b 0e 00 00 00 00 00 10 00 00",  # START STOP UNIT and others are
        "3b 8d 01 00 00 00 00 10 00 00",  # another buffer
        "3b 02 00 00 00 00 00 10 00 00",  # data
        "3c 02 00 00 00 00 00 00 04 00",  # data
        "3c 03 01 00 00 00 00 00 04 00",  # another buffer
        "3c 03 00 00 00 01 00 00 04 00",  # an offset
    ],
)
def test_buffer_is_used_in_no_other_way(text: str) -> None:
    assert decode_cdb(bytes.fromhex(text)) == INVALID_FIELD_IN_CDB


def test_activating_ignores_what_a_piece_would_have_said() -> None:
    cdb = bytes.fromhex("3b 0f 05 00 10 00 00 20 00 00")

    assert decode_cdb(cdb) == buffer.ActivateMicrocode()


def test_buffer_descriptor_is_laid_out_as_the_standard_prints_it() -> None:
    descriptor = buffer.BufferDescriptor(12, 0x020000)

    assert descriptor.encode().hex() == "0c020000"
    assert buffer.BufferDescriptor.decode(descriptor.encode()) == descriptor


@pytest.mark.parametrize("text", BY_HAND)
def test_cdb_truncated_at_any_length_is_refused(text: str) -> None:
    cdb = bytes.fromhex(text)

    for length in range(1, len(cdb)):
        assert decode_cdb(cdb[:length]) == INVALID_FIELD_IN_CDB
    assert decode_cdb(b"") == INVALID_OPCODE


@pytest.mark.parametrize("text", BY_HAND)
def test_linked_command_is_refused(text: str) -> None:
    cdb = bytearray.fromhex(text)
    cdb[-1] |= 1

    assert decode_cdb(bytes(cdb)) == INVALID_FIELD_IN_CDB


def by_name(form: Form) -> str:
    return form.usage[:2].hex() if form.service_action is not None else form.usage[:1].hex()


@pytest.mark.parametrize("form", FORMS, ids=by_name)
def test_every_bit_that_means_nothing_is_refused_and_pointed_at(form: Form) -> None:
    """One bit more than a command may have: the pointer is at its byte, and not right of it."""
    valid = form.usage[:1] + bytes(
        byte if at == 1 and form.service_action is not None else 0
        for at, byte in enumerate(form.usage[1:], 1)
    )
    for at in range(1, len(valid)):
        for bit in range(8):
            is_action = at == 1 and bit < 5 and form.service_action is not None
            if form.usage[at] >> bit & 1 or is_action:
                continue
            refused = decode_cdb(valid[:at] + bytes((valid[at] | 1 << bit,)) + valid[at + 1 :])

            assert isinstance(refused, Sense) and refused == INVALID_FIELD_IN_CDB
            assert isinstance(refused.specific, FieldPointer) and refused.specific.is_in_cdb
            pointed = refused.specific.bit
            assert refused.specific.byte == at and pointed is not None and pointed >= bit


def test_every_operation_code_is_there_once_or_with_actions_of_its_own() -> None:
    names = [(form.opcode, form.service_action) for form in FORMS]

    assert len(set(names)) == len(names)
    assert {opcode for opcode, _ in names} == set(scsi.Opcode)


@pytest.mark.parametrize(
    ("text", "byte", "bit"),
    [
        ("28 20 00 00 00 00 00 00 01 00", 1, 7),  # RDPROTECT 001b: its leftmost bit
        ("2a e0 00 00 00 00 00 00 01 00", 1, 7),  # WRPROTECT
        ("41 10 00 00 00 00 00 00 01 00", 1, 4),  # ANCHOR, beside WRPROTECT
        ("42 01 00 00 00 00 00 00 18 00", 1, 0),  # ANCHOR
        ("2f 04 00 00 00 00 00 00 01 00", 1, 2),  # BYTCHK 10b
        ("12 00 80 00 ff 00", 2, None),  # a page, but not EVPD
        ("15 00 00 00 10 00", 1, 4),  # PF clear
        ("1e 00 00 00 02 00", 4, 1),  # PREVENT 10b
        ("48 02 00 00 00 00 00 00 00 00", 1, 4),  # no such service action
        ("9e 1f 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 1, 4),
        ("a3 0c 04 00 00 00 00 00 01 00 00 00", 2, 2),  # REPORTING OPTIONS 100b
        ("a0 00 03 00 00 00 00 00 01 00 00 00", 2, None),  # SELECT REPORT
        ("a0 00 00 00 00 00 00 00 00 0f 00 00", 6, None),  # an allocation length too small
        ("5f 01 13 00 00 00 00 00 18 00", 2, 7),  # no scope but the unit
        ("5f 01 02 00 00 00 00 00 18 00", 2, 3),  # no such type
        ("1d 20 00 00 00 00", 1, 7),  # SELF-TEST CODE 001b
        ("89 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", 13, None),  # nothing to compare
        ("3b 02 00 00 00 00 00 00 10 00", 1, 4),  # MODE
    ],
)
def test_refusal_points_at_the_field(text: str, byte: int, bit: int | None) -> None:
    refused = decode_cdb(bytes.fromhex(text))

    assert isinstance(refused, Sense) and refused == INVALID_FIELD_IN_CDB
    assert refused.specific == FieldPointer(byte, bit)


@given(st.binary(max_size=32))
def test_any_bytes_are_a_command_that_encodes_back_or_a_refusal(cdb: bytes) -> None:
    command = decode_cdb(cdb)

    if isinstance(command, Sense):
        assert command in (INVALID_OPCODE, INVALID_FIELD_IN_CDB)
        return
    assert decode_cdb(command.encode()) == command
    length = command.transfer.length
    assert length is not None and length >= 0


@given(st.sampled_from(FORMS), st.binary(min_size=16, max_size=16))
def test_any_fields_of_a_form_are_a_command_that_encodes_back_or_a_refusal(
    form: Form, bits: bytes
) -> None:
    fields = bytes(byte & bits[at] for at, byte in enumerate(form.usage))
    action = form.service_action or 0
    cdb = form.usage[:1] + bytes((fields[1] | action,)) + fields[2:]
    command = decode_cdb(cdb)

    if isinstance(command, Sense):
        assert command == INVALID_FIELD_IN_CDB
        return
    assert decode_cdb(command.encode()) == command
    assert command.transfer.length is not None and command.transfer.length >= 0


SPECIFICS = st.none() | st.builds(
    FieldPointer, st.integers(0, 0xFFFF), st.none() | st.integers(0, 7), st.booleans()
)


@given(
    st.sampled_from(SenseKey),
    st.integers(0, 255),
    st.integers(0, 255),
    st.none() | st.integers(0, 2**32 - 1),
    st.booleans(),
    SPECIFICS | st.builds(Progress, st.integers(0, 0xFFFF)),
)
def test_sense_data_of_both_formats_reads_back(
    key: SenseKey,
    asc: int,
    ascq: int,
    information: int | None,
    is_deferred: bool,
    specific: FieldPointer | Progress | None,
) -> None:
    sense = Sense(key, asc, ascq, information, is_deferred, specific)
    kinds = {
        SenseKey.ILLEGAL_REQUEST: FieldPointer,
        SenseKey.NO_SENSE: Progress,
        SenseKey.NOT_READY: Progress,
    }

    for data in (sense.encode_fixed(), sense.encode_descriptor()):
        read = Sense.decode(data)
        assert read == sense and read.information == information
        if isinstance(specific, kinds.get(key, type(None))):
            assert read.specific == specific


def test_sense_data_is_laid_out_as_the_standard_prints_it() -> None:
    sense = Sense(SenseKey.NOT_READY, 0x3A, 0x00)

    assert sense.encode_fixed().hex() == "700002000000000a000000003a0000000000"
    assert sense.encode_descriptor().hex() == "72023a0000000000"
    assert str(sense) == "NOT_READY 3Ah/00h"


def test_what_more_there_is_to_say_is_where_the_standard_has_it() -> None:
    pointed = Sense(SenseKey.ILLEGAL_REQUEST, 0x24, 0x00, specific=FieldPointer(6, 7))
    listed = Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x00, specific=FieldPointer(8, None, False))
    miscompared = Sense(SenseKey.MISCOMPARE, 0x1D, 0x00, 0x123)
    half_done = Sense(SenseKey.NOT_READY, 0x04, 0x1B, specific=Progress(0x8000))

    assert pointed.encode_fixed()[15:] == bytes.fromhex("cf0006")
    assert pointed.encode_descriptor()[7:] == bytes.fromhex("08 02060000 cf0006 00")
    assert listed.encode_fixed()[15:] == bytes.fromhex("800008")
    assert miscompared.encode_fixed()[:7] == bytes.fromhex("f0000e00000123")
    assert miscompared.encode_descriptor()[7:] == bytes.fromhex("0c 000a8000 0000000000000123")
    assert half_done.encode_fixed()[15:] == bytes.fromhex("808000")


DECODERS = {
    "sense data": Sense.decode,
    "INQUIRY data": StandardInquiry.decode,
    "VPD page": VpdPage.decode,
    "READ CAPACITY(10)": Capacity.decode_10,
    "READ CAPACITY(16)": Capacity.decode_16,
    "mode parameters (6)": lambda data: ModeParameters.decode(data, 6),
    "mode parameters (10)": lambda data: ModeParameters.decode(data, 10),
    "security protocols": SupportedProtocols.decode,
    "buffer descriptor": buffer.BufferDescriptor.decode,
    "reservation parameters": ReserveParameters.decode,
    "LBA status": LbaStatus.decode,
    "LBA statuses": decode_lba_statuses,
    "mode pages": mode.decode_pages,
}


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_value_or_a_refusal(name: str, data: bytes) -> None:
    try:
        value = DECODERS[name](data)
    except DecodeError as refused:
        assert str(refused)
    else:
        assert value is not None


@given(st.binary(max_size=80), st.sampled_from((6, 10)))
def test_any_mode_list_gives_pages_or_a_refusal(data: bytes, size: int) -> None:
    pages = mode.selected(data, size, mode.DEFAULTS)

    if isinstance(pages, Sense):
        assert pages.key is SenseKey.ILLEGAL_REQUEST
    else:
        assert {code: len(page) for code, page in pages.items()} == {
            code: len(page) for code, page in mode.DEFAULTS.items()
        }
