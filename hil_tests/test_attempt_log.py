"""The attempt log: a ring that folds, and proofs that nothing is missing from it."""

import contextlib
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.layout import Layout
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire.attempt_log import KINDS, Checkpoint, Event
from firmware_model.wire.native import Role
from hil_tests.actions import PINS
from hil_tests.bench.bench import Bench
from hil_tests.content import Content
from hil_tests.facts import facts_of
from host_driver.attempt_log import AttemptLog, LogNotProved, attempts, check_evidence
from host_driver.errors import Disconnected, WrongPin

RING = 128
PROFILE = replace(
    profiles.load("native"),
    policy=replace(profiles.load("native").policy, log_records=RING, block_count=4096),
)


def bench(**policy: object) -> Bench:
    changed = replace(PROFILE.policy, **policy)  # type: ignore[arg-type]
    profile = replace(PROFILE, policy=changed)
    drive = EmulatedDrive.new(profile, SeededNoise(b"log"), kdf_iterations=1)
    drive.power_on()
    return Bench(drive, facts_of(profile), Content("text", bytes(range(256)) * 8))


def guess(on: Bench, times: int) -> None:
    """Enter a wrong PIN and the right one, again and again."""
    for _ in range(times):
        with pytest.raises(WrongPin):
            on.host().unlock(PINS[1])
        on.host().unlock(PINS[0])


def cycle(on: Bench) -> None:
    on.drive.power_off()
    on.drive.power_on()
    on.reconnect()


def test_log_that_wrapped_many_times_still_proves_every_attempt() -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    for _ in range(12):
        guess(on, 20)
        cycle(on)
    on.host().unlock(PINS[0])

    log = on.host().log()
    evidence = on.host().evidence()

    assert attempts(evidence) == 12 * 40 + 1
    assert log.checkpoint is not None
    assert RING // 2 <= len(log.records) <= RING
    assert log.records[-1].number == evidence.count - 1


def test_log_without_a_fold_has_every_record_in_order() -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    guess(on, 2)

    log = on.host().log()

    assert log.checkpoint is None
    assert [record.event for record in log.records] == [
        Event.BOOT,
        Event.PIN_SET,
        Event.ATTEMPT_USER,
        Event.ATTEMPT_USER,
        Event.UNLOCK,
        Event.ATTEMPT_USER,
        Event.ATTEMPT_USER,
        Event.UNLOCK,
    ]


def events_after(on: Bench, count: int) -> list[tuple[Event, tuple[int, int]]]:
    """Return the records from number `count` on, with the MiB they tell of."""
    firmware = on.drive.firmware
    assert firmware is not None
    records = firmware.log.page(count).records
    return [(record.event, record.megabytes) for record in records]


def opened_and_read() -> tuple[Bench, int]:
    """Return a drive that is open as admin, of which 1 MiB was read, and its count of records."""
    on = bench(at_limit="block")
    on.host().set_pin(PINS[0])
    on.host().unlock(PINS[0])
    on.host().set_pin(PINS[2], "admin")
    on.host().lock()
    on.host().unlock(PINS[2], "admin")
    on.host().read(0, 2048)
    return on, on.host().evidence().count


def test_block_at_the_limit_is_logged_as_the_lock_it_is() -> None:
    on, count = opened_and_read()
    for _ in range(10):
        with pytest.raises(WrongPin):
            on.host().unlock(PINS[1])

    assert events_after(on, count + 10) == [(Event.LOCK, (1, 0))]


@pytest.mark.parametrize(
    ("act", "event"),
    [
        (lambda on: on.host().erase(), Event.ERASE_COMMAND),
        (lambda on: on.host().unlock(PINS[2], "admin"), Event.TOTALS),
    ],
)
def test_no_end_of_a_session_hides_what_moved_in_it(
    act: Callable[[Bench], None], event: Event
) -> None:
    on, count = opened_and_read()

    act(on)

    assert (event, (1, 0)) in events_after(on, count)


@pytest.mark.parametrize("at_limit", ["erase", "block"])
def test_duress_pin_at_the_last_try_is_logged_as_one_and_answered_as_a_wrong_one(
    at_limit: str,
) -> None:
    answers, events = [], []
    for pin in (PINS[3], PINS[1]):
        on = bench(at_limit=at_limit)
        on.host().set_pin(PINS[0])
        on.host().unlock(PINS[0])
        on.host().set_pin(PINS[2], "admin")
        on.host().lock()
        on.host().unlock(PINS[2], "admin")
        on.host().set_pin(PINS[3], "duress")
        on.host().lock()
        for _ in range(9):
            with pytest.raises(WrongPin):
                on.host().unlock(PINS[1])
        firmware = on.drive.firmware
        assert firmware is not None
        count, began_us = on.host().evidence().count, on.drive.board.clock.now_us
        answers.append(
            (firmware.unlock(Role.USER, pin.encode()), on.drive.board.clock.now_us - began_us)
        )
        events.append([event for event, _ in events_after(on, count)][1:])

    assert answers[0] == answers[1]
    assert events[0] == [Event.ERASE_DURESS]
    assert events[1] == ([Event.ERASE_LIMIT] if at_limit == "erase" else [])


def test_longest_attempt_is_as_long_as_its_timing_says() -> None:
    on = bench()
    on.drive.board.timing = replace(on.drive.board.timing, attempt_us=0)
    on.host().set_pin(PINS[0])
    on.host().unlock(PINS[0])
    on.host().set_pin(PINS[3], "duress")
    on.host().lock()
    firmware, board = on.drive.firmware, on.drive.board
    assert firmware is not None
    assert firmware.log.first == 0  # no fold comes in between
    began_us = board.clock.now_us

    firmware.unlock(Role.USER, PINS[3].encode())

    # One of the two key blocks holds nothing, and is not erased.
    took_us = board.clock.now_us - began_us
    assert took_us == board.timing.longest_attempt_us - board.timing.block_erase_us


def forged(log: AttemptLog) -> dict[str, AttemptLog]:
    records = log.records
    changed = replace(records[3], event=Event.BOOT)
    return {
        "cut": replace(log, records=records[:-1]),
        "with a gap": replace(log, records=records[:3] + records[4:]),
        "changed": replace(log, records=(*records[:3], changed, *records[4:])),
        "empty": replace(log, records=()),
        "without its checkpoint": replace(log, checkpoint=None, records=records[1:]),
    }


@pytest.mark.parametrize("wraps", [False, True])
def test_log_that_was_tampered_with_is_not_proved(wraps: bool) -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    guess(on, 60 if wraps else 3)
    log, evidence = on.host().log(), on.host().evidence()

    for what, tampered in forged(log).items():
        with pytest.raises(LogNotProved):
            tampered.prove(evidence)
            raise AssertionError(f"a log that was {what} is proved")


def test_checkpoint_of_another_drive_is_not_proved() -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    guess(on, 60)
    log, evidence = on.host().log(), on.host().evidence()
    assert log.checkpoint is not None
    another = replace(log.checkpoint, signature=bytes(64))

    with pytest.raises(LogNotProved, match="checkpoint is not signed"):
        replace(log, checkpoint=another).prove(evidence)


CHECKPOINT = Checkpoint(1 << 63, bytes(32), (1 << 31,) * KINDS, bytes(64)).encode()


@pytest.mark.parametrize(
    ("kind", "sequence", "page"),
    [(0xA1, 2**64 - 1, bytes(40)), (0xA2, 9, CHECKPOINT), (0xA2, 9, b"")],
    ids=["record with the last number", "checkpoint that nobody signed", "empty checkpoint"],
)
def test_forged_page_in_the_ring_stops_neither_the_drive_nor_its_log(
    kind: int, sequence: int, page: bytes
) -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    on.drive.power_off()
    image = on.drive.board.flash_image()
    record = struct.pack(">BQQ", kind, sequence, 1 << 40).ljust(32, b"\xff")
    last_of_ring = Layout.of(PROFILE.policy).firmware_block - 1
    image.cells.append(last_of_ring, page, record)
    on.restart(on.drive.with_board(on.drive.board.with_flash(image)))
    on.drive.power_on()

    guess(on, 60)

    assert on.host().log().checkpoint is not None


def test_evidence_is_over_the_askers_own_nonce() -> None:
    on = bench()
    evidence = on.host().evidence(bytes(32))

    check_evidence(evidence, bytes(32))
    with pytest.raises(LogNotProved, match="another nonce"):
        check_evidence(evidence, b"\x01" * 32)
    with pytest.raises(LogNotProved, match="not signed"):
        check_evidence(replace(evidence, count=evidence.count + 1), bytes(32))


def test_flash_rolled_back_leaves_a_log_that_does_not_verify() -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    image = on.drive.board.flash_image()
    guess(on, 3)
    on.drive.power_off()
    on.restart(on.drive.with_board(on.drive.board.with_flash(image)))
    on.drive.power_on()
    on.host().unlock(PINS[0])

    with pytest.raises(LogNotProved):
        on.host().log()


def test_cut_at_any_step_of_a_fold_loses_no_attempt() -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    guess(on, 23)  # the ring is nearly full
    for cut in range(1, 40):
        copy = on.clone()
        copy.host()
        before = attempts(copy.host().evidence())
        copy.drive.cut_at(cut)
        made = 0
        try:
            for _ in range(8):
                made += 1
                with contextlib.suppress(WrongPin):
                    copy.host().unlock(PINS[1])
                made += 1
                copy.host().unlock(PINS[0])
        except Disconnected:
            assert not copy.drive.is_on
        copy.drive.cut_at(None)
        cycle(copy)
        counted = attempts(copy.host().evidence()) - before
        copy.host().unlock(PINS[0])

        assert made - 1 <= counted <= made
        copy.host().log()


def test_boots_that_lose_power_before_the_element_hears_push_no_record_out() -> None:
    on = bench()
    on.host().set_pin(PINS[0])
    guess(on, 10)
    made = attempts(on.host().evidence())
    for boot in range(600):
        on.drive.power_off()
        on.drive.cut_at(2)  # the record is in flash, the element knows nothing of it
        on.drive.power_on()
        if boot % 100 == 99:
            cycle(on)
            on.host().unlock(PINS[0])
            made += 1
            on.host().log()

    assert attempts(on.host().evidence()) == made
