"""The native dialect and the attempt log against bytes written out by hand, and any bytes."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire import native
from firmware_model.wire.attempt_log import (
    KINDS,
    NO_ROLE,
    Checkpoint,
    Event,
    Evidence,
    LogPage,
    LogRecord,
    head_after,
    next_head,
)
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import Version
from firmware_model.wire.native import (
    Answer,
    DriveHello,
    Entry,
    Feature,
    HostHello,
    Message,
    Operation,
    Result,
    Role,
    Sealed,
    State,
    Status,
)


class Codec(Protocol):
    def encode(self) -> bytes: ...

    @classmethod
    def decode(cls, data: bytes) -> Self: ...


BYTE = st.integers(0, 0xFF)
WORD = st.integers(0, 0xFFFF_FFFF)
LONG = st.integers(0, (1 << 64) - 1)
KEY = st.binary(min_size=32, max_size=32)
SIGNATURE = st.binary(min_size=64, max_size=64)
THREE = st.tuples(BYTE, BYTE, BYTE)
COUNTS = st.lists(WORD, min_size=KINDS, max_size=KINDS).map(tuple)
STATUSES = st.builds(
    Status,
    st.sampled_from(State),
    st.sampled_from(Entry),
    st.integers(0, 0x1F).map(Feature),
    THREE,
    THREE,
    st.none() | st.sampled_from(Role),
    st.booleans(),
    st.booleans(),
    BYTE,
    LONG,
    WORD.map(Version.numbered),
    WORD,
)
PIN = st.binary(max_size=64)
MESSAGES = st.builds(
    Message, st.sampled_from(Operation), st.sampled_from(Role), PIN, PIN, st.binary(max_size=32)
)
ANSWERS = st.builds(
    Answer, st.sampled_from(Result), BYTE, st.sampled_from(State), st.binary(max_size=480)
)
RECORDS = st.builds(LogRecord, LONG, LONG, st.sampled_from(Event), BYTE, LONG)
CHECKPOINTS = st.builds(Checkpoint, LONG, KEY, COUNTS, SIGNATURE)
PAGES = st.builds(
    LogPage,
    LONG,
    LONG,
    st.none() | CHECKPOINTS,
    st.lists(RECORDS, max_size=LogPage.RECORDS_MAX).map(tuple),
)
EVIDENCE = st.builds(Evidence, KEY, KEY, LONG, COUNTS, KEY, SIGNATURE)
SEALED = st.builds(Sealed, LONG, st.binary(min_size=528, max_size=528))
VALUES: list[st.SearchStrategy[Codec]] = [
    STATUSES,
    MESSAGES,
    ANSWERS,
    SEALED,
    RECORDS,
    CHECKPOINTS,
    PAGES,
    EVIDENCE,
    st.builds(HostHello, KEY),
    st.builds(DriveHello, KEY, KEY, SIGNATURE),
]
SAMPLES: list[Codec] = [
    Status(
        State.LOCKED,
        Entry.HOST,
        Feature.LOG,
        (9, 10, 3),
        (10, 10, 5),
        None,
        True,
        False,
        2,
        0,
        Version(1, 2, 3),
        7,
    ),
    Message(Operation.SET_PIN, Role.ADMIN, b"1234", b"567890", b"\x01"),
    Answer(Result.WRONG_PIN, 9, State.LOCKED, b"payload"),
    Sealed(7, b"c" * 528),
    LogRecord(3, 1_000_000, Event.UNLOCK, Role.USER),
    Checkpoint(64, b"h" * 32, tuple(range(KINDS)), b"s" * 64),
    Evidence(b"n" * 32, b"h" * 32, 9, tuple(range(KINDS)), b"i" * 32, b"s" * 64),
    HostHello(b"e" * 32),
    DriveHello(b"e" * 32, b"i" * 32, b"s" * 64),
]
FIXED_BYTES = [64, 512, 512, 536, 40, 232, 296, 32, 128]


def test_status_has_its_fields_where_the_layout_says() -> None:
    expected = bytes.fromhex(
        "01 00 0004 090a03 0a0a05 ff 01 00 02 0000000000000000 01020003 00000007"
    )

    assert SAMPLES[0].encode() == expected.ljust(64, b"\0")


def test_message_has_its_fields_where_the_layout_says() -> None:
    fields = b"1234".ljust(64, b"\0") + b"567890".ljust(64, b"\0") + b"\x01"

    assert SAMPLES[1].encode() == (bytes.fromhex("0301040601") + fields).ljust(512, b"\0")


def test_answer_has_its_fields_where_the_layout_says() -> None:
    expected = bytes.fromhex("01 09 01 0007") + b"payload"

    assert SAMPLES[2].encode() == expected.ljust(512, b"\0")


def test_log_record_has_its_fields_where_the_layout_says() -> None:
    expected = bytes.fromhex("0000000000000003 00000000000f4240 04 00 000000000000") + bytes(16)

    assert SAMPLES[4].encode() == expected


def test_log_page_of_most_records_fits_an_answer() -> None:
    records = (LogRecord(0, 0, Event.BOOT),) * LogPage.RECORDS_MAX
    page = LogPage(0, 5, Checkpoint(0, bytes(32), (0,) * KINDS, bytes(64)), records)

    assert len(page.encode()) <= native.PAYLOAD_BYTES_MAX


@pytest.mark.parametrize(("value", "size"), list(zip(SAMPLES, FIXED_BYTES, strict=True)))
def test_value_has_one_size(value: Codec, size: int) -> None:
    assert len(value.encode()) == size


@given(st.one_of(VALUES))
def test_value_survives_the_wire(value: Codec) -> None:
    assert type(value).decode(value.encode()) == value


@pytest.mark.parametrize("value", SAMPLES, ids=lambda value: type(value).__name__)
def test_value_truncated_at_any_length_is_refused(value: Codec) -> None:
    data = value.encode()

    for length in range(len(data)):
        with pytest.raises(DecodeError):
            type(value).decode(data[:length])


@given(st.builds(LogPage, LONG, LONG, CHECKPOINTS, st.tuples(RECORDS)))
def test_page_of_the_log_truncated_inside_a_record_or_before_is_refused(page: LogPage) -> None:
    data = page.encode()

    for length in {*range(len(data))} - {len(data) - 40}:  # without its record it is a page
        with pytest.raises(DecodeError):
            LogPage.decode(data[:length])


STRICT: list[Callable[[bytes], Codec]] = [
    Message.decode,
    Answer.decode,
    Sealed.decode,
    LogRecord.decode,
    Checkpoint.decode,
    LogPage.decode,
    Evidence.decode,
    DriveHello.decode,
]


def _sized(size: int) -> st.SearchStrategy[bytes]:
    """Give bytes of one size that begin small, so that some are nearly right."""
    head = st.lists(st.integers(0, 10), max_size=8).map(bytes)
    return st.builds(lambda a, b: (a + b).ljust(size, b"\0")[:size], head, st.binary(max_size=60))


ANY_BYTES = st.binary(max_size=600) | st.sampled_from(FIXED_BYTES).flatmap(_sized)


@given(st.sampled_from(STRICT), ANY_BYTES)
def test_any_bytes_are_a_value_that_encodes_back_or_a_refusal(
    decode: Callable[[bytes], Codec], data: bytes
) -> None:
    try:
        value = decode(data)
    except DecodeError:
        return

    assert value.encode() == data


@given(ANY_BYTES)
def test_any_bytes_are_a_status_that_survives_the_wire_or_a_refusal(data: bytes) -> None:
    try:
        status = Status.decode(data)
    except DecodeError:
        return

    assert Status.decode(status.encode()) == status


@given(ANY_BYTES)
def test_any_bytes_are_a_host_hello_with_zero_fill_or_a_refusal(data: bytes) -> None:
    try:
        hello = HostHello.decode(data)
    except DecodeError:
        return

    assert hello.encode().ljust(len(data), b"\0") == data


@given(MESSAGES, st.integers(0, 511), st.integers(1, 255))
def test_changed_byte_of_a_message_is_another_message_or_a_refusal(
    message: Message, place: int, change: int
) -> None:
    data = bytearray(message.encode())
    data[place] ^= change
    try:
        other = Message.decode(bytes(data))
    except DecodeError:
        return

    assert other != message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message(Operation.UNLOCK, pin=b"1" * 65), "a PIN has at most 64 bytes, this one 65"),
        (Message(Operation.SET_PIN, new_pin=b"1" * 65), "a new PIN has at most 64 bytes"),
        (Message(Operation.ERASE, argument=b"1" * 33), "an argument has at most 32 bytes"),
    ],
)
def test_message_with_too_long_a_field_cannot_be_sent(message: Message, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        message.encode()


def test_answer_with_too_long_a_payload_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="at most 480 bytes"):
        Answer(Result.OK, 0, State.LOCKED, bytes(481)).encode()


@pytest.mark.parametrize(
    ("offset", "value", "text"),
    [(0, 9, "operation"), (1, 4, "role"), (2, 65, "longer"), (4, 33, "longer"), (10, 1, "outside")],
)
def test_message_refused_is_told_why(offset: int, value: int, text: str) -> None:
    data = bytearray(Message(Operation.UNLOCK).encode())
    data[offset] = value

    with pytest.raises(DecodeError, match=text):
        Message.decode(bytes(data))


def test_transcript_binds_both_keys_and_the_identity() -> None:
    parts = (b"a" * 32, b"b" * 32, b"c" * 32)
    others = [(b"x" * 32, *parts[1:]), (parts[0], b"x" * 32, parts[2]), (*parts[:2], b"x" * 32)]
    others.append((parts[1], parts[0], parts[2]))

    transcripts = {native.transcript(*each) for each in [parts, *others]}

    assert len(transcripts) == 5


@given(LONG)
def test_nonce_is_four_zero_bytes_and_the_sequence(sequence: int) -> None:
    assert native.nonce(sequence) == bytes(4) + sequence.to_bytes(8, "big")


@given(KEY, RECORDS)
def test_head_is_the_digest_of_the_head_before_and_the_record(
    head: bytes, record: LogRecord
) -> None:
    expected = hashlib.sha256(head + record.encode()).digest()

    assert next_head(head, record.encode()) == expected
    assert head_after(head, [record]) == expected


@given(KEY, st.lists(RECORDS, max_size=6), st.lists(RECORDS, max_size=6))
def test_heads_chain(head: bytes, first: list[LogRecord], second: list[LogRecord]) -> None:
    assert head_after(head, first + second) == head_after(head_after(head, first), second)


@given(KEY, st.lists(RECORDS, min_size=2, max_size=6, unique=True), st.data())
def test_log_that_lost_moved_or_changed_a_record_has_another_head(
    head: bytes, records: list[LogRecord], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    lost = records[:place] + records[place + 1 :]
    moved = [*lost[:place], *reversed(lost[place:]), records[place]]
    changed = records.copy()
    changed[place] = replace(records[place], role=records[place].role ^ 1)

    heads = {head_after(head, each) for each in (lost, changed)}

    assert head_after(head, records) not in heads
    assert (head_after(head, moved) == head_after(head, records)) == (moved == records)


@pytest.mark.parametrize("value", [SAMPLES[5], SAMPLES[6]], ids=["checkpoint", "evidence"])
def test_signature_is_over_everything_else_under_a_label(value: Checkpoint | Evidence) -> None:
    assert value.signed_bytes() == value.LABEL + value.encode()[:-64]
    assert Checkpoint.LABEL != Evidence.LABEL


def test_totals_of_a_record_are_two_halves() -> None:
    record = LogRecord(0, 0, Event.TOTALS, NO_ROLE, 5 << 32 | 7)

    assert record.megabytes == (5, 7)
    assert record.firmware is None


def test_record_of_an_update_names_version_and_security_version() -> None:
    record = LogRecord(0, 0, Event.UPDATED, NO_ROLE, Version(1, 2, 3).number << 32 | 7)

    assert record.firmware == (Version(1, 2, 3), 7)
    assert record.megabytes == (0, 0)
