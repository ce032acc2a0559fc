"""Small FILE.sed files for tests, and what a killed process would have left of one."""

import os
import subprocess
import sys
from pathlib import Path

from firmware_model.hardware.board import Board
from firmware_model.hardware.clock import Timing
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.hardware.nand import Geometry
from firmware_model.hardware.sedfile import SedFile
from hil_tests.flash_part import program

ELEMENT = ElementState.fresh((10, 10, 10), b"\x01" * 32, b"\x02" * 32)
SMALL = Geometry(block_count=4, pages_per_block=4, page_bytes=32, spare_bytes=64)
PROFILE = 'name = "native"\n'
ROOT = Path(__file__).parent.parent


def board_of(file: SedFile) -> Board:
    """Return the board of an open file."""
    return file.board(SeededNoise(b"noise"), Timing())


def elsewhere(file: Path, content: bytes | bytearray) -> Path:
    """Write `content` beside a file: what a process killed at that moment would have left."""
    other = file.with_name("snapshot.sed")
    other.write_bytes(content)
    return other


def element_in(path: Path) -> ElementState:
    """Return what the secure element in a file remembers."""
    with SedFile.open(path) as file:
        return board_of(file).embedded.memory


def make_small(path: Path) -> Path:
    """Make a file with two pages programmed and three element steps behind it."""
    SedFile.create(path, PROFILE, SMALL, ELEMENT)
    with SedFile.open(path) as file:
        board = board_of(file)
        program(board.nand, 0, b"first", b"1")
        program(board.nand, 4, b"second", b"2")
        for number in range(3):
            board.element.extend(0, bytes((number,)) * 32)
    return path


def python(program: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start a process that runs `program` in a folder, with pipes to it and from it."""
    return subprocess.Popen(
        [sys.executable, "-c", "from hil_tests.sed_files import *\n" + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
