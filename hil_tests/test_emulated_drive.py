"""The whole drive: power cuts, boot, failure, and locking by events."""

from dataclasses import replace

import pytest

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.reference import OpenOnly
from firmware_model.hardware.endurance import Endurance
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire import scsi
from firmware_model.wire.bot import Cbw, Csw, CswStatus
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.native import State
from firmware_model.wire.sense import POWER_ON_RESET
from firmware_model.wire.usb import SetupPacket
from hil_tests.actions import PINS
from hil_tests.bench.bench import Bench
from hil_tests.content import Content
from hil_tests.facts import facts_of
from host_driver.errors import CommandRefused, Locked, SelfTestFailed, WrongPin

PIN, WRONG = PINS[0], PINS[1]
CONTENT = Content("text", bytes(range(256)) * 8)
GET_DEVICE = SetupPacket(0x80, 6, 0x0100, 0, 18)


class StuckNoise:
    """A source that gives one value for ever."""

    def samples(self, count: int) -> bytes:
        return bytes(count)

    def copy(self) -> "StuckNoise":
        return self


def drive(name: str = "native", /, **policy: object) -> EmulatedDrive:
    profile = profiles.load(name)
    profile = replace(profile, policy=replace(profile.policy, **policy))  # type: ignore[arg-type]
    return EmulatedDrive.new(profile, SeededNoise(b"drive"), kdf_iterations=1)


def bench(name: str = "native", /, **policy: object) -> Bench:
    made = drive(name, **policy)
    made.power_on()
    return Bench(made, facts_of(made.profile), CONTENT)


def opened(name: str = "native", /, **policy: object) -> Bench:
    on = bench(name, **policy)
    on.host().set_pin(PIN)
    on.host().unlock(PIN)
    return on


def state(on: Bench) -> State:
    status = on.status()
    assert status is not None
    return status.state


def test_drive_without_power_answers_nobody() -> None:
    made = drive()

    assert made.control(GET_DEVICE) is Handshake.DETACHED
    assert made.transfer_in(0x81, 13) is Handshake.DETACHED
    assert made.transfer_out(0x02, bytes(31)) is Handshake.DETACHED
    made.bus(BusEvent.RESET)
    made.cancel(0x81)


def test_identity_of_a_new_drive_is_drawn_from_noise_that_no_key_sees_again() -> None:
    made = drive()
    made.board.entropy.power_on()

    assert made.board.embedded.memory.identity_seed not in made.board.entropy.draw(1 << 16)


def test_cut_in_the_middle_of_a_command_is_a_drive_that_is_gone() -> None:
    on = opened()
    on.drive.cut_at(1)

    with pytest.raises(Exception, match="gone") as gone:
        on.host().write(0, bytes(512))

    assert type(gone.value).__name__ == "Disconnected"
    assert not on.drive.is_on


def test_cut_during_boot_leaves_the_drive_off_and_the_next_boot_works() -> None:
    for cut in (1, 2):
        made = drive()
        made.cut_at(cut)
        made.power_on()
        assert not made.is_on

        made.power_on()

        assert made.is_on


def test_fork_is_the_same_drive_and_a_different_one() -> None:
    on = opened()
    on.host().write(0, b"x" * 512)
    copy = on.clone()
    copy.host().unlock(PIN)
    copy.host().write(0, b"y" * 512)
    with pytest.raises(WrongPin):
        copy.host().unlock(WRONG)

    assert on.host().read(0, 1) == b"x" * 512
    assert copy.host().read(0, 1) == b"y" * 512
    assert on.status() != copy.status()


def test_stuck_noise_source_fails_the_drive_before_a_key_depends_on_it() -> None:
    made = drive()
    made.board.entropy.source = StuckNoise()
    made.power_on()
    on = Bench(made, facts_of(made.profile), CONTENT)

    with pytest.raises(SelfTestFailed):
        on.host().read(0, 1)

    assert state(on) is State.FAILED


def test_noise_source_that_sticks_later_fails_the_drive_and_makes_no_key() -> None:
    on = bench()
    on.host()
    on.drive.board.entropy.source = StuckNoise()
    on.drive.board.entropy._pool = b""

    with pytest.raises(SelfTestFailed):
        on.host().set_pin(PIN)

    assert state(on) is State.FAILED


def test_idle_drive_locks_itself_and_a_busy_one_does_not() -> None:
    on = opened()
    for _ in range(3):
        on.drive.advance(500_000_000)
        assert len(on.host().read(0, 1)) == 512
    on.drive.advance(601_000_000)

    with pytest.raises(Locked):
        on.host().read(0, 1)


@pytest.mark.parametrize(
    ("policy", "event", "left"),
    [
        ({}, BusEvent.SUSPEND, State.LOCKED),
        ({"lock_on_suspend": False}, BusEvent.SUSPEND, State.UNLOCKED),
        ({}, BusEvent.RESET, State.LOCKED),
        ({"lock_on_reset": False}, BusEvent.RESET, State.UNLOCKED),
        ({"lock_on_reset": False, "lock_on_suspend": False}, BusEvent.DETACH, State.LOCKED),
    ],
)
def test_bus_event_locks_as_the_profile_says(
    policy: dict[str, object], event: BusEvent, left: State
) -> None:
    on = opened(**policy)

    on.drive.bus(event)

    assert on.drive.firmware is not None and on.drive.firmware.state is left


def test_lock_takes_away_what_the_host_had_not_fetched_yet() -> None:
    for happens in ("suspend", "time passes"):
        on = opened()
        on.host().write(0, b"S" * 4096)
        read = Cbw(7, 4096, True, 0, bytes.fromhex("28000000000000000800"))
        on.drive.transfer_out(0x02, read.encode())
        assert on.drive.transfer_in(0x81, 512) == b"S" * 512

        if happens == "suspend":
            on.drive.bus(BusEvent.SUSPEND)
        else:
            on.drive.advance(601_000_000)

        assert on.drive.transfer_in(0x81, 3584) is Handshake.STALL
        on.drive.control(SetupPacket(0x02, 1, 0, 0x81, 0))
        csw = on.drive.transfer_in(0x81, 13)
        assert isinstance(csw, bytes)
        assert Csw.decode(csw) == Csw(7, 3584, CswStatus.FAILED)
        on.drive.transfer_out(0x02, Cbw(8, 18, True, 0, bytes.fromhex("030000001200")).encode())
        sense = on.drive.transfer_in(0x81, 18)
        assert isinstance(sense, bytes)
        assert (sense[2], sense[12], sense[13]) == (0x02, 0x3A, 0x00)


def test_reset_locks_a_drive_that_the_host_unconfigured_before() -> None:
    on = opened()
    assert on.drive.control(SetupPacket(0x00, 9, 0, 0, 0)) == 0

    on.drive.bus(BusEvent.RESET)

    assert on.drive.firmware is not None and on.drive.firmware.state is State.LOCKED


def test_reset_before_configuration_is_part_of_enumeration() -> None:
    on = opened("keypad")
    firmware = on.drive.firmware
    assert firmware is not None
    on.drive.bus(BusEvent.ATTACH)
    on.drive.bus(BusEvent.RESET)
    on.drive.bus(BusEvent.RESET)

    assert firmware.state is State.UNLOCKED


def test_block_at_the_limit_keeps_the_data_for_the_admin() -> None:
    on = opened(at_limit="block")
    on.host().write(0, b"x" * 512)
    on.host().set_pin(PINS[2], "admin")
    on.host().lock()
    for _ in range(10):
        with pytest.raises(WrongPin):
            on.host().unlock(WRONG)
    assert state(on) is State.BLOCKED

    on.host().unlock(PINS[2], "admin")
    on.host().set_pin(PINS[3])
    on.host().lock()
    on.host().unlock(PINS[3])

    assert on.host().read(0, 1) == b"x" * 512


def test_user_who_changes_the_pin_learns_nothing_of_the_admins() -> None:
    on = opened()
    on.host().set_pin(PINS[2], "admin")
    on.host().lock()
    on.host().unlock(PIN)

    on.host().set_pin(PINS[2])  # a refusal would be a guess that cost no try

    on.host().lock()
    on.host().unlock(PINS[2])
    with pytest.raises(CommandRefused):
        on.host().set_read_only(True)


@pytest.mark.parametrize("role", ["user", "admin"])
def test_duress_pin_is_never_that_of_another_role(role: str) -> None:
    on = opened()
    on.host().set_pin(PINS[2], "admin")
    on.host().lock()
    on.host().unlock(PINS[2], "admin")
    with pytest.raises(CommandRefused):
        on.host().set_pin({"user": PIN, "admin": PINS[2]}[role], "duress")

    on.host().set_pin(PINS[3], "duress")

    with pytest.raises(CommandRefused):
        on.host().set_pin(PINS[3], role)


def test_key_of_a_session_that_another_follows_is_cleared_too() -> None:
    vault = OpenOnly()
    vault.hold(b"k" * 64)
    first = vault._mek

    vault.hold(b"l" * 64)

    assert first is not None and bytes(first) == bytes(64)
    assert vault.key() == b"l" * 64


def test_port_reset_is_told_once_and_ends_the_prevention_of_removal() -> None:
    on = opened(lock_on_reset=False)
    assert on.host().block_count
    on.host().disk.command(scsi.PreventAllow(True).encode())
    on.device().reset()
    told = [on.link().execute(scsi.TestUnitReady().encode()).sense for _ in range(2)]
    on.host().disk.start_stop(starts=False, loads_or_ejects=True)

    assert told == [POWER_ON_RESET, None]
    assert state(on) is State.LOCKED


class CrashingVault(OpenOnly):
    """A part that can't let go of the key."""

    def release(self) -> None:
        if self.key() is not None:
            raise RuntimeError("not mine")


def test_drive_that_is_used_outlives_what_its_flash_keeps() -> None:
    on, kept_us = opened(), Endurance().retention_days * 24 * 3600 * 1_000_000
    on.host().write(0, b"x" * 512)
    for _ in range(4):
        on.drive.power_off()
        on.drive.advance(kept_us * 4 // 5)
        on.drive.power_on()
        on.reconnect()
        on.host().unlock(PIN)

        assert on.host().read(0, 1) == b"x" * 512


def test_look_at_the_lights_when_power_fails_shows_them_dark() -> None:
    on = opened("keypad", auto_lock_s=5)
    on.drive.board.clock.charge(6_000_000)
    on.drive.cut_at(1)

    assert set(on.drive.leds().values()) == {"off"}
    assert not on.drive.is_on


def test_part_that_crashes_when_a_timer_runs_out_ends_the_firmware_alone() -> None:
    profile = profiles.load("native")
    profile = replace(profile, policy=replace(profile.policy, auto_lock_s=5))
    parts = {"vault": CrashingVault}
    made = EmulatedDrive.new(profile, SeededNoise(b"drive"), parts, kdf_iterations=1)
    made.power_on()
    on = Bench(made, facts_of(profile), CONTENT)
    on.host().set_pin(PIN)
    on.host().unlock(PIN)
    made.advance(6_000_000)

    assert made.crashes == ["RuntimeError: not mine"]
    assert not made.is_on
