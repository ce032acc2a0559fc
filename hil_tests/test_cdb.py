"""CDBs and sense data: bytes of the standards' tables, and any bytes at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire import buffer, scsi
from firmware_model.wire.capacity import Capacity
from firmware_model.wire.cdb import decode_cdb, transfer_of
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.inquiry import StandardInquiry, VpdPage
from firmware_model.wire.mode import ModeParameters, changes_nothing
from firmware_model.wire.security import SupportedProtocols
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPCODE,
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
    "23 00 00 00 00 00 00 00 fc 00": scsi.ReadFormatCapacities(),
    "25 00 00 00 00 00 00 00 00 00": scsi.ReadCapacity(),
    "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00": scsi.ReadCapacity(16),
    "08 1f ff ff 00 00": scsi.Read(0x1FFFFF, 256, 6),
    "28 00 00 00 10 00 00 00 08 00": scsi.Read(0x1000, 8),
    "a8 00 00 00 10 00 00 01 00 00 00 00": scsi.Read(0x1000, 65536, 12),
    "88 00 00 00 00 01 00 00 00 00 00 00 00 01 00 00": scsi.Read(1 << 32, 1, 16),
    "0a 00 00 05 02 00": scsi.Write(5, 2, 6),
    "2a 00 00 00 10 00 00 00 08 00": scsi.Write(0x1000, 8),
    "2f 02 00 00 00 07 00 00 01 00": scsi.Verify(7, 1, compares=True),
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


@given(st.binary(max_size=32))
def test_any_bytes_are_a_command_that_encodes_back_or_a_refusal(cdb: bytes) -> None:
    command = decode_cdb(cdb)

    if isinstance(command, Sense):
        assert command in (INVALID_OPCODE, INVALID_FIELD_IN_CDB)
        return
    assert decode_cdb(command.encode()) == command
    length = transfer_of(command).length
    assert length is not None and length >= 0


@given(
    st.sampled_from(SenseKey),
    st.integers(0, 255),
    st.integers(0, 255),
    st.none() | st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_sense_data_of_both_formats_reads_back(
    key: SenseKey, asc: int, ascq: int, information: int | None, is_deferred: bool
) -> None:
    sense = Sense(key, asc, ascq, information, is_deferred)

    assert Sense.decode(sense.encode_fixed()) == sense
    assert Sense.decode(sense.encode_descriptor()) == sense


def test_sense_data_is_laid_out_as_the_standard_prints_it() -> None:
    sense = Sense(SenseKey.NOT_READY, 0x3A, 0x00)

    assert sense.encode_fixed().hex() == "700002000000000a000000003a0000000000"
    assert sense.encode_descriptor().hex() == "72023a0000000000"
    assert str(sense) == "NOT_READY 3Ah/00h"


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
def test_any_mode_list_is_judged(data: bytes, size: int) -> None:
    assert changes_nothing(data, size) in (True, False)
