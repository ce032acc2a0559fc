"""Blocks read, written, compared and merged, by every command that does it."""

import pytest

from firmware_model.defects.media import AnswersTooEarly
from firmware_model.firmware.volume import Volume
from firmware_model.wire import scsi
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    LBA_OUT_OF_RANGE,
    MISCOMPARE,
    UNRECOVERED_READ,
    Sense,
)
from hil_tests.logical_units import BLOCK, NativeUnit, PlainUnit

OTHER = BLOCK[::-1]


def made(command: type, lba: int, count: int, size: int) -> scsi.Command:
    """Return a command on blocks, in the size of CDB that it is wanted in."""
    if command in (scsi.CompareAndWrite, scsi.OrWrite):
        return command(lba, count)
    return command(lba, count, size)  # type: ignore[no-any-return]


FORMS = [
    *((scsi.Read, size) for size in (6, 10, 12, 16)),
    *((scsi.Write, size) for size in (6, 10, 12, 16)),
    *((scsi.Verify, size) for size in (10, 12, 16)),
    *((scsi.WriteAndVerify, size) for size in (10, 12, 16)),
    *((scsi.PreFetch, size) for size in (10, 16)),
    *((scsi.SynchronizeCache, size) for size in (10, 16)),
    *((scsi.WriteSame, size) for size in (10, 16)),
    (scsi.CompareAndWrite, 16),
    (scsi.OrWrite, 16),
]


@pytest.mark.parametrize(("command", "size"), FORMS)
def test_blocks_beyond_the_end_are_refused(opened: NativeUnit, command: type, size: int) -> None:
    end = opened.firmware.policy.block_count
    zeros = bytes(2048)

    assert isinstance(opened.run(made(command, end - 1, 1, size), zeros), bytes)
    assert opened.run(made(command, end, 1, size), zeros) == LBA_OUT_OF_RANGE
    assert opened.run(made(command, end - 1, 2, size), zeros) == LBA_OUT_OF_RANGE
    if size == 16:
        assert opened.run(made(command, (1 << 64) - 1, 2, size), zeros) == LBA_OUT_OF_RANGE


@pytest.mark.parametrize("size", [10, 12, 16])
def test_no_blocks_at_the_very_end_are_no_error(opened: NativeUnit, size: int) -> None:
    end = opened.firmware.policy.block_count

    for command in (scsi.Read, scsi.Write, scsi.Verify, scsi.WriteAndVerify):
        assert opened.run(command(end, 0, size)) == b""
        assert opened.run(command(end + 1, 0, size)) == LBA_OUT_OF_RANGE


@pytest.mark.parametrize("size", [6, 10, 12, 16])
def test_what_is_written_in_any_size_is_read_in_any_other(opened: NativeUnit, size: int) -> None:
    assert opened.run(scsi.Write(5, 2, size), BLOCK + OTHER) == b""

    for other in (6, 10, 12, 16):
        assert opened.run(scsi.Read(5, 2, other)) == BLOCK + OTHER
    assert opened.run(scsi.Read(4, 4)) == bytes(512) + BLOCK + OTHER + bytes(512)


def test_count_of_zero_means_256_blocks_to_the_shortest_cdb_alone(opened: NativeUnit) -> None:
    assert opened.unit.transfer(bytes.fromhex("08 00 00 00 00 00")).length == 256 * 512
    assert opened.unit.transfer(bytes.fromhex("0a 00 00 00 00 00")).length == 256 * 512
    assert opened.run(scsi.Write(0, 256, 6), BLOCK * 256) == b""
    assert opened.run(scsi.Read(0, 256, 6)) == BLOCK * 256
    assert opened.run(scsi.Read(0, 0)) == b""


def test_hints_and_groups_are_taken(opened: NativeUnit) -> None:
    opened.run(scsi.Write(0, 1), BLOCK)

    for text in (
        "28 10 00 00 00 00 00 00 01 00",  # DPO
        "28 18 00 00 00 00 00 00 01 00",  # DPO and FUA
        "28 00 00 00 00 00 1f 00 01 00",  # a group
        "a8 08 00 00 00 00 00 00 00 01 1f 00",
        "88 18 00 00 00 00 00 00 00 00 00 00 00 01 1f 00",
    ):
        assert opened.run_cdb(bytes.fromhex(text)) == BLOCK


@pytest.mark.parametrize(
    "command",
    [
        scsi.Write(0, 2),
        scsi.WriteAndVerify(0, 2),
        scsi.Verify(0, 2, compares=True),
        scsi.Verify(0, 4, compares=True, repeats=True),
        scsi.CompareAndWrite(0, 1),
        scsi.OrWrite(0, 2),
        scsi.WriteSame(0, 2),
    ],
    ids=str,
)
def test_fewer_bytes_than_told_change_nothing(opened: NativeUnit, command: scsi.Command) -> None:
    opened.run(scsi.Write(0, 2), BLOCK * 2)
    length = command.transfer.length
    assert length

    assert opened.run(command, BLOCK[: length - 1]) == INVALID_FIELD_IN_CDB
    assert opened.run(scsi.Read(0, 2)) == BLOCK * 2


# --- forced unit access ------------------------------------------------------------------------


@pytest.fixture
def cached() -> NativeUnit:
    """An open drive that keeps the last write to itself."""
    return NativeUnit(parts={"caching": AnswersTooEarly}).own().open()


def stored(unit: NativeUnit) -> bytes:
    """Return block 0 as it is in flash, whatever a cache still holds."""
    access = unit.firmware.access
    key = access.mek
    assert key is not None
    cipher = unit.firmware.parts.cipher.sectors(key)
    return Volume(access.translation, cipher, unit.board.nand.geometry.page_bytes).read(0, 1)


def test_write_with_fua_is_in_flash_when_it_is_answered(cached: NativeUnit) -> None:
    cached.run(scsi.Write(0, 1), BLOCK)
    assert stored(cached) == bytes(512)

    cached.run(scsi.Write(0, 1, fua=True), OTHER)
    assert stored(cached) == OTHER


@pytest.mark.parametrize(
    "command",
    [scsi.Read(8, 1, fua=True), scsi.SynchronizeCache(), scsi.SynchronizeCache(0, 1, 16, True)],
    ids=str,
)
def test_what_is_written_before_is_in_flash_then(cached: NativeUnit, command: scsi.Command) -> None:
    cached.run(scsi.Write(0, 1), BLOCK)
    cached.run(command)

    assert stored(cached) == BLOCK


@pytest.mark.parametrize("size", [10, 12, 16])
def test_write_that_is_verified_was_stored_first(cached: NativeUnit, size: int) -> None:
    assert cached.run(scsi.WriteAndVerify(0, 1, size, compares=True), BLOCK) == b""

    assert stored(cached) == BLOCK


def test_stopping_and_ejecting_store_what_waits(cached: NativeUnit) -> None:
    cached.run(scsi.Write(0, 1), BLOCK)
    cached.run(scsi.StartStopUnit(False))

    assert stored(cached) == BLOCK


# --- comparing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 12, 16])
def test_blocks_written_are_compared(opened: NativeUnit, size: int) -> None:
    opened.run(scsi.Write(5, 300), BLOCK * 300)

    assert opened.run(scsi.Verify(5, 300, size)) == b""
    assert opened.run(scsi.Verify(5, 300, size, compares=True), BLOCK * 300) == b""
    wrong = BLOCK * 299 + OTHER
    assert opened.run(scsi.Verify(5, 300, size, compares=True), wrong) == MISCOMPARE
    assert opened.run(scsi.Verify(5, 300, size, compares=True, repeats=True), BLOCK) == b""
    assert opened.run(scsi.Verify(5, 301, size, compares=True, repeats=True), BLOCK) == MISCOMPARE


def test_nothing_is_compared_with_no_blocks(opened: NativeUnit) -> None:
    for repeats in (False, True):
        command = scsi.Verify(0, 0, compares=True, repeats=repeats)
        assert opened.unit.transfer(command.encode()) == scsi.NOTHING
        assert opened.run(command) == b""


def test_blocks_that_hold_nothing_verify_as_zeros(opened: NativeUnit) -> None:
    assert opened.run(scsi.Verify(0, 8)) == b""
    assert opened.run(scsi.Verify(0, 8, compares=True), bytes(4096)) == b""


def test_compare_and_write_writes_if_it_compares(opened: NativeUnit) -> None:
    opened.run(scsi.Write(3, 2), BLOCK * 2)

    assert opened.run(scsi.CompareAndWrite(3, 2), BLOCK * 2 + OTHER * 2) == b""
    assert opened.run(scsi.Read(3, 2)) == OTHER * 2


@pytest.mark.parametrize("offset", [0, 1, 511, 512, 1000, 1023])
def test_compare_and_write_tells_where_it_does_not_compare(opened: NativeUnit, offset: int) -> None:
    opened.run(scsi.Write(3, 2), BLOCK * 2)
    wrong = (BLOCK * 2)[:offset] + OTHER[offset % 512 :] + BLOCK
    refused = opened.run(scsi.CompareAndWrite(3, 2), wrong[:1024] + OTHER * 2)

    assert refused == MISCOMPARE
    assert isinstance(refused, Sense) and refused.information == offset
    assert opened.run(scsi.Read(3, 2)) == BLOCK * 2


def test_orwrite_sets_bits_and_clears_none(opened: NativeUnit) -> None:
    opened.run(scsi.Write(3, 1), b"\x0f" * 512)

    assert opened.run(scsi.OrWrite(3, 2), b"\x31" * 512 + BLOCK) == b""
    assert opened.run(scsi.Read(3, 2)) == b"\x3f" * 512 + BLOCK
    assert opened.run(scsi.OrWrite(3, 0)) == b""


def test_prefetch_ends_as_where_there_is_no_cache_to_fetch_into(opened: NativeUnit) -> None:
    for command in (scsi.PreFetch(0, 8), scsi.PreFetch(0, 0, 16), scsi.PreFetch(0, 8, 10, True)):
        assert opened.status(command) is ScsiStatus.GOOD


# --- blocks that can't be read -----------------------------------------------------------------


@pytest.fixture
def damaged(opened: NativeUnit) -> NativeUnit:
    """An open drive with a page that can't be corrected: blocks 16 to 23."""
    opened.run(scsi.Write(0, 32), BLOCK * 32)
    nand = opened.board.nand
    pages = [page for page, _, _ in nand.contents()][-4:]
    nand.flip(pages[2], range(0, 4096 * 8, 3))
    return opened


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (scsi.Read(0, 32), b""),
        (scsi.Verify(0, 32), b""),
        (scsi.Verify(0, 32, compares=True), BLOCK * 32),
        (scsi.CompareAndWrite(0, 32), BLOCK * 64),
        (scsi.OrWrite(0, 32), BLOCK * 32),
    ],
    ids=str,
)
def test_refusal_names_the_first_block_that_cannot_be_read(
    damaged: NativeUnit, command: scsi.Command, data: bytes
) -> None:
    refused = damaged.run(command, data)

    assert refused == UNRECOVERED_READ
    assert isinstance(refused, Sense) and refused.information == 16


def test_blocks_beside_the_damage_are_read(damaged: NativeUnit) -> None:
    assert damaged.run(scsi.Read(0, 16)) == BLOCK * 16
    assert damaged.run(scsi.Read(24, 8)) == BLOCK * 8
    assert damaged.run(scsi.Verify(24, 8, compares=True), BLOCK * 8) == b""


def test_ordinary_stick_does_all_of_it_too(plain: PlainUnit) -> None:
    plain.run(scsi.Write(0, 2), BLOCK * 2)

    assert plain.run(scsi.CompareAndWrite(0, 1), BLOCK + OTHER) == b""
    assert plain.run(scsi.OrWrite(1, 1), b"\xff" * 512) == b""
    assert plain.run(scsi.Read(0, 2)) == OTHER + b"\xff" * 512
