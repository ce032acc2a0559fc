"""What a logical unit asks of the drive behind it, of whatever kind that is."""

from collections.abc import Sequence
from typing import Protocol

from firmware_model.wire.buffer import BufferDescriptor
from firmware_model.wire.native import State
from firmware_model.wire.sense import Sense
from firmware_model.wire.unmap import Extent


class Controller(Protocol):
    """What stands behind the logical unit."""

    @property
    def state(self) -> State: ...

    @property
    def is_write_protected(self) -> bool: ...

    @property
    def block_count(self) -> int: ...

    def poll(self) -> None:
        """Run the timers that have run out; called before every command."""
        ...

    def read(self, lba: int, block_count: int) -> bytes | Sense: ...

    def write(self, lba: int, data: bytes) -> Sense | None: ...

    def trim(self, extents: Sequence[Extent]) -> Sense | None:
        """Forget blocks that the host no longer needs."""
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

    def eject(self) -> None: ...
