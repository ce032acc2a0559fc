"""Making firmware images: what is done at the maker's desk, and never on a drive."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_model.wire.firmware_image import (
    IMAGE_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    PRODUCT,
    SECURITY_VERSION_MAX,
    FirmwareImage,
    ImageHeader,
    Manifest,
    Version,
)

# RFC 8032, section 7.1, test 1: the private half of `profiles.TEST_UPDATE_KEY`, known to everybody.
TEST_KEY: Final = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)

NAMES_NOTHING: Final = Manifest()


def signed_image(
    product: str,
    version: Version,
    security_version: int,
    key: Ed25519PrivateKey = TEST_KEY,
    *,
    manifest: Manifest = NAMES_NOTHING,
    filler: bytes = b"",
) -> bytes:
    """Return an image; raise ValueError where it could not be one.

    What its manifest names is not looked at: whether a drive has it depends on the drive.
    """
    named = manifest.encode()
    header = ImageHeader(product, version, security_version, len(named), len(filler))
    if not PRODUCT.fullmatch(product):
        raise ValueError(f"{product!r} is the name of no product")
    if not 0 <= security_version <= SECURITY_VERSION_MAX:
        raise ValueError(f"a security version is a number from 0 to {SECURITY_VERSION_MAX}")
    if len(named) > MANIFEST_BYTES_MAX:
        raise ValueError(f"a manifest has at most {MANIFEST_BYTES_MAX} bytes, not {len(named)}")
    if header.image_bytes > IMAGE_BYTES_MAX:
        raise ValueError(f"an image has at most {IMAGE_BYTES_MAX} bytes, not {header.image_bytes}")
    unsigned = FirmwareImage(header, named, filler, b"")
    return unsigned.encode() + key.sign(unsigned.signed_bytes)
