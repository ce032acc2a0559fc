"""The verb that gives a drive new firmware."""

from __future__ import annotations

from typing import BinaryIO

import click

from host_driver.commands.data import progress
from host_driver.commands.options import Session, opens_drive


@click.command()
@opens_drive
@click.argument("image", type=click.File("rb"))
def update(session: Session, image: BinaryIO) -> None:
    """Give a drive new firmware.

    IMAGE is a signed image, as `sedlab image sign` makes them. It takes the PIN of who decides over
    the drive (--role). The drive locks, judges the image, and begins with it; where it refuses, its
    firmware stays what it was.
    """
    from firmware_model.wire.firmware_image import IMAGE_BYTES_MAX, FirmwareImage

    data = image.read(IMAGE_BYTES_MAX + 1)
    with session.open() as drive:
        session.unlock(drive)
        with progress("update", len(data), "bytes") as done:
            sent = 0

            def told(now: int, of: int) -> None:
                nonlocal sent
                done(now - sent)
                sent = now

            drive.update(data, told)
    header = FirmwareImage.decode(data).header  # it was accepted
    document = {"version": str(header.version), "security_version": header.security_version}
    line = f"updated to {header.version}, security version {header.security_version}"
    session.show(document, [f"{line}; the drive has restarted, and is locked"])
