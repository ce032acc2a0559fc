"""The verbs of a firmware's maker: a key, an image, and a look at one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from hil_tests.commands_new import ProfileType, profile_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from firmware_model.profiles import Profile
    from firmware_model.wire.firmware_image import FirmwareImage, Manifest

KEY_BYTES_MAX = 4096
TEST_KEY_SAID = "the test key of RFC 8032, whose private half is printed there"


@click.group()
def image() -> None:
    """Make and look at firmware images.

    An image names built-in parts and parameters, and holds no code. `sedlab update` gives it to a
    drive that was made with the key that signed it: `sedlab new --set update.key=HEX`.
    """


@image.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def keygen(file: Path, as_json: bool) -> None:
    """Draw a key that signs images, and print its public half.

    FILE gets the private half (PKCS #8, PEM), readable to its owner alone; it must not exist yet.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text)
    public = key.public_key().public_bytes_raw().hex()
    if as_json:
        click.echo(json.dumps({"file": str(file), "update_key": public}, indent=2))
        return
    click.echo(f"{file}: private key, for `sedlab image sign --key {file}`")
    click.echo(f"update.key  {public}")


def _named(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[list[str], ...]:
    """Split each `NAME=VALUE`."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return tuple(text.split("=", 1) for text in texts)


@image.command()
@click.argument("file", type=click.File("wb", lazy=True))
@click.option(
    "--profile",
    type=ProfileType(),
    default="native",
    show_default=True,
    help="Of the drives it is for: name, or path of a TOML.",
)
@click.option("--version", "version_text", required=True, help="Such as 1.2.0.")
@click.option(
    "--security-version",
    type=click.IntRange(0),
    required=True,
    help="Raise it, and no drive goes back to a lower one.",
)
@click.option("--key", type=click.File("rb"), help="Private key; the test key if left out.")
@click.option("--part", "parts", multiple=True, callback=_named, metavar="SEAM=NAME")
@click.option("--parameter", "parameters", multiple=True, callback=_named, metavar="NAME=NUMBER")
@click.option("--filler", type=click.File("rb"), help="Bytes that stand where code would.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def sign(
    file: BinaryIO,
    profile: str,
    version_text: str,
    security_version: int,
    key: BinaryIO | None,
    parts: tuple[list[str], ...],
    parameters: tuple[list[str], ...],
    filler: BinaryIO | None,
    as_json: bool,
) -> None:
    """Make a signed image in FILE.

    What drives of the profile would refuse is not signed: a part or parameter that there is not, or
    one that makes them weaker than their profile.
    """
    from firmware_model import profiles
    from firmware_model.image_signing import TEST_KEY, signed_image
    from firmware_model.wire.firmware_image import IMAGE_BYTES_MAX, FirmwareImage, Version

    described = profiles.parse(profile_text(profile))
    manifest = _manifest(parts, parameters)
    _check(described, manifest)
    made = signed_image(
        described.name,
        Version.parse(version_text),
        security_version,
        TEST_KEY if key is None else _private_key(key),
        manifest=manifest,
        filler=b"" if filler is None else filler.read(IMAGE_BYTES_MAX + 1),
    )
    file.write(made)
    _show(FirmwareImage.decode(made), TEST_KEY_SAID if key is None else key.name, as_json)


def _manifest(parts: tuple[list[str], ...], parameters: tuple[list[str], ...]) -> Manifest:
    """Return the manifest of what was named; raise UsageError where it can be none."""
    from firmware_model.wire.codec import DecodeError
    from firmware_model.wire.firmware_image import Manifest

    lines = [f"part {seam}={name}\n" for seam, name in sorted(parts)]
    lines += [f"parameter {name}={value}\n" for name, value in sorted(parameters)]
    try:
        return Manifest.decode("".join(lines).encode())
    except DecodeError as wrong:
        raise click.UsageError(str(wrong)) from None


def _check(profile: Profile, manifest: Manifest) -> None:
    """Raise UsageError with the first thing in a manifest that drives of the profile refuse."""
    from firmware_model.firmware import built_in
    from firmware_model.wire.firmware_image import Manifest

    for seam, name in manifest.parts:
        if seam not in built_in.PARTS:
            raise click.UsageError(f"no part {seam}; there are {', '.join(built_in.PARTS)}")
        if name not in built_in.PARTS[seam]:
            built = ", ".join(built_in.PARTS[seam])
            raise click.UsageError(f"part {seam}={name}: what is built in as {seam} is {built}")
    for name, value in manifest.parameters:
        if name not in built_in.PARAMETERS:
            known = ", ".join(built_in.PARAMETERS)
            raise click.UsageError(f"parameter {name}: an update may change {known}, no other")
        if built_in.configured(profile.policy, Manifest(parameters=((name, value),))) is None:
            weaker = f"it would leave drives weaker than their profile, {profile.name}"
            raise click.UsageError(f"parameter {name}={value}: {weaker}")


def _private_key(stream: BinaryIO) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(stream.read(KEY_BYTES_MAX), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise click.UsageError(f"{stream.name}: no Ed25519 key as `sedlab image keygen` makes them")
    return key


@image.command()
@click.argument("file", type=click.File("rb"))
@click.option("--key", metavar="HEX", help="Public key that is to have signed it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def show(file: BinaryIO, key: str | None, as_json: bool) -> None:
    """Show what an image says, and who signed it.

    Without --key, it is held against the test key. Exits 1 when the signature does not hold.
    """
    from firmware_model import profiles
    from firmware_model.firmware import crypto
    from firmware_model.wire.codec import DecodeError
    from firmware_model.wire.firmware_image import IMAGE_BYTES_MAX, FirmwareImage

    try:
        found = FirmwareImage.decode(file.read(IMAGE_BYTES_MAX + 1))
    except DecodeError as wrong:
        raise NotTheImage(f"{file.name}: {wrong}") from None
    try:
        public = profiles.TEST_UPDATE_KEY if key is None else bytes.fromhex(key)
    except ValueError:
        raise click.UsageError(f"--key {key!r} is not hexadecimal") from None
    said = TEST_KEY_SAID if public == profiles.TEST_UPDATE_KEY else "the given key"
    holds = crypto.is_signed(public, found.signature, found.signed_bytes)
    _show(found, said if holds else None, as_json)
    if not holds:
        raise NotTheImage(f"{file.name}: not signed with {said}")


class NotTheImage(click.ClickException):
    """It is none, or not signed as it should be."""


def _show(found: FirmwareImage, signer: str | None, as_json: bool) -> None:
    header = found.header
    manifest = found.manifest.decode("ascii", "replace").splitlines()
    document: dict[str, Any] = {
        "product": header.product,
        "version": str(header.version),
        "security_version": header.security_version,
        "manifest": manifest,
        "filler_bytes": header.filler_bytes,
        "image_bytes": header.image_bytes,
        "signed_with": signer,
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    rows = [
        ("product", header.product),
        ("version", f"{header.version}, security version {header.security_version}"),
        *(("manifest", line) for line in manifest or ["names nothing: all parts as built in"]),
        ("size", f"{header.image_bytes} bytes, {header.filler_bytes} of filler"),
        ("signed", "with " + signer if signer else "by nobody that was asked for"),
    ]
    for name, text in rows:
        click.echo(f"{name:<11} {text}")
