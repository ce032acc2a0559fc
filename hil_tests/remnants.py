"""What is left in a dump: wrapped keys by their structure and their value, ciphertext that repeats.

What content, PINs and bare keys look like is the business of `content.py`; this is about the rest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_model.firmware.keystore import KeyRecord
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.page_records import RECORD
from firmware_model.firmware.policy import Policy
from firmware_model.hardware.board import Board, FlashImage
from firmware_model.hardware.nand import Nand

RECORD_BYTES_MAX: Final = KeyRecord.HEAD.size + 255 + 4
SECTOR_BYTES: Final = 512
CIPHER_BLOCK_BYTES: Final = 16
SHOWN: Final = 4
_NO_PAGE: Final = 0xFFFF_FFFF  # the number in a spare area that was never programmed

Rows = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class DumpPage:
    """A page that is not erased, as a chip reader sees it."""

    number: int
    area: str  # what its block is for: keys, log, firmware, data
    is_retired: bool  # its block is marked bad
    data: bytes  # without the filling behind what was programmed
    spare: bytes

    @property
    def name(self) -> str:
        """How a finding names the place."""
        retired = ", in a retired block" if self.is_retired else ""
        return f"page {self.number} of the {self.area}{retired}"


def pages_of(source: Board | FlashImage, policy: Policy) -> Iterator[DumpPage]:
    """Give every page that is not erased. Parity is left out, which follows from the rest."""
    nand = source.nand if isinstance(source, Board) else source.part()
    yield from pages_in(nand, policy)


def pages_in(nand: Nand, policy: Policy) -> Iterator[DumpPage]:
    """Give every page of a part that is not erased, parity left out."""
    areas = [(name, blocks) for name, blocks in Layout.of(policy).areas.items()]
    block_pages = nand.geometry.block_pages
    for page, data, spare in nand.contents():
        block = page // block_pages
        area = next(name for name, blocks in areas if block in blocks)
        yield DumpPage(page, area, nand.is_bad(block), data, spare)


@dataclass(frozen=True, slots=True)
class Reading:
    """Parts of a dump in an order in which something may go on from one to the next."""

    name: str
    parts: list[bytes]

    def joined(self) -> bytes:
        """Return all parts as one."""
        return b"".join(self.parts)

    def ends(self) -> list[int]:
        """Return where each part ends."""
        return list(accumulate(map(len, self.parts)))


def readings(pages: Sequence[DumpPage]) -> Iterator[Reading]:
    """Give the orders of pages: as they stand, and as their records count them."""
    yield Reading("page after page", [page.data for page in pages])
    yield Reading("spare area after spare area", [page.spare for page in pages])
    with_spare = [part for page in pages for part in (page.data, page.spare)]
    yield Reading("pages with their spare areas", with_spare)
    for area in sorted({page.area for page in pages}):
        own = sorted((page for page in pages if page.area == area), key=_place)
        yield Reading(f"the {area} in its own order", [page.data for page in own])


def _place(page: DumpPage) -> tuple[int, int]:
    """Return where a page stands by its record: its LBA, or its place in a ring of records."""
    place = page.spare[5:9] if page.area == "data" else page.spare[1:9]
    return int.from_bytes(place, "big"), page.number


def crosses(ends: Sequence[int], at: int, length: int) -> bool:
    """Tell whether something of a length stands across the end of a part."""
    return bisect_right(ends, at) != bisect_right(ends, at + length - 1)


def key_records(data: bytes) -> Iterator[tuple[int, KeyRecord]]:
    """Give every whole wrapped key that stands in bytes, at any offset, behind that offset."""
    at = data.find(KeyRecord.MAGIC)
    while at >= 0:
        record = KeyRecord.decode(data[at : at + RECORD_BYTES_MAX])
        if record is not None:
            yield at, record
        at = data.find(KeyRecord.MAGIC, at + 1)


def records_in(pages: Sequence[DumpPage], serial_flash: bytes) -> list[KeyRecord]:
    """Return the different wrapped keys of a dump, wherever they stand."""
    found: dict[KeyRecord, None] = {}
    for place in (*(part for page in pages for part in (page.data, page.spare)), serial_flash):
        found.update((record, None) for _, record in key_records(place))
    found.update((record, None) for _, record in _split_records(pages))
    return list(found)


def _split_records(pages: Sequence[DumpPage]) -> Iterator[tuple[str, KeyRecord]]:
    """Give every wrapped key that stands across the end of a page, behind the reading's name."""
    for reading in readings(pages):
        ends = reading.ends()
        for at, record in key_records(reading.joined()):
            if crosses(ends, at, len(record.encode())):
                yield reading.name, record


def stray_keys(pages: Sequence[DumpPage], serial_flash: bytes) -> list[str]:
    """Return where wrapped keys stand outside the pages that are for them, whole or bare."""
    own = [page for page in pages if page.area == "keys"]
    wrapped = {
        record.wrapped: f"wrapped key of {record.slot.name}, generation {record.generation},"
        for page in own
        for _, record in key_records(page.data)
    }
    places = [(page.name, page.data) for page in pages if page.area != "keys"]
    places += [(f"spare area of {page.name}", page.spare) for page in pages]
    places.append(("serial flash", serial_flash))
    found = []
    for place, data in places:
        found += [f"record of {record.slot.name} in {place}" for _, record in key_records(data)]
        found += [f"{name} in {place}" for value, name in wrapped.items() if value in data]
    found += [f"record of {r.slot.name} across {name}" for name, r in _split_records(pages)]
    return found


def repeated_ciphertext(pages: Sequence[DumpPage]) -> list[str]:
    """Return where 16 bytes of the data area are equal that no two places may have in common.

    The same place of the same sector may hold the same ciphertext again: so it is in XTS where the
    same content was written again, and where a page moved. Sectors that hold nothing don't count.
    """
    page_bytes = max((len(page.data) for page in pages), default=0)
    stored = [page for page in pages if page.area == "data" and len(page.data) == page_bytes]
    if not stored or not page_bytes or page_bytes % SECTOR_BYTES:
        return []
    records = np.frombuffer(b"".join(page.spare[: RECORD.itemsize] for page in stored), RECORD)
    sectors = len(stored[0].data) // SECTOR_BYTES
    counts = records["valid"].astype(np.int64)[:, None] >> np.arange(sectors) & 1
    counts[records["number"] == _NO_PAGE] = 0
    lba = records["number"].astype(np.int64)[:, None] * sectors + np.arange(sectors)
    rows = np.frombuffer(b"".join(page.data for page in stored), "<u8").reshape(
        len(stored), sectors, -1, 2
    )
    is_counted = counts.astype(np.bool_)
    return _equal(rows[is_counted], lba[is_counted])


def _equal(rows: Rows, lba: NDArray[np.int64]) -> list[str]:
    """Compare cipher blocks, (sectors, 32, 2), all with all: equal ones meet when sorted."""
    blocks = rows.shape[1]
    flat = rows.reshape(-1, 2)
    order = np.argsort(flat[:, 0], kind="stable")
    first, second = order[:-1], order[1:]
    is_equal = flat[first, 0] == flat[second, 0]
    first, second = first[is_equal], second[is_equal]
    is_equal = flat[first, 1] == flat[second, 1]
    is_elsewhere = lba[first // blocks] != lba[second // blocks]
    is_elsewhere |= first % blocks != second % blocks
    pairs = np.flatnonzero(is_equal & is_elsewhere)
    pairs = pairs[np.argsort(first[pairs], kind="stable")]
    found = [
        f"LBA {lba[a // blocks]} at {a % blocks * CIPHER_BLOCK_BYTES} and"
        f" LBA {lba[b // blocks]} at {b % blocks * CIPHER_BLOCK_BYTES} have equal ciphertext"
        for a, b in zip(first[pairs[:SHOWN]].tolist(), second[pairs[:SHOWN]].tolist(), strict=True)
    ]
    more = len(pairs) - len(found)
    return [*found, f"{more} more such places"] if more > 0 else found
