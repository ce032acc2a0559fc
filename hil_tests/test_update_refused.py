"""Images and pieces of images that a drive refuses, and with what sense data."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.wire.firmware_image import (
    IMAGE_BYTES_MAX,
    IMAGE_FAULTS,
    ImageFault,
    Manifest,
)
from firmware_model.wire.function import BusEvent
from firmware_model.wire.sense import (
    COMMAND_SEQUENCE_ERROR,
    INVALID_FIELD_IN_CDB,
    LOCKED,
    Sense,
)
from hil_tests.updated_drives import (
    BUILT_IN,
    GOOD,
    PIN,
    activate,
    bench_of,
    image,
    opened,
    power_cycle,
    running,
    send,
    state_of,
    updated,
)
from host_driver.errors import CommandRefused

# --- what is refused ----------------------------------------------------------------------------


FOREIGN = Ed25519PrivateKey.from_private_bytes(b"somebody else's key, 32 bytes...")
REFUSED = {
    "unsigned": (GOOD[:-64] + bytes(64), ImageFault.SIGNATURE),
    "signed by somebody else": (image(key=FOREIGN), ImageFault.SIGNATURE),
    "a bit of filler flipped": (GOOD[:5000] + b"\0" + GOOD[5001:], ImageFault.SIGNATURE),
    "over-long": (GOOD + bytes(1), ImageFault.MALFORMED),
    "over-long by a page": (GOOD + bytes(4096), ImageFault.MALFORMED),
    "no image": (bytes(9000), ImageFault.MALFORMED),
    "another product": (image(product="keypad"), ImageFault.PRODUCT),
    "below the floor": (image("2.0.0", 0), ImageFault.DOWNGRADE),
    "weakening": (
        image(manifest=Manifest(parameters=(("lock_on_suspend", 0),))),
        ImageFault.MANIFEST,
    ),
    "naming a part of its own": (
        image(manifest=Manifest(parts=(("wrapping", "no-wrapping"),))),
        ImageFault.MANIFEST,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_image_is_refused_with_its_reason_and_the_firmware_stays(name: str) -> None:
    data, fault = REFUSED[name]
    bench = opened()
    before = bench.drive.board.embedded.memory

    with pytest.raises(CommandRefused, match=fault.value) as refused:
        bench.host().update(data)

    assert refused.value.sense == IMAGE_FAULTS[fault]
    after = bench.drive.board.embedded.memory
    assert (after.firmware_slot, after.firmware_floor) == (FirmwareSlot.BUILT_IN, 1)
    assert (after.tries, after.slots) == (before.tries, before.slots)
    assert activate(bench) == COMMAND_SEQUENCE_ERROR
    power_cycle(bench)
    assert running(bench) == BUILT_IN
    bench.host().unlock(PIN)


@pytest.mark.parametrize("missing", [1, 64, 5000, len(GOOD) - 4096, len(GOOD) - 8192])
def test_truncated_image_never_counts_as_whole(missing: int) -> None:
    bench = opened()

    with pytest.raises(CommandRefused, match="it is no image, or not a whole one"):
        bench.host().update(GOOD[:-missing])

    power_cycle(bench)
    assert running(bench) == BUILT_IN


@pytest.mark.parametrize("name", ["another product", "below the floor", "no image"])
def test_image_that_tells_itself_that_it_is_wrong_costs_nothing(name: str) -> None:
    bench = opened()
    flash = bench.drive.board.flash_image()

    with pytest.raises(CommandRefused):
        bench.host().update(REFUSED[name][0])

    assert state_of(bench) == "UNLOCKED"
    assert bench.drive.board.flash_image() == flash


@pytest.mark.parametrize("size", [0, IMAGE_BYTES_MAX + 1])
def test_image_that_no_drive_could_take_is_not_sent(size: int) -> None:
    bench = opened()

    with pytest.raises(CommandRefused, match="for this drive, not"):
        bench.host().update(bytes(size))


def test_security_version_only_rises_and_an_erase_is_no_way_back() -> None:
    bench = opened()
    updated(bench, image("1.1.0", 10))
    with pytest.raises(CommandRefused, match="below the one that the drive has reached"):
        bench.host().update(image("1.2.0", 9))
    bench.host().unlock(PIN)
    bench.host().erase()
    bench.host().set_pin(PIN)
    bench.host().unlock(PIN)

    with pytest.raises(CommandRefused, match="below the one that the drive has reached"):
        bench.host().update(image("1.3.0", 9))
    updated(bench, image("1.0.5", 10))

    assert running(bench) == ("1.0.5", 10)  # an older version, as safe as the one before


def test_drive_made_with_a_key_of_its_own_takes_firmware_signed_with_it_alone() -> None:
    public = FOREIGN.public_key().public_bytes_raw().hex()
    text = profiles.changed(profiles.text_of("native"), {"update.key": public})
    bench = bench_of(profiles.parse(text))

    with pytest.raises(CommandRefused, match="not signed with the key"):
        bench.host().update(image())
    bench.host().unlock(PIN)
    bench.host().update(image(key=FOREIGN))

    assert running(bench) == ("1.1.0", 2)


@pytest.mark.parametrize("key", ["00" * 32, "01" + "00" * 31, "ff" * 31, "xyz"])
def test_key_that_signs_nothing_is_none(key: str) -> None:
    with pytest.raises(profiles.ProfileError, match=r"update\.key"):
        profiles.parse(profiles.changed(profiles.text_of("native"), {"update.key": key}))


# --- pieces -------------------------------------------------------------------------------------


def test_pieces_come_in_order_and_anything_else_begins_at_the_beginning_again() -> None:
    bench = opened()
    assert send(bench, 0, GOOD[:4096]) is None

    assert send(bench, 8192, GOOD[8192:]) == COMMAND_SEQUENCE_ERROR
    assert send(bench, 4096, GOOD[4096:]) == COMMAND_SEQUENCE_ERROR
    assert activate(bench) == COMMAND_SEQUENCE_ERROR
    assert state_of(bench) == "LOCKED"
    bench.host().unlock(PIN)
    assert send(bench, 0, GOOD[:8192]) is None
    assert send(bench, 8192, GOOD[8192:]) is None
    assert running(bench) == BUILT_IN
    assert activate(bench) is None
    assert running(bench) == ("1.1.0", 2)


def test_image_can_begin_anew_in_the_middle_only_by_who_may() -> None:
    bench = opened()
    send(bench, 0, GOOD[:4096])

    assert send(bench, 0, GOOD[:4096]) == LOCKED
    assert send(bench, 4096, GOOD[4096:]) == COMMAND_SEQUENCE_ERROR


@pytest.mark.parametrize(
    ("offset", "piece", "sense"),
    [
        (512, GOOD[512:1024], INVALID_FIELD_IN_CDB),  # at no boundary
        (0, GOOD[:1024], IMAGE_FAULTS[ImageFault.MALFORMED]),  # the next could begin at none
        (IMAGE_BYTES_MAX - 4096, bytes(8192), INVALID_FIELD_IN_CDB),  # beyond the buffer
        (0, GOOD[:63], IMAGE_FAULTS[ImageFault.MALFORMED]),  # not even a header
        (4096, GOOD[4096:8192], COMMAND_SEQUENCE_ERROR),  # the middle first
    ],
)
def test_piece_that_does_not_fit_is_refused(offset: int, piece: bytes, sense: Sense) -> None:
    assert send(opened(), offset, piece) == sense


def test_piece_without_data_is_no_error_and_nothing() -> None:
    bench = opened()

    assert send(bench, 0, b"") is None
    assert state_of(bench) == "UNLOCKED"


@pytest.mark.parametrize("event", [BusEvent.RESET, BusEvent.DETACH])
def test_half_an_image_is_forgotten_when_the_host_is(event: BusEvent) -> None:
    bench = opened()
    send(bench, 0, GOOD[:8192])
    bench.drive.bus(event)
    if event is BusEvent.DETACH:
        bench.drive.bus(BusEvent.ATTACH)
    bench.reconnect()

    assert send(bench, 8192, GOOD[8192:]) == COMMAND_SEQUENCE_ERROR


def test_saved_image_is_begun_with_at_the_next_power_on() -> None:
    bench = opened()
    send(bench, 0, GOOD)
    assert running(bench) == BUILT_IN

    power_cycle(bench)

    assert running(bench) == ("1.1.0", 2)


def test_newer_image_replaces_one_that_was_saved_and_never_begun_with() -> None:
    bench = opened()
    send(bench, 0, GOOD)
    bench.host().unlock(PIN)
    send(bench, 0, image("1.2.0", 2))

    power_cycle(bench)

    assert running(bench) == ("1.2.0", 2)
    assert bench.drive.board.element.state.firmware_slot is FirmwareSlot.B


@pytest.mark.parametrize(
    "second", [image("1.3.0", 3), image("1.3.0", 3)[:-1] + b"?"], ids=("signed", "unsigned")
)
def test_image_that_waits_stays_where_the_one_that_runs_is_below_its_floor(second: bytes) -> None:
    bench = opened()
    updated(bench, image("1.1.0", 2))
    send(bench, 0, image("1.2.0", 3))
    bench.host().unlock(PIN)

    refused = send(bench, 0, second)
    power_cycle(bench)

    assert refused == COMMAND_SEQUENCE_ERROR
    assert running(bench) == ("1.2.0", 3)


pieces = st.tuples(
    st.sampled_from((0, 4096, 8192, 512, IMAGE_BYTES_MAX)) | st.integers(0, IMAGE_BYTES_MAX),
    st.sampled_from((GOOD, GOOD[:4096], GOOD[4096:8192], GOOD[:-1])) | st.binary(max_size=300),
)
BEGINNING = opened()


@settings(deadline=None, max_examples=60)
@given(st.lists(pieces, max_size=5), st.integers(0, 255))
def test_any_pieces_are_refused_or_lead_to_the_good_image(
    sent: list[tuple[int, bytes]], flip: int
) -> None:
    bench = BEGINNING.clone()
    bench.host().unlock(PIN)
    for offset, piece in sent:
        at = flip % max(len(piece), 1)
        altered = (
            piece[:at] + bytes((piece[at] ^ 1,)) + piece[at + 1 :] if piece and flip else piece
        )
        send(bench, offset & 0xFFFFFF, altered)
    power_cycle(bench)

    assert running(bench) in (BUILT_IN, ("1.1.0", 2) if not flip else BUILT_IN)
    assert state_of(bench) == "LOCKED"
