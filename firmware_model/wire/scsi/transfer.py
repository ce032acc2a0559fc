"""What a command is, and what it moves."""

from dataclasses import Field, dataclass
from enum import Enum, auto
from typing import Any, ClassVar, Final, Protocol

BLOCK_BYTES: Final = 512
TRANSFER_BLOCKS_MAX: Final = 32_768  # of one command, as the Block Limits page says: 16 MiB


class Direction(Enum):
    """Which way a data phase goes."""

    IN = auto()
    OUT = auto()


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a command moves: bytes, or None for all that the host announces."""

    direction: Direction | None
    length: int | None


NOTHING: Final = Transfer(None, 0)


class Command(Protocol):
    """A command descriptor block, as a value: a frozen dataclass of its fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def transfer(self) -> Transfer:
        """What it moves, at most."""
        ...

    def encode(self) -> bytes:
        """Return the CDB."""
        ...


class NoData:
    """A command that moves nothing."""

    __slots__ = ()

    @property
    def transfer(self) -> Transfer:
        """What it moves."""
        return NOTHING


class Allocated:
    """A command whose answer is cut to its allocation length (SPC-4 4.2.5.6)."""

    __slots__ = ()
    allocation_length: int

    @property
    def transfer(self) -> Transfer:
        """What it moves, at most."""
        return Transfer(Direction.IN, self.allocation_length)


class Listed:
    """A command that comes with a parameter list (SPC-4 4.2.5.5)."""

    __slots__ = ()
    list_length: int

    @property
    def transfer(self) -> Transfer:
        """What it moves."""
        return Transfer(Direction.OUT, self.list_length)


def number(cdb: bytes, first: int, length: int) -> int:
    """Return a field of whole bytes."""
    return int.from_bytes(cdb[first : first + length], "big")
