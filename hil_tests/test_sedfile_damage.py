"""FILE.sed: any bytes open or are refused in one line, and are never changed by opening."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.nand import Geometry
from firmware_model.hardware.sedfile import SedFile, SedFileError
from firmware_model.hardware.sedfile_layout import (
    POINTER_AT,
    PROFILE_AT,
    BlockPlaces,
    Header,
    Pointer,
    Record,
    area_at,
    block_entry_at,
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
PLACES = BlockPlaces(SMALL)
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
            list(board_of(file).nand.contents())
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
    content[9] = 4

    assert refusal_of(elsewhere(small, content)) == "written in format 4, this program knows 3"


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


@pytest.mark.parametrize(
    ("place", "refusal"),
    [
        (block_entry_at(0), "damaged: the state of block 0 does not match its checksum"),
        (block_entry_at(2), "damaged: the state of block 2 does not match its checksum"),
        (PLACES.entries(0) + 20, "damaged: the page table of block 0 has a wrong checksum"),
        (PLACES.entries(1, 0) + 63, "damaged: the page table of block 1 has a wrong checksum"),
        (PLACES.entries(0, 3), "damaged: the page table of block 0 has a wrong checksum"),
        (PLACES.data(0, 0), "damaged: page 0 does not match its checksum"),
        (PLACES.data(1, 0) + 31, "damaged: page 4 does not match its checksum"),
        (POINTER_AT + 5, "damaged: nothing says which copy of the secure element counts"),
        (PROFILE_AT + 9000, "damaged: the profile's checksum does not match"),
    ],
)
def test_flipped_bit_of_what_counts_is_refused_and_named(
    small: Path, place: int, refusal: str
) -> None:
    content = bytearray(small.read_bytes())
    content[place] ^= 1

    assert refusal_of(elsewhere(small, content)) == refusal


def test_file_longer_than_its_pages_is_refused(small: Path) -> None:
    refusal = refusal_of(elsewhere(small, small.read_bytes() + b"\0"))

    assert refusal is not None and refusal.startswith("too long")


def test_damaged_element_is_refused_and_not_replaced_by_an_older_one(small: Path) -> None:
    content = bytearray(small.read_bytes())
    newest = Pointer.decode(bytes(content[POINTER_AT:][:4096])).sequence
    content[area_at(newest % 2) + 100] ^= 1

    expected = "damaged: the secure element does not match its checksum"
    assert expected == refusal_of(elsewhere(small, content))


def test_journal_write_cut_at_any_byte_leaves_the_old_state_or_the_new(
    small: Path, tmp_path: Path
) -> None:
    old = small.read_bytes()
    path = elsewhere(tmp_path / "a", old)
    with SedFile.open(path) as file:
        board = board_of(file)
        before = board.embedded.memory
        board.element.extend(1, b"n" * 32)
        after = board.embedded.memory
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


@given(st.integers(0, PLACES.end - 1))
def test_file_truncated_anywhere_is_refused(small: Path, length: int) -> None:
    assert refusal_of(elsewhere(small, small.read_bytes()[:length])) is not None


def seen_in(path: Path) -> object:
    """Return everything that an opened file shows."""
    with SedFile.open(path) as file:
        board = board_of(file)
        return file.profile_text, board.flash_image(), board.embedded.memory, board.clock.now_us


@given(st.lists(st.tuples(st.integers(0, PLACES.end - 1), st.integers(1, 255)), min_size=1))
def test_file_with_any_bytes_changed_is_refused_or_shows_what_it_showed(
    small: Path, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(small.read_bytes())
    for place, change in changes:
        content[place] ^= change

    path = elsewhere(small, content)

    assert refusal_of(path) is not None or seen_in(path) == seen_in(small)


def test_every_changed_byte_that_counts_is_refused(small: Path) -> None:
    content, shown = small.read_bytes(), seen_in(small)
    for place in range(len(content)):
        if not content[place] and place % 997:
            continue  # of the zeros, a sample
        changed = bytearray(content)
        changed[place] ^= 0x40
        path = elsewhere(small, changed)

        assert refusal_of(path) is not None or seen_in(path) == shown, f"byte {place}"


WORDS = st.integers(0, 0xFFFF_FFFF)


@given(WORDS, WORDS, st.builds(Geometry, WORDS, WORDS, WORDS, WORDS, WORDS))
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
    ],
    ids=["sequence", "time", "attempt number", "counts"],
)
def test_element_that_could_not_be_followed_is_not_believed(small: Path, record: Record) -> None:
    content = bytearray(small.read_bytes())
    for at, forged in (
        (area_at(record.sequence % 2), record.encode()),
        (POINTER_AT, Pointer(record.sequence).encode()),
    ):
        content[at : at + len(forged)] = forged

    expected = "damaged: the secure element does not match its checksum"
    assert refusal_of(elsewhere(small, content)) == expected
