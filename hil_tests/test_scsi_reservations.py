"""Reservations, for the one nexus there is: keys, types, generations, and what is a conflict."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.firmware.policy import Policy
from firmware_model.wire import scsi
from firmware_model.wire.scsi import ReservationType, ReserveIn, ReserveOut, ScsiStatus
from firmware_model.wire.scsi.reservations import ReserveParameters
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_PARAMETERS,
    INVALID_RELEASE,
    LOCKED,
    PARAMETER_LIST_LENGTH_ERROR,
    FieldPointer,
    Sense,
)
from hil_tests.logical_units import BLOCK, NativeUnit

KEY, OTHER = 0x0123456789ABCDEF, 0xFEDCBA9876543210
GOOD, CONFLICT = ScsiStatus.GOOD, ScsiStatus.RESERVATION_CONFLICT
EXCLUSIVE = ReservationType.EXCLUSIVE_ACCESS
OF_ALL = ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS


@pytest.fixture
def unit(opened: NativeUnit) -> NativeUnit:
    """An open drive on a transport that tells of conflicts."""
    opened.unit.use_statuses(True)
    return opened


def persisting(policy: Policy) -> Policy:
    """Have reservations live through loss of power."""
    return replace(policy, reservations_persist=True)


def out(
    unit: NativeUnit,
    action: ReserveOut,
    key: int = 0,
    new: int = 0,
    kind: ReservationType = EXCLUSIVE,
    **flags: bool,
) -> ScsiStatus | Sense:
    """Return the status of a PERSISTENT RESERVE OUT, or its sense data."""
    data = ReserveParameters(key, new, **flags).encode()
    reply = unit.unit.execute(scsi.PersistentReserveOut(action, kind).encode(), data)
    return (
        reply.sense if reply.status is ScsiStatus.CHECK_CONDITION and reply.sense else reply.status
    )


def ask(unit: NativeUnit, action: ReserveIn) -> bytes:
    """Return the data of a PERSISTENT RESERVE IN."""
    reply = unit.unit.execute(scsi.PersistentReserveIn(action).encode(), b"")
    assert reply.status is GOOD
    return reply.data


def keys(unit: NativeUnit) -> tuple[int, list[int]]:
    """Return the generation, and the keys that are registered."""
    data = ask(unit, ReserveIn.READ_KEYS)
    listed = [int.from_bytes(data[at : at + 8], "big") for at in range(8, len(data), 8)]
    assert int.from_bytes(data[4:8], "big") == 8 * len(listed)
    return int.from_bytes(data[:4], "big"), listed


def held(unit: NativeUnit) -> tuple[int, int] | None:
    """Return key and type of the reservation, as READ RESERVATION tells it."""
    data = ask(unit, ReserveIn.READ_RESERVATION)
    if data[4:8] == bytes(4):
        assert len(data) == 8
        return None
    assert data[4:8] == bytes((0, 0, 0, 16)) and len(data) == 24
    return int.from_bytes(data[8:16], "big"), data[21]


def test_nobody_is_registered_at_first(unit: NativeUnit) -> None:
    assert keys(unit) == (0, [])
    assert held(unit) is None
    assert ask(unit, ReserveIn.READ_FULL_STATUS) == bytes(8)


def test_registering_takes_the_key_that_was_registered(unit: NativeUnit) -> None:
    assert out(unit, ReserveOut.REGISTER, OTHER, KEY) is CONFLICT  # none was
    assert out(unit, ReserveOut.REGISTER, 0, KEY) is GOOD
    assert keys(unit) == (1, [KEY])
    assert out(unit, ReserveOut.REGISTER, 0, OTHER) is CONFLICT
    assert out(unit, ReserveOut.REGISTER, OTHER, OTHER) is CONFLICT
    assert out(unit, ReserveOut.REGISTER, KEY, OTHER) is GOOD
    assert keys(unit) == (2, [OTHER])
    assert out(unit, ReserveOut.REGISTER, OTHER, 0) is GOOD
    assert keys(unit) == (3, [])
    assert out(unit, ReserveOut.REGISTER, 0, 0) is GOOD  # nothing to take back
    assert keys(unit) == (3, [])


def test_registering_may_ignore_the_key_that_was(unit: NativeUnit) -> None:
    ignore = ReserveOut.REGISTER_AND_IGNORE_EXISTING_KEY
    assert out(unit, ignore, 0, KEY) is GOOD
    assert out(unit, ignore, 0, OTHER) is GOOD
    assert keys(unit) == (2, [OTHER])
    assert out(unit, ignore, 0, 0) is GOOD
    assert keys(unit) == (3, [])


@pytest.mark.parametrize("kind", ReservationType)
def test_unit_is_reserved_in_any_type_and_used_by_who_reserved_it(
    unit: NativeUnit, kind: ReservationType
) -> None:
    assert out(unit, ReserveOut.RESERVE, KEY, kind=kind) is CONFLICT  # not registered
    out(unit, ReserveOut.REGISTER, 0, KEY)
    assert out(unit, ReserveOut.RESERVE, OTHER, kind=kind) is CONFLICT

    assert out(unit, ReserveOut.RESERVE, KEY, kind=kind) is GOOD
    assert held(unit) == (0 if kind.is_of_all_registrants else KEY, kind)
    assert out(unit, ReserveOut.RESERVE, KEY, kind=kind) is GOOD  # the same once more
    another = next(each for each in ReservationType if each is not kind)
    assert out(unit, ReserveOut.RESERVE, KEY, kind=another) is CONFLICT
    assert unit.run(scsi.Write(0, 1), BLOCK) == b""
    assert keys(unit) == (1, [KEY])


def test_reservation_is_released_as_what_it_is(unit: NativeUnit) -> None:
    out(unit, ReserveOut.REGISTER, 0, KEY)
    assert out(unit, ReserveOut.RELEASE, KEY) is GOOD  # none is there
    out(unit, ReserveOut.RESERVE, KEY)

    assert out(unit, ReserveOut.RELEASE, OTHER) is CONFLICT
    assert out(unit, ReserveOut.RELEASE, KEY, kind=OF_ALL) == INVALID_RELEASE
    assert out(unit, ReserveOut.RELEASE, KEY) is GOOD
    assert held(unit) is None and keys(unit) == (1, [KEY])


def test_reservation_ends_with_its_registration(unit: NativeUnit) -> None:
    for end in (ReserveOut.REGISTER, ReserveOut.CLEAR):
        out(unit, ReserveOut.REGISTER, 0, KEY)
        out(unit, ReserveOut.RESERVE, KEY)
        before, _ = keys(unit)

        assert out(unit, end, KEY, 0) is GOOD
        assert keys(unit) == (before + 1, []) and held(unit) is None


@pytest.mark.parametrize("action", [ReserveOut.PREEMPT, ReserveOut.PREEMPT_AND_ABORT])
def test_nexus_preempts_itself(unit: NativeUnit, action: ReserveOut) -> None:
    assert out(unit, action, KEY, KEY) is CONFLICT
    out(unit, ReserveOut.REGISTER, 0, KEY)
    out(unit, ReserveOut.RESERVE, KEY)
    assert out(unit, action, OTHER, KEY) is CONFLICT
    assert out(unit, action, KEY, OTHER) is CONFLICT  # nobody has that key
    refused = out(unit, action, KEY, 0)
    assert refused == INVALID_FIELD_IN_PARAMETERS
    assert isinstance(refused, Sense)
    assert refused.specific == FieldPointer(8, None, is_in_cdb=False)

    assert out(unit, action, KEY, KEY, OF_ALL) is GOOD
    assert held(unit) == (0, OF_ALL) and keys(unit) == (2, [KEY])
    assert out(unit, action, KEY, 0) is GOOD  # whoever holds it
    assert held(unit) == (KEY, EXCLUSIVE) and keys(unit) == (3, [KEY])


def test_preempting_its_own_key_without_a_reservation_ends_its_registration(
    unit: NativeUnit,
) -> None:
    out(unit, ReserveOut.REGISTER, 0, KEY)

    assert out(unit, ReserveOut.PREEMPT, KEY, KEY) is GOOD
    assert keys(unit) == (2, [])


def test_full_status_tells_of_the_nexus(unit: NativeUnit) -> None:
    out(unit, ReserveOut.REGISTER, 0, KEY)
    out(unit, ReserveOut.RESERVE, KEY)

    data = ask(unit, ReserveIn.READ_FULL_STATUS)
    assert data[:8].hex() == "0000000100000030"
    assert data[8:20].hex() == f"{KEY:016x}" + "00000000"
    assert data[20:32].hex() == "0103" + "00000000" + "0001" + "00000018"
    assert len(data) == 56 and data[32] == 0x09  # USB


@pytest.mark.parametrize(
    ("flag", "bit"), [("specifies_initiators", 3), ("is_for_all_ports", 2), ("persists", 0)]
)
def test_what_is_not_among_the_capabilities_is_refused(
    unit: NativeUnit, flag: str, bit: int
) -> None:
    assert ask(unit, ReserveIn.REPORT_CAPABILITIES).hex() == "00080080ea010000"

    refused = out(unit, ReserveOut.REGISTER, 0, KEY, EXCLUSIVE, **{flag: True})
    assert refused == INVALID_FIELD_IN_PARAMETERS
    assert isinstance(refused, Sense)
    assert refused.specific == FieldPointer(20, bit, is_in_cdb=False)
    assert keys(unit) == (0, [])


@pytest.mark.parametrize("length", [0, 8, 23, 25, 32])
def test_parameters_have_24_bytes(unit: NativeUnit, length: int) -> None:
    command = scsi.PersistentReserveOut(ReserveOut.CLEAR, list_length=length)

    assert unit.run(command, bytes(length)) == PARAMETER_LIST_LENGTH_ERROR


def test_older_and_newer_reservations_are_a_conflict(unit: NativeUnit) -> None:
    for size in (6, 10):
        assert unit.status(scsi.Reserve(size)) is GOOD
        assert out(unit, ReserveOut.REGISTER, 0, KEY) is CONFLICT
        assert unit.status(scsi.PersistentReserveIn(ReserveIn.READ_KEYS)) is CONFLICT
        assert unit.status(scsi.Release(size)) is GOOD
        assert out(unit, ReserveOut.REGISTER_AND_IGNORE_EXISTING_KEY, 0, KEY) is GOOD
        assert unit.status(scsi.Reserve(size)) is CONFLICT
        assert unit.status(scsi.Release(size)) is CONFLICT
        assert out(unit, ReserveOut.CLEAR, KEY) is GOOD


def test_reset_ends_the_older_and_not_the_newer(unit: NativeUnit) -> None:
    unit.run(scsi.Reserve())
    unit.unit.reset()
    unit.settle()
    assert out(unit, ReserveOut.REGISTER, 0, KEY) is GOOD

    unit.unit.reset()
    unit.settle()
    assert keys(unit) == (1, [KEY])


# --- what lives through loss of power ----------------------------------------------------------


def test_registration_is_gone_with_the_power_unless_it_is_to_persist() -> None:
    for persists in (False, True):
        unit = NativeUnit(change=persisting).own().open()
        unit.unit.use_statuses(True)
        assert ask(unit, ReserveIn.REPORT_CAPABILITIES).hex() == "00080180ea010000"
        assert out(unit, ReserveOut.REGISTER, 0, KEY, persists=persists) is GOOD
        assert out(unit, ReserveOut.RESERVE, KEY) is GOOD
        activated = ask(unit, ReserveIn.REPORT_CAPABILITIES)[3] & 1
        assert activated == persists

        again = NativeUnit(change=persisting, board=unit.board)
        again.unit.use_statuses(True)
        again.settle()
        assert keys(again) == (0, [KEY] if persists else [])
        assert held(again) == ((KEY, EXCLUSIVE) if persists else None)


def test_what_persists_is_not_changed_on_a_locked_drive() -> None:
    unit = NativeUnit(change=persisting).own()
    unit.unit.use_statuses(True)
    image = unit.board.flash_image()
    assert out(unit, ReserveOut.REGISTER, 0, KEY, persists=True) == LOCKED
    assert unit.board.flash_image() == image

    unit.open()
    assert out(unit, ReserveOut.REGISTER, 0, KEY, persists=True) is GOOD
    unit.firmware.lock()
    assert out(unit, ReserveOut.CLEAR, KEY) == LOCKED
    assert keys(unit) == (1, [KEY])


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ReserveOut),
            st.sampled_from((0, KEY, OTHER)),
            st.sampled_from((0, KEY, OTHER)),
            st.sampled_from(ReservationType),
        ),
        max_size=12,
    )
)
def test_there_is_no_reservation_without_a_registration(
    commands: list[tuple[ReserveOut, int, int, ReservationType]],
) -> None:
    unit = NativeUnit()
    unit.unit.use_statuses(True)
    unit.settle()
    generation = 0
    for action, key, new, kind in commands:
        before = keys(unit)
        status = out(unit, action, key, new, kind)
        after, registered = keys(unit)

        assert after >= generation
        generation = after
        assert held(unit) is None or registered
        if status is not GOOD:
            assert (after, registered) == before
