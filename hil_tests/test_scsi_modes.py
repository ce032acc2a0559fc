"""Mode pages: what is current, what can be changed, what is default, what is saved."""

import pytest

from firmware_model.wire import mode, scsi
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETERS,
    LOCKED,
    NEXUS_LOSS,
    PARAMETER_LIST_LENGTH_ERROR,
    SOFTWARE_WRITE_PROTECTED,
    FieldPointer,
    Sense,
)
from hil_tests.logical_units import BLOCK, NativeUnit, PlainUnit, Unit

CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)
CONTROL = mode.DEFAULTS[mode.CONTROL_PAGE]
SWP = CONTROL[:4] + b"\x08" + CONTROL[5:]
D_SENSE = CONTROL[:2] + b"\x04" + CONTROL[3:]


def sense(unit: Unit, page: int = mode.ALL_PAGES, control: int = CURRENT, size: int = 6) -> bytes:
    """Return MODE SENSE data without its header, and without the PS bit of each page."""
    data = unit.run(scsi.ModeSense(page, 192, size, control))
    assert isinstance(data, bytes)
    rest, pages = mode.ModeParameters.decode(data, size).pages, b""
    while rest:
        assert rest[0] & 0x80, "every page can be saved"
        pages += bytes((rest[0] & 0x3F,)) + rest[1 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return pages


def select(unit: Unit, pages: bytes, size: int = 6, saves: bool = False) -> bytes | Sense:
    """Send pages behind an empty header."""
    list_ = bytes(mode.SIZES[size]) + pages
    return unit.run(scsi.ModeSelect(len(list_), size, saves), list_)


@pytest.mark.parametrize("size", [6, 10])
def test_pages_are_told_one_by_one_and_all_together(opened: NativeUnit, size: int) -> None:
    together = sense(opened, size=size)

    assert together == b"".join(mode.DEFAULTS.values())
    assert together == b"".join(sense(opened, code, size=size) for code in (0x01, 0x08, 0x0A, 0x1C))
    refused = opened.run(scsi.ModeSense(0x02, 192, size))
    assert refused == INVALID_FIELD_IN_CDB
    assert isinstance(refused, Sense) and refused.specific == FieldPointer(2, 5)


def test_header_is_that_of_a_disk_that_takes_dpo_and_fua(opened: NativeUnit) -> None:
    short = opened.run(scsi.ModeSense(0x0A, 255))
    long = opened.run(scsi.ModeSense(0x0A, 255, 10))

    assert isinstance(short, bytes) and short[:4].hex() == "0f001000"
    assert isinstance(long, bytes) and long[:8].hex() == "0012001000000000"


def test_subpages_there_are_none_but_all_of_them(opened: NativeUnit) -> None:
    assert isinstance(opened.run(scsi.ModeSense(mode.ALL_PAGES, subpage=0xFF)), bytes)
    assert opened.run(scsi.ModeSense(0x0A, subpage=0x01)) == INVALID_FIELD_IN_CDB


def test_two_bits_can_be_changed(opened: NativeUnit) -> None:
    pages = sense(opened, control=CHANGEABLE)

    assert pages == b"".join(
        page[:2] + (bytes.fromhex("04000800000000000000") if code == 0x0A else bytes(len(page) - 2))
        for code, page in mode.DEFAULTS.items()
    )


@pytest.mark.parametrize("size", [6, 10])
def test_page_as_it_is_told_is_taken_back(opened: NativeUnit, size: int) -> None:
    told = opened.run(scsi.ModeSense(mode.ALL_PAGES, 192, size))
    assert isinstance(told, bytes)
    told = bytes(mode.SIZES[size]) + told[mode.SIZES[size] :]

    assert opened.run(scsi.ModeSelect(len(told), size), told) == b""


def test_software_write_protect_works_and_can_be_taken_back(opened: NativeUnit) -> None:
    assert select(opened, SWP) == b""
    header = opened.run(scsi.ModeSense(mode.ALL_PAGES))
    assert isinstance(header, bytes) and mode.ModeParameters.decode(header, 6).is_write_protected
    assert sense(opened, 0x0A) == SWP
    assert opened.run(scsi.Write(0, 1), BLOCK) == SOFTWARE_WRITE_PROTECTED
    assert opened.run(scsi.Read(0, 1)) == bytes(512)

    assert select(opened, CONTROL) == b""
    assert opened.run(scsi.Write(0, 1), BLOCK) == b""


@pytest.mark.parametrize(
    ("list_", "byte", "bit"),
    [
        (bytes(4) + b"\x01\x0a\xc0\x01" + bytes(8), 7, 0),  # a retry count
        (bytes(4) + b"\x01\x0a\x40" + bytes(9), 6, 7),  # AWRE off
        (bytes(4) + b"\x08\x12\x04" + bytes(17), 6, 2),  # WCE on
        (bytes(4) + CONTROL + b"\x1c\x0a\x08" + bytes(9), 18, 3),  # the second page
        (bytes(4) + CONTROL[:4] + b"\x18" + bytes(7), 8, 4),  # one right of what is changeable
        (bytes(4) + b"\x02\x0a" + bytes(10), 4, 5),  # no such page
        (bytes(4) + b"\x4a\x01\x00\x08" + bytes(8), 4, 6),  # a subpage
        (bytes(4) + b"\x0a\x08" + bytes(8), 5, None),  # a page of another length
        (bytes((0, 1, 0, 0)) + CONTROL, 1, None),  # medium type
        (bytes((0, 0, 0, 8)) + bytes(8) + CONTROL, 3, None),  # a block descriptor
    ],
)
def test_refusal_points_at_what_cannot_be_changed(
    opened: NativeUnit, list_: bytes, byte: int, bit: int | None
) -> None:
    before = sense(opened)
    refused = opened.run(scsi.ModeSelect(len(list_)), list_)

    assert refused == INVALID_FIELD_IN_PARAMETERS
    assert isinstance(refused, Sense)
    assert refused.specific == FieldPointer(byte, bit, is_in_cdb=False)
    assert sense(opened) == before


@pytest.mark.parametrize("length", [1, 3, 5, 6, 10, 15])
def test_list_that_ends_too_early_has_a_wrong_length(opened: NativeUnit, length: int) -> None:
    list_ = (bytes(4) + SWP)[:length]

    assert opened.run(scsi.ModeSelect(length), list_) == PARAMETER_LIST_LENGTH_ERROR
    assert sense(opened, 0x0A) == CONTROL


def test_list_of_nothing_changes_nothing_and_is_no_error(opened: NativeUnit) -> None:
    assert opened.run(scsi.ModeSelect(0)) == b""
    assert opened.run(scsi.ModeSelect(4), bytes(4)) == b""
    assert opened.run(scsi.ModeSelect(16), bytes(8)) == INVALID_FIELD_IN_CDB


def test_block_descriptor_that_would_change_the_block_length_is_refused(
    opened: NativeUnit,
) -> None:
    descriptor = bytes(5) + (4096).to_bytes(3, "big")
    lists = {6: bytes((0, 0, 0, 8)) + descriptor, 10: bytes((0,) * 7 + (8,)) + descriptor}

    for size, data in lists.items():
        assert opened.run(scsi.ModeSelect(len(data), size), data) == INVALID_FIELD_IN_PARAMETERS


# --- what stays --------------------------------------------------------------------------------


def test_host_that_is_lost_leaves_its_pages_and_prevents_nothing(plain: PlainUnit) -> None:
    select(plain, SWP)
    plain.run(scsi.PreventAllow(True))
    plain.unit.lose_nexus()

    assert plain.run(scsi.TestUnitReady()) == NEXUS_LOSS
    assert sense(plain, 0x0A) == SWP
    assert plain.run(scsi.StartStopUnit(False, True)) == b""


def test_what_is_changed_lasts_till_a_reset_and_what_is_saved_longer(opened: NativeUnit) -> None:
    select(opened, D_SENSE, saves=True)
    select(opened, SWP)
    assert sense(opened, 0x0A) == SWP
    assert sense(opened, 0x0A, DEFAULT) == CONTROL
    assert sense(opened, 0x0A, SAVED) == D_SENSE

    opened.unit.reset()
    opened.settle()
    assert sense(opened, 0x0A) == D_SENSE

    again = NativeUnit(board=opened.board).open()
    assert sense(again, 0x0A) == sense(again, 0x0A, SAVED) == D_SENSE


def test_erased_drive_has_the_defaults_again(opened: NativeUnit) -> None:
    select(opened, D_SENSE, saves=True)
    opened.run(scsi.Sanitize())

    assert sense(opened, 0x0A, SAVED) == CONTROL
    again = NativeUnit(board=opened.board)
    again.settle()
    assert sense(again, 0x0A) == CONTROL


def test_nobody_saves_anything_on_a_locked_drive(locked: NativeUnit) -> None:
    image = locked.board.flash_image()

    assert select(locked, SWP, saves=True) == LOCKED
    assert sense(locked, 0x0A) == CONTROL
    assert locked.board.flash_image() == image
    assert select(locked, D_SENSE) == b""  # which is gone with the power
    assert locked.board.flash_image() == image


def test_ordinary_stick_saves_too(plain: PlainUnit) -> None:
    assert select(plain, SWP, saves=True) == b""
    assert plain.run(scsi.Write(0, 1), BLOCK) == SOFTWARE_WRITE_PROTECTED
    plain.unit.reset()
    plain.settle()

    assert plain.run(scsi.Write(0, 1), BLOCK) == SOFTWARE_WRITE_PROTECTED
