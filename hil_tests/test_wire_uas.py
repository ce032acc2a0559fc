"""Information units against captured bytes, round trips, truncation and any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.uas import (
    CommandIu,
    FromDrive,
    PipeId,
    PipeUsage,
    ReadyIu,
    ResponseCode,
    ResponseIu,
    SenseIu,
    TaskAttribute,
    TaskFunction,
    TaskManagementIu,
    ToDrive,
    decode_from_drive,
    decode_to_drive,
    tag_of,
)

# What Linux sent to a JMicron JMS566 and what that answered, as usbmon saw it ("Regression in Linux
# 5.4.17 for JMicron JMS566 enclosure" on linux-usb, 2020-04-17).
READ_10 = bytes.fromhex("01000001 00000000 00000000 00000000 28003a04 08000000 08000000 00000000")
GOOD = bytes.fromhex("03000001 00000000 00000000 00000000")


def test_command_that_linux_sent_is_read_field_by_field() -> None:
    command = CommandIu.decode(READ_10)

    assert command == CommandIu(1, bytes.fromhex("28003a0408000000 0800") + bytes(6))
    assert command.attribute is TaskAttribute.SIMPLE
    assert command.encode() == READ_10


def test_status_that_a_real_drive_sent_is_read() -> None:
    assert SenseIu.decode(GOOD) == SenseIu(1, ScsiStatus.GOOD)
    assert SenseIu(1, ScsiStatus.GOOD).encode() == GOOD


def test_short_cdb_is_filled_up_and_a_long_one_counted_in_units_of_four() -> None:
    short = CommandIu(5, bytes(6)).encode()
    long = CommandIu(5, bytes(range(29))).encode()

    assert len(short) == 32
    assert (len(long), long[6]) == (48, 16)
    assert CommandIu.decode(long).cdb == bytes(range(29)) + bytes(3)


def test_fields_stand_where_the_standard_puts_them() -> None:
    command = CommandIu(0x0102, b"\x12", 0x0A << 48, TaskAttribute.ORDERED, priority=3)
    refused = SenseIu(0x0102, ScsiStatus.CHECK_CONDITION, b"\x70\x00", qualifier=0x0304)
    response = ResponseIu(0x0102, ResponseCode.OVERLAPPED_TAG, 0xABCDEF)
    abort = TaskManagementIu(0x0102, TaskFunction.ABORT_TASK, 0x0304, 1 << 48)

    assert command.encode()[:17].hex() == "010001021a000000000a00000000000012"
    assert refused.encode().hex() == "03000102030402" + "00" * 7 + "00027000"
    assert response.encode().hex() == "04000102abcdef0a"
    assert abort.encode().hex() == "05000102010003040001000000000000"
    assert ReadyIu(0x0102, is_write=False).encode().hex() == "06000102"
    assert ReadyIu(0x0102, is_write=True).encode().hex() == "07000102"
    assert PipeUsage(PipeId.DATA_OUT).encode().hex() == "04240400"


TAGS = st.integers(0, 0xFFFF)
LUNS = st.integers(0, (1 << 64) - 1)
TO_DRIVE = st.one_of(
    st.builds(
        CommandIu,
        TAGS,
        st.integers(4, 67).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
        LUNS,
        st.sampled_from(TaskAttribute),
        st.integers(0, 15),
    ),
    st.builds(TaskManagementIu, TAGS, st.integers(0, 0xFF), TAGS, LUNS),
)
FROM_DRIVE = st.one_of(
    st.builds(SenseIu, TAGS, st.sampled_from(ScsiStatus), st.binary(max_size=252), TAGS),
    st.builds(ResponseIu, TAGS, st.sampled_from(ResponseCode), st.integers(0, 0xFFFFFF)),
    st.builds(ReadyIu, TAGS, st.booleans()),
)


@given(TO_DRIVE)
def test_what_goes_to_the_drive_comes_back_from_its_bytes(unit: ToDrive) -> None:
    assert decode_to_drive(unit.encode()) == unit
    assert tag_of(unit.encode()) == unit.tag


@given(FROM_DRIVE)
def test_what_comes_from_the_drive_comes_back_from_its_bytes(unit: FromDrive) -> None:
    assert decode_from_drive(unit.encode()) == unit


@given(TO_DRIVE | FROM_DRIVE, st.data())
def test_truncated_unit_is_refused(unit: ToDrive | FromDrive, data: st.DataObject) -> None:
    whole = unit.encode()
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]

    for decode in (decode_to_drive, decode_from_drive):
        with pytest.raises(DecodeError):
            decode(part)


IDS = st.sampled_from([b"\x01", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07"])


@given(st.binary(max_size=64) | st.tuples(IDS, st.binary(max_size=40)).map(b"".join))
def test_any_bytes_are_a_unit_or_refused(data: bytes) -> None:
    for decode in (decode_to_drive, decode_from_drive):
        try:
            unit = decode(data)
        except DecodeError:
            continue
        assert len(unit.encode()) == len(data)
        assert decode(unit.encode()) == unit
    assert (tag_of(data) is None) == (len(data) < 4)


RESERVED = {
    "task attribute": READ_10[:4] + b"\x03" + READ_10[5:],
    "status": GOOD[:6] + b"\x03" + GOOD[7:],
    "response code": bytes.fromhex("0400000100000001"),
    "unit": b"\x02" + READ_10[1:],
}


@pytest.mark.parametrize("what", RESERVED)
def test_reserved_value_is_refused(what: str) -> None:
    for decode in (decode_to_drive, decode_from_drive):
        with pytest.raises(DecodeError):
            decode(RESERVED[what])


def test_reserved_bytes_are_not_looked_at() -> None:
    marked = bytearray(READ_10)
    marked[1] = marked[5] = marked[7] = 0xFF

    assert CommandIu.decode(bytes(marked)) == CommandIu.decode(READ_10)


def test_pipe_usage_is_found_behind_other_descriptors() -> None:
    companion = bytes.fromhex("06300f050000")

    assert PipeUsage.among(companion + b"\x04\x24\x02\x00") == PipeUsage(PipeId.STATUS)
    assert PipeUsage.among(companion) is None


@given(st.binary(max_size=24))
def test_any_bytes_behind_an_endpoint_are_a_pipe_none_or_refused(extra: bytes) -> None:
    try:
        usage = PipeUsage.among(extra)
    except DecodeError:
        return
    assert usage is None or usage.pipe in PipeId


@pytest.mark.parametrize(
    "make",
    [
        lambda: CommandIu(0x10000, bytes(6)),
        lambda: CommandIu(1, b""),
        lambda: CommandIu(1, bytes(269)),
        lambda: SenseIu(1, ScsiStatus.GOOD, bytes(253)),
        lambda: TaskManagementIu(1, 1, managed_tag=-1),
        lambda: ReadyIu(-1, is_write=False),
    ],
)
def test_unit_that_no_bytes_can_hold_is_not_made(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"tag|CDB|sense"):
        make()
