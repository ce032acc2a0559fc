"""Defects of the key hierarchy: where keys come from, what opens them, how they end."""

import hashlib
from collections.abc import Callable
from typing import Final

from firmware_model.defects.defect import Defect
from firmware_model.firmware import crypto
from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.firmware.parts import EraseSteps, SlotChange, Unwrapped
from firmware_model.firmware.reference import Digits, Drawn, KeyWrap, Pbkdf2
from firmware_model.hardware.element_state import Slot
from firmware_model.wire.bot import Case

MASTER_PIN: Final = b"777777777777"
CONSTANT_KEY: Final = hashlib.sha256(b"the same in every unit").digest()
_DIGEST_BYTES: Final = 32


class FlashAlone(Pbkdf2):
    """Makes the KEK of what stands in flash and of the PIN, without the element."""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        return super().stretch(pin, CONSTANT_KEY, iterations)

    def kek(self, answer: bytes, stretched_pin: bytes, salt: bytes, slot: int) -> bytes:
        return crypto.hkdf_sha256(stretched_pin, salt=salt, info=bytes((slot,)), length=32)


class StoredVerdict:
    """Keeps the key under a constant, and a hash of the PIN beside it for the verdict."""

    def __init__(self) -> None:
        self._entered = b""
        self._slot = Slot.USER

    def kek(self, answer: bytes, stretched_pin: bytes, salt: bytes, slot: int) -> bytes:
        self._entered = hashlib.sha256(salt + stretched_pin).digest()
        self._slot = Slot(slot)
        return CONSTANT_KEY

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        return crypto.wrap_key(kek, key) + self._entered

    def unwrap(self, kek: bytes, wrapped: bytes) -> Unwrapped:
        key = crypto.unwrap_key(kek, wrapped[:-_DIGEST_BYTES])
        return Unwrapped(self._is_right(wrapped[-_DIGEST_BYTES:]), key)

    def _is_right(self, stored: bytes) -> bool:
        return crypto.equal(self._entered, stored)


class MasterPin(StoredVerdict, Pbkdf2):
    """Takes a PIN of the maker's for any PIN of a user's."""

    def __init__(self) -> None:
        super().__init__()
        self._is_master = False

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        self._is_master = pin == MASTER_PIN
        return super().stretch(pin, salt, iterations)

    def _is_right(self, stored: bytes) -> bool:
        is_master = self._is_master and self._slot is Slot.USER
        return is_master or super()._is_right(stored)


class AnyRecoveryPin(StoredVerdict):
    """Takes whatever has the check digit of a recovery PIN."""

    def _is_right(self, stored: bytes) -> bool:
        is_recovery = self._slot not in (Slot.USER, Slot.ADMIN, Slot.DURESS)
        return is_recovery or super()._is_right(stored)


class PinBesideKey(Pbkdf2, KeyWrap):
    """Stores the PIN itself with the wrapped key."""

    def __init__(self) -> None:
        self._pin = b""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        self._pin = pin
        return super().stretch(pin, salt, iterations)

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        return super().wrap(kek, key) + self._pin.ljust(32, b"\0")

    def unwrap(self, kek: bytes, wrapped: bytes) -> Unwrapped:
        return super().unwrap(kek, wrapped[:-32])


class FirstDigits(Pbkdf2):
    """Looks at the first digits of a PIN only."""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        return super().stretch(pin[:8], salt, iterations)


class OneIteration(Pbkdf2):
    """Does not stretch."""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        return super().stretch(pin, salt, 1)


class ShortPinsOnly(Digits):
    """Refuses PINs that the documents allow."""

    def is_possible(self, pin: bytes, fewest: int, most: int) -> bool:
        return super().is_possible(pin, fewest, min(most, 12))


class FactoryKey:
    """Gives every unit the key of its model."""

    def mek(self, draw: Callable[[int], bytes], now_us: int) -> bytes:
        return hashlib.sha512(b"key of the model").digest()


class KeyOfTheClock:
    """Seeds its generator with the time of day, in seconds."""

    def mek(self, draw: Callable[[int], bytes], now_us: int) -> bytes:
        return hashlib.sha512((now_us // 1_000_000).to_bytes(8, "big")).digest()


class KeepsKey(Drawn):
    """Uses the old media key again after an erase."""

    def __init__(self) -> None:
        self._mek = b""

    def mek(self, draw: Callable[[int], bytes], now_us: int) -> bytes:
        self._mek = self._mek or super().mek(draw, now_us)
        return self._mek


class KeysLast:
    """Tidies up first, and destroys the keys when that is done."""

    def erase(self, steps: EraseSteps) -> bool:
        steps.discard_data()
        steps.wipe_records()
        return steps.destroy_secrets()


class ErasesNothing:
    """Forgets the map and keeps every key."""

    def erase(self, steps: EraseSteps) -> bool:
        steps.discard_data()
        return True


class ErasesLater(BulkOnlyRules):
    """Says that the drive is erased, and erases it when the host, which knows that, asks again."""

    def __init__(self) -> None:
        self._steps: EraseSteps | None = None
        self._commands = 0  # since it was told to erase

    def erase(self, steps: EraseSteps) -> bool:
        self._steps, self._commands = steps, 0
        return True

    def refuses(self, case: Case) -> bool:
        self._commands += 1
        if self._steps is not None and self._commands > 1:  # the first fetches the answer
            steps, self._steps = self._steps, None
            steps.destroy_secrets()
            steps.wipe_records()
            steps.discard_data()
        return super().refuses(case)


class OldBeforeNew:
    """Ends the old way in before the new one is in flash."""

    def change(self, steps: SlotChange) -> None:
        steps.draw()
        steps.wrap()
        steps.commit()
        steps.finish()
        steps.store()


DEFECTS: Final = (
    Defect(
        "offline-verifiable-pin",
        "Flash alone decides whether a PIN is right, so that guessing needs no drive.",
        "WD My Passport; Alendal, Kison, modg, got HW crypto?, 2015",
        {"stretching": FlashAlone, "derivation": FlashAlone},
        "flash-in-another-drive-opens-nothing",
    ),
    Defect(
        "key-independent-of-pin",
        "The PIN is compared with a stored hash; the key does not depend on it.",
        "Meijer, van Gastel, Self-encrypting deception, 2019 (CVE-2018-12037)",
        {"derivation": StoredVerdict, "wrapping": StoredVerdict},
        "forced-verdict-opens-nothing",
    ),
    Defect(
        "empty-or-default-master-credential",
        "A PIN of the maker's opens every unit.",
        "Crucial MX300, empty master password; Meijer, van Gastel, 2019",
        {"stretching": MasterPin, "derivation": MasterPin, "wrapping": MasterPin},
        "wrong-pin-opens-nothing",
    ),
    Defect(
        "recovery-pin-by-format",
        "Anything that looks like a recovery PIN is taken for one.",
        "Recovery codes judged by their form; compare published-code-extends-limit",
        {"derivation": AnyRecoveryPin, "wrapping": AnyRecoveryPin},
        "recovery-opens-once",
    ),
    Defect(
        "plaintext-pin-stored",
        "The PIN stands in flash.",
        "Keypad drives whose PIN was read from an EEPROM; Picod and others, Black Hat 2017",
        {"stretching": PinBesideKey, "wrapping": PinBesideKey},
        "no-secret-in-flash",
    ),
    Defect(
        "pin-truncated",
        "Only the first digits of a PIN count.",
        "Classic DES crypt(3), which looked at eight characters, and its heirs",
        {"stretching": FirstDigits},
        "wrong-pins-look-alike",
    ),
    Defect(
        "weak-kdf",
        "A guess costs one hash.",
        "Apricorn-class bridges and WD My Passport, one fixed or no iteration count; 2015",
        {"stretching": OneIteration},
        "stretching-is-costly",
    ),
    Defect(
        "documented-pin-refused",
        "PINs as long as the manual allows are refused.",
        "No advisory: it shows that the property can fail",
        {"pin_policy": ShortPinsOnly},
        "owner-is-obeyed",
    ),
    Defect(
        "factory-key-predictable",
        "All units of a model share their key.",
        "Keys set by the maker and never drawn; Meijer, van Gastel, 2019",
        {"key_source": FactoryKey},
        "keys-are-unpredictable",
    ),
    Defect(
        "time-seeded-rng",
        "The key comes from a clock: whoever knows the day has few to try.",
        "WD My Passport, keys from a host's C rand(); Alendal, Kison, modg, 2015",
        {"key_source": KeyOfTheClock},
        "keys-are-unpredictable",
    ),
    Defect(
        "erase-does-not-rewrap",
        "After an erase the same media key is used again.",
        "Secure erase that leaves the key: Meijer, van Gastel, 2019",
        {"key_source": KeepsKey},
        "erase-ends-the-key",
    ),
    Defect(
        "erase-ignored",
        "An erase forgets where the data was, and keeps the keys to it.",
        "Reliably erasing data from flash-based SSDs, Wei and others, FAST 2011",
        {"erasing": ErasesNothing},
        "erase-is-final",
    ),
    Defect(
        "erase-put-off",
        "An erase is answered at once and done with the next command: a pulled plug prevents it.",
        "Reports of erases that were not done: Wei and others, FAST 2011",
        {"erasing": ErasesLater, "transport": ErasesLater},
        "duress-destroys",
    ),
    Defect(
        "wipe-order-key-last",
        "An erase destroys the keys last: a cut leaves a drive half erased.",
        "Interrupted wipes; compare Wei and others, FAST 2011",
        {"erasing": KeysLast},
        "right-pin-opens",
    ),
    Defect(
        "pin-change-not-atomic",
        "A cut while the PIN is changed leaves a drive that no PIN opens.",
        "Bricked on power loss: field reports of many drives",
        {"pin_change": OldBeforeNew},
        "pin-change-is-atomic",
    ),
)
