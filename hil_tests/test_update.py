"""An update on a whole drive: who may, what runs afterwards, and what a cut leaves."""

from contextlib import suppress

import pytest

from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.hardware.endurance import Endurance
from firmware_model.hardware.supply import Torn
from firmware_model.wire.attempt_log import Event
from firmware_model.wire.firmware_image import (
    IMAGE_BYTES_MAX,
    Manifest,
    Version,
)
from firmware_model.wire.scsi import Inquiry
from firmware_model.wire.scsi.buffer import ReadBufferDescriptor
from firmware_model.wire.sense import (
    ACCESS_NOT_AUTHORIZED,
    LOCKED,
    SELF_TEST_FAILED,
)
from hil_tests.runs import Target
from hil_tests.updated_drives import (
    ADMIN_PIN,
    BUILT_IN,
    GOOD,
    PIN,
    activate,
    damage,
    image,
    opened,
    power_cycle,
    running,
    send,
    state_of,
    updated,
)
from host_driver.errors import CommandRefused, DriveError, Locked, NotSupported
from host_driver.firmware_update import buffer_descriptor


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


def test_firmware_of_a_drive_that_is_used_outlives_what_its_flash_keeps() -> None:
    bench, kept_us = opened(), Endurance().retention_days * 24 * 3600 * 1_000_000
    updated(bench, image())
    for _ in range(4):
        bench.drive.advance(kept_us * 4 // 5)
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


BEGINNING = opened()


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


@pytest.mark.parametrize("torn", [None, *Torn])
@pytest.mark.parametrize("security_version", [1, 2])
def test_cut_at_every_step_leaves_the_old_firmware_or_the_new(
    security_version: int, torn: Torn | None
) -> None:
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
        bench.drive.cut_at(cut, torn)
        with suppress(DriveError):
            bench.host().update(data)
        assert not bench.drive.is_on
        bench.drive.power_on()
        bench.reconnect()
        seen.append(running(bench))
        bench.host().unlock(PIN)
        updated(bench, image("1.2.0", 2))
        assert running(bench) == ("1.2.0", 2)

    switch = names.index("element switch firmware")
    assert seen == [BUILT_IN] * (switch + 1) + [("1.1.0", security_version)] * (
        len(names) - switch - 1
    )
    assert names[2:7] == ["erase firmware slot", *["program firmware"] * 3, "program log record"]
