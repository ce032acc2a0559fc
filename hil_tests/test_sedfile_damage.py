"""FILE.sed: any bytes open or are refused in one line, and are never changed by opening."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.nand import Geometry
from firmware_model.hardware.sedfile import SedFile, SedFileError
from firmware_model.hardware.sedfile_layout import (
    JOURNAL_AT,
    PROFILE_AT,
    TABLE_AT,
    Header,
    Record,
    area_at,
    file_bytes,
)
from hil_tests.sed_files import (
    ELEMENT,
    PROFILE,
    SMALL,
    board_of,
    element_in,
    elsewhere,
    make_small,
)

HEADER_BYTES = len(Header(0, 0, SMALL).encode())
RECORD_BYTES = len(Record(0, 0, ELEMENT, b"").encode())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that has been in use; no test changes it."""
    return make_small(tmp_path_factory.mktemp("sed") / "small.sed")


def refusal_of(path: Path) -> str | None:
    """Open the file: return what it was refused for, one line with its name, or None."""
    before = path.read_bytes()
    try:
        with SedFile.open(path) as file:
            list(board_of(file).nand.dump())
    except SedFileError as refusal:
        assert str(refusal).startswith(f"{path}: ")
        assert "\n" not in str(refusal)
        return str(refusal).removeprefix(f"{path}: ")
    finally:
        assert before == path.read_bytes()  # opening changes nothing
    return None


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SedFileError, match=r"none\.sed: No such file"):
        SedFile.open(tmp_path / "none.sed")


def test_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(SedFileError, match="not a file"):
        SedFile.open(tmp_path)


def test_text_is_not_a_sed_file(tmp_path: Path) -> None:
    assert refusal_of(elsewhere(tmp_path / "a", PROFILE.encode() * 10)) == "not a .sed file"


def test_newer_format_is_named(small: Path) -> None:
    content = bytearray(small.read_bytes())
    content[9] = 2

    assert refusal_of(elsewhere(small, content)) == "written in format 2, this program knows 1"


def test_no_bit_of_the_header_can_flip_unnoticed(small: Path) -> None:
    content = small.read_bytes()

    for bit in range(HEADER_BYTES * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8

        assert refusal_of(elsewhere(small, flipped)) is not None, f"bit {bit}"


@pytest.mark.parametrize("offset", [PROFILE_AT, PROFILE_AT + len(PROFILE) - 1])
def test_changed_profile_is_refused(small: Path, offset: int) -> None:
    content = bytearray(small.read_bytes())
    content[offset] ^= 1

    expected = "damaged: the profile's checksum does not match"
    assert expected == refusal_of(elsewhere(small, content))


def test_changed_page_table_is_refused(small: Path) -> None:
    content = bytearray(small.read_bytes())
    content[TABLE_AT] ^= 1

    expected = "damaged: the page table has a byte that means nothing"
    assert expected == refusal_of(elsewhere(small, content))


def test_file_longer_than_its_pages_is_refused(small: Path) -> None:
    refusal = refusal_of(elsewhere(small, small.read_bytes() + b"\0"))

    assert refusal is not None and refusal.startswith("too long")


def test_one_damaged_journal_area_leaves_the_other(small: Path) -> None:
    content = bytearray(small.read_bytes())
    newest = element_in(small)
    states = [Record.decode(bytes(content[area_at(n) :][:4096]), n) for n in (0, 1)]
    (area,) = (n for n in (0, 1) if (record := states[n]) and record.element == newest)
    content[area_at(area) + 100] ^= 1

    left = element_in(elsewhere(small, content))

    assert newest.log_count - 1 == left.log_count


def test_two_damaged_journal_areas_are_refused(small: Path) -> None:
    content = bytearray(small.read_bytes())
    content[area_at(0) + 100] ^= 1
    content[area_at(1) + 100] ^= 1

    expected = "damaged: neither copy of the secure element is whole"
    assert expected == refusal_of(elsewhere(small, content))


def test_journal_write_cut_at_any_byte_leaves_the_old_state_or_the_new(
    small: Path, tmp_path: Path
) -> None:
    old = small.read_bytes()
    path = elsewhere(tmp_path / "a", old)
    with SedFile.open(path) as file:
        board = board_of(file)
        before = board.element.state
        board.element.extend(1, b"n" * 32)
        after = board.element.state
    new = path.read_bytes()
    (area,) = (
        area_at(number)
        for number in (0, 1)
        if old[area_at(number) :][:RECORD_BYTES] != new[area_at(number) :][:RECORD_BYTES]
    )

    for written in range(RECORD_BYTES):
        path.write_bytes(old[:area] + new[area : area + written] + old[area + written :])

        assert element_in(path) == before, f"{written} bytes"
    assert element_in(elsewhere(path, new)) == after


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: Header.MAGIC + tail))
def test_any_bytes_are_refused_in_one_line(small: Path, content: bytes) -> None:
    assert refusal_of(elsewhere(small, content)) is not None


@given(st.integers(0, file_bytes(SMALL) - 1))
def test_file_truncated_anywhere_is_refused(small: Path, length: int) -> None:
    assert refusal_of(elsewhere(small, small.read_bytes()[:length])) is not None


PLACES = (
    st.integers(0, 200)
    | st.integers(JOURNAL_AT, JOURNAL_AT + RECORD_BYTES)
    | st.integers(area_at(1), area_at(1) + RECORD_BYTES)
    | st.integers(TABLE_AT, TABLE_AT + SMALL.page_count)
)


@given(st.lists(st.tuples(PLACES, st.integers(1, 255)), min_size=1, max_size=6))
def test_file_with_any_bytes_changed_opens_or_is_refused(
    small: Path, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(small.read_bytes())
    for place, change in changes:
        content[place] ^= change

    refusal = refusal_of(elsewhere(small, content))

    assert refusal is None or refusal


WORDS = st.integers(0, 0xFFFF_FFFF)


@given(WORDS, WORDS, st.builds(Geometry, WORDS, WORDS, WORDS, WORDS))
def test_header_of_any_numbers_is_refused_before_they_are_believed(
    small: Path, profile_bytes: int, profile_crc: int, geometry: Geometry
) -> None:
    header = Header(profile_bytes, profile_crc, geometry).encode()

    assert refusal_of(elsewhere(small, header + small.read_bytes()[len(header) :])) is not None


@pytest.mark.parametrize(
    "record",
    [
        Record((1 << 64) - 2, 0, ELEMENT, b""),
        Record(1 << 40, (1 << 64) - 1, ELEMENT, b""),
        Record(1 << 40, 0, replace(ELEMENT, attempt_number=(1 << 64) - 1), b""),
        Record(1 << 40, 0, replace(ELEMENT, counts=(0xFFFF_FFFF,) * 32), b""),
        Record((1 << 40) + 1, 0, ELEMENT, b""),
    ],
    ids=["sequence", "time", "attempt number", "counts", "wrong area"],
)
def test_journal_record_that_could_not_be_followed_is_not_believed(
    small: Path, record: Record
) -> None:
    content = small.read_bytes()
    forged = record.encode()
    content = content[:JOURNAL_AT] + forged + content[JOURNAL_AT + len(forged) :]

    with SedFile.open(elsewhere(small, content)) as file:
        board = board_of(file)
        board.element.extend(0, bytes(32))

        assert board.clock.now_us < 1 << 32
        assert 3 <= board.element.state.log_count <= 4
        assert board.element.state.attempt_number == 0
