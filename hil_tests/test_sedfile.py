"""FILE.sed: what comes back, who else may open it, and what a killed process leaves."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_model.hardware.attempt_counter import ElementCells
from firmware_model.hardware.board import Board
from firmware_model.hardware.nand import Geometry
from firmware_model.hardware.sedfile import SedFile, SedFileError, SedFileInUse, Store
from firmware_model.hardware.supply import PowerCut
from hil_tests.flash_part import program, programmed
from hil_tests.sed_files import (
    ELEMENT,
    PROFILE,
    SMALL,
    board_of,
    element_in,
    elsewhere,
    make_small,
    python,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that has been in use; no test changes it."""
    return make_small(tmp_path_factory.mktemp("sed") / "small.sed")


def test_new_file_gives_back_what_it_was_made_of(tmp_path: Path) -> None:
    SedFile.create(tmp_path / "new.sed", PROFILE, SMALL, ELEMENT)

    with SedFile.open(tmp_path / "new.sed") as file:
        board = board_of(file)

        assert (file.profile_text, file.geometry, board.embedded.memory) == (
            PROFILE,
            SMALL,
            ELEMENT,
        )
        assert programmed(board.nand) == []
        assert board.clock.now_us == 0


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    SedFile.create(tmp_path / "new.sed", PROFILE, SMALL, ELEMENT)

    assert [tmp_path / "new.sed"] == list(tmp_path.iterdir())


def test_existing_file_is_neither_replaced_nor_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")

    with pytest.raises(SedFileError, match="mine: exists already"):
        SedFile.create(tmp_path / "mine", PROFILE, SMALL, ELEMENT)
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize(
    ("profile", "geometry", "message"),
    [
        ("#" * 70_000, SMALL, "a profile has at most 61440 bytes, not 70000"),
        (PROFILE, Geometry(0), "a geometry without pages or bytes"),
        (PROFILE, Geometry(1 << 40), "too big"),
        (PROFILE, Geometry(1, 1, 1 << 40), "too big"),
    ],
)
def test_file_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, profile: str, geometry: Geometry, message: str
) -> None:
    with pytest.raises(SedFileError, match=message):
        SedFile.create(tmp_path / "new.sed", profile, geometry, ELEMENT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
def test_disk_that_has_no_room_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from firmware_model.hardware.sedfile import SedFileError\n"
        "try: SedFile.create('new.sed', PROFILE, Geometry(16), ELEMENT)\n"
        "except SedFileError as refusal: print(refusal)"
    )

    assert python(program, tmp_path).communicate()[0].strip() == b"new.sed: File too large"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="blocks on disk are not told there")
def test_new_drive_of_64_mib_takes_little_of_the_disk(tmp_path: Path) -> None:
    SedFile.create(tmp_path / "new.sed", PROFILE, Geometry(block_count=272), ELEMENT)
    taken = (tmp_path / "new.sed").stat()

    assert taken.st_size > 64 << 20
    assert taken.st_blocks * 512 < 1 << 20


def test_flash_element_serial_flash_and_time_come_back(tmp_path: Path) -> None:
    SedFile.create(tmp_path / "a.sed", PROFILE, SMALL, ELEMENT)
    with SedFile.open(tmp_path / "a.sed") as file:
        board = board_of(file)
        program(board.nand, 0, b"data", b"spare")
        board.element.extend(0, b"h" * 32)
        board.element.external.write(b"beside")
        board.clock.charge(12_345)
        image, state, now_us = board.flash_image(), board.embedded.memory, board.clock.now_us

    with SedFile.open(tmp_path / "a.sed") as file:
        board = board_of(file)

        assert image == board.flash_image()
        assert (state, now_us) == (board.embedded.memory, board.clock.now_us)


def test_page_comes_back_whole_with_ffh_where_nothing_was_programmed(small: Path) -> None:
    with SedFile.open(small) as file:
        pages = list(board_of(file).nand.contents())

    assert (0, b"first".ljust(32, b"\xff"), b"1".ljust(32, b"\xff")) == pages[0]
    assert [page for page, _, _ in pages] == [0, 4]


def test_erased_block_stays_erased_and_can_be_programmed_again(tmp_path: Path) -> None:
    SedFile.create(tmp_path / "a.sed", PROFILE, SMALL, ELEMENT)
    with SedFile.open(tmp_path / "a.sed") as file:
        nand = board_of(file).nand
        for page in range(4):
            program(nand, page, b"old")
        nand.erase(0, "block")

    with SedFile.open(tmp_path / "a.sed") as file:
        nand = board_of(file).nand
        found = programmed(nand)
        program(nand, 0, b"new")

        assert found == []
        assert (nand.read(0) or b"").startswith(b"new")


def test_every_element_step_is_in_the_file_when_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.sed"
    SedFile.create(path, PROFILE, SMALL, ELEMENT)
    with SedFile.open(path) as file:
        board = board_of(file)
        for number in range(5):
            board.element.extend(number, bytes((number,)) * 32)
            left = elsewhere(path, path.read_bytes())

            assert board.embedded.memory == element_in(left)


def test_serial_flash_written_through_the_element_is_in_the_file(tmp_path: Path) -> None:
    class KeepsTriesOutside:
        def attempt(self, cells: ElementCells, request: object) -> None:
            cells.write_external(b"9 left")

        def settle(self, cells: ElementCells, count: object, proof: object) -> bool:
            return False

        def tries_left(self, cells: ElementCells, count: object) -> int:
            return 0

    SedFile.create(tmp_path / "a.sed", PROFILE, SMALL, ELEMENT)
    with SedFile.open(tmp_path / "a.sed") as file:
        board = board_of(file)
        board.element.power_on(KeepsTriesOutside())
        board.element.attempt(None)  # type: ignore[arg-type]  # this counter looks at none
        left = elsewhere(tmp_path / "a.sed", (tmp_path / "a.sed").read_bytes())

    with SedFile.open(left) as file:
        assert board_of(file).element.external.value == b"9 left"


def test_flush_keeps_the_time(tmp_path: Path) -> None:
    path = tmp_path / "a.sed"
    SedFile.create(path, PROFILE, SMALL, ELEMENT)
    with SedFile.open(path) as file:
        board_of(file).clock.charge(77)
        file.flush()
        left = elsewhere(path, path.read_bytes())

    with SedFile.open(left) as file:
        assert board_of(file).clock.now_us == 77


def test_supply_cut_keeps_what_happened_before_and_nothing_after(tmp_path: Path) -> None:
    SedFile.create(tmp_path / "a.sed", PROFILE, SMALL, ELEMENT)
    with SedFile.open(tmp_path / "a.sed") as file:
        board = board_of(file)
        board.supply.cut_at(2)
        program(board.nand, 0, b"before")
        with pytest.raises(PowerCut):
            board.element.extend(0, b"h" * 32)

    with SedFile.open(tmp_path / "a.sed") as file:
        board = board_of(file)

        assert (board.nand.read(0) or b"").startswith(b"before")
        assert board.embedded.memory == ELEMENT


def test_copy_of_the_board_never_reaches_the_file(small: Path) -> None:
    before = small.read_bytes()
    with SedFile.open(small) as file:
        copy = board_of(file).copy()
        program(copy.nand, 1, b"only there")
        copy.element.extend(0, b"h" * 32)
        copy.element.external.write(b"only there")

    assert before == small.read_bytes()


def test_file_opens_once_at_a_time(small: Path) -> None:
    with SedFile.open(small), pytest.raises(SedFileInUse, match=r"small\.sed: in use"):
        SedFile.open(small)

    SedFile.open(small).close()


def test_file_that_another_process_has_open_is_in_use_until_that_ends(small: Path) -> None:
    program = f"file = SedFile.open({str(small)!r})\nprint('open', flush=True)\nsys.stdin.read()"
    child = python(program, small.parent)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"open"

    with pytest.raises(SedFileInUse):
        SedFile.open(small)

    child.communicate()
    SedFile.open(small).close()


def test_acknowledged_pages_survive_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "a.sed"
    SedFile.create(path, PROFILE, Geometry(1024), ELEMENT)
    program = (
        f"board = board_of(SedFile.open({str(path)!r}))\n"
        "for page in range(64 * 1024):\n"
        "    program(board.nand, page, b'%d' % page * 900, b'%d' % page)\n"
        "    board.element.extend(0, page.to_bytes(32, 'big'))\n"
        "    print(page, flush=True)\n"
    )
    child = python(program, tmp_path)
    assert child.stdout is not None
    for number in range(100):
        assert number == int(child.stdout.readline())
    child.kill()
    acknowledged = 100 + child.stdout.read().count(b"\n")
    child.communicate()

    with SedFile.open(path) as file:
        board = board_of(file)
        pages = {page: data for page, data, _ in board.nand.contents()}
        started = board.embedded.memory.log_count

    assert acknowledged <= started <= len(pages) <= acknowledged + 2
    for page, data in pages.items():
        assert data.startswith(b"%d" % page * 900)


class Recorder(io.FileIO):
    """A file that remembers what was written where."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "r+b")
        self.writes: list[tuple[int, bytes]] = []

    def write(self, data: object) -> int:
        self.writes.append((self.tell(), bytes(data)))  # type: ignore[call-overload]
        return super().write(data)  # type: ignore[arg-type]


ACTS: list[Callable[[Board], object]] = [
    lambda board: program(board.nand, 0, b"one" * 8, b"1"),
    lambda board: board.element.extend(0, b"h" * 32),
    lambda board: program(board.nand, 1, b"two" * 8, b"2"),
    lambda board: board.element.external.write(b"beside"),
    lambda board: board.nand.erase(0, "block"),
    lambda board: board.element.destroy_all(0, b"e" * 32),
    lambda board: program(board.nand, 0, b"new" * 8, b"3"),
]


def test_process_killed_inside_any_write_leaves_the_state_before_the_act_or_after(
    tmp_path: Path,
) -> None:
    """The operating system takes a write over by pages of its cache: between them it may end."""
    path = tmp_path / "a.sed"
    SedFile.create(path, PROFILE, SMALL, ELEMENT)
    content = bytearray(path.read_bytes())
    recorder = Recorder(path)
    board = board_of(SedFile(Store(recorder, path)))
    for act in ACTS:
        before = (list(board.nand.contents()), board.embedded.memory)
        recorder.writes.clear()
        act(board)
        allowed = [before, (list(board.nand.contents()), board.embedded.memory)]
        for at, data in recorder.writes:
            for length in {0, *range(-at % 4096, len(data), 4096), len(data)}:
                content[at : at + length] = data[:length]
                with SedFile.open(elsewhere(path, content)) as file:
                    left = board_of(file)
                    assert (list(left.nand.contents()), left.embedded.memory) in allowed
            content[at : at + len(data)] = data
    recorder.close()

    assert bytes(content) == path.read_bytes()
