"""What a manifest may name: built-in parts, by the names of their classes, and three parameters.

A parameter may make the drive stricter than its profile, never laxer, and what stored PINs hang on
is no parameter at all: with other lengths or another KDF cost, the owner's PIN would not open it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from firmware_model.firmware.parts import PartClass
from firmware_model.firmware.policy import Policy
from firmware_model.firmware.reference import REFERENCE
from firmware_model.wire.firmware_image import Manifest, Version

VERSION: Final = Version(1, 0, 0)
SECURITY_VERSION: Final = 1


def _name(part: PartClass) -> str:
    """Return `write-through` for WriteThrough."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", str(getattr(part, "__name__", ""))).lower()


PARTS: Final[Mapping[str, Mapping[str, PartClass]]] = {
    seam: {_name(part): part} for seam, part in REFERENCE.items()
}


def _auto_lock_s(policy: Policy, value: int) -> Policy | None:
    """Take a shorter time; a drive that locks by itself goes on doing so."""
    if policy.auto_lock_s is None or not 0 < value <= policy.auto_lock_s:
        return None
    return replace(policy, auto_lock_s=value)


def _lock_on_suspend(policy: Policy, value: int) -> Policy | None:
    return replace(policy, lock_on_suspend=True) if value == 1 else None


def _lock_on_reset(policy: Policy, value: int) -> Policy | None:
    return replace(policy, lock_on_reset=True) if value == 1 else None


PARAMETERS: Final[Mapping[str, Callable[[Policy, int], Policy | None]]] = {
    "auto_lock_s": _auto_lock_s,
    "lock_on_reset": _lock_on_reset,
    "lock_on_suspend": _lock_on_suspend,
}


@dataclass(frozen=True, slots=True)
class Configured:
    """What a manifest comes to, on a drive of some policy."""

    policy: Policy
    parts: Mapping[str, PartClass]


def configured(policy: Policy, manifest: Manifest) -> Configured | None:
    """Return what a manifest makes of a drive; None for one that it does not have, or weakens."""
    parts = {seam: PARTS.get(seam, {}).get(name) for seam, name in manifest.parts}
    found = {seam: part for seam, part in parts.items() if part is not None}
    if len(found) < len(parts):
        return None
    for name, value in manifest.parameters:
        change = PARAMETERS.get(name)
        changed = None if change is None else change(policy, value)
        if changed is None:
            return None
        policy = changed
    return Configured(policy, found)
