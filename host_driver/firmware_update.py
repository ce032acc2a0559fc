"""Giving a drive new firmware over WRITE BUFFER. Source: SPC-4 5.4, 6.18.5, 6.49.10, 6.49.12."""

from collections.abc import Callable
from typing import Final

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import IMAGE_FAULTS, ImageFault
from firmware_model.wire.scsi.buffer import (
    ActivateMicrocode,
    BufferDescriptor,
    DownloadMicrocode,
    ReadBufferDescriptor,
)
from firmware_model.wire.sense import ACCESS_NOT_AUTHORIZED, COMMAND_SEQUENCE_ERROR, Sense
from host_driver.errors import CommandRefused, NotSupported, ProtocolError
from host_driver.scsi import ScsiDisk

PIECE_BYTES: Final = 32 << 10  # for drives whose boundary is not coarser
Progress = Callable[[int, int], None]  # bytes sent, of how many

_SAID: Final[dict[Sense, str]] = {
    **{sense: f"the image was refused: {fault.value}" for fault, sense in IMAGE_FAULTS.items()},
    ACCESS_NOT_AUTHORIZED: "not allowed: firmware is for whoever decides over the drive",
}


def buffer_descriptor(disk: ScsiDisk) -> BufferDescriptor:
    """Return how images are to be cut; raise NotSupported where none is taken."""
    data = disk.command(ReadBufferDescriptor().encode(), data_in_length=4)
    try:
        descriptor = BufferDescriptor.decode(data)
    except DecodeError as wrong:
        raise ProtocolError(f"READ BUFFER: {wrong}") from wrong
    if descriptor.boundary > 23:
        raise NotSupported("the drive takes firmware in one piece only")
    return descriptor


def download(disk: ScsiDisk, image: bytes, progress: Progress) -> None:
    """Send an image, piece by piece; raise CommandRefused with the drive's reason."""
    descriptor = buffer_descriptor(disk)
    if not image or len(image) > descriptor.capacity:
        raise CommandRefused(
            f"an image has 1 to {descriptor.capacity} bytes for this drive, not {len(image)}"
        )
    boundary = 1 << descriptor.boundary
    size = max(PIECE_BYTES // boundary, 1) * boundary
    for offset in range(0, len(image), size):
        piece = image[offset : offset + size]
        _run(disk, DownloadMicrocode(offset, len(piece)).encode(), piece)
        progress(offset + len(piece), len(image))


def activate(disk: ScsiDisk) -> None:
    """Have the drive begin with what was saved: it leaves the bus, and comes back locked."""
    try:
        _run(disk, ActivateMicrocode().encode(), b"")
    except CommandRefused as refused:
        if refused.sense == COMMAND_SEQUENCE_ERROR:  # what was to be the last piece was not
            message = f"the image was refused: {ImageFault.MALFORMED.value}"
            raise CommandRefused(message, refused.sense) from None
        raise


def _run(disk: ScsiDisk, cdb: bytes, data: bytes) -> None:
    try:
        disk.command(cdb, data)
    except CommandRefused as refused:
        sense = refused.sense
        if sense is not None and sense in _SAID:
            raise CommandRefused(_SAID[sense], sense) from None
        raise
