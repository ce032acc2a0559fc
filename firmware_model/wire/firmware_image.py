"""Firmware images: a header, a manifest, filler, and one signature over all of it.

    0    header: product, version, security version, lengths
    64   manifest: lines of ASCII that name built-in parts and parameters; never code
         filler: bytes that mean nothing, in the place of what would be code
    -64  signature (Ed25519, RFC 8032) over LABEL and every byte before it

Integers are big-endian. Decoding says only whether bytes have that form: who signed them, and
whether the names mean anything, is for the drive to find out.
"""

import re
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.sense import Sense, SenseKey

LABEL: Final = b"sedlab firmware image 1"
IMAGE_BYTES_MAX: Final = 128 << 10
MANIFEST_BYTES_MAX: Final = 4096
SIGNATURE_BYTES: Final = 64
SECURITY_VERSION_MAX: Final = (1 << 31) - 1
PRODUCT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class ImageFault(Enum):
    """Why an image is refused."""

    MALFORMED = "it is no image, or not a whole one"
    SIGNATURE = "it is not signed with the key that the drive was made for"
    PRODUCT = "it is for another product"
    DOWNGRADE = "its security version is below the one that the drive has reached"
    MANIFEST = "its manifest names what the drive does not have, or would weaken the drive"


# SPC-4 5.4 has a code for signatures; the others are INVALID FIELD IN PARAMETER LIST, with an ASCQ
# of the range that is a maker's own.
IMAGE_FAULTS: Final = {
    ImageFault.MALFORMED: Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x80),
    ImageFault.SIGNATURE: Sense(SenseKey.ABORTED_COMMAND, 0x74, 0x08),
    ImageFault.PRODUCT: Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x81),
    ImageFault.DOWNGRADE: Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x82),
    ImageFault.MANIFEST: Sense(SenseKey.ILLEGAL_REQUEST, 0x26, 0x83),
}


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """What people call a firmware; for a drive, only the security version counts."""

    major: int
    minor: int
    patch: int

    PATTERN: ClassVar[re.Pattern[str]] = re.compile(
        r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,5})", re.ASCII
    )

    def __post_init__(self) -> None:
        if not (0 <= self.major < 256 and 0 <= self.minor < 256 and 0 <= self.patch < 65536):
            raise ValueError(f"version {self}: at most 255.255.65535")

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def number(self) -> int:
        """The version in 32 bits, in the order of versions."""
        return self.major << 24 | self.minor << 16 | self.patch

    @classmethod
    def numbered(cls, number: int) -> Self:
        """Return the version of a 32-bit number; each has one."""
        return cls(number >> 24, number >> 16 & 0xFF, number & 0xFFFF)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the version that `1.2.3` spells; raise ValueError for any other text."""
        match = cls.PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"version {text!r} is not MAJOR.MINOR.PATCH")
        return cls(*map(int, match.groups()))


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The first 64 bytes of an image."""

    product: str  # PRODUCT: the name of the profile it is for
    version: Version
    security_version: int  # at most SECURITY_VERSION_MAX; a drive never goes below its own
    manifest_bytes: int
    filler_bytes: int

    LAYOUT: ClassVar[Struct] = Struct(">8sH6x32sIIII")
    MAGIC: ClassVar[bytes] = b"SEDLABFW"
    FORMAT: ClassVar[int] = 1

    @property
    def image_bytes(self) -> int:
        """Length of the whole image."""
        return self.LAYOUT.size + self.manifest_bytes + self.filler_bytes + SIGNATURE_BYTES

    def encode(self) -> bytes:
        """Return the 64 bytes."""
        return self.LAYOUT.pack(
            self.MAGIC,
            self.FORMAT,
            self.product.encode("ascii"),
            self.version.number,
            self.security_version,
            self.manifest_bytes,
            self.filler_bytes,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the header that `data` begins with; raise DecodeError for any other bytes."""
        head = data[: cls.LAYOUT.size]
        if len(head) < cls.LAYOUT.size:
            raise DecodeError(f"an image's header has {cls.LAYOUT.size} bytes, not {len(head)}")
        magic, form, name, version, security_version, manifest, filler = cls.LAYOUT.unpack(head)
        if magic != cls.MAGIC:
            raise DecodeError(f"a firmware image does not begin {magic.hex()}")
        if form != cls.FORMAT:
            raise DecodeError(f"a firmware image of format {form}, known is {cls.FORMAT}")
        product = name.rstrip(b"\0").decode("latin-1")
        if not PRODUCT.fullmatch(product):
            raise DecodeError(f"{product!r} is the name of no product")
        if security_version > SECURITY_VERSION_MAX:
            raise DecodeError(f"security version {security_version} is above any")
        if manifest > MANIFEST_BYTES_MAX:
            raise DecodeError(f"a manifest of {manifest} bytes, where {MANIFEST_BYTES_MAX} fit")
        header = cls(product, Version.numbered(version), security_version, manifest, filler)
        if header.image_bytes > IMAGE_BYTES_MAX:
            raise DecodeError(f"an image of {header.image_bytes} bytes, above {IMAGE_BYTES_MAX}")
        if header.encode() != head:
            raise DecodeError("an image's header has bytes outside its fields")
        return header


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a firmware is put together from, by name: (seam, part) and (parameter, number)."""

    parts: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, int], ...] = ()

    LINE: ClassVar[re.Pattern[str]] = re.compile(
        r"part ([a-z_]{1,32})=([a-z0-9-]{1,32})"
        r"|parameter ([a-z_]{1,32})=(0|[1-9][0-9]{0,8})"
    )

    def encode(self) -> bytes:
        """Return a line for each name: parts, then parameters, each in the order of its names."""
        lines = [f"part {seam}={name}\n" for seam, name in sorted(self.parts)]
        lines += [f"parameter {name}={value}\n" for name, value in sorted(self.parameters)]
        return "".join(lines).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the manifest in `data`; raise DecodeError for any other bytes than its encoding.

        So each name is there once at most, and what was signed can be read in one way only.
        """
        parts: dict[str, str] = {}
        parameters: dict[str, int] = {}
        for line in data.decode("latin-1").split("\n")[:-1]:
            match = cls.LINE.fullmatch(line)
            if match is None:
                raise DecodeError(f"no line of a manifest: {line[:80]!r}")
            if match[1]:
                parts[match[1]] = match[2]
            else:
                parameters[match[3]] = int(match[4])
        manifest = cls(tuple(sorted(parts.items())), tuple(sorted(parameters.items())))
        if manifest.encode() != data:
            raise DecodeError("a manifest with a name twice, out of order, or a line without end")
        return manifest


@dataclass(frozen=True, slots=True)
class FirmwareImage:
    """An image, its manifest still in bytes: nobody reads those before the signature is checked."""

    header: ImageHeader
    manifest: bytes
    filler: bytes
    signature: bytes  # 64 bytes

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return LABEL + self.header.encode() + self.manifest + self.filler

    def encode(self) -> bytes:
        """Return the whole image."""
        return self.header.encode() + self.manifest + self.filler + self.signature

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the image in `data`; raise DecodeError unless it is one, whole and no more."""
        header = ImageHeader.decode(data)
        if len(data) != header.image_bytes:
            raise DecodeError(f"an image of {header.image_bytes} bytes, here {len(data)}")
        first = ImageHeader.LAYOUT.size
        second = first + header.manifest_bytes
        third = second + header.filler_bytes
        return cls(header, data[first:second], data[second:third], data[third:])
