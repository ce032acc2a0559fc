"""Identities of drives, pinned as ssh pins hosts: one line a drive in a file of the user's.

SERIAL ed25519 HEX-OF-THE-PUBLIC-KEY

The serial number is whatever the drive says. What could end the word or the line, and so speak of
other drives, stands in it percent-encoded; a lone % stands for none at all.
"""

import base64
import hashlib
import os
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from host_driver.errors import IdentityChanged, IdentityUnknown

_LINE = re.compile(r"(\S+) ed25519 ([0-9a-f]{64})")
_PLAIN = string.punctuation.replace("%", "")


def default_path() -> Path:
    """Return the file in the user's configuration folder."""
    import click

    return Path(click.get_app_dir("sedlab")) / "known_drives"


def fingerprint(identity: bytes) -> str:
    """Return what people compare: SHA-256 of the identity key, as ssh writes it."""
    digest = base64.b64encode(hashlib.sha256(identity).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def _word(serial: str) -> str:
    return quote(serial, safe=_PLAIN, errors="surrogatepass") or "%"


@dataclass(frozen=True, slots=True)
class KnownDrives:
    """The file of pinned identities."""

    path: Path

    def find(self, serial: str) -> bytes | None:
        """Return the identity noted for a serial number; the last line about it counts."""
        try:
            text = self.path.read_text("ascii", "replace")
        except FileNotFoundError:
            return None
        except OSError as refused:
            raise IdentityUnknown(f"{self.path}: {refused.strerror}") from refused
        found = [m for line in text.splitlines() if (m := _LINE.fullmatch(line.strip()))]
        noted = [bytes.fromhex(match[2]) for match in found if match[1] == _word(serial)]
        return noted[-1] if noted else None

    def note(self, serial: str, identity: bytes) -> None:
        """Pin an identity, by appending one line."""
        if self.find(serial) == identity:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="ascii") as file:
                file.write(f"{_word(serial)} ed25519 {identity.hex()}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as refused:
            raise IdentityUnknown(f"{self.path}: {refused.strerror}") from refused


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """Whom to believe: a drive made for the occasion, a fingerprint given, the file, or a person.

    `ask` gets serial and fingerprint and returns whether a person says yes; None: nobody is there.
    """

    serial: str
    known: KnownDrives
    is_trusted: bool = False
    expected: str | None = None  # a fingerprint
    ask: Callable[[str, str], bool] | None = None

    def __call__(self, identity: bytes) -> None:
        """Return for the right identity; raise IdentityChanged or IdentityUnknown otherwise."""
        shown = fingerprint(identity)
        if self.expected is not None:
            if self.expected != shown:
                raise IdentityChanged(f"the drive is {shown}, not {self.expected}: no PIN was sent")
            return
        if self.is_trusted:
            return
        noted = self.known.find(self.serial)
        if noted == identity:
            return
        if noted is not None:
            raise IdentityChanged(
                f"drive {self.serial} is {shown}, but {self.known.path} has {fingerprint(noted)}: "
                "no PIN was sent"
            )
        if self.ask is None or not self.ask(self.serial, shown):
            raise IdentityUnknown(
                f"drive {self.serial} is unknown: add --identity {shown} if that is its fingerprint"
            )
        self.known.note(self.serial, identity)
