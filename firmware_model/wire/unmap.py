"""The parameter list of UNMAP: which blocks are no longer needed. Source: SBC-3 5.28.2."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from firmware_model.wire.codec import DecodeError

DESCRIPTORS_MAX: Final = 256  # as the Block Limits page says
_HEAD: Final = Struct(">HH4x")
UNMAP_HEADER_BYTES: Final = _HEAD.size
_DESCRIPTOR: Final = Struct(">QI4x")


@dataclass(frozen=True, slots=True)
class Extent:
    """Blocks in a row."""

    lba: int
    block_count: int


def encode_unmap_list(extents: Sequence[Extent]) -> bytes:
    """Return the list of at most 256 extents."""
    body = b"".join(_DESCRIPTOR.pack(each.lba, each.block_count) for each in extents)
    return _HEAD.pack(len(body) + _HEAD.size - 2, len(body)) + body


def decode_unmap_list(data: bytes) -> tuple[Extent, ...]:
    """Return the extents in `data`, which may be cut short: a descriptor counts when it is whole.

    Raises DecodeError for a list that ends within its header, or has too many descriptors.
    """
    if not data:
        return ()  # a length of zero is not an error
    if len(data) < _HEAD.size:
        raise DecodeError(f"an UNMAP list has at least {_HEAD.size} bytes, not {len(data)}")
    _, length = _HEAD.unpack_from(data)
    count = min(length, len(data) - _HEAD.size) // _DESCRIPTOR.size
    if count > DESCRIPTORS_MAX:
        raise DecodeError(f"{count} UNMAP descriptors, where {DESCRIPTORS_MAX} are taken")
    places = (_HEAD.size + at * _DESCRIPTOR.size for at in range(count))
    return tuple(Extent(*_DESCRIPTOR.unpack_from(data, at)) for at in places)
