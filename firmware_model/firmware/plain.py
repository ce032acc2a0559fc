"""The firmware of an ordinary stick: no PIN, no key, no secret. What the harness must find out."""

from collections.abc import Sequence

from firmware_model.firmware.layout import Layout
from firmware_model.firmware.parts import Parts
from firmware_model.firmware.policy import Policy
from firmware_model.firmware.settings import SettingsStore
from firmware_model.firmware.translation import Translation
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.board import Board
from firmware_model.hardware.cells import Data
from firmware_model.wire import scsi
from firmware_model.wire.function import BusEvent
from firmware_model.wire.native import State
from firmware_model.wire.sense import INVALID_FIELD_IN_CDB, INVALID_OPCODE, Sense
from firmware_model.wire.unmap import Extent


class NoCipher:
    """What is stored as it came."""

    def encrypt(self, lba: int, data: bytes) -> bytes:
        return data

    def decrypt(self, lba: int, data: Data) -> Data:
        return data


class PlainController:
    """A controller that gives everything to everybody."""

    is_write_protected = False
    may_write = True
    buffer = None
    lacking: tuple[type, ...] = (
        scsi.SecurityProtocolIn,
        scsi.SecurityProtocolOut,
        scsi.ReadBufferDescriptor,
        scsi.DownloadMicrocode,
        scsi.ActivateMicrocode,
    )

    def __init__(self, board: Board, policy: Policy, parts: Parts) -> None:
        layout = Layout.of(policy)
        self.block_count = policy.block_count
        self.policy = policy
        self.state = State.UNLOCKED  # LOCKED: the medium is ejected
        self._board = board
        self._parts = parts
        self._epoch = board.element.state.epoch
        self._translation = Translation(
            board.nand, layout.data_block, layout.data_blocks, layout.logical_pages, self._epoch
        )
        self.settings = SettingsStore(board.nand, layout.settings_block, lambda: self._epoch)
        self._volume = Volume(self._translation, NoCipher(), board.nand.geometry.page_bytes)

    def poll(self) -> None:
        """There is no timer."""

    def read(self, lba: int, block_count: int) -> bytes | Sense:
        """Return blocks."""
        return self._parts.caching.read(self._volume, lba, block_count)

    def write(self, lba: int, data: bytes) -> Sense | None:
        """Store blocks."""
        self._parts.caching.write(self._volume, lba, data)
        return None

    def trim(self, extents: Sequence[Extent]) -> Sense | None:
        """Forget blocks."""
        self.flush()
        for each in extents:
            self._volume.trim(each.lba, each.block_count)
        return None

    def provisioning(self, lba: int, most: int) -> list[tuple[int, bool]] | Sense:
        """Return which blocks hold anything."""
        self._parts.caching.flush(self._volume)
        return self._volume.provisioning(lba, self.block_count, most)

    def flush(self) -> None:
        """Have everything answered in flash."""
        self._parts.caching.flush(self._volume)
        self._board.sync()

    def sanitize(self) -> Sense | None:
        """Format: forget the map, until the next power-up finds the pages again."""
        self._translation.discard(self._epoch)
        return None

    def security_in(self, protocol: int, specific: int, length: int) -> bytes | Sense:
        """Refuse: an ordinary stick has no security protocol."""
        return INVALID_FIELD_IN_CDB

    def security_out(self, protocol: int, specific: int, data: bytes) -> Sense | None:
        """Refuse: an ordinary stick has no security protocol."""
        return INVALID_FIELD_IN_CDB

    def download(self, offset: int, piece: bytes) -> Sense | None:
        """Refuse: its firmware is what it was made with."""
        return INVALID_OPCODE

    def activate(self) -> Sense | None:
        """Refuse: its firmware is what it was made with."""
        return INVALID_OPCODE

    def vendor(self, cdb: bytes, data_out: bytes) -> bytes | Sense | None:
        """There are no vendor commands."""
        return None

    def eject(self) -> None:
        """Have the medium gone until it is loaded or the drive plugged in again."""
        self.state = State.LOCKED

    def load(self) -> None:
        """Have the medium back."""
        self.state = State.UNLOCKED

    def bus_event(self, event: BusEvent, is_configured: bool) -> None:
        """There is nothing to lock; plugged in again, it has its medium."""
        if event is BusEvent.ATTACH:
            self.state = State.UNLOCKED
