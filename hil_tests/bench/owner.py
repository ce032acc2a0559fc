"""What an owner does to a drive, and what happens to its plug, supply and clock.

Each function is a verb of `hil_tests.actions`: it says what the oracle is to expect, then does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from firmware_model.wire.recovery_pin import recovery_pin
from hil_tests.actions import IMPOSSIBLE_PINS, LBA_TABLE, PIN_TABLE, WEAK_PINS
from hil_tests.bench.bench import AUTO_LOCK_MARGIN_S, ZERO, Bench
from hil_tests.steps import MAY_LOCK, Step
from host_driver.errors import CommandRefused, WrongPin

PAGE_BLOCKS: Final = 8
SCATTER: Final = 37  # pages from one write to the next


def looked_at(pin: str) -> str | None:
    """Return a PIN as the oracle knows it: None when no drive looks at it."""
    return None if pin in IMPOSSIBLE_PINS else pin


def accepted(pin: str) -> str | None:
    """Return a new PIN as the oracle knows it: None when no policy takes it."""
    return None if pin in IMPOSSIBLE_PINS + WEAK_PINS else pin


def set_pin(bench: Bench, step: Step, role: str, pin: int) -> None:
    text = PIN_TABLE[pin]
    bench.expect("set_pin", role, accepted(text))
    bench.memory.pins.add(text)
    bench.memory.changed_pin = any(role in world.pins for world in bench.worlds)
    bench.host().set_pin(text, role)
    note_secrets(bench)


def unlock(bench: Bench, step: Step, role: str, pin: int) -> None:
    text = PIN_TABLE[pin]
    entered = looked_at(text)
    bench.expect("unlock", role, entered)
    bench.memory.pins.add(text)
    step.seen["after_change"] = bench.memory.changed_pin
    with _attempt(bench, entered is not None):
        bench.host().unlock(text, role)
    bench.memory.idle_s = 0
    note_secrets(bench)


@contextmanager
def _attempt(bench: Bench, is_looked_at: bool) -> Iterator[None]:
    """Count an attempt: it happened for sure where there is a verdict on the PIN."""
    attempts = bench.memory.attempts
    attempts.most += is_looked_at
    try:
        yield
    except WrongPin:
        attempts.least += 1
        raise
    attempts.least += 1


def lock(bench: Bench, step: Step) -> None:
    bench.expect("lock")
    bench.host().lock()


def lba_of(bench: Bench, number: int) -> int:
    """Return an LBA of the table, which counts from the end where it is negative."""
    lba = LBA_TABLE[number]
    return lba if lba >= 0 else bench.facts.block_count + lba


def read(bench: Bench, step: Step, lba_number: int, block_count: int) -> None:
    lba = lba_of(bench, lba_number)
    block_count = min(block_count, bench.facts.block_count - lba)
    bench.expect("read")
    data = bench.host().read(lba, block_count)
    bench.memory.idle_s = 0
    bench.see(step, lba, data)


def read_all(bench: Bench, step: Step) -> None:
    bench.expect("read")
    data = bench.host().read(0, bench.facts.block_count)
    bench.memory.idle_s = 0
    bench.see(step, 0, data)


def write(bench: Bench, step: Step, lba_number: int, content: int, block_count: int) -> None:
    lba = lba_of(bench, lba_number)
    numbers = range(content, content + min(block_count, bench.facts.block_count - lba))
    write_numbers(bench, lba, {number: bench.content.block(number) for number in numbers})


def write_numbers(bench: Bench, lba: int, blocks: dict[int, bytes]) -> None:
    """Write blocks of content, by their numbers, from `lba` on."""
    bench.memory.numbers.update((block, number) for number, block in blocks.items())
    bench.memory.erased_numbers -= set(blocks)
    bench.expect("write", False, lba, *blocks)
    bench.host().write(lba, b"".join(blocks.values()))
    bench.expect("write", True, lba, *blocks)
    bench.memory.idle_s = 0


def trim(bench: Bench, step: Step, lba_number: int, block_count: int) -> None:
    lba = lba_of(bench, lba_number)
    block_count = min(block_count, bench.facts.block_count - lba)
    nothing = [ZERO] * block_count
    bench.expect("write", False, lba, *nothing)
    bench.host().trim(lba, block_count)
    bench.expect("write", True, lba, *nothing)
    bench.memory.idle_s = 0


def fill(bench: Bench, step: Step, content: int) -> None:
    numbers = range(content, content + bench.facts.block_count)
    write_numbers(bench, 0, {number: bench.content.block(number) for number in numbers})


def scatter(bench: Bench, step: Step, content: int, page_count: int) -> None:
    pages = bench.facts.block_count // PAGE_BLOCKS
    for done in range(page_count):
        lba = (content + done) * SCATTER % pages * PAGE_BLOCKS
        numbers = range(content + done * PAGE_BLOCKS, content + (done + 1) * PAGE_BLOCKS)
        write_numbers(bench, lba, {number: bench.content.block(number) for number in numbers})
        if done + 1 < page_count:  # the oracle hears of each that was answered, the last in the end
            bench.oracle.act("write", True, lba, *numbers)
            bench.oracle.narrow(lambda success, world: success is True)


def flush(bench: Bench, step: Step) -> None:
    bench.expect("read")
    bench.host().flush()


def make_recovery(bench: Bench, step: Step) -> None:
    lost = {"recovery": ("lost 1", "lost 2", "lost 3")}
    bench.expect("own", ("recovery",), lost)
    pins = bench.host().make_recovery_pins()
    bench.expect("own", ("recovery",), {"recovery": pins})
    bench.memory.recovery = pins
    bench.memory.pins.update(pins)


def recover(bench: Bench, step: Step, number: int, new_pin: int) -> None:
    given = bench.memory.recovery
    wrong = recovery_pin(1, "13579246801357924680")
    entered: str | None = {3: wrong, 4: wrong[:-1] + "x", 5: bench.memory.used_recovery}.get(
        number, given[number] if number < len(given) else wrong
    )
    entered = entered or wrong
    bench.expect(
        "recover", "recovery", None if number == 4 else entered, accepted(PIN_TABLE[new_pin])
    )
    bench.memory.pins.update((entered, PIN_TABLE[new_pin]))
    with _attempt(bench, number != 4):
        bench.host().recover(entered, PIN_TABLE[new_pin])
    bench.memory.used_recovery = entered
    bench.memory.idle_s = 0
    bench.memory.changed_pin = True


def set_duress(bench: Bench, step: Step, pin: int) -> None:
    text = PIN_TABLE[pin]
    bench.expect("own", (), {"pins": {"duress": text}})
    bench.memory.pins.add(text)
    bench.host().set_pin(text, "duress")


def erase(bench: Bench, step: Step) -> None:
    bench.expect("erase", "session")
    bench.host().erase()


def erase_by_code(bench: Bench, step: Step) -> None:
    bench.expect("erase", "code")
    if bench.facts.reset_code is None:
        raise CommandRefused("the reset code of this drive is not known")
    bench.host().erase(bench.facts.reset_code)


def sanitize(bench: Bench, step: Step) -> None:
    bench.expect("erase", "medium")
    bench.host().disk.sanitize()


def set_read_only(bench: Bench, step: Step, setting: str) -> None:
    bench.expect("own", (), {"is_read_only": setting == "on"})
    bench.host().set_read_only(setting == "on")


def read_log(bench: Bench, step: Step) -> None:
    bench.expect("own", (), {})
    bench.host().log()


# --- supply, plug, bus, time --------------------------------------------------------------------


def power_cycle(bench: Bench, step: Step) -> None:
    bench.expect("lock")
    bench.unit.power_off()
    bench.plan_cut(step.action)
    bench.unit.power_on()
    bench.reconnect()


def unplug(bench: Bench, step: Step) -> None:
    bench.expect("lock")
    bench.unit.unplug()
    bench.unit.plug()
    bench.reconnect()


def reset(bench: Bench, step: Step) -> None:
    bench.expect("lock")
    bench.device().reset()
    bench.reconnect()


def suspend(bench: Bench, step: Step) -> None:
    bench.expect("lock")
    bench.unit.suspend()
    bench.unit.resume()


def bulk_reset(bench: Bench, step: Step) -> None:
    bench.link().reset_recovery()


def wait(bench: Bench, step: Step, seconds: int) -> None:
    limit_s = bench.facts.auto_lock_s
    bench.memory.idle_s += seconds
    if limit_s is not None and bench.memory.idle_s >= limit_s:
        bench.expect("lock")
    elif limit_s is not None and bench.memory.idle_s >= limit_s - AUTO_LOCK_MARGIN_S:
        bench.expect(MAY_LOCK)
    bench.unit.advance(seconds * 1_000_000)


def note_secrets(bench: Bench) -> None:
    """Remember every key the drive has now, where it can be opened: none may ever show."""
    if bench.model is None or bench.model.firmware is None:
        return
    firmware = bench.model.firmware
    secrets = bench.memory.secrets
    mek = firmware.access.mek
    if mek is not None:
        secrets[f"MEK {mek[:4].hex()}"] = mek
        for name, half in (("first", mek[:32]), ("second", mek[32:])):
            secrets[f"{name} half of MEK {mek[:4].hex()}"] = half
    state = bench.drive.board.embedded.memory
    secrets["identity key"] = state.identity_seed
    for number, slot in enumerate(state.slots):
        if slot.live is not None:
            secrets[f"slot secret {number} {slot.live[:4].hex()}"] = slot.live
        if slot.spare is not None:
            secrets[f"slot secret {number} {slot.spare[:4].hex()}"] = slot.spare
    if state.stretch_salt is not None:
        bench.memory.salts.add(state.stretch_salt)
    if state.refund_key is not None:
        secrets[f"refund key {state.refund_key[:4].hex()}"] = state.refund_key
