"""What an attacker does who has the drive, its flash, its bus or its firmware, and no PIN."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire.native import (
    PROTOCOL,
    Channel,
    Entry,
    Message,
    Operation,
    Result,
    Role,
    State,
)
from hil_tests.actions import PIN_TABLE
from hil_tests.bench import disk_commands, owner
from hil_tests.bench.bench import Bench, forked
from hil_tests.bench.unit import RemoteUnit
from hil_tests.content import BLOCK_BYTES
from hil_tests.opened_firmware import patch_verdict
from hil_tests.steps import Capability, Step
from host_driver.errors import DriveError
from host_driver.session import open_session
from host_driver.transport import DEFAULT_TIMEOUT_MS, CommandTransport, Completion

LOOK_BLOCKS: Final = 8  # read to see whether a drive gives content away
IN_BYTES: Final = 512


def note_flash(bench: Bench, step: Step) -> None:
    bench.memory.noted_flash = bench.drive.board.flash_image()


def rollback_flash(bench: Bench, step: Step) -> None:
    image = bench.memory.noted_flash
    bench.expect("lock")
    bench.drive.power_off()
    if image is not None:
        bench.memory.is_tampered = True
        bench.restart(bench.drive.with_board(bench.drive.board.with_flash(image)))
    bench.drive.power_on()
    bench.reconnect()


def transplant(bench: Bench, step: Step, pin: int) -> None:
    """Put the copied flash into another unit of the same make, blank or with that very PIN."""
    image = bench.memory.noted_flash
    if image is None:
        return
    for has_pin in (False, True):
        noise = SeededNoise(b"another unit")
        other = EmulatedDrive.new(
            bench.drive.profile, noise, bench.drive.parts, bench.drive.policy.kdf_iterations
        )
        other.power_on()
        unit = forked(bench, other)
        if has_pin:
            unit.host().set_pin(PIN_TABLE[pin])
        other.power_off()
        unit.restart(other.with_board(other.board.with_flash(image)))
        unit.drive.power_on()
        if gives_content(unit, PIN_TABLE[pin]):
            step.seen["opened_elsewhere"] = f"with PIN {pin}, in a unit of its own identity"


def gives_content(bench: Bench, pin: str | None) -> bool:
    """Try a PIN, or none, and tell whether content of this run can be read."""
    if pin is not None:
        try:
            bench.host().unlock(pin)
        except DriveError:
            bench.reconnect()
    try:
        data = bench.host().read(0, LOOK_BLOCKS)
    except DriveError:
        bench.reconnect()
        return False
    blocks = (data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))
    return any(bench.number_of(block) is not None for block in blocks)


def forced_verdict(bench: Bench, step: Step) -> None:
    """Call every PIN right, in a copy of the drive whose firmware was patched."""
    copy = bench.unit.fork()
    if isinstance(copy, RemoteUnit):
        copy.patch()
    else:
        patch_verdict(copy)
    patched = forked(bench, copy)
    wrong = next(pin for pin in PIN_TABLE if all(pin not in w.pins.values() for w in bench.worlds))
    if gives_content(patched, wrong):
        step.seen["opened_by_patch"] = "a wrong PIN opened the drive once its verdict was patched"


class _Recording:
    """A transport that remembers every command it carried."""

    def __init__(self, inner: CommandTransport, commands: list[tuple[bytes, bytes, int]]) -> None:
        self._inner = inner
        self._commands = commands

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        self._commands.append((cdb, data_out, data_in_length))
        return self._inner.execute(cdb, data_out, data_in_length, timeout_ms)

    def close(self) -> None:
        self._inner.close()


def record_unlock(bench: Bench, step: Step, role: str, pin: int) -> None:
    """Unlock, and keep every command that it took, from the opening of the session on."""
    commands: list[tuple[bytes, bytes, int]] = []
    bench.memory.recorded = commands
    bench.reconnect()
    bench.wrap_transport = lambda inner: _Recording(inner, commands)
    try:
        owner.unlock(bench, step, role, pin)
    finally:
        bench.wrap_transport = None
        bench.reconnect()


def replay_unlock(bench: Bench, step: Step) -> None:
    """Send the same bytes again; nobody at this end knows a key or a PIN."""
    bench.reconnect()
    link = bench.link()
    was_open = bench.is_open
    for cdb, data_out, data_in_length in bench.memory.recorded:
        try:
            link.execute(cdb, data_out, data_in_length)
        except DriveError:
            bench.reconnect()
            link = bench.link()
    looks = [bench.status(), bench.status()]  # one answer may have been disturbed
    is_open = all(status is not None and status.state is State.UNLOCKED for status in looks)
    if is_open and not was_open:
        step.seen["opened_by_replay"] = "the drive is open after the recorded bytes came again"


def sweep(bench: Bench, step: Step) -> None:
    """Send every opcode, and every native channel and operation, without a PIN.

    Where the medium is ready, only the vendor's opcodes: the others do what they are there for.
    """
    opened: list[str] = []
    leaked: list[str] = []
    is_closed = bench.host().disk.test_unit_ready() is not None
    before = bench.status()
    for cdb in _cdbs(is_closed):
        for data_out, in_length in ((b"", IN_BYTES), (bytes(IN_BYTES), 0)):
            try:
                answer = bench.link().execute(cdb, data_out, in_length).data
            except DriveError:
                bench.reconnect()
                continue
            leaked += _content_in(bench, cdb, answer)
            opened += (
                _changed(bench, _named(cdb), before) if cdb[0] >= 0xC0 or cdb[0] == 0xB5 else []
            )
        if is_closed and cdb[0] < 0xC0:
            opened += _changed(bench, _named(cdb), before)
    if is_closed:
        ask = partial(disk_commands.answer, bench)
        for cdb in disk_commands.obeyed(ask):
            opened.append(f"{_named(cdb)} was obeyed")
        opened += _changed(bench, "a command of a disk", before)
        stored = disk_commands.stored_block(bench)
        if stored is not None:
            leaked += disk_commands.telling(ask, stored)
        opened += _operations(bench)
    if Capability.FORK in bench.facts.capabilities:
        opened += _wrong_codes(bench)
    if opened:
        step.seen["commands_that_open"] = opened
    if leaked:
        step.seen["leaked"] = leaked


def _cdbs(is_closed: bool) -> Iterator[bytes]:
    """Give a CDB of every opcode, and more of those with room for a parameter."""
    for opcode in range(0x00 if is_closed else 0xC0, 0x100):
        yield bytes((opcode,)) + bytes(15)
        yield bytes((opcode, 0, 0, 0, 0, 0, 0, 0, 1, 0)) + bytes(6)  # one block, as READ(10) asks
    for specific in (0x0000, *Channel, 0x0003, 0x0012, 0xFFFF) if is_closed else ():
        length = IN_BYTES.to_bytes(4, "big")
        for opcode in (0xA2, 0xB5):
            for protocol in (0x00, 0x01, 0xEF, PROTOCOL, 0xFF):
                head = bytes((opcode, protocol)) + specific.to_bytes(2, "big")
                yield head + bytes(2) + length + bytes(2)


def _content_in(bench: Bench, cdb: bytes, answer: bytes) -> list[str]:
    for at in range(0, len(answer) - BLOCK_BYTES + 1, BLOCK_BYTES):
        if bench.number_of(answer[at : at + BLOCK_BYTES]) is not None and not bench.is_open:
            return [f"{_named(cdb)} answered content"]
    return []


def _named(cdb: bytes) -> str:
    return f"CDB {cdb[:10].hex()}"


def _changed(bench: Bench, what: str, before: object) -> list[str]:
    """Compare the status with that of before: without a PIN, no command changes it."""
    after = bench.status()
    if after == before or after is None:
        return []
    if after.state is State.UNLOCKED and not bench.is_open:
        bench.host().lock()
        return [f"{what} opened the drive"]
    return [f"{what} changed the drive's status"]


def _operations(bench: Bench) -> list[str]:
    """Ask for every operation inside a session, without a PIN."""
    status = bench.status()
    if status is None or status.entry is not Entry.HOST:
        return []
    is_blank = status.state in (State.FACTORY, State.ERASED)
    obeyed = []
    for operation in Operation:
        if operation in (Operation.STATUS, Operation.LOCK):
            continue
        for role in Role:
            if is_blank and operation is Operation.SET_PIN:
                continue  # whoever holds a blank drive may give it its first PIN
            message = Message(operation, role, b"", PIN_TABLE[5].encode(), b"")
            try:
                session = open_session(bench.host().disk, bench.draw, lambda identity: None)
                answer = session.exchange(message)
            except DriveError:
                bench.reconnect()
                continue
            if answer.result is Result.OK:
                obeyed.append(f"{operation.name} as {role.name} without a PIN")
    return obeyed


def _wrong_codes(bench: Bench) -> list[str]:
    """Enter codes that are nearly the reset code, each on a copy: none of them erases."""
    right = bench.facts.reset_code
    if right is None or "PIN" not in bench.facts.features:
        return []
    obeyed = []
    last = str((int(right[-1]) + 1) % 10)
    for code in (right[:-1] + last, right[:-1], right + "0", right[:8], "0" * len(right)):
        copy = forked(bench)
        try:
            copy.host().erase(code)
        except DriveError:
            continue
        obeyed.append(f"ERASE with a code of {len(code)} digits that is not the reset code")
    return obeyed
