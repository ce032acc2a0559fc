"""An update on a whole drive: who may, what is refused and with what, and what runs afterwards."""

from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.layout import Layout
from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.image_signing import TEST_KEY, signed_image
from firmware_model.wire.attempt_log import Event
from firmware_model.wire.buffer import ActivateMicrocode, DownloadMicrocode, ReadBufferDescriptor
from firmware_model.wire.firmware_image import (
    IMAGE_BYTES_MAX,
    IMAGE_FAULTS,
    ImageFault,
    Manifest,
    Version,
)
from firmware_model.wire.function import BusEvent
from firmware_model.wire.scsi import Inquiry
from firmware_model.wire.sense import (
    ACCESS_NOT_AUTHORIZED,
    COMMAND_SEQUENCE_ERROR,
    INVALID_FIELD_IN_CDB,
    LOCKED,
    SELF_TEST_FAILED,
    Sense,
)
from hil_tests.actions import PINS
from hil_tests.bench.bench import Bench
from hil_tests.content import Content
from hil_tests.facts import facts_of
from hil_tests.runs import Target
from host_driver.errors import CommandRefused, DriveError, Locked, NotSupported
from host_driver.firmware_update import buffer_descriptor

PIN, ADMIN_PIN = PINS[0], PINS[1]
FILLER = bytes(i * 31 & 0xFF for i in range(9000))  # three pages of 4 KiB, with header and all
BUILT_IN = ("1.0.0", 1)


def image(
    version: str = "1.1.0",
    security_version: int = 2,
    product: str = "native",
    key: Ed25519PrivateKey = TEST_KEY,
    manifest: Manifest | None = None,
    filler: bytes = FILLER,
) -> bytes:
    named = manifest or Manifest()
    number = Version.parse(version)
    return signed_image(product, number, security_version, key, manifest=named, filler=filler)


def opened(profile: str = "native") -> Bench:
    """Return a drive that its user has just opened."""
    bench = Target(f"model:{profile}").bench()
    bench.host().set_pin(PIN)
    bench.host().unlock(PIN)
    return bench


def bench_of(profile: profiles.Profile) -> Bench:
    """Return a bench over a new drive of a profile, opened by its user."""
    drive = EmulatedDrive.new(profile, SeededNoise(b"update"), kdf_iterations=1)
    drive.power_on()
    bench = Bench(drive, facts_of(profile), Content("anything", bytes(range(256)) * 8))
    bench.host().set_pin(PIN)
    bench.host().unlock(PIN)
    return bench


def updated(bench: Bench, data: bytes) -> None:
    """Give an open drive new firmware, and open it again."""
    bench.host().update(data)
    bench.reconnect()
    bench.host().unlock(PIN)


def running(bench: Bench) -> tuple[str, int]:
    status = bench.status()
    assert status is not None
    return str(status.version), status.security_version


def state_of(bench: Bench) -> str:
    status = bench.status()
    assert status is not None
    return status.state.name


def power_cycle(bench: Bench) -> None:
    bench.drive.power_off()
    bench.drive.power_on()
    bench.reconnect()


def send(bench: Bench, offset: int, piece: bytes) -> Sense | None:
    """Send a piece as it is, and return why it was refused."""
    bench.host().disk.test_unit_ready()  # hears what unit attentions wait
    return bench.link().execute(DownloadMicrocode(offset, len(piece)).encode(), piece).sense


def activate(bench: Bench) -> Sense | None:
    return bench.link().execute(ActivateMicrocode().encode()).sense


def damage(bench: Bench, *slots: FirmwareSlot) -> None:
    """Alter the images in some slots of the flash, with supply off."""
    board = bench.drive.board
    first = Layout.of(bench.drive.policy).firmware_block * board.nand.geometry.pages_per_block
    flash = board.flash_image()
    pages = dict(flash.pages)
    for slot in slots:
        page = first + (slot - 1) * board.nand.geometry.pages_per_block
        data, spare = pages[page]
        pages[page] = (data[:100] + bytes((data[100] ^ 0xFF,)) + data[101:], spare)
    bench.drive.power_off()
    bench.restart(bench.drive.with_board(board.with_flash(replace(flash, pages=pages))))
    bench.drive.power_on()


@pytest.mark.parametrize("profile", ["native", "keypad"])
def test_good_image_runs_after_the_update_and_the_drive_is_locked(profile: str) -> None:
    bench = opened(profile)
    bench.host().write(0, b"kept".ljust(512))
    assert running(bench) == BUILT_IN

    bench.host().update(image(product=profile))
    bench.reconnect()

    assert running(bench) == ("1.1.0", 2)
    assert state_of(bench) == "LOCKED"
    bench.host().unlock(PIN)
    assert bench.host().read(0, 1) == b"kept".ljust(512)
    power_cycle(bench)
    assert running(bench) == ("1.1.0", 2)


def test_progress_is_told_to_the_last_byte() -> None:
    bench, told = opened(), list[tuple[int, int]]()
    data = image(filler=bytes(100_000))

    bench.host().update(data, lambda sent, of: told.append((sent, of)))

    assert told[-1] == (len(data), len(data))
    assert [sent for sent, _ in told] == [32768, 65536, 98304, len(data)]


def test_each_update_fills_the_slot_that_is_not_in_use() -> None:
    bench = opened()
    slots = []
    for number in range(1, 5):
        updated(bench, image(f"1.{number}.0"))
        slots.append(bench.drive.board.element.state.firmware_slot)

    a, b = FirmwareSlot.A, FirmwareSlot.B
    assert slots == [a, b, a, b]


def test_log_names_the_firmware_that_was_switched_to() -> None:
    bench = opened()
    updated(bench, image("1.1.0", 2))

    records = [each for each in bench.host().log().records if each.event is Event.UPDATED]

    assert [each.firmware for each in records] == [(Version(1, 1, 0), 2)]


def test_buffer_says_how_an_image_is_to_be_cut() -> None:
    bench = opened()
    descriptor = buffer_descriptor(bench.host().disk)
    short = bench.link().execute(ReadBufferDescriptor(2).encode(), data_in_length=2)
    page = bench.link().execute(Inquiry(255, 0x86).encode(), data_in_length=255)

    assert 1 << descriptor.boundary == bench.drive.board.nand.geometry.page_bytes
    assert descriptor.capacity == IMAGE_BYTES_MAX
    assert short.data == descriptor.encode()[:2]
    assert page.data[12] == 0x80  # POA_SUP: what was saved is begun with at power on


# --- who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["native", "keypad"])
def test_locked_drive_takes_no_firmware(profile: str) -> None:
    bench = opened(profile)
    bench.host().lock()

    with pytest.raises(Locked):
        bench.host().update(image(product=profile))
    assert send(bench, 0, image(product=profile)) == LOCKED
    assert running(bench) == BUILT_IN


def test_blank_drive_takes_no_firmware() -> None:
    bench = Target("model:native").bench()

    with pytest.raises(Locked):
        bench.host().update(image())


def test_user_updates_only_where_there_is_no_admin() -> None:
    bench = opened()
    bench.host().set_pin(ADMIN_PIN, "admin")

    with pytest.raises(CommandRefused, match="not allowed") as refused:
        bench.host().update(image())

    assert refused.value.sense == ACCESS_NOT_AUTHORIZED
    assert (running(bench), state_of(bench)) == (BUILT_IN, "UNLOCKED")
    bench.host().lock()
    bench.host().unlock(ADMIN_PIN, "admin")
    bench.host().update(image())
    assert running(bench) == ("1.1.0", 2)


def test_ordinary_stick_takes_no_firmware() -> None:
    bench = Target("model:plain").bench()

    with pytest.raises(NotSupported):
        bench.host().update(image())
    for refused in (send(bench, 0, image()), send(bench, 0, b""), activate(bench)):
        assert refused is not None and refused.asc == 0x20


# --- what is refused ----------------------------------------------------------------------------

GOOD = image()
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
    before = bench.drive.board.element.state

    with pytest.raises(CommandRefused, match=fault.value) as refused:
        bench.host().update(data)

    assert refused.value.sense == IMAGE_FAULTS[fault]
    after = bench.drive.board.element.state
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


# --- every power-up -----------------------------------------------------------------------------


def test_damaged_firmware_does_not_run_and_the_other_slot_does() -> None:
    bench = opened()
    updated(bench, image("1.1.0", 1))
    updated(bench, image("1.2.0", 1))

    damage(bench, FirmwareSlot.B)

    assert running(bench) == ("1.1.0", 1)
    bench.host().unlock(PIN)
    kept = [each for each in bench.host().log().records if each.event is Event.FELL_BACK]
    assert [each.firmware for each in kept] == [(Version(1, 1, 0), 1)]
    updated(bench, image("1.3.0", 1))
    assert running(bench) == ("1.3.0", 1)
    assert bench.drive.board.element.state.firmware_slot is FirmwareSlot.B


def test_what_is_built_in_runs_when_both_slots_are_damaged() -> None:
    bench = opened()
    updated(bench, image("1.1.0", 1))
    updated(bench, image("1.2.0", 1))

    damage(bench, FirmwareSlot.A, FirmwareSlot.B)

    assert running(bench) == BUILT_IN
    bench.host().unlock(PIN)


def test_drive_fails_rather_than_run_firmware_below_its_floor() -> None:
    bench = opened()
    updated(bench, image("1.1.0", 2))
    updated(bench, image("1.2.0", 3))

    damage(bench, FirmwareSlot.B)

    assert state_of(bench) == "FAILED"
    assert running(bench) == ("0.0.0", 0)
    assert bench.host().disk.test_unit_ready() == SELF_TEST_FAILED
    assert send(bench, 0, GOOD) == SELF_TEST_FAILED


def test_manifest_is_obeyed_from_the_next_power_up() -> None:
    bench = opened()
    manifest = Manifest(parts=(("pacing", "constant-time"),), parameters=(("auto_lock_s", 60),))
    updated(bench, image(manifest=manifest))

    bench.drive.advance(59_000_000)
    assert state_of(bench) == "UNLOCKED"
    bench.drive.advance(2_000_000)
    bench.host().disk.test_unit_ready()
    assert state_of(bench) == "LOCKED"

    bench.host().unlock(PIN)
    updated(bench, image("1.2.0"))
    bench.drive.advance(61_000_000)
    bench.host().disk.test_unit_ready()
    assert state_of(bench) == "UNLOCKED"  # back to what the profile has


def test_judging_a_signature_takes_the_drives_time() -> None:
    bench = opened()
    send(bench, 0, GOOD)
    before = bench.drive.board.clock.now_us
    power_cycle(bench)

    took = bench.drive.board.clock.now_us - before
    assert took > bench.drive.board.timing.boot_us + bench.drive.board.timing.verify_us


# --- power --------------------------------------------------------------------------------------


@pytest.mark.parametrize("security_version", [1, 2])
def test_cut_at_every_step_leaves_the_old_firmware_or_the_new(security_version: int) -> None:
    data = image(security_version=security_version)
    whole = BEGINNING.clone()
    whole.host().unlock(PIN)
    whole.drive.board.supply.begin()
    whole.host().update(data)
    names = list(whole.drive.board.supply.names)
    seen = []

    for cut in range(1, len(names) + 1):
        bench = BEGINNING.clone()
        bench.host().unlock(PIN)
        bench.drive.cut_at(cut)
        with suppress(DriveError):
            bench.host().update(data)
        assert not bench.drive.is_on
        bench.drive.power_on()
        bench.reconnect()
        seen.append(running(bench))
        bench.host().unlock(PIN)

    switch = names.index("element switch firmware")
    assert seen == [BUILT_IN] * (switch + 1) + [("1.1.0", security_version)] * (
        len(names) - switch - 1
    )
    assert names[2:7] == ["erase firmware slot", *["program firmware"] * 3, "program log record"]
