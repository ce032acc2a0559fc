"""What an examiner does who has dumps, old PINs and all that the element still holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Final

from firmware_model.firmware import crypto
from firmware_model.firmware.keys import SALT_BYTES
from firmware_model.firmware.keystore import KeyRecord
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.parts import Parts, make_parts
from firmware_model.firmware.reference import REFERENCE
from firmware_model.hardware.board import Board, FlashImage
from firmware_model.hardware.element_state import ElementState, Slot
from hil_tests.actions import IMPOSSIBLE_PINS
from hil_tests.bench import owner
from hil_tests.bench.bench import Bench
from hil_tests.oracle import World
from hil_tests.remnants import pages_of, records_in
from hil_tests.steps import Step

SECRET_BYTES: Final = 32
BLANK_PIN: Final = ""  # of a drive before it has one
_ROLES: Final = {Slot.USER: "user", Slot.ADMIN: "admin", Slot.DURESS: "duress"}


def wear_out_keys(bench: Bench, step: Step) -> None:
    """Age the blocks that hold wrapped keys: they still store, and their next erase fails."""
    nand = bench.drive.board.nand
    worn = 2 * nand.endurance.cycles - 1  # more than any block lives through
    for block in Layout.of(bench.drive.policy).areas["keys"]:
        if nand.programmed_in(block):
            nand.cells.set_state(block, replace(nand.cells.state(block), erase_count=worn))


def open_remnants(bench: Bench, step: Step) -> None:
    """Try every wrapped key of all dumps with every PIN and all that the element holds now.

    A wrapped key opens with its own slot's live secret and PIN; whatever else opens is told.
    """
    owner.note_secrets(bench)
    sources = [each for each in (bench.drive.board, bench.memory.noted_flash) if each is not None]
    records = _all_records(bench)
    state = _element_memory(bench.drive.board)
    if not records and any(slot.live for slot in state.slots):
        step.seen["undone"] = "no wrapped key was found in the flash"
    serial_flash = b"".join(map(_serial_flash, sources))
    keys = [key for name, key in bench.memory.secrets.items() if name.startswith("MEK")]
    pins = [*sorted(bench.memory.pins - set(IMPOSSIBLE_PINS)), BLANK_PIN]
    for record, pin, name in _openings(bench, records, pins, state, serial_flash, keys):
        own = _is_live(record, state) and name == _secret_name(record.slot)
        if own and any(_is_pin_of(world, record.slot, pin) for world in bench.worlds):
            continue
        kind = _kind(bench, record, pin, state)
        told = f"{record.slot.name} {record.generation} of epoch {record.epoch}"
        step.seen.setdefault(kind, []).append(f"{told}, with PIN {pin!r} and {name}")


def derived_secrets(bench: Bench) -> dict[str, bytes]:
    """Return by name what leads from a PIN to the media key, and belongs into no memory.

    That is each stretched PIN, and the answer and the KEK of each wrapped key of all dumps.
    """
    memory, parts = bench.memory, make_parts({**REFERENCE, **bench.drive.parts})
    records = _all_records(bench)
    keys = [key for name, key in memory.secrets.items() if name.startswith("MEK")]
    found: dict[str, bytes] = {}
    for salt, pin in product(sorted(memory.salts), sorted(memory.pins - set(IMPOSSIBLE_PINS))):
        stretched = parts.stretching.stretch(pin.encode(), salt, bench.drive.policy.kdf_iterations)
        found[f"PIN {pin} stretched with {salt[:4].hex()}"] = stretched
        for record in records:
            slot = f"slot secret {record.slot:d} "
            for secret in (each for name, each in memory.secrets.items() if name.startswith(slot)):
                answer = crypto.hmac_sha256(secret, stretched)
                kek = parts.derivation.kek(answer, stretched, record.salt, record.slot)
                if _opens(parts, record, kek, keys):
                    told = f"{record.slot.name} {record.generation} of epoch {record.epoch}"
                    found |= {f"answer of {told}": answer, f"KEK of {told}": kek}
    return {name: secret for name, secret in found.items() if len(secret) >= SALT_BYTES}


def _all_records(bench: Bench) -> list[KeyRecord]:
    """Return the different wrapped keys of all dumps."""
    sources = [each for each in (bench.drive.board, bench.memory.noted_flash) if each is not None]
    return list({each: None for source in sources for each in _records(bench, source)})


def _records(bench: Bench, source: Board | FlashImage) -> list[KeyRecord]:
    return records_in([*pages_of(source, bench.drive.policy)], _serial_flash(source))


def _serial_flash(source: Board | FlashImage) -> bytes:
    return source.element.external.value if isinstance(source, Board) else source.external


def _element_memory(board: Board) -> ElementState:
    return board.embedded.memory


def _openings(
    bench: Bench,
    records: list[KeyRecord],
    pins: list[str],
    state: ElementState,
    serial_flash: bytes,
    keys: list[bytes],
) -> Iterator[tuple[KeyRecord, str, str]]:
    """Give each wrapped key that opens, with the PIN and the name of the secret that did it."""
    parts = make_parts({**REFERENCE, **bench.drive.parts})
    chunks = [serial_flash[at : at + 32] for at in range(0, len(serial_flash), SECRET_BYTES)]
    secrets = dict(_secrets(state))
    secrets |= {f"serial flash at {i * SECRET_BYTES}": chunk for i, chunk in enumerate(chunks)}
    salts = [state.stretch_salt or b"", bytes(SECRET_BYTES), *chunks]
    cost = bench.drive.policy.kdf_iterations
    for salt in dict.fromkeys(each for each in salts if len(each) == SECRET_BYTES):
        for pin in pins:
            stretched = parts.stretching.stretch(pin.encode(), salt, cost)
            for name, secret in secrets.items():
                answer = crypto.hmac_sha256(secret, stretched)
                for record in records:
                    kek = parts.derivation.kek(answer, stretched, record.salt, record.slot)
                    if _opens(parts, record, kek, keys):
                        yield record, pin, name


def _opens(parts: Parts, record: KeyRecord, kek: bytes, keys: list[bytes]) -> bool:
    """Tell whether a KEK opens a wrapped key, as the drive sees it or as the examiner does."""
    try:
        unwrapped = parts.wrapping.unwrap(kek, record.wrapped)
    except crypto.InvalidUnwrap:
        return False
    return unwrapped.key in keys or (unwrapped.is_right and record.slot is not Slot.DURESS)


def _secrets(state: ElementState) -> Iterator[tuple[str, bytes]]:
    """Give all that an element holds which could answer a guess, by name."""
    yield "no secret", bytes(SECRET_BYTES)
    yield "the identity key", state.identity_seed
    yield "the hash of the reset code", state.reset_code_hash
    for slot, each in zip(Slot, state.slots, strict=True):
        if each.live is not None:
            yield _secret_name(slot), each.live
        else:
            yield (
                f"the answer of empty slot {slot.name}",
                crypto.hmac_sha256(state.identity_seed, bytes((slot,))),
            )
        if each.spare is not None:
            yield f"the spare secret of {slot.name}", each.spare
    if state.refund_key is not None:
        yield "the refund key", state.refund_key
    if state.stretch_salt is not None:
        yield "the salt of stretching", state.stretch_salt


def _secret_name(slot: Slot) -> str:
    return f"the secret of {slot.name}"


def _is_live(record: KeyRecord, state: ElementState) -> bool:
    slot = state.slots[record.slot]
    is_current = (record.epoch, record.generation) == (state.epoch, slot.generation)
    return is_current and slot.live is not None


def _is_pin_of(world: World, slot: Slot, pin: str) -> bool:
    role = _ROLES.get(slot)
    return pin in world.recovery if role is None else world.pins.get(role) == pin


def _kind(bench: Bench, record: KeyRecord, pin: str, state: ElementState) -> str:
    """Return which promise an opening breaks."""
    if record.epoch != state.epoch or all(world.state == "erased" for world in bench.worlds):
        return "opened_after_erase"
    is_current = any(_is_pin_of(world, slot, pin) for world in bench.worlds for slot in Slot)
    return "opened_outside_slot" if is_current else "opened_by_old_pin"
