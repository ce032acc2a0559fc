"""FILE.sed: a board that outlives the process, in one sparse file.

Whatever kills the process leaves a page programmed or erased, and the element in its old or its
new state: the page table is written after the page, and one journal area while the other stands.
A crash of the whole computer can take what was written since the last `flush`.
"""

import contextlib
import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from firmware_model.hardware.attempt_counter import External
from firmware_model.hardware.board import Board
from firmware_model.hardware.cells import Data
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.embedded_element import EmbeddedElement
from firmware_model.hardware.endurance import Endurance
from firmware_model.hardware.entropy import Entropy, NoiseSource
from firmware_model.hardware.file_cells import FileCells
from firmware_model.hardware.keypad import Keypad
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.sedfile_layout import (
    AREA_BYTES,
    EXTERNAL_BYTES_MAX,
    JOURNAL_AT,
    POINTER_AT,
    PROFILE_AT,
    BlockPlaces,
    Damage,
    Header,
    Pointer,
    Record,
    area_at,
    new_content,
)
from firmware_model.hardware.supply import Supply

CHECKED_BYTES: Final = 128 << 20  # of data, at opening: what is behind them, when it is read
_LOCK_AT: Final = 0x7FFF_0000  # the byte Windows locks: in no file, or in a page far down


class SedFileError(Exception):
    """The file is missing, damaged, of another kind, or cannot be read or written; one line."""


class SedFileInUse(SedFileError):
    """Another process, or another part of this one, has the file open."""


class Store:
    """The open file, unbuffered: bytes at offsets, every failure a SedFileError."""

    def __init__(self, raw: io.FileIO, path: Path) -> None:
        self._raw = raw
        self._path = path

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return os.fstat(self._raw.fileno()).st_size

    def read(self, at: int, count: int) -> bytes:
        """Return `count` bytes."""
        try:
            self._raw.seek(at)
            data = self._raw.read(count)
        except OSError as refusal:
            raise _refused(self._path, refusal) from refusal
        if len(data) != count:
            raise SedFileError(f"{self._path}: truncated: byte {at + len(data)} is missing")
        return data

    def write(self, at: int, data: Data) -> None:
        """Write all of `data`, which the operating system then has: only it can lose it."""
        try:
            self._raw.seek(at)
            rest = memoryview(data)
            while rest:
                rest = rest[self._raw.write(rest) :]
        except OSError as refusal:
            raise _refused(self._path, refusal) from refusal

    def damage(self, what: str) -> SedFileError:
        """Return what to raise for a file that was changed by somebody else."""
        return SedFileError(f"{self._path}: {what}")

    def flush(self) -> None:
        """Have the operating system put everything on its disk."""
        with _about(self._path):
            os.fsync(self._raw.fileno())

    def close(self) -> None:
        """Close the file, which unlocks it."""
        self._raw.close()


class SedFile:
    """An open FILE.sed. One at a time may have it open, in this process or any other."""

    def __init__(self, store: Store) -> None:
        """Take over an open and locked file; raise Damage unless it is whole."""
        self._store = store
        begin = store.read(0, min(store.size, len(Header.MAGIC)))
        if not Header.MAGIC.startswith(begin):
            raise Damage("not a .sed file")
        header = Header.decode(store.read(0, PROFILE_AT))
        self.geometry = header.geometry
        self.profile_text = self._profile(header)
        self._check_size()
        self._cells = FileCells(store, header.geometry)
        self._cells.check(CHECKED_BYTES)
        self._record = self._current()
        self._nand: Nand | None = None
        self._clock = Clock(self._record.now_us)
        self._is_open = True

    @staticmethod
    def create(
        path: str | Path,
        profile_text: str,
        geometry: Geometry,
        element: ElementState,
        bad_blocks: Iterable[int] = (),
    ) -> None:
        """Make a new file, which is there as a whole or not at all; it replaces none."""
        path = Path(path)
        with _about(path):
            content = list(new_content(profile_text, geometry, element, bad_blocks))
            if path.exists():
                raise Damage("exists already")
            unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
            try:
                with unfinished.open("wb") as file:
                    for at, data in content:
                        file.seek(at)
                        file.write(data)
                    file.truncate(BlockPlaces(geometry).end)
                    file.flush()
                    os.fsync(file.fileno())
                _move(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open and lock a file, and change nothing; raise SedFileError unless it is whole."""
        path = Path(path)
        with _about(path):
            if path.exists() and not path.is_file():
                raise Damage("not a file")
            raw = io.FileIO(path, "r+b")
            try:
                _lock(raw, path)
                return cls(Store(raw, path))
            except BaseException:
                raw.close()
                raise

    def board(
        self, noise: NoiseSource, timing: Timing, endurance: Endurance | None = None
    ) -> Board:
        """Return the board, whose parts write to this file from now on; there is one."""
        supply, record = Supply(), self._record
        self._nand = Nand(self.geometry, self._cells, supply, self._clock, timing, endurance)
        external = External(record.external, self._keep_external)
        return Board(
            supply,
            self._clock,
            timing,
            self._nand,
            EmbeddedElement(
                record.element, supply, self._clock, timing, self._keep_element, external
            ),
            Entropy(noise),
            Keypad(),
            self.flush,
        )

    def flush(self) -> None:
        """Put everything on the disk, with the time it is."""
        if self._nand is not None:
            self._nand.keep_reads()
        if self._clock.now_us != self._record.now_us:
            self._keep(self._record.element, self._record.external)
        self._store.flush()

    def close(self) -> None:
        """Flush, unlock and close; closing twice is no error."""
        if self._is_open:
            self._is_open = False
            try:
                self.flush()
            finally:
                self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _keep_element(self, element: ElementState) -> None:
        self._keep(element, self._record.external)

    def _keep_external(self, external: bytes) -> None:
        if len(external) > EXTERNAL_BYTES_MAX:
            raise ValueError(f"the serial flash has {EXTERNAL_BYTES_MAX} bytes")
        self._keep(self._record.element, external)

    def _keep(self, element: ElementState, external: bytes) -> None:
        record = Record(self._record.sequence + 1, self._clock.now_us, element, external)
        self._store.write(area_at(record.sequence % 2), record.encode())
        self._store.write(POINTER_AT, Pointer(record.sequence).encode())
        self._record = record

    def _profile(self, header: Header) -> str:
        text = self._store.read(PROFILE_AT, JOURNAL_AT - PROFILE_AT)
        data = text[: header.profile_bytes]
        if zlib.crc32(data) != header.profile_crc or any(text[header.profile_bytes :]):
            raise Damage("damaged: the profile's checksum does not match")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Damage("the profile is not UTF-8") from None

    def _check_size(self) -> None:
        size, expected = self._store.size, BlockPlaces(self.geometry).end
        if size != expected:
            what = "truncated" if size < expected else "too long"
            raise Damage(f"{what}: {size} bytes instead of {expected}")

    def _current(self) -> Record:
        """Return the record that the pointer names, and never an older one."""
        sequence = Pointer.decode(self._store.read(POINTER_AT, AREA_BYTES)).sequence
        number = sequence % 2
        record = Record.decode(self._store.read(area_at(number), AREA_BYTES), number)
        if record is None or record.sequence != sequence:
            raise Damage("damaged: the secure element does not match its checksum")
        return record


def _refused(path: Path, refusal: OSError) -> SedFileError:
    return SedFileError(f"{path}: {refusal.strerror or refusal}")


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong with it."""
    try:
        yield
    except Damage as damage:
        raise SedFileError(f"{path}: {damage}") from damage
    except OSError as refusal:
        raise _refused(path, refusal) from refusal


def _lock(raw: io.FileIO, path: Path) -> None:
    """Lock the file for this opening of it alone, until it is closed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            raw.seek(_LOCK_AT)
            msvcrt.locking(raw.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(raw.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise SedFileInUse(f"{path}: in use by another process") from None


def _move(unfinished: Path, path: Path) -> None:
    """Give the finished file its name, unless another has it by now."""
    if sys.platform == "win32":
        unfinished.rename(path)  # refused there when the name is taken
        return
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        unfinished.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
