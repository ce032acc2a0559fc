"""The attempt log in flash: a ring of records under a head that the secure element keeps.

A record is written first, then the element takes its head, then the act happens. A record that the
element never heard of does not count. Before the ring wraps, its oldest half folds into a signed
checkpoint with counts by kind, so that no attempt is ever forgotten.
"""

from collections import Counter
from typing import Final

from firmware_model.firmware import crypto
from firmware_model.firmware.record_ring import SPARE_BLOCKS, RecordRing
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

_RECORD: Final = 0xA1
_CHECKPOINT: Final = 0xA2


def blocks_needed(record_count: int, block_pages: int) -> int:
    """Return the blocks of a ring: one is being erased and one may begin in the middle."""
    return -(-record_count // block_pages) + 2 + SPARE_BLOCKS


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
        count = blocks_needed(record_count, nand.geometry.block_pages)
        self._ring = RecordRing(nand, first_block, count, _RECORD, _CHECKPOINT)
        self._pages: dict[int, int] = {}  # number of a record -> its page
        self.checkpoint: Checkpoint | None = None
        self._checkpoint_page = -1
        self._looked_past = -1  # the open block for which the one erased next was looked at
        self._mount()

    @property
    def first(self) -> int:
        """Number of the first record that still stands."""
        return 0 if self.checkpoint is None else self.checkpoint.base

    def write(self, event: Event, role: int = NO_ROLE, detail: int = 0) -> bytes:
        """Write the next record, and return the head that the element is to take."""
        state = self._element.state
        number = state.log_count
        base = self._base_needed(number)
        if base is not None:
            self._fold(base)
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
        data = self._nand.read(page)
        if data is None:
            return None  # the reader finds the gap
        try:
            return LogRecord.decode(data[: LogRecord.LAYOUT.size])
        except DecodeError:
            return None  # flash that was tampered with

    def _mount(self) -> None:
        """Find records by the order they were written in; a later one replaces its number."""
        for entry in self._ring.mount():
            if entry.kind == _CHECKPOINT:
                self._take_checkpoint(entry.page)
            else:
                self._pages[entry.number] = entry.page
        end = self._element.state.log_count
        self._pages = {n: page for n, page in self._pages.items() if self.first <= n < end}

    def _take_checkpoint(self, page: int) -> None:
        data = self._nand.read(page) or b""
        try:
            found = Checkpoint.decode(data[: Checkpoint.SIZE])
        except DecodeError:
            return
        # One that the drive never signed would decide what is folded and overwritten.
        if crypto.is_signed(self._element.identity, found.signature, found.signed_bytes()):
            self.checkpoint, self._checkpoint_page = found, page

    def _base_needed(self, number: int) -> int | None:
        """Return up to which record the log must be folded before `number` is written, if at all.

        That is for numbers, or for pages: records that a cut kept from the element take pages and
        no numbers, and with enough of them, or of bad blocks, the ring comes round early. So as
        soon as a block is begun, nothing that counts may stand in the one that is erased next.
        """
        bases = []
        if number - self.first >= self._capacity:
            bases.append(self.first + self._capacity // 2)
        if self._ring.open_block != self._looked_past:
            self._looked_past = self._ring.open_block
            erased_next = self._ring.erased_next
            if self._checkpoint_page in erased_next:
                bases.append(self.first)
            standing = ((n, page) for n, page in self._pages.items() if n < number)
            bases += [n + 1 for n, page in standing if page in erased_next]
        return max(bases, default=None)

    def _fold(self, base: int) -> None:
        """Sign for the records before `base`, which may then be overwritten."""
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
        page = self._program(_CHECKPOINT, base, checkpoint.encode(), "log checkpoint")
        self.checkpoint, self._checkpoint_page = checkpoint, page
        self._pages = {n: page for n, page in self._pages.items() if n >= base}

    def _program(self, kind: int, number: int, data: bytes, purpose: str) -> int:
        return self._ring.append(kind, number, data, purpose, "oldest log block")
