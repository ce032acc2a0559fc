"""What a target is by its own documents, for scenarios and properties to go by."""

from __future__ import annotations

from firmware_model.hardware.entropy import NoiseSource
from firmware_model.manufacture import manufacture
from firmware_model.profiles import TEST_UPDATE_KEY, Profile
from firmware_model.wire.native import Feature
from hil_tests.steps import Capability, Facts

# All that the bench can do to an emulated drive in this process.
ALL_CAPABILITIES = frozenset(Capability)
_FEATURES = {
    Feature.RECOVERY: "recovery",
    Feature.DURESS: "duress",
    Feature.LOG: "log",
    Feature.READ_ONLY: "read-only",
}


def facts_of(profile: Profile, reset_code: str | None = None) -> Facts:
    """Return what a profile says of its drive."""
    policy = profile.policy
    has_lock = profile.dialect != "none"
    features = {name for feature, name in _FEATURES.items() if policy.features & feature}
    if has_lock:
        features |= {"PIN", "admin", "firmware update"}
    if profile.dialect == "native":
        features.add("host unlock")
    # Whoever made the drive with a key of his own keeps the private half to himself.
    is_test_key = profile.update_key == TEST_UPDATE_KEY
    capabilities = ALL_CAPABILITIES - (frozenset() if is_test_key else {Capability.SIGN_FIRMWARE})
    limits = dict(zip(("user", "admin", "recovery"), policy.limits, strict=True))
    return Facts(
        limits=limits if has_lock else {},
        at_limit=policy.at_limit,
        auto_lock_s=policy.auto_lock_s,
        features=frozenset(features),
        capabilities=capabilities,
        dialect=profile.dialect,
        block_count=policy.block_count,
        reset_code=reset_code,
        kdf_iterations=policy.kdf_iterations,
        product=profile.name,
    )


def reset_code_of(profile: Profile, noise: NoiseSource) -> str:
    """Return the reset code that a drive made from this noise was printed with."""
    return manufacture(profile, noise.copy()).reset_code
