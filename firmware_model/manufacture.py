"""What a drive has when it leaves the factory: identity, reset code, the first bad blocks."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_model.firmware import built_in
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.policy import Policy
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.entropy import Entropy, NoiseSource, random_digits
from firmware_model.profiles import Profile

RESET_CODE_DIGITS: Final = 32  # 106 bits: no guess is worth counting


@dataclass(frozen=True, slots=True)
class Manufactured:
    """What leaves the factory: the state of the element, and the code that is printed once."""

    element: ElementState
    reset_code: str
    bad_blocks: tuple[int, ...]  # of the flash, as the maker of the part marked them


def manufacture(profile: Profile, noise: NoiseSource) -> Manufactured:
    """Give a new drive its identity and reset code."""
    entropy = Entropy(noise)
    entropy.power_on()
    code = random_digits(entropy.draw, RESET_CODE_DIGITS)
    code_hash = hashlib.sha256(code.encode()).digest()
    element = ElementState.fresh(
        profile.policy.limits,
        entropy.draw(32),
        code_hash,
        profile.update_key,
        built_in.SECURITY_VERSION,
    )
    return Manufactured(element, code, _bad_blocks(profile.policy, entropy.draw))


def _bad_blocks(policy: Policy, draw: Callable[[int], bytes]) -> tuple[int, ...]:
    """Return which blocks are bad from the start; the first never is (ONFI 3.2)."""
    block_count = Layout.of(policy).geometry.block_count
    bad = block_count * policy.flash.endurance.factory_bad_per_mille // 1000
    places = (int.from_bytes(draw(8), "big") % (block_count - 1) + 1 for _ in range(bad))
    return tuple(sorted(set(places)))


def serial_of(element: ElementState) -> tuple[str, bytes]:
    """Return serial number and identity key of the drive that an element makes."""
    key = Ed25519PrivateKey.from_private_bytes(element.identity_seed)
    identity = key.public_key().public_bytes_raw()
    return serial_number(identity), identity


def serial_number(identity: bytes) -> str:
    """Return the USB serial number: the start of the identity, 16 characters of 0-9 and A-F."""
    return identity.hex()[:16].upper()
