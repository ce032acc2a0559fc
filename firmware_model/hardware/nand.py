"""NAND flash behind its controller's ECC: pages programmed once and in order, erased by the block.

Stricter than the part: an order the datasheet forbids is an error here, not corrupted data. What
a datasheet promises is kept as long as it is promised: bits flip with wear, reads and age, blocks
go bad, and what a cut interrupts is torn.

A block here is what is erased at once: one block of each plane, driven together, its pages counted
across the planes. The timing follows: as many pages as there are planes take the time of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from firmware_model.hardware.cells import (
    ERASED,
    RECORD_BYTES,
    BlockState,
    Cells,
    Data,
    RawPage,
    copied,
)
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.ecc import PageCode
from firmware_model.hardware.endurance import Endurance, flipped, noise
from firmware_model.hardware.supply import Supply, Torn

NO_RECORD: Final = bytes(RECORD_BYTES)  # what an unreadable record reads as


class NandError(AssertionError):
    """The firmware broke a rule of the part: a bug of ours, never of a host's making."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of the array."""

    block_count: int
    pages_per_block: int = 64
    page_bytes: int = 4096
    spare_bytes: int = 224
    planes: int = 1

    @property
    def block_pages(self) -> int:
        """Pages that are erased at once."""
        return self.pages_per_block * self.planes

    @property
    def page_count(self) -> int:
        return self.block_count * self.block_pages


class Nand:
    """The part: what the controller can do to it."""

    def __init__(
        self,
        geometry: Geometry,
        cells: Cells,
        supply: Supply,
        clock: Clock,
        timing: Timing,
        endurance: Endurance | None = None,
    ) -> None:
        self.geometry = geometry
        self.cells = cells
        self.endurance = endurance or Endurance()
        self.corrected = 0  # most bits corrected in one codeword of the last read
        self.flipped_reads = 0  # of pages whose bits were not those that were programmed
        self.flipped_record_reads = 0  # the same, of records alone
        self.code = PageCode(geometry.page_bytes, RECORD_BYTES)
        self._supply = supply
        self._clock = clock
        self._timing = timing
        self._pages = geometry.block_pages
        self._reads: dict[int, int] = {}  # since the erase, of blocks read in this session
        self._failing: set[int] = set()
        self.failures_left = 0  # blocks that are still to fail

    # --- reading --------------------------------------------------------------------------------

    def read(self, page: int, count: int = 1) -> bytes | None:
        """Return the data of pages of one block; None where one of them can't be corrected.

        An erased page is all FFh. `corrected` tells how close to the limit of the ECC it was.
        """
        data = self.read_run(page, count)
        return None if data is None else bytes(data)

    def read_run(self, page: int, count: int) -> Data | None:
        """Read as `read` does; what was programmed together is not copied."""
        block, index = self._place(page, count)
        self._charge(self._timing.page_read_us, count)
        reads = self._reads[block] = self._reads_of(block) + count
        state = self.cells.state(block)
        self.corrected = 0
        is_calm = reads < self.endurance.calm_reads and state.erase_count <= self.endurance.cycles
        is_calm = is_calm and self._clock.now_us - state.programmed_at_us < self.endurance.calm_us
        if not is_calm or self.cells.raw(block):
            return self._read_closely(block, index, count)
        return self.cells.data(block, index, count)

    def records(self, block: int) -> npt.NDArray[np.uint8]:
        """Return the records of a block's programmed pages, (n, 32); an unreadable one is zeros."""
        records = self.cells.records(block)
        self._charge(self._timing.page_read_us, len(records) // RECORD_BYTES)
        joined = np.frombuffer(records, np.uint8).reshape(-1, RECORD_BYTES)
        raws = self.cells.raw(block)
        if raws:
            joined = joined.copy()
            for index, raw in raws.items():
                self.flipped_record_reads += 1
                decoded = self.code.decode_record(raw.spare)
                joined[index] = np.frombuffer(decoded.data if decoded else NO_RECORD, np.uint8)
        return joined

    def has_record(self, page: int) -> bool:
        """Tell whether the record of a page can be read, whatever it says."""
        block, index = self._place(page, 1)
        self._charge(self._timing.page_read_us, 1)
        raw = self.cells.raw(block).get(index)
        return raw is None or self.code.decode_record(raw.spare) is not None

    def scan(self, first: int, count: int) -> list[int]:
        """Read the first record of blocks; return those that are not erased, or are bad."""
        self._charge(self._timing.page_read_us, count)
        end, cells = first + count, self.cells
        blocks = (block for block in cells.blocks() if first <= block < end)
        return [each for each in blocks if cells.state(each).is_bad or cells.page_count(each)]

    def is_stable(self, page: int) -> bool:
        """Read with margin: False for a page that was programmed too weakly to stay."""
        block, index = self._place(page, 1)
        self._charge(self._timing.page_read_us, 1)
        raw = self.cells.raw(block).get(index)
        return raw is None or raw.reads_left is None

    def programmed_in(self, block: int) -> int:
        """Return how many pages of a block are programmed."""
        return self.cells.page_count(block)

    def is_bad(self, block: int) -> bool:
        """Tell whether a block is marked as bad."""
        return self.cells.state(block).is_bad

    def erase_counts(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return how often blocks were erased."""
        counts = np.zeros(count, np.int64)
        for block in self.cells.blocks():
            if first <= block < first + count:
                counts[block - first] = self.cells.state(block).erase_count
        return counts

    # --- writing --------------------------------------------------------------------------------

    def program(self, page: int, data: Data, records: bytes, purpose: str) -> int:
        """Program the next erased pages of a block, each one durable step; return how many.

        Fewer than there are records, of 32 bytes, means that the next page failed, and the block
        has gone bad. The last page may be given in part, and is filled with FFh.
        """
        count, rest = divmod(len(records), RECORD_BYTES)
        block, index = self._place(page, count)
        state = self.cells.state(block)
        if index != self.cells.page_count(block) or state.is_bad:
            raise NandError(f"page {page}: block {block} is programmed in order, and once")
        page_bytes = self.geometry.page_bytes
        if rest or not 0 <= count * page_bytes - len(data) <= page_bytes:
            raise NandError(f"{len(data)} bytes are not the data of {count} pages")
        name = f"program {purpose}"
        wanted = 1 if block in self._failing else count
        happening = self._supply.announce(name, wanted)
        self._charge(self._timing.page_program_us, happening)
        if happening and not index:
            state = replace(state, programmed_at_us=self._clock.now_us)
            self.cells.set_state(block, state)
        if happening == count:
            self.cells.append(block, data, records)
        elif happening:
            done = memoryview(data)[: happening * page_bytes]
            self.cells.append(block, done, records[: happening * RECORD_BYTES])
        if state.is_weak:
            self._weaken(block, index, happening)
        if happening < wanted:
            torn = bytes(data[happening * page_bytes : (happening + 1) * page_bytes])
            record = records[happening * RECORD_BYTES : (happening + 1) * RECORD_BYTES]
            self._tear_program(block, torn, record)
            raise self._supply.failure(name)
        if block in self._failing:
            self.cells.set_raw(block, index, self._noise(block, index))
            return 0
        return happening

    def erase(self, block: int, purpose: str) -> bool:
        """Erase a block: one durable step. False means that it failed, and the block is bad."""
        self._place(block * self._pages, 1)
        state = self.cells.state(block)
        if state.is_bad:
            raise NandError(f"block {block} is bad")
        name = f"erase {purpose}"
        if not self._supply.announce(name):
            self._tear_erase(block, state)
            raise self._supply.failure(name)
        self._charge(self._timing.block_erase_us, 1)
        self._reads.pop(block, None)
        if block in self._failing or self.endurance.is_spent(block, state.erase_count):
            return False
        self.cells.erase(block, BlockState(erase_count=state.erase_count + 1))
        return True

    def mark_bad(self, block: int) -> None:
        """Write the bad block mark into the spare area of its first page: one durable step."""
        self._supply.step("mark bad block")
        if block in self._failing:
            self._failing.discard(block)
            self.failures_left -= 1
        if not self.failures_left:
            self._failing.clear()
        self.cells.set_state(block, replace(self.cells.state(block), is_bad=True))

    # --- what happens to a part -----------------------------------------------------------------

    def flip(self, page: int, bits: Iterable[int]) -> None:
        """Flip bits of a programmed page, counted through its data and then its spare area."""
        block, index = self._place(page, 1)
        raw = self._raw(block, index)
        array = np.frombuffer(raw.data + raw.spare, np.uint8).copy()
        for bit in bits:
            array[bit // 8] ^= np.uint8(0x80 >> bit % 8)
        data = array[: len(raw.data)].tobytes()
        self.cells.set_raw(block, index, RawPage(data, array[len(raw.data) :].tobytes()))

    def fail_next(self, *blocks: int, count: int = 1) -> None:
        """Have the next program or erase fail in the first `count` of some blocks to come to one.

        They fail as blocks do that wear out, until they are marked.
        """
        self._failing.update(blocks)
        self.failures_left += count

    def keep_reads(self) -> None:
        """Note in the cells how often blocks were read."""
        for block, reads in self._reads.items():
            state = self.cells.state(block)
            if state.reads != reads:
                self.cells.set_state(block, replace(state, reads=reads))

    def contents(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Give page number, data and record of every programmed page; the bits where it is raw.

        Parity is left out: it follows from these, and so holds nothing that they don't.
        """
        for block in self.cells.blocks():
            count, joined = self.cells.page_count(block), self.cells.records(block)
            raws = self.cells.raw(block)
            for index, data in enumerate(self._datas(block, count)):
                record = joined[index * RECORD_BYTES : (index + 1) * RECORD_BYTES]
                data, record, _ = raws.get(index, RawPage(data, record))
                yield block * self._pages + index, data, record

    def raw_pages(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Give page number, data and spare area of every page that is not erased, as bits.

        The first page of a bad block is among them, for its mark.
        """
        page_bytes = self.geometry.page_bytes
        for block in self.cells.blocks():
            count, is_bad = self.cells.page_count(block), self.cells.state(block).is_bad
            datas = self._datas(block, count)
            spares = self._spares(datas, self.cells.records(block))
            raws = self.cells.raw(block)
            if is_bad and not count:
                datas, spares = [ERASED * page_bytes], [ERASED * self.geometry.spare_bytes]
            for index, (data, spare) in enumerate(zip(datas, spares, strict=True)):
                data, spare, _ = raws.get(index, RawPage(data, spare))
                if is_bad and not index:
                    spare = b"\0" + spare[1:]
                yield block * self._pages + index, data, spare

    def on(self, supply: Supply, clock: Clock, cells: Cells | None = None) -> Nand:
        """Return the same part once more, on another board; in memory, where no cells are given."""
        if cells is None:
            self.keep_reads()
            cells = copied(self.cells)
        other = Nand(self.geometry, cells, supply, clock, self._timing, self.endurance)
        other._failing, other.failures_left = self._failing.copy(), self.failures_left
        return other

    # --- inside ---------------------------------------------------------------------------------

    def _place(self, page: int, count: int) -> tuple[int, int]:
        block, index = divmod(page, self._pages)
        if not 0 <= block < self.geometry.block_count or not 0 < count <= self._pages - index:
            raise NandError(f"there are no pages {page} to {page + count - 1} in one block")
        return block, index

    def _charge(self, us: int, count: int) -> None:
        self._clock.charge(us * -(-count // self.geometry.planes))

    def _reads_of(self, block: int) -> int:
        reads = self._reads.get(block)
        return self.cells.state(block).reads if reads is None else reads

    def _read_closely(self, block: int, index: int, count: int) -> bytes | None:
        """Read page by page, with every flipped bit."""
        raws, state = self.cells.raw(block), self.cells.state(block)
        flips = self.endurance.flips(state, self._reads_of(block), self._clock.now_us)
        pages = []
        for at in range(index, index + count):
            raw = raws.get(at)
            if raw is not None and raw.reads_left is not None:
                left = raw.reads_left - 1
                rest = raw._replace(reads_left=left) if left else self._noise(block, at)
                self.cells.set_raw(block, at, rest)
            if at >= self.cells.page_count(block):
                pages.append(ERASED * self.geometry.page_bytes)
                continue
            if raw is None and not flips:
                pages.append(self._data(block, at))
                continue
            self.flipped_reads += 1
            raw = flipped(raw or self._raw(block, at), block, at, flips)
            decoded = self.code.decode_page(raw.data, raw.spare)
            if not decoded.is_data_readable:
                return None
            self.corrected = max(self.corrected, decoded.worst)
            pages.append(decoded.data)
        return b"".join(pages)

    def _raw(self, block: int, index: int) -> RawPage:
        found = self.cells.raw(block).get(index)
        if found is not None:
            return found
        if index >= self.cells.page_count(block):
            raise NandError(f"page {index} of block {block} is erased")
        data = self._data(block, index)
        records = self.cells.records(block)[index * RECORD_BYTES : (index + 1) * RECORD_BYTES]
        return RawPage(data, self._spares([data], records)[0])

    def _data(self, block: int, index: int) -> bytes:
        return bytes(self.cells.data(block, index, 1))

    def _datas(self, block: int, count: int) -> list[bytes]:
        data, size = bytes(self.cells.data(block, 0, count)), self.geometry.page_bytes
        return [data[at : at + size] for at in range(0, count * size, size)]

    def _spares(self, datas: Sequence[bytes], records: bytes) -> list[bytes]:
        if not datas:
            return []
        pages = np.frombuffer(b"".join(datas), np.uint8).reshape(len(datas), -1)
        rows = np.frombuffer(records, np.uint8).reshape(len(datas), -1)
        spare_bytes = self.geometry.spare_bytes
        return [
            row.tobytes().ljust(spare_bytes, ERASED) for row in self.code.encode_pages(pages, rows)
        ]

    def _noise(self, block: int, index: int) -> RawPage:
        return noise(block, index, self.geometry.page_bytes, self.geometry.spare_bytes)

    def _weaken(self, block: int, first: int, count: int) -> None:
        for index in range(first, first + count):
            self.cells.set_raw(block, index, self._raw(block, index)._replace(reads_left=1))

    def _tear_program(self, block: int, data: bytes, record: bytes) -> None:
        torn = self._supply.take_torn()
        if torn is None:
            return
        index = self.cells.page_count(block)
        self.cells.append(block, data, record)
        if torn is Torn.WEAK:
            self._weaken(block, index, 1)
        else:
            half = data[: self.geometry.page_bytes // 2].ljust(self.geometry.page_bytes, ERASED)
            self.cells.set_raw(block, index, RawPage(half, ERASED * self.geometry.spare_bytes))

    def _tear_erase(self, block: int, state: BlockState) -> None:
        torn = self._supply.take_torn()
        if torn is Torn.WEAK:
            worn = BlockState(erase_count=state.erase_count + 1, is_weak=True)
            self.cells.erase(block, worn)
        elif torn is Torn.HALF:
            for index in range(0, self.cells.page_count(block), 2):
                self.cells.set_raw(block, index, self._noise(block, index))
