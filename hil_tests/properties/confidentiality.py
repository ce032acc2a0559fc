"""Confidentiality: what flash, bus and a second drive tell to one who has no PIN."""

from __future__ import annotations

from collections.abc import Iterator

from hil_tests.properties.base import LOST, STORED, Block, Property, first_of, found, join
from hil_tests.steps import Capability, Facts, Step

DUMP = frozenset({Capability.DUMP_FLASH})
TRANSPLANT = frozenset({Capability.DUMP_FLASH, Capability.RESTORE_FLASH, Capability.SECOND_UNIT})
PIN_DRIVE = frozenset({"PIN"})
_REPLAYED = ("record_unlock", "replay_unlock")
NO_KEY_ROWS = ("EE/AA FPT_KYP_EXT.1", "UFD-4", "FCS_CKM.4 / _EXT.4")


def _is_read_back(step: Step) -> str | None:
    if step.is_tampered or step.verb == "read":  # READ is what locking is about
        return None
    return found("leaked", "content was answered")(step)


def everything(facts: Facts) -> str:
    """Return a run that uses every secret that this drive knows."""
    parts = ["set_pin-user-0,unlock-user-0,write-0-0-8,write-4-8-16,set_pin-user-1"]
    if "recovery" in facts.features:
        parts.append("make_recovery")
    if "duress" in facts.features:
        parts.append("set_duress-3")
    if "admin" in facts.features:
        parts.append("set_pin-admin-2")
    return join(*parts, "suspend,unlock-user-1,unlock-user-4,unlock-user-1,flush,power_cycle")


def _content_scenarios(facts: Facts) -> Iterator[str]:
    yield join(STORED, "write-1-3-1,write-4-8-64,flush,search_flash,lock,search_flash")
    yield join(STORED, "suspend,search_flash,power_cycle,search_flash")
    yield "set_pin-user-0,unlock-user-0,store_register,lock,search_flash"


def _flash_secret_scenarios(facts: Facts) -> Iterator[str]:
    yield join("set_pin-user-0,unlock-user-0,set_pin-user-1,suspend,search_flash")
    yield join(everything(facts), "search_flash")
    yield join(STORED, "wear_out_keys,set_pin-user-1,search_flash,erase,search_flash")


def _bus_scenarios(facts: Facts) -> Iterator[str]:
    yield join(everything(facts), "search_bus,sweep,search_bus")
    yield join(LOST, "sweep,search_bus")


def _transplant_scenarios(facts: Facts) -> Iterator[str]:
    for pin in (0, 1):
        yield join(LOST, f"note_flash,transplant-{pin}")


def _replay_scenarios(facts: Facts) -> Iterator[str]:
    yield join(LOST, "record_unlock-user-0,power_cycle,replay_unlock")
    yield join(LOST, "record_unlock-user-0,lock,replay_unlock")
    yield join(LOST, "record_unlock-user-0,set_pin-user-1,power_cycle,replay_unlock")


def _key_scenarios(facts: Facts) -> Iterator[str]:
    yield "reprovision-300"
    for fault in ("noise_sticks-0", "noise_repeats-128", "noise_repeats-512"):
        yield f"fault-{fault},twin_keys"


PROPERTIES = (
    Property(
        id="no-content-in-flash",
        sentence="No 16-byte window of the content stands in a dump of the flash.",
        block=Block.ENCRYPTION,
        check=found(
            "content_in_flash", "content stands in the flash", "search_flash", "store_register"
        ),
        scenarios=_content_scenarios,
        requirements=("EE FDP_DSK_EXT.1", "UFD-6", "UFD-3", "88-3"),
        weaknesses=("access-control-only", "plaintext-cache-in-flash"),
        capabilities=DUMP,
    ),
    Property(
        id="no-secret-in-flash",
        sentence="No PIN and no key stands in a dump of the flash, in any usual encoding,"
        " spare areas and retired blocks included.",
        block=Block.ENCRYPTION,
        check=found("secret_in_flash", "a secret stands in the flash", "search_flash"),
        scenarios=_flash_secret_scenarios,
        requirements=NO_KEY_ROWS,
        weaknesses=(
            "plaintext-pin-stored",
            "dek-written-on-sleep",
            "key-independent-of-pin",
            "key-in-spare-area",
            "retired-block-keeps-key",
            "pin-hash-in-spare-area",
        ),
        features=PIN_DRIVE,
        capabilities=DUMP,
    ),
    Property(
        id="no-secret-on-bus",
        sentence="No PIN and no key crosses the bus in clear.",
        block=Block.PATHS,
        check=found("secret_on_bus", "a secret crossed the bus", "search_bus"),
        scenarios=_bus_scenarios,
        requirements=("F-SSP-1", "F-SVC-1"),
        weaknesses=("secret-readable-by-command", "device-not-authenticated-to-host"),
        features=PIN_DRIVE,
        capabilities=frozenset({Capability.SEE_BUS}),
    ),
    Property(
        id="ciphertext-has-no-structure",
        sentence="Equal, zero and crafted sectors give unrelated ciphertext, wherever they stand.",
        block=Block.ENCRYPTION,
        check=found(
            "structure",
            "plaintext shows through the ciphertext",
            "inspect_cipher",
            "search_flash",
            "store_register",
        ),
        scenarios=lambda facts: [
            "set_pin-user-0,unlock-user-0,inspect_cipher",
            join(STORED, "write-4-0-8,write-1-0-8,write-0-0-8,search_flash"),
        ],
        requirements=("FCS_SNI_EXT.1", "UFD-3", "38E-2"),
        weaknesses=(
            "ecb-mode",
            "predictable-iv",
            "constant-iv",
            "xor-obfuscation",
            "same-tweak-everywhere",
        ),
        capabilities=DUMP,
    ),
    Property(
        id="flash-in-another-drive-opens-nothing",
        sentence="A drive's flash in another unit opens with no PIN, not even the right one.",
        block=Block.ENCRYPTION,
        check=found("opened_elsewhere", "another unit gave the content", "transplant"),
        scenarios=_transplant_scenarios,
        requirements=("UFD-4", "EE FCS_KYC_EXT.2"),
        weaknesses=(
            "offline-verifiable-pin",
            "secure-element-replaceable",
            "hardcoded-wrapping-key",
            "verdict-on-satellite-mcu",
        ),
        features=PIN_DRIVE,
        capabilities=TRANSPLANT,
    ),
    Property(
        id="forced-verdict-opens-nothing",
        sentence="Firmware patched to call every PIN right still has no key.",
        block=Block.ENCRYPTION,
        check=found("opened_by_patch", "patched firmware gave the content", "forced_verdict"),
        scenarios=lambda facts: [join(LOST, "forced_verdict")],
        requirements=("EE FCS_KYC_EXT.2", "UFD-4", "AA/EE FCS_VAL_EXT.1.1"),
        weaknesses=("key-independent-of-pin", "debug-port-patches-verdict"),
        features=PIN_DRIVE,
        capabilities=frozenset({Capability.PATCH_FIRMWARE, Capability.FORK}),
    ),
    Property(
        id="recorded-unlock-does-not-replay",
        sentence="The recorded bytes of an unlock open neither this drive again nor another.",
        block=Block.PATHS,
        check=found("opened_by_replay", "a recorded unlock opened the drive", *_REPLAYED),
        scenarios=_replay_scenarios,
        requirements=("1667-3", "F-AUTH-6"),
        weaknesses=("static-unlock-response", "host-software-patched-check"),
        features=frozenset({"host unlock"}),
        capabilities=frozenset({Capability.SEE_BUS}),
    ),
    Property(
        id="keys-are-unpredictable",
        sentence="No two provisionings and units share a key, whatever their time and noise.",
        block=Block.RANDOMNESS,
        check=found("repeated_keys", "a key came twice", "reprovision"),
        scenarios=_key_scenarios,
        requirements=("FCS_RBG_EXT.1", "UFD-1", "88-4"),
        weaknesses=("factory-key-predictable", "time-seeded-rng", "zero-key-after-reset"),
        features=PIN_DRIVE,
        capabilities=DUMP | {Capability.FORK},
    ),
    Property(
        id="stretching-is-costly",
        sentence="One guess costs what the profile says, at full cost, and each unit its own.",
        block=Block.RANDOMNESS,
        check=first_of(
            found("cheap_stretching", "a guess is cheap", "measure_kdf"),
            found("ignored_by_stretching", "a stretched PIN does not depend on"),
        ),
        scenarios=lambda facts: ["measure_kdf"],
        requirements=("AA FCS_PCC_EXT.1", "132-2"),
        weaknesses=("weak-kdf", "predictable-salt"),
        features=PIN_DRIVE,
        capabilities=frozenset({Capability.PATCH_FIRMWARE}),
    ),
    Property(
        id="wrong-pins-look-alike",
        sentence="All wrong PINs, and the duress PIN, get the same answer in the same model time.",
        block=Block.PATHS,
        check=found("differences", "wrong PINs can be told apart", "compare_wrong"),
        scenarios=lambda facts: [
            join(STORED, "set_duress-3" if "duress" in facts.features else "", "lock,compare_wrong")
        ],
        requirements=("F-AUTH-5",),
        weaknesses=("pin-length-leak", "pin-compare-timing", "duress-distinguishable"),
        features=PIN_DRIVE,
        capabilities=frozenset({Capability.FORK, Capability.MOVE_CLOCK}),
    ),
    Property(
        id="answers-hold-nothing-stale",
        sentence="Every answer has its defined length, and nothing earlier shows in its padding.",
        block=Block.PATHS,
        check=first_of(
            found("stale", "an answer holds what it should not", "ask_descriptors"), _is_read_back
        ),
        scenarios=lambda facts: [
            join(STORED, "read-0-8,ask_descriptors,lock,ask_descriptors,sweep")
        ],
        requirements=("F-SVC-1", "F-IO-1"),
        weaknesses=(
            "uninitialised-bytes-in-response",
            "length-check-bypassed-readout",
            "read-ahead-after-lock",
        ),
        capabilities=frozenset({Capability.SEE_BUS}),
    ),
)
