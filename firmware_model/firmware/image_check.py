"""Whether bytes are firmware of this drive: one answer, for updates and for every power-up."""

from collections.abc import Callable
from dataclasses import dataclass

from firmware_model.firmware import crypto
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import FirmwareImage, ImageFault, ImageHeader, Manifest


@dataclass(frozen=True, slots=True)
class UpdateRules:
    """What a drive measures an image by."""

    key: bytes  # of who may sign: Ed25519, fixed when the drive was made
    product: str
    floor: int  # the lowest security version that may run
    may_name: Callable[[Manifest], bool]  # whether the drive has what a manifest names


def header_fault(header: ImageHeader, rules: UpdateRules) -> ImageFault | None:
    """Return what is wrong with what a header says."""
    if header.product != rules.product:
        return ImageFault.PRODUCT
    return ImageFault.DOWNGRADE if header.security_version < rules.floor else None


def image_fault(data: bytes, rules: UpdateRules) -> ImageFault | None:
    """Return what is wrong with an image, or None.

    Nothing is believed, and no manifest read, before the signature over all of it has held.
    """
    try:
        image = FirmwareImage.decode(data)
    except DecodeError:
        return ImageFault.MALFORMED
    if not crypto.is_signed(rules.key, image.signature, image.signed_bytes):
        return ImageFault.SIGNATURE
    fault = header_fault(image.header, rules)
    return fault or manifest_fault(image.manifest, rules)


def manifest_fault(data: bytes, rules: UpdateRules) -> ImageFault | None:
    """Return what is wrong with a manifest."""
    try:
        is_good = rules.may_name(Manifest.decode(data))
    except DecodeError:
        is_good = False
    return None if is_good else ImageFault.MANIFEST
