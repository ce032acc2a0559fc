"""What an examiner measures: dumps, traces, ciphertext, keys of many units, answers, evidence."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire.usb import DescriptorType
from hil_tests.actions import IMPOSSIBLE_PINS, PINS
from hil_tests.bench import owner
from hil_tests.bench.bench import Bench, forked
from hil_tests.bench.forensics import derived_secrets
from hil_tests.content import BLOCK_BYTES, ContentIndex, find_needles, pin_needles
from hil_tests.entropy_map import map_of
from hil_tests.oracle import World
from hil_tests.remnants import (
    DumpPage,
    crosses,
    pages_of,
    readings,
    repeated_ciphertext,
    stray_keys,
)
from hil_tests.steps import Step
from host_driver.attempt_log import attempts
from host_driver.errors import CommandRefused, DriveError

CHUNK_BLOCKS: Final = 2048  # of the register, in one WRITE
OWN_NUMBERS: Final = 100_000  # content that is none of the register's has numbers from here on
CRAFTED_LBA: Final = 64


def search_flash(bench: Bench, step: Step) -> None:
    """Search a dump for content of this run, PINs, keys and what shows the way to them."""
    owner.note_secrets(bench)
    board = bench.drive.board
    pages, serial_flash = list(pages_of(board, bench.drive.policy)), board.element.external.value
    found = content_in(pages, serial_flash, b"".join(bench.memory.numbers))
    if found:
        step.seen["content_in_flash"] = found
    needles = needles_of(bench)
    secrets = secrets_in(needles, dumped(pages, serial_flash)) + split_secrets_in(needles, pages)
    if secrets:
        step.seen["secret_in_flash"] = secrets
    strays = stray_keys(pages, serial_flash)
    if strays:
        step.seen["stray_keys"] = strays
    repeated = repeated_ciphertext(pages)
    if repeated:
        step.seen["structure"] = repeated


def dumped(pages: Iterable[DumpPage], serial_flash: bytes) -> Iterator[tuple[str, bytes]]:
    """Give the parts of a dump in the order a reader gives them, with their names."""
    for page in pages:
        yield page.name, page.data
        yield f"spare area of {page.name}", page.spare
    yield "serial flash", serial_flash


def content_in(pages: Iterable[DumpPage], serial_flash: bytes, content: bytes) -> list[str]:
    """Return where 16 bytes of content stand in a dump, at most a few places."""
    if not content:
        return []
    names, ends, parts = [], [], []
    end = 0
    for name, data in dumped(pages, serial_flash):
        end += len(data)
        names.append(name)
        ends.append(end)
        parts.append(data)
    hits = ContentIndex(content).find(b"".join(parts))
    return list(dict.fromkeys(names[bisect_right(ends, at)] for at, _ in hits))


def needles_of(bench: Bench) -> dict[str, bytes]:
    """Return every PIN and key that a run has seen, in every usual form, by name."""
    needles: dict[str, bytes] = {}
    derived = {} if bench.model is None else derived_secrets(bench)
    for name, key in (bench.memory.secrets | derived).items():
        needles |= {name + form: needle for form, needle in key_needles(key).items()}
    for pin in bench.memory.pins - set(IMPOSSIBLE_PINS):
        needles |= {f"PIN {pin} as {form}": needle for form, needle in pin_needles(pin).items()}
    return needles


def secrets_in(needles: Mapping[str, bytes], places: Iterator[tuple[str, bytes]]) -> list[str]:
    """Return which PINs and keys stand where."""
    return [f"{name} in {place}" for place, data in places for name in find_needles(data, needles)]


def split_secrets_in(needles: Mapping[str, bytes], pages: Sequence[DumpPage]) -> list[str]:
    """Return which PINs and keys stand across the ends of pages, in whatever order."""
    found = []
    for reading in readings(pages):
        data, ends = reading.joined(), reading.ends()
        for name in find_needles(data, needles):
            needle = needles[name]
            places = (match.start() for match in re.finditer(re.escape(needle), data))
            if any(crosses(ends, at, len(needle)) for at in places):
                found.append(f"{name} across {reading.name}")
    return found


def key_needles(key: bytes) -> dict[str, bytes]:
    """Return a key in every usual form, by what is said of the form behind the key's name."""
    text = key.hex()
    return {
        "": key,
        ", last byte first,": key[::-1],
        " as hexadecimal text": text.encode(),
        " as hexadecimal text in capitals": text.upper().encode(),
    }


def search_bus(bench: Bench, step: Step) -> None:
    """Search all that crossed the bus in this run for PINs and keys."""
    owner.note_secrets(bench)
    payloads = bench.recorder.payloads
    needles = needles_of(bench)
    secrets = secrets_in(needles, ((f"payload {i}", data) for i, data in enumerate(payloads)))
    given = set(bench.memory.recovery)  # shown by the drive, once, inside a sealed answer
    if secrets:
        step.seen["secret_on_bus"] = secrets[: 8 + len(given)]


def store_register(bench: Bench, step: Step) -> None:
    """Store the whole content in a copy of the drive, take its power, and search its flash."""
    copy, content = forked(bench), bench.content
    pin, has_pin = PINS[0], bench.facts.dialect != "none"
    if has_pin and not all(_may_write(world, pin) for world in bench.worlds):
        return
    try:
        if has_pin:
            copy.host().unlock(pin)
        blocks = min(content.block_count, bench.facts.block_count)
        for first in range(0, blocks, CHUNK_BLOCKS):
            last = min(first + CHUNK_BLOCKS, blocks)
            copy.host().write(first, content.blocks(first, last - first))
        copy.host().flush()
    except DriveError as refused:
        step.seen["undone"] = f"not stored: {refused}"
        return
    copy.drive.power_off()
    step.seen["searched_bytes"] = blocks * BLOCK_BYTES
    board = copy.drive.board
    step.seen["picture"] = map_of(board.nand, copy.drive.policy).svg()
    pages = list(pages_of(board, copy.drive.policy))
    found = content_in(pages, board.element.external.value, content.data)
    if found:
        step.seen["content_in_flash"] = found[:8]
    repeated = repeated_ciphertext(pages)
    if repeated:
        step.seen["structure"] = repeated


def _may_write(world: World, pin: str) -> bool:
    return world.pins.get("user") == pin and world.tries["user"] > 0 and not world.is_read_only


def inspect_cipher(bench: Bench, step: Step) -> None:
    """Write pages of crafted sectors and compare what they became in flash."""
    plain = [
        *_equal_sectors(),
        *_related_sectors(CRAFTED_LBA + 8),
        *_related_sectors(CRAFTED_LBA + 16),
    ]
    before = {page.number for page in pages_of(bench.drive.board, bench.drive.policy)}
    numbers = {OWN_NUMBERS + i: sector for i, sector in enumerate(plain)}
    bench.expect("write", False, CRAFTED_LBA, *numbers)
    bench.host().write(CRAFTED_LBA, b"".join(plain))
    bench.expect("write", True, CRAFTED_LBA, *numbers)
    bench.memory.idle_s = 0
    pages = pages_of(bench.drive.board, bench.drive.policy)
    new = [each.data for each in pages if each.area == "data" and each.number not in before]
    cipher = [
        page[at : at + BLOCK_BYTES] for page in new for at in range(0, len(page), BLOCK_BYTES)
    ]
    faults = structure(plain, cipher)
    if faults:
        step.seen["structure"] = faults


def _equal_sectors() -> list[bytes]:
    """Return a page of sectors that are equal, or nearly so."""
    ramp = bytes(i & 0xFF for i in range(BLOCK_BYTES))
    filled = b"\x55" * BLOCK_BYTES
    near = ramp[:-1] + b"\x00"
    return [bytes(BLOCK_BYTES), bytes(BLOCK_BYTES), ramp, ramp, near, filled, filled, ramp[::-1]]


def _related_sectors(lba: int) -> list[bytes]:
    """Return a page for an LBA: sectors as in any other page, and those that cancel their address.

    The latter begin with a fixed block and the address over it, so that a cipher whose IV is the
    address makes the same of them all (Cure53, NK-01-004).
    """
    ramp = bytes(i & 0xFF for i in range(BLOCK_BYTES))
    fixed = int.from_bytes(ramp[:16], "big")
    page = [bytes(BLOCK_BYTES), ramp, b"\x55" * BLOCK_BYTES, ramp[::-1]]
    for order in ("little", "big"):
        for at in (len(page), len(page) + 1):
            address = int.from_bytes((lba + at).to_bytes(16, order), "big")
            page.append((fixed ^ address).to_bytes(16, "big") + ramp[16:])
    return page


def structure(plain: list[bytes], cipher: list[bytes]) -> list[str]:
    """Return how ciphertext shows its plaintext: as it is, by equal blocks, or by XOR.

    A drive that stores more than it was given shows at least the first two.
    """
    faults = []
    if any(
        p[i : i + 16] == c[i : i + 16]
        for p, c in zip(plain, cipher, strict=False)
        for i in range(0, BLOCK_BYTES, 16)
    ):
        faults.append("plaintext stands where ciphertext should")
    blocks = [c[i : i + 16] for c in cipher for i in range(0, BLOCK_BYTES, 16)]
    if len(set(blocks)) < len(blocks):
        faults.append(f"{len(blocks) - len(set(blocks))} of {len(blocks)} cipher blocks repeat")
    for i, (p, c) in enumerate(zip(plain, cipher, strict=False)):
        for q, d in zip(plain[:i], cipher[:i], strict=True):
            if p != q and _xor(p, q) == _xor(c, d):
                faults.append("ciphertexts differ as their plaintexts do")
                return faults
    return faults


def _xor(a: bytes, b: bytes) -> int:
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


def reprovision(bench: Bench, step: Step, units: int) -> None:
    """Provision many units, and one of them again after an erase, and compare their keys."""
    seen: dict[bytes, str] = {}
    repeated: list[str] = []

    def take(unit: Bench, name: str) -> None:
        unit.host().set_pin(PINS[0])
        unit.host().unlock(PINS[0])
        firmware = unit.drive.firmware
        mek = firmware.access.mek if firmware is not None else None
        if mek is None:
            raise CommandRefused("its PIN was taken, and it has no key")
        for key in (mek, mek[:32], mek[32:]):
            if key in seen:
                repeated.append(f"{name} has the key of {seen[key]}")
            seen[key] = name

    for number in range(units):
        noise = SeededNoise(b"unit" + number.to_bytes(4, "big"))
        drive = EmulatedDrive.new(bench.drive.profile, noise, bench.drive.parts, 1)
        unit = forked(bench, drive)
        try:
            take(unit, f"unit {number}")
            if number == 0:
                unit.host().erase()
                take(unit, "unit 0 after an erase")
                if repeated:
                    step.seen["same_key_after_erase"] = repeated[0]
        except DriveError as refused:
            step.seen["undone"] = f"unit {number}: {refused}"
            return
    if repeated:
        step.seen["repeated_keys"] = repeated[:4]


def evidence(bench: Bench, step: Step) -> None:
    """Ask for signed evidence, and compare its count of attempts with those that were made."""
    signed = bench.host().evidence()
    counted, records = attempts(signed), signed.count
    made = bench.memory.attempts
    earlier = bench.memory.evidence
    faults = []
    if earlier is not None and (counted < earlier[0] or records < earlier[1]):
        faults.append(f"{counted} attempts and {records} records, after {earlier} before")
    if not made.least <= counted <= made.most:
        faults.append(f"{counted} attempts signed, {made.least} to {made.most} made")
    bench.memory.evidence = (counted, records)
    if faults:
        step.seen["evidence_faults"] = faults


def ask_descriptors(bench: Bench, step: Step) -> None:
    """Ask for every descriptor and security answer with every length, and look at what comes."""
    device = bench.device()
    stale: list[str] = []
    for kind in DescriptorType:
        for index in range(5):
            whole = _descriptor(device, kind, index, 0xFF)
            for length in (1, 2, 4, 8, 9, 18, 32, 64, 255, 1024) if whole else ():
                answer = _descriptor(device, kind, index, length)
                if answer != whole[: min(length, _own_length(whole))] and length <= 0xFF:
                    stale.append(f"descriptor {kind:02X}h/{index}: {len(answer)} of {length} bytes")
                elif len(answer) > max(len(whole), _own_length(whole)):
                    stale.append(f"descriptor {kind:02X}h/{index}: {len(answer)} bytes")
    if stale:
        step.seen["stale"] = stale[:4]


def _own_length(descriptor: bytes) -> int:
    """Return how long a descriptor says it is."""
    begins_a_set = descriptor[1] in (
        DescriptorType.CONFIGURATION,
        DescriptorType.OTHER_SPEED_CONFIGURATION,
        DescriptorType.BOS,
    )
    if begins_a_set and len(descriptor) >= 4:
        return int.from_bytes(descriptor[2:4], "little")
    return descriptor[0]


def _descriptor(device: object, kind: int, index: int, length: int) -> bytes:
    try:
        answer = device.ctrl_transfer(0x80, 6, kind << 8 | index, 0x0409 if index else 0, length)  # type: ignore[attr-defined]
    except OSError:
        return b""
    return bytes(answer)
