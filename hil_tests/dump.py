"""Raw flash as a file: data and spare area of page after page, as a chip reader writes them.

Reading a chip gives no power to a firmware, so it changes nothing and needs no PIN.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from firmware_model.firmware.layout import Layout
from firmware_model.firmware.policy import Policy
from firmware_model.hardware.board import Board
from firmware_model.hardware.cells import ERASED, RECORD_BYTES
from firmware_model.hardware.nand import Geometry
from hil_tests.entropy_map import EntropyMap
from hil_tests.remnants import key_records

JSON_VERSION: Final = 1
FILL_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A wrapped key that was told by its structure."""

    page: int
    in_spare_area: bool
    slot: str
    generation: int
    epoch: int


@dataclass(slots=True)
class Dump:
    """What a dump says of itself: the shape it has, and what stands where."""

    geometry: Geometry
    areas: dict[str, range]  # of blocks
    is_filled: bool
    picture: EntropyMap
    serial_flash: bytes
    runs: list[list[int]] = field(default_factory=list)  # first page and count, not erased
    retired_blocks: list[int] = field(default_factory=list)
    wrapped_keys: list[FoundKey] = field(default_factory=list)

    @property
    def stride_bytes(self) -> int:
        """From one page to the next in the file."""
        return self.geometry.page_bytes + self.geometry.spare_bytes

    def document(self) -> dict[str, Any]:
        """Return what a program needs to read the file."""
        geometry, pages = self.geometry, self.geometry.block_pages
        self.picture.svg()
        return {
            "version": JSON_VERSION,
            "page_bytes": geometry.page_bytes,
            "spare_bytes": geometry.spare_bytes,
            "record_bytes": RECORD_BYTES,
            "pages_per_block": pages,
            "block_count": geometry.block_count,
            "file_bytes": geometry.page_count * self.stride_bytes,
            "erased_pages": "FFh" if self.is_filled else "holes, which read as 00h",
            "programmed_pages": self.runs,
            "retired_blocks": self.retired_blocks,
            "areas": {
                name: {
                    "first_block": blocks.start,
                    "block_count": len(blocks),
                    "programmed_pages": int(self.picture.panels[name].programmed.sum()),
                    "entropy_bits": _rounded(self.picture.panels[name].mean),
                }
                for name, blocks in self.areas.items()
            },
            "wrapped_keys": [
                {
                    "page": each.page,
                    "in_spare_area": each.in_spare_area,
                    "slot": each.slot,
                    "generation": each.generation,
                    "epoch": each.epoch,
                }
                for each in self.wrapped_keys
            ],
            "serial_flash_bytes": len(self.serial_flash),
        }


def _rounded(bits: float | None) -> float | None:
    return None if bits is None else round(bits, 3)


def serial_path(out: Path) -> Path:
    """Return the file of the serial flash that belongs to a dump."""
    return out.with_name(f"{out.name}.serial")


def json_path(out: Path) -> Path:
    """Return the file that describes a dump."""
    return out.with_name(f"{out.name}.json")


def read_out(
    board: Board,
    policy: Policy,
    out: Path | None,
    *,
    is_filled: bool = False,
    progress: Callable[[int], None] = lambda pages: None,
) -> Dump:
    """Read a board's flash into a file, its serial flash and a description into two beside it.

    Without `out`, only look at it. `progress` is told how many pages have been passed. A file that
    is there is replaced, and only by a whole one.
    """
    nand, layout = board.nand, Layout.of(policy)
    serial_flash = board.element.external.value
    dump = Dump(nand.geometry, layout.areas, is_filled, EntropyMap(policy), serial_flash)
    for block in nand.cells.blocks():
        if nand.is_bad(block):
            dump.retired_blocks.append(block)
            dump.picture.retire(block)
    if out is None:
        _read(board, dump, None, progress)
        return dump
    with _whole(out) as stream:
        _read(board, dump, stream, progress)
    with _whole(serial_path(out)) as stream:
        stream.write(serial_flash)
    with _whole(json_path(out)) as stream:
        stream.write(json.dumps(dump.document(), indent=2).encode() + b"\n")
    return dump


def _read(
    board: Board, dump: Dump, stream: BinaryIO | None, progress: Callable[[int], None]
) -> None:
    """Take in every page that is not erased, and leave room for the others."""
    at = 0
    for page, data, spare in board.nand.raw_pages():
        if stream is not None:
            _skip(stream, page - at, dump)
            stream.write(data + spare)
        if board.nand.programmed_in(page // dump.geometry.block_pages):
            dump.picture.add(page, data)  # else there is but the mark of a bad block
        _take_in(dump, page, data, spare)
        progress(page + 1 - at)
        at = page + 1
    rest = dump.geometry.page_count - at
    if stream is not None:
        _skip(stream, rest, dump)
        stream.truncate(dump.geometry.page_count * dump.stride_bytes)
    progress(rest)


def _skip(stream: BinaryIO, pages: int, dump: Dump) -> None:
    """Leave erased pages as a hole, or fill them as a reader finds them."""
    size = pages * dump.stride_bytes
    if size and not dump.is_filled:
        stream.seek(size, 1)
        return
    while size:
        size -= stream.write(ERASED * min(size, FILL_BYTES))


def _take_in(dump: Dump, page: int, data: bytes, spare: bytes) -> None:
    if dump.runs and sum(dump.runs[-1]) == page:
        dump.runs[-1][1] += 1
    else:
        dump.runs.append([page, 1])
    for in_spare_area, part in ((False, data), (True, spare)):
        for _, record in key_records(part):
            slot = record.slot.name.lower()
            found = FoundKey(page, in_spare_area, slot, record.generation, record.epoch)
            dump.wrapped_keys.append(found)
            dump.picture.mark(page)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that takes the place of `path` when it is finished."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
