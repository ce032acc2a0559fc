"""Any CDB with any data, in any state: an answer of the right length, and nothing changed by what
was refused."""

from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.firmware.commands.traits import TRAITS
from firmware_model.wire import scsi
from firmware_model.wire.cdb import FORMS, Form, decode_cdb
from firmware_model.wire.scsi import Direction
from firmware_model.wire.sense import Sense, SenseKey
from hil_tests.logical_units import BLOCK, SAMPLES, NativeUnit, PlainUnit, Unit

BLOCKS = 2048
SMALL = profiles.parse(profiles.changed(profiles.text_of("native"), {"capacity": "1 MiB"}))
CONTENT = b"".join(number.to_bytes(4, "big") * 128 for number in range(64))
# Commands that may close the medium, or are not the unit's to judge.
CLOSES = (scsi.StartStopUnit, scsi.FormatUnit, scsi.Sanitize, scsi.ActivateMicrocode)


def placed(command: scsi.Command, lba: int, block_count: int) -> bytes:
    """Return the CDB of a command, about other blocks than its sample is."""
    names = {each.name for each in fields(command)}
    about = {"lba": lba, "block_count": block_count}
    return replace(command, **{key: about[key] for key in names & set(about)}).encode()


def of_form(form: Form, rest: bytes) -> bytes:
    """Return a CDB of a form, any bits set of those that mean something."""
    cdb = bytes(bits & byte for bits, byte in zip(form.usage[1:], rest, strict=False))
    action = bytes((cdb[0] | (form.service_action or 0),))
    return form.usage[:1] + action + cdb[1:]


def flipped(cdb: bytes, place: int) -> bytes:
    """Return a CDB with one bit the other way round."""
    number = int.from_bytes(cdb, "big") ^ 1 << place % (8 * len(cdb))
    return number.to_bytes(len(cdb), "big")


LIKELY = st.builds(
    placed, st.sampled_from(list(SAMPLES)), st.integers(0, 70) | st.just(BLOCKS), st.integers(1, 8)
)
ANY_FIELDS = st.builds(of_form, st.sampled_from(FORMS), st.binary(min_size=15, max_size=15))
CDBS = st.one_of(
    LIKELY,
    LIKELY,
    ANY_FIELDS,
    st.builds(flipped, LIKELY, st.integers(0, 127)),
    st.binary(max_size=16),
)
DATA = st.one_of(
    st.binary(max_size=64),
    st.integers(0, 8).map(lambda count: BLOCK * count),
    st.integers(0, 8).map(lambda count: CONTENT[: 512 * count]),
    st.integers(0, 8).map(lambda count: bytes(512 * count)),
)


@dataclass(frozen=True, slots=True)
class Stimulus:
    """A CDB and the data that comes with it."""

    cdb: bytes
    data: bytes


STIMULI = st.lists(st.builds(Stimulus, CDBS, DATA), max_size=8)


def check(unit: Unit, stimulus: Stimulus) -> Sense | None:
    """Run a command as a transport does; hold its answer to what it said it would move."""
    unit.unit.use_statuses(True)
    transfer = unit.unit.transfer(stimulus.cdb)
    sent = stimulus.data
    if transfer.direction is Direction.OUT and transfer.length is not None:
        sent = sent[: transfer.length]
    reply = unit.unit.execute(stimulus.cdb, sent)

    command = decode_cdb(stimulus.cdb)
    allowed = 0
    if not isinstance(command, Sense) and command.transfer.direction is Direction.IN:
        allowed = command.transfer.length or 0
    assert len(reply.data) <= allowed
    if reply.data and transfer.direction is Direction.IN and transfer.length is not None:
        assert len(reply.data) <= transfer.length
    assert not (reply.data and reply.sense)
    assert (reply.status is scsi.ScsiStatus.GOOD) is (reply.sense is None)
    if reply.sense is not None:
        for data in (reply.sense.encode_fixed(), reply.sense.encode_descriptor()):
            assert Sense.decode(data) == reply.sense
    return reply.sense


def content(unit: Unit) -> bytes:
    """Return the whole medium."""
    data = unit.run(scsi.Read(0, BLOCKS))
    assert isinstance(data, bytes)
    return data


def opened_unit() -> NativeUnit:
    """Return the unit of a small drive with some content."""
    unit = NativeUnit(profile=SMALL).own().open()
    unit.run(scsi.Write(0, len(CONTENT) // 512), CONTENT)
    return unit


@settings(max_examples=200)
@given(STIMULI)
def test_open_drive_answers_anything_and_what_is_refused_changes_nothing(
    stimuli: list[Stimulus],
) -> None:
    unit = opened_unit()
    before = content(unit)
    for stimulus in stimuli:
        sense = check(unit, stimulus)
        if unit.firmware.access.is_open:
            after = content(unit)
            command = decode_cdb(stimulus.cdb)
            may_write = not isinstance(command, Sense) and TRAITS[type(command)].writes
            assert after == before or (may_write and sense is None)
            before = after
        else:
            kind = type(decode_cdb(stimulus.cdb))
            assert kind in CLOSES and sense is None
            unit.open()
            if not unit.firmware.access.is_open:  # erased
                return

    assert isinstance(unit.run(scsi.Inquiry()), bytes)


@settings(max_examples=150)
@given(STIMULI)
def test_locked_drive_answers_anything_alike_whatever_it_holds(stimuli: list[Stimulus]) -> None:
    full, empty = opened_unit(), NativeUnit(profile=SMALL).own().open()
    for unit in (full, empty):
        unit.firmware.lock()
        unit.settle()
    flash = full.board.flash_image()
    for stimulus in stimuli:
        replies = [unit.unit.execute(stimulus.cdb, stimulus.data) for unit in (full, empty)]
        check(full, stimulus)
        check(empty, stimulus)

        assert not full.firmware.access.is_open
        kind = type(decode_cdb(stimulus.cdb))
        if kind is not scsi.SecurityProtocolIn:  # which draws and signs
            assert replies[0] == replies[1]
        needs_medium = kind in TRAITS and TRAITS[kind].needs_medium
        assert not needs_medium or replies[0].sense is not None
    assert full.board.flash_image() == flash


@settings(max_examples=200)
@given(STIMULI)
def test_read_only_drive_is_written_by_nothing(stimuli: list[Stimulus]) -> None:
    unit = opened_unit()
    unit.firmware.set_read_only(True)
    before = content(unit)
    for stimulus in stimuli:
        check(unit, stimulus)
        unit.open()

        assert content(unit) == before


@settings(max_examples=200)
@given(STIMULI, st.sampled_from(("factory", "failed", "plain")))
def test_drive_in_any_other_state_answers_anything(stimuli: list[Stimulus], state: str) -> None:
    unit: Unit
    if state == "plain":
        unit = PlainUnit()
    else:
        unit = NativeUnit(failed=("AES",) if state == "failed" else (), profile=SMALL)
    for stimulus in stimuli:
        check(unit, stimulus)

    assert isinstance(unit.run(scsi.Inquiry()), bytes)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.usage[:2].hex())
@settings(max_examples=20)
@given(rest=st.binary(min_size=15, max_size=15), data=st.binary(max_size=600))
def test_any_fields_of_a_known_command_are_answered(form: Form, rest: bytes, data: bytes) -> None:
    unit = NativeUnit(profile=SMALL)
    sense = check(unit, Stimulus(form.usage[:1] + rest, data))

    assert sense is None or sense.key is not SenseKey.HARDWARE_ERROR
