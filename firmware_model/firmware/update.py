"""An update: pieces of an image into the slot that is not in use, one look at the whole, a switch.

Only that switch, one write of the element, changes which firmware runs. Until then a cut, a reset
or a refusal leaves nothing but bytes in a slot that nobody begins with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from firmware_model.firmware.attempt_log import AttemptLog
from firmware_model.firmware.boot import Running, rules_of
from firmware_model.firmware.firmware_slots import SLOTS, FirmwareSlots
from firmware_model.firmware.image_check import UpdateRules
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.parts import Parts
from firmware_model.firmware.policy import Policy
from firmware_model.firmware.self_test import SIGNATURE_ANSWERS, known_answer_tests
from firmware_model.hardware.board import Board
from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.wire.attempt_log import Event
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import (
    IMAGE_BYTES_MAX,
    IMAGE_FAULTS,
    ImageFault,
    ImageHeader,
)
from firmware_model.wire.scsi.buffer import BufferDescriptor
from firmware_model.wire.sense import (
    COMMAND_SEQUENCE_ERROR,
    INVALID_FIELD_IN_CDB,
    SELF_TEST_FAILED,
    Sense,
)

MALFORMED: Final = IMAGE_FAULTS[ImageFault.MALFORMED]


@dataclass(slots=True)
class _Arriving:
    """An image of which some is in flash."""

    header: ImageHeader  # as the host sent it: it says how much will come, and nothing else
    slot: FirmwareSlot
    received: int = 0


class FirmwareUpdate:
    """What WRITE BUFFER does to the two slots."""

    def __init__(
        self,
        board: Board,
        policy: Policy,
        parts: Parts,
        running: Running,
        log: AttemptLog,
        close: Callable[[], None],
    ) -> None:
        self._board = board
        self._policy = policy  # of the profile: an image may go back to it, and never below
        self._parts = parts
        self._running = running
        self._slots = FirmwareSlots(board.nand, Layout.of(policy).firmware_block)
        self._log = log
        self._close = close  # called when an image begins: keys and updates don't mix
        self._arriving: _Arriving | None = None
        self.is_deferred = False  # an image was saved, and is to be begun with
        boundary = (self._slots.page_bytes - 1).bit_length()
        self.descriptor = BufferDescriptor(boundary, IMAGE_BYTES_MAX)

    def drop(self) -> None:
        """Forget an image of which a part is missing (SPC-4 table 57, note e)."""
        self._arriving = None

    def receive(self, offset: int, piece: bytes) -> Sense | None:
        """Take the next piece of an image from whoever may; offset 0 begins one.

        Whatever is refused, what came before it is forgotten.
        """
        arriving, self._arriving = self._arriving, None
        if offset + len(piece) > self.descriptor.capacity or offset % self._slots.page_bytes:
            return INVALID_FIELD_IN_CDB
        if not offset:
            arriving = None
        elif arriving is None or offset != arriving.received:
            return COMMAND_SEQUENCE_ERROR
        fault = self._parts.update_check.arriving(offset, piece, self._rules())
        if fault is not None:
            return IMAGE_FAULTS[fault]
        begun = arriving or self._begin(piece)
        return self._store(begun, piece) if isinstance(begun, _Arriving) else begun

    def refresh(self) -> None:
        """Put the running image into the other slot before flash forgets it. Raises WornOut."""
        slot = self._running.slot
        if not self._running.is_tired or slot is None:
            return
        image = self._slots.read(slot)
        if image is not None:
            other = next(each for each in SLOTS if each is not slot)
            self._slots.program(other, 0, image)
            self._finish(other)
            self.is_deferred = False  # what runs is the same

    def _begin(self, piece: bytes) -> _Arriving | Sense:
        slot = self._spare_slot()
        if slot is None:
            return COMMAND_SEQUENCE_ERROR
        try:
            arriving = _Arriving(ImageHeader.decode(piece), slot)
        except DecodeError:
            return MALFORMED
        self._close()
        self._parts.updating.begin(_Switch(self, arriving.slot, arriving.header))
        return arriving

    def _store(self, arriving: _Arriving, piece: bytes) -> Sense | None:
        """Store a piece; with the last one, look at the whole and switch to it."""
        received = arriving.received + len(piece)
        is_last = received == arriving.header.image_bytes
        ends_at_boundary = not received % self._slots.page_bytes
        if received > arriving.header.image_bytes or not (is_last or ends_at_boundary):
            return MALFORMED  # more than was announced, or less: nothing could follow this piece
        self._slots.program(arriving.slot, arriving.received, piece)
        arriving.received = received
        if is_last:
            return self._finish(arriving.slot)
        self._arriving = arriving
        return None

    def _finish(self, slot: FirmwareSlot) -> Sense | None:
        """Judge what stands in flash, not what came, and switch to it."""
        image = self._slots.read(slot)
        if image is None:
            return MALFORMED
        if known_answer_tests(SIGNATURE_ANSWERS):
            return SELF_TEST_FAILED
        self._board.clock.charge(self._board.timing.verify_us)
        fault = self._parts.update_check.staged(image, self._rules())
        if fault is not None:
            return IMAGE_FAULTS[fault]
        again = self._parts.update_check.staged(image, self._rules())
        if again is not None:  # no single verdict lets an image in
            return IMAGE_FAULTS[again]
        self._parts.updating.end(_Switch(self, slot, ImageHeader.decode(image)))
        self.is_deferred = self._board.element.state.firmware_slot is slot
        return None

    def _rules(self) -> UpdateRules:
        return rules_of(self._board, self._policy)

    def _spare_slot(self) -> FirmwareSlot | None:
        """Return the slot to fill, or None; never the one that runs.

        Where the other is the one begun with, it is filled only if what stood there was damaged. An
        image that waits in it stays: the one that runs may be below its floor, and start no more.
        """
        in_use = (self._board.element.state.firmware_slot, self._running.slot)
        free = [slot for slot in SLOTS if slot not in in_use]
        if not free and self.is_deferred:
            return None
        return free[0] if free else next(slot for slot in SLOTS if slot is not self._running.slot)


class _Switch:
    """The steps that make an image the firmware."""

    def __init__(self, update: FirmwareUpdate, slot: FirmwareSlot, header: ImageHeader) -> None:
        self._element = update._board.element
        self._log = update._log
        self._slot = slot
        self._header = header

    def switch(self) -> None:
        """Name the slot and raise the floor."""
        self._write(self._slot, self._header.security_version)

    def name_slot(self) -> None:
        """Name the slot alone."""
        self._write(self._slot, self._element.state.firmware_floor)

    def raise_floor(self) -> None:
        """Raise the floor alone."""
        self._write(self._element.state.firmware_slot, self._header.security_version)

    def _write(self, slot: FirmwareSlot, floor: int) -> None:
        detail = self._header.version.number << 32 | self._header.security_version
        head = self._log.write(Event.UPDATED, detail=detail)
        floor = max(floor, self._element.state.firmware_floor)
        self._element.switch_firmware(slot, floor, Event.UPDATED, head)
