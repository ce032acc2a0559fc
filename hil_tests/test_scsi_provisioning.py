"""A medium of which only what was written takes room: capacity, unmapping, writing the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.wire import scsi
from firmware_model.wire.inquiry import SAME_BLOCKS_MAX
from firmware_model.wire.reports import (
    LBA_DESCRIPTORS_MAX,
    LbaStatus,
    Provisioning,
    decode_lba_statuses,
)
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETERS,
    LBA_OUT_OF_RANGE,
    PARAMETER_LIST_LENGTH_ERROR,
    FieldPointer,
    Sense,
)
from firmware_model.wire.unmap import DESCRIPTORS_MAX, Extent, encode_unmap_list
from hil_tests.logical_units import BLOCK, NativeUnit, PlainUnit, Unit

MAPPED, DEALLOCATED = Provisioning.MAPPED, Provisioning.DEALLOCATED


def unmap(unit: Unit, *extents: Extent) -> bytes | Sense:
    """Unmap blocks."""
    list_ = encode_unmap_list(extents)
    return unit.run(scsi.Unmap(len(list_)), list_)


def statuses(unit: Unit, lba: int, most: int = 8) -> list[LbaStatus]:
    """Return what GET LBA STATUS tells from a block on."""
    data = unit.run(scsi.GetLbaStatus(lba, 8 + 16 * most))
    assert isinstance(data, bytes)
    return list(decode_lba_statuses(data))


def page(unit: Unit, code: int) -> bytes:
    """Return a page of vital product data."""
    data = unit.run(scsi.Inquiry(255, code))
    assert isinstance(data, bytes)
    return data


# --- what there is room for --------------------------------------------------------------------


def test_capacity_says_that_blocks_can_be_unmapped_and_read_as_zeros(opened: NativeUnit) -> None:
    data = opened.run(scsi.ReadCapacity(16))
    assert isinstance(data, bytes)

    assert int.from_bytes(data[:8], "big") + 1 == opened.firmware.policy.block_count
    assert data[8:].hex() == "00000200" + "0000" + "c000" + "00" * 16  # LBPME, LBPRZ


@pytest.mark.parametrize("page_bytes", [512, 16384])
def test_page_of_flash_is_what_is_best_written_and_unmapped(page_bytes: int) -> None:
    flash = {"flash.page_bytes": page_bytes, "flash.spare_bytes": 64 + page_bytes // 8}
    text = profiles.changed(profiles.text_of("native"), flash)
    unit = NativeUnit(profile=profiles.parse(text)).own().open()
    limits = page(unit, 0xB0)

    assert int.from_bytes(limits[6:8], "big") == page_bytes // 512
    assert limits[28:36] == (page_bytes // 512).to_bytes(4, "big") + bytes.fromhex("80000000")


def test_provisioning_page_tells_which_commands_unmap(opened: NativeUnit) -> None:
    """LBPU, LBPWS, not LBPWS10, LBPRZ; thin."""
    assert page(opened, 0xB2).hex() == "00b20004" + "00c40200"

    opened.run(scsi.Write(0, 1), BLOCK)
    refused = opened.run(scsi.WriteSame(0, 1, 10, unmaps=True), bytes(512))
    assert refused == INVALID_FIELD_IN_CDB
    assert isinstance(refused, Sense) and refused.specific == FieldPointer(1, 3)
    assert opened.run(scsi.Read(0, 1)) == BLOCK


def test_block_limits_are_where_the_standard_has_them(opened: NativeUnit) -> None:
    limits = page(opened, 0xB0)
    fields = {
        "compared": (5, 6),
        "granularity": (6, 8),
        "transfer": (8, 12),
        "unmap": (20, 24),
        "extents": (24, 28),
        "unmap granularity": (28, 32),
        "alignment": (32, 36),
        "same": (36, 44),
    }
    told = {name: int.from_bytes(limits[slice(*at)], "big") for name, at in fields.items()}

    assert len(limits) == 64
    assert told == {
        "compared": 255,
        "granularity": 8,
        "transfer": 32768,
        "unmap": 0xFFFF_FFFF,
        "extents": 256,
        "unmap granularity": 8,
        "alignment": 0x8000_0000,  # valid, and 0
        "same": 65535,
    }


def test_there_are_no_defects_at_any_address(opened: NativeUnit) -> None:
    short = opened.run(scsi.ReadDefectData(True, True, 5, 255))
    long = opened.run(scsi.ReadDefectData(False, True, 0, 255, 12))

    assert short == bytes.fromhex("001d0000")
    assert long == bytes.fromhex("0008000000000000")


# --- unmapping ---------------------------------------------------------------------------------


def test_unmapped_blocks_read_as_zeros_and_their_neighbours_do_not(opened: NativeUnit) -> None:
    opened.run(scsi.Write(0, 32), BLOCK * 32)

    assert unmap(opened, Extent(3, 2), Extent(16, 8), Extent(31, 0)) == b""
    wanted = BLOCK * 3 + bytes(1024) + BLOCK * 11 + bytes(4096) + BLOCK * 8
    assert opened.run(scsi.Read(0, 32)) == wanted


@pytest.mark.parametrize("length", [1, 7])
def test_unmap_list_without_room_for_its_header_has_a_wrong_length(
    opened: NativeUnit, length: int
) -> None:
    assert opened.run(scsi.Unmap(length), bytes(length)) == PARAMETER_LIST_LENGTH_ERROR


def test_unmap_list_is_refused_as_a_whole(opened: NativeUnit) -> None:
    end = opened.firmware.policy.block_count
    opened.run(scsi.Write(0, 1), BLOCK)
    too_many = encode_unmap_list([Extent(0, 1)] * (DESCRIPTORS_MAX + 1))

    assert unmap(opened, Extent(0, 1), Extent(end, 1)) == LBA_OUT_OF_RANGE
    assert opened.run(scsi.Unmap(len(too_many)), too_many) == INVALID_FIELD_IN_PARAMETERS
    assert opened.run(scsi.Read(0, 1)) == BLOCK


def test_unmap_list_of_nothing_is_no_error(opened: NativeUnit) -> None:
    assert opened.run(scsi.Unmap(0)) == b""
    assert unmap(opened) == b""
    assert unmap(opened, Extent(0, 0)) == b""


# --- writing the same --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 16])
def test_one_block_is_written_many_times(opened: NativeUnit, size: int) -> None:
    assert opened.run(scsi.WriteSame(5, 5000, size), BLOCK) == b""

    assert opened.run(scsi.Verify(5, 5000, compares=True, repeats=True), BLOCK) == b""
    assert opened.run(scsi.Read(4, 1)) == opened.run(scsi.Read(5005, 1)) == bytes(512)


def test_zeros_are_unmapped_or_written_as_the_host_wants(opened: NativeUnit) -> None:
    opened.run(scsi.Write(0, 64), BLOCK * 64)

    assert opened.run(scsi.WriteSame(0, 16, 16), bytes(512)) == b""
    assert opened.run(scsi.WriteSame(16, 16, 16, unmaps=True), bytes(512)) == b""
    assert opened.run(scsi.WriteSame(32, 16, 16, has_zeros=True)) == b""
    assert opened.run(scsi.WriteSame(48, 8, 16, unmaps=True, has_zeros=True)) == b""
    assert opened.run(scsi.Read(0, 64)) == bytes(56 * 512) + BLOCK * 8
    assert statuses(opened, 0)[:5] == [
        LbaStatus(0, 16, MAPPED),
        LbaStatus(16, 16, DEALLOCATED),
        LbaStatus(32, 16, MAPPED),
        LbaStatus(48, 8, DEALLOCATED),
        LbaStatus(56, 8, MAPPED),
    ]


def test_what_would_not_read_as_zeros_is_written_and_not_unmapped(opened: NativeUnit) -> None:
    assert opened.run(scsi.WriteSame(0, 16, 16, unmaps=True), BLOCK) == b""

    assert opened.run(scsi.Read(0, 16)) == BLOCK * 16


def test_no_count_reaches_to_the_end(opened: NativeUnit) -> None:
    end = opened.firmware.policy.block_count

    assert opened.run(scsi.WriteSame(end - 9, 0), BLOCK) == b""
    assert opened.run(scsi.Read(end - 10, 10)) == bytes(512) + BLOCK * 9
    assert opened.run(scsi.WriteSame(end, 0), BLOCK) == LBA_OUT_OF_RANGE


@pytest.mark.parametrize("count", [0, SAME_BLOCKS_MAX + 1])
def test_more_than_the_limit_that_is_told_is_refused(opened: NativeUnit, count: int) -> None:
    refused = opened.run(scsi.WriteSame(0, count, 16), BLOCK)

    assert refused == INVALID_FIELD_IN_CDB
    assert isinstance(refused, Sense) and refused.specific == FieldPointer(10)
    assert opened.run(scsi.Read(0, 1)) == bytes(512)


# --- which blocks hold anything ----------------------------------------------------------------


def test_new_medium_holds_nothing(opened: NativeUnit) -> None:
    end = opened.firmware.policy.block_count

    assert statuses(opened, 0) == [LbaStatus(0, end, DEALLOCATED)]
    assert statuses(opened, end - 1) == [LbaStatus(end - 1, 1, DEALLOCATED)]
    assert opened.run(scsi.GetLbaStatus(end)) == LBA_OUT_OF_RANGE


def test_answer_is_cut_but_says_how_long_it_would_be(opened: NativeUnit) -> None:
    opened.run(scsi.Write(1, 1), BLOCK)
    opened.run(scsi.Write(3, 1), BLOCK)

    assert len(statuses(opened, 0, most=2)) == 2
    for length in (0, 4, 8, 23):
        cut = opened.run(scsi.GetLbaStatus(0, length))
        assert isinstance(cut, bytes) and len(cut) == length
        assert cut[:4] == (20).to_bytes(4, "big")[:length]


def test_one_answer_has_no_more_descriptors_than_anybody_needs(opened: NativeUnit) -> None:
    for lba in range(0, 2 * LBA_DESCRIPTORS_MAX, 2):
        opened.run(scsi.Write(lba, 1), BLOCK)

    told = statuses(opened, 0, most=4096)
    assert len(told) == LBA_DESCRIPTORS_MAX
    assert told[0] == LbaStatus(0, 1, MAPPED)
    assert told[-1].lba == LBA_DESCRIPTORS_MAX - 1


class Model:
    """Which of the first blocks hold something, as a host would remember it."""

    def __init__(self) -> None:
        self.held = [False] * 96

    def set(self, lba: int, count: int, value: bool) -> None:
        """Write or unmap blocks."""
        self.held[lba : lba + count] = [value] * count


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 16), st.booleans()), max_size=12),
    st.sampled_from((NativeUnit, PlainUnit)),
)
def test_status_is_what_was_written_and_unmapped(
    changes: list[tuple[int, int, bool]], kind: type[Unit]
) -> None:
    unit: Unit = NativeUnit().own().open() if kind is NativeUnit else PlainUnit()
    model = Model()
    for lba, count, writes in changes:
        done = (
            unit.run(scsi.Write(lba, count), BLOCK * count)
            if writes
            else unmap(unit, Extent(lba, count))
        )
        assert done == b""
        model.set(lba, count, writes)

    told: list[bool] = []
    for each in statuses(unit, 0, most=200):
        assert each.lba == len(told)
        told += [each.status is MAPPED] * min(each.block_count, 200)
    assert told[: len(model.held)] == model.held
    zero = bytes(512)
    assert unit.run(scsi.Read(0, 96)) == b"".join(BLOCK if held else zero for held in model.held)
