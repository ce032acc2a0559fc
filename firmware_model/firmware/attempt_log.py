"""The attempt log in flash: a ring of records under a head that the secure element keeps.

A record is written first, then the element takes its head, then the act happens. A record that the
element never heard of does not count. Before the ring wraps, its oldest half folds into a signed
checkpoint with counts by kind, so that no attempt is ever forgotten.
"""

import zlib
from collections import Counter
from struct import Struct
from typing import Final

from firmware_model.hardware.clock import Clock
from firmware_model.hardware.nand import Nand
from firmware_model.hardware.secure_element import SecureElement
from firmware_model.wire.attempt_log import (
    KINDS,
    NO_ROLE,
    Checkpoint,
    Event,
    LogPage,
    LogRecord,
    next_head,
)
from firmware_model.wire.codec import DecodeError

_SPARE: Final = Struct(">BQQ")  # kind, sequence of the page, number of the record
_RECORD: Final = 0xA1
_CHECKPOINT: Final = 0xA2


def blocks_needed(record_count: int, pages_per_block: int) -> int:
    """Return the blocks of a ring: one is being erased and one may begin in the middle."""
    return -(-record_count // pages_per_block) + 2


class AttemptLog:
    """The ring, in the blocks from `first_block` on; one record or checkpoint a page."""

    def __init__(
        self,
        nand: Nand,
        first_block: int,
        record_count: int,
        element: SecureElement,
        clock: Clock,
    ) -> None:
        self._nand = nand
        self._element = element
        self._clock = clock
        self._capacity = record_count
        self._pages_per_block = nand.geometry.pages_per_block
        count = blocks_needed(record_count, self._pages_per_block)
        self._blocks = range(first_block, first_block + count)
        self._pages: dict[int, int] = {}  # number of a record -> its page
        self.checkpoint: Checkpoint | None = None
        self._sequence = 0
        self._open = first_block
        self._mount()

    @property
    def first(self) -> int:
        """Number of the first record that still stands."""
        return 0 if self.checkpoint is None else self.checkpoint.base

    def write(self, event: Event, role: int = NO_ROLE, detail: int = 0) -> bytes:
        """Write the next record, and return the head that the element is to take."""
        state = self._element.state
        number = state.log_count
        if number - self.first >= self._capacity:
            self._fold()
        record = LogRecord(number, self._clock.now_us, event, role, detail).encode()
        self._pages[number] = self._program(_RECORD, number, record, "log record")
        return next_head(state.head, record)

    def add(self, event: Event, role: int = NO_ROLE, detail: int = 0) -> None:
        """Write a record and have the element take it: two durable steps."""
        self._element.extend(event, self.write(event, role, detail))

    def page(self, first: int) -> LogPage:
        """Return what READ_LOG answers: the records from number `first` on, as many as fit."""
        end = self._element.state.log_count
        first = max(first, self.first)
        numbers = range(first, min(first + LogPage.RECORDS_MAX, end))
        records = [self._record(number) for number in numbers]
        standing = tuple(record for record in records if record is not None)
        return LogPage(self.first, end, self.checkpoint, standing)

    def _record(self, number: int) -> LogRecord | None:
        page = self._pages.get(number)
        if page is None:
            return None
        try:
            return LogRecord.decode(self._nand.read(page)[: LogRecord.LAYOUT.size])
        except DecodeError:
            return None  # flash that was tampered with: the reader finds the gap

    def _mount(self) -> None:
        """Find records by the order they were written in; a later one replaces its number."""
        found: list[tuple[int, int, int, int]] = []
        for block in self._blocks:
            first = block * self._pages_per_block
            for page in range(first, first + self._nand.programmed_in(block)):
                spare = self._nand.read_spare(page)
                body = spare[: _SPARE.size]
                if zlib.crc32(body).to_bytes(4, "big") == spare[_SPARE.size : _SPARE.size + 4]:
                    kind, sequence, number = _SPARE.unpack(body)
                    found.append((sequence, kind, number, page))
        for sequence, kind, number, page in sorted(found):
            self._sequence = sequence
            self._open = page // self._pages_per_block
            if kind == _CHECKPOINT:
                self._take_checkpoint(page)
            elif kind == _RECORD:
                self._pages[number] = page
        end = self._element.state.log_count
        self._pages = {n: page for n, page in self._pages.items() if self.first <= n < end}

    def _take_checkpoint(self, page: int) -> None:
        try:
            self.checkpoint = Checkpoint.decode(self._nand.read(page)[: Checkpoint.SIZE])
        except DecodeError:
            return

    def _fold(self) -> None:
        """Sign for the oldest half of the records, which may then be overwritten."""
        base = self.first + self._capacity // 2
        old = self.checkpoint
        head = bytes(32) if old is None else old.base_head
        kinds: Counter[int] = Counter()
        for number in range(self.first, base):
            record = self._record(number)
            if record is not None:
                head = next_head(head, record.encode())
                kinds[record.event] += 1
        before = (0,) * KINDS if old is None else old.counts
        counts = tuple(count + kinds[kind] for kind, count in enumerate(before))
        unsigned = Checkpoint(base, head, counts, b"")
        signature = self._element.sign(unsigned.signed_bytes())
        checkpoint = Checkpoint(base, head, counts, signature)
        self._program(_CHECKPOINT, base, checkpoint.encode(), "log checkpoint")
        self.checkpoint = checkpoint
        self._pages = {n: page for n, page in self._pages.items() if n >= base}

    def _program(self, kind: int, number: int, data: bytes, purpose: str) -> int:
        if self._nand.programmed_in(self._open) == self._pages_per_block:
            after = self._open + 1
            self._open = after if after in self._blocks else self._blocks[0]
            if self._nand.programmed_in(self._open):
                self._nand.erase(self._open, "oldest log block")
        page = self._open * self._pages_per_block + self._nand.programmed_in(self._open)
        self._sequence += 1
        body = _SPARE.pack(kind, self._sequence, number)
        self._nand.program(page, data, body + zlib.crc32(body).to_bytes(4, "big"), purpose)
        return page
