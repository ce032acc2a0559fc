"""What a logical unit asks of the drive behind it, of whatever kind that is."""

from collections.abc import Sequence
from typing import Protocol

from firmware_model.firmware.policy import Policy
from firmware_model.firmware.settings import SettingsStore
from firmware_model.wire.native import State
from firmware_model.wire.scsi.buffer import BufferDescriptor
from firmware_model.wire.sense import Sense
from firmware_model.wire.unmap import Extent


class Controller(Protocol):
    """What stands behind the logical unit."""

    @property
    def state(self) -> State: ...

    @property
    def is_write_protected(self) -> bool:
        """Whether the drive is read-only, as it tells."""
        ...

    @property
    def may_write(self) -> bool:
        """Whether a command may change the medium; asked once more when one does."""
        ...

    @property
    def block_count(self) -> int: ...

    @property
    def policy(self) -> Policy: ...

    @property
    def settings(self) -> SettingsStore: ...

    @property
    def lacking(self) -> tuple[type, ...]:
        """The classes of commands that this drive does not have."""
        ...

    def poll(self) -> None:
        """Run the timers that have run out; called before every command."""
        ...

    def read(self, lba: int, block_count: int) -> bytes | Sense: ...

    def write(self, lba: int, data: bytes) -> Sense | None: ...

    def trim(self, extents: Sequence[Extent]) -> Sense | None:
        """Forget blocks that the host no longer needs."""
        ...

    def provisioning(self, lba: int, most: int) -> list[tuple[int, bool]] | Sense:
        """Return how many blocks from `lba` on hold something or nothing, and so on.

        At most `most` times in turn; True stands for something.
        """
        ...

    def flush(self) -> None: ...

    def sanitize(self) -> Sense | None: ...

    def security_in(self, protocol: int, specific: int, length: int) -> bytes | Sense: ...

    def security_out(self, protocol: int, specific: int, data: bytes) -> Sense | None: ...

    @property
    def buffer(self) -> BufferDescriptor | None:
        """How firmware is to be cut; None where none is taken."""
        ...

    def download(self, offset: int, piece: bytes) -> Sense | None: ...

    def activate(self) -> Sense | None: ...

    def vendor(self, cdb: bytes, data_out: bytes) -> bytes | Sense | None:
        """Run a vendor's command; None stands for no such operation code."""
        ...

    def eject(self) -> None:
        """Have the medium gone, as far as a host can tell."""
        ...

    def load(self) -> None:
        """Have the medium back that was ejected, where that takes no more than to ask."""
        ...
