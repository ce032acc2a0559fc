"""What the embedded element keeps, as bytes: one length, one meaning, or a refusal."""

from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.element_state import (
    KINDS,
    MAGIC,
    ElementState,
    ElementStateError,
    FirmwareSlot,
    Slot,
    SlotState,
)
from hil_tests.test_embedded_element import IN_USE

SECRET = st.binary(min_size=32, max_size=32)
OPTIONAL = st.none() | SECRET
NUMBER = st.integers(0, (1 << 31) - 1)
LONG = st.integers(0, (1 << 63) - 1)
THREE = st.tuples(*[st.integers(0, 255)] * 3)
SLOTS = st.lists(
    st.builds(SlotState, OPTIONAL, OPTIONAL, NUMBER), min_size=len(Slot), max_size=len(Slot)
)
STATES = st.builds(
    ElementState,
    limits=THREE,
    tries=THREE,
    identity_seed=SECRET,
    reset_code_hash=SECRET,
    slots=SLOTS.map(tuple),
    refund_key=OPTIONAL,
    stretch_salt=OPTIONAL,
    attempt_number=LONG,
    head=SECRET,
    log_count=LONG,
    counts=st.lists(NUMBER, min_size=KINDS, max_size=KINDS).map(tuple),
    epoch=NUMBER,
    was_erased=st.booleans(),
    is_read_only=st.booleans(),
    firmware_floor=NUMBER,
    firmware_slot=st.sampled_from(FirmwareSlot),
    update_key=SECRET,
)


@given(STATES)
def test_state_comes_back_from_its_bytes(state: ElementState) -> None:
    assert ElementState.decode(state.encode()) == state


@given(STATES, STATES)
def test_states_are_of_one_length(one: ElementState, two: ElementState) -> None:
    assert len(one.encode()) == len(two.encode())


def test_truncated_state_is_refused_at_every_length() -> None:
    data = IN_USE.encode()

    for length in range(len(data)):
        with pytest.raises(ElementStateError):
            ElementState.decode(data[:length])


def test_state_with_any_bit_flipped_is_refused() -> None:
    data = IN_USE.encode()

    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ElementStateError):
            ElementState.decode(bytes(flipped))


def sealed(body: bytes) -> bytes:
    """Return a body with the checksum that it ought to have."""
    return body + crc32(body).to_bytes(4, "big")


BODY_BYTES = len(IN_USE.encode()) - 4


@given(
    st.binary(max_size=900)
    | st.binary(min_size=BODY_BYTES, max_size=BODY_BYTES).map(sealed)
    | st.binary(min_size=BODY_BYTES - 8, max_size=BODY_BYTES - 8).map(
        lambda tail: sealed(MAGIC + tail)
    )
    | st.tuples(STATES, st.integers(0, BODY_BYTES - 1), st.integers(0, 255)).map(
        lambda drawn: sealed(
            drawn[0].encode()[: drawn[1]]
            + bytes((drawn[2],))
            + drawn[0].encode()[drawn[1] + 1 : BODY_BYTES]
        )
    )
)
def test_any_bytes_are_a_state_that_encodes_back_or_a_refusal(data: bytes) -> None:
    try:
        state = ElementState.decode(data)
    except ElementStateError:
        return

    assert state.encode() == data


@pytest.mark.parametrize(
    "state",
    [
        replace(IN_USE, attempt_number=(1 << 64) - 1),
        replace(IN_USE, log_count=(1 << 64) - 1),
        replace(IN_USE, epoch=0xFFFF_FFFF),
        replace(IN_USE, counts=(0,) * 31 + (0xFFFF_FFFF,)),
        replace(IN_USE, slots=(SlotState(generation=0xFFFF_FFFF), *IN_USE.slots[1:])),
    ],
    ids=["attempts", "records", "epoch", "counts", "generation"],
)
def test_state_whose_counts_could_not_grow_is_refused(state: ElementState) -> None:
    with pytest.raises(ElementStateError, match="no room to grow"):
        ElementState.decode(state.encode())
