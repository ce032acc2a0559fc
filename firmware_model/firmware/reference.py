"""The reference part of each seam: what a drive should be made of."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from firmware_model.firmware import crypto
from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.firmware.image_check import UpdateRules, header_fault, image_fault
from firmware_model.firmware.keystore import KeyArea
from firmware_model.firmware.parts import (
    Door,
    EraseSteps,
    FailedAttempt,
    LockCause,
    PartClass,
    SlotChange,
    SwitchSteps,
    Unwrapped,
)
from firmware_model.firmware.sector_cipher import MEK_BYTES, SectorCipher, XtsSectors
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.attempt_counter import SpendFirst
from firmware_model.hardware.entropy import ContinuousTests, HealthTestFailed
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import ImageFault, ImageHeader
from firmware_model.wire.sense import Sense

DRAWS_MAX: Final = 4  # of a key; that two halves are equal by chance happens once in 2^256


class NoneLeft:
    """The limit is reached when no try is left."""

    def is_reached(self, tries_left: int) -> bool:
        return tries_left == 0


class Pbkdf2:
    """PBKDF2-HMAC-SHA-256 (SP 800-132)."""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        return crypto.pbkdf2_sha256(pin, salt, iterations)


class FromAnswer:
    """The KEK comes from the element's answer alone, which needs PIN and device."""

    def kek(self, answer: bytes, stretched_pin: bytes, salt: bytes, slot: int) -> bytes:
        info = b"sedlab kek " + bytes((slot,))
        return crypto.hkdf_sha256(answer, salt=salt, info=info, length=32)


class KeyWrap:
    """AES key wrap (SP 800-38F KW): its integrity check is the verdict, there is no other."""

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        return crypto.wrap_key(kek, key)

    def unwrap(self, kek: bytes, wrapped: bytes) -> Unwrapped:
        try:
            return Unwrapped(True, crypto.unwrap_key(kek, wrapped))
        except crypto.InvalidUnwrap:
            return Unwrapped(False, b"")


class RecordsAlone:
    """A wrapped key leaves its record, and nothing else; an erase leaves nothing."""

    def store(self, area: KeyArea, record: bytes) -> None:
        area.append(record)

    def wipe(self, area: KeyArea) -> None:
        area.wipe()


class Xts:
    """AES-256-XTS (SP 800-38E)."""

    def sectors(self, mek: bytes) -> SectorCipher:
        return XtsSectors(mek)


class Drawn:
    """Keys are drawn from the entropy source, again if the two halves were the same."""

    def mek(self, draw: Callable[[int], bytes], now_us: int) -> bytes:
        half = MEK_BYTES // 2
        for _ in range(DRAWS_MAX):
            mek = draw(MEK_BYTES)
            if mek[:half] != mek[half:]:
                return mek
        raise HealthTestFailed("equal halves, again and again")


class OpenOnly:
    """The key is there while the drive is open, and nowhere afterwards."""

    def __init__(self) -> None:
        self._mek: bytearray | None = None

    def hold(self, mek: bytes) -> None:
        self.release()
        self._mek = bytearray(mek)

    def release(self) -> None:
        if self._mek is not None:
            self._mek[:] = bytes(len(self._mek))
        self._mek = None

    def key(self) -> bytes | None:
        return None if self._mek is None else bytes(self._mek)


class NewBeforeOld:
    """The new way in is whole before the old one ends."""

    def change(self, steps: SlotChange) -> None:
        steps.draw()
        steps.wrap()
        steps.store()
        steps.commit()
        steps.finish()


class KeysFirst:
    """One step destroys all keys; what follows only tidies up."""

    def erase(self, steps: EraseSteps) -> bool:
        # Once more where something is left: a glitch leaves out one step, not two.
        is_erased = steps.destroy_secrets() or steps.destroy_secrets()
        steps.wipe_records()
        steps.discard_data()
        return is_erased


class LocksAlways:
    """Every cause locks."""

    def locks_on(self, cause: LockCause) -> bool:
        return True


class ReadOnlyMeansIt:
    """A read-only medium is not written."""

    def allows(self, is_read_only: bool) -> bool:
        return not is_read_only


class Digits:
    """PINs are digits; a new one is no run up or down and repeats no digit throughout."""

    def is_possible(self, pin: bytes, fewest: int, most: int) -> bool:
        return fewest <= len(pin) <= most and pin.isdigit()

    def is_accepted(self, pin: bytes) -> bool:
        steps = {(after - before) % 10 for before, after in pairwise(pin)}
        return steps not in ({0}, {1}, {9})


class FreshSessions:
    """A new key for every session, and every number in it once."""

    def ephemeral(self, draw: Callable[[int], bytes]) -> bytes:
        return draw(32)

    def takes(self, sequence: int, expected: int) -> bool:
        return sequence == expected


class ConstantTime:
    """A failed attempt is answered after the same time, whatever failed."""

    def answer_at(self, began_us: int, budget_us: int, attempt: FailedAttempt) -> int:
        return began_us + budget_us


class WriteThrough:
    """No cache: what was answered is in flash."""

    def read(self, volume: Volume, lba: int, block_count: int) -> bytes:
        return volume.read(lba, block_count)

    def write(self, volume: Volume, lba: int, data: bytes) -> None:
        volume.write(lba, data)

    def flush(self, volume: Volume) -> None:
        """There is nothing to write back."""


class NoVendorCommands:
    """There are none."""

    def run(self, cdb: bytes, data_out: bytes, door: Door) -> bytes | Sense | None:
        return None


class SignedImages:
    """Signed by the key of the drive, for its product, and not below its floor."""

    def arriving(self, offset: int, piece: bytes, rules: UpdateRules) -> ImageFault | None:
        """Spare the flash an image that says itself that it is not for this drive."""
        if offset:
            return None
        try:
            return header_fault(ImageHeader.decode(piece), rules)
        except DecodeError:
            return ImageFault.MALFORMED

    def staged(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        return image_fault(image, rules)

    def at_boot(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        return image_fault(image, rules)


class SwitchesLast:
    """The owner's to begin; slot and floor in one step, when the image is whole and good."""

    def allows(self, is_owned: bool) -> bool:
        return is_owned

    def begin(self, steps: SwitchSteps) -> None:
        """Nothing is known yet that could be acted on."""

    def end(self, steps: SwitchSteps) -> None:
        steps.switch()


class ExactReplies:
    """At most the answer itself."""

    def clip(self, answer: bytes, length: int) -> bytes:
        return answer[:length]


REFERENCE: Final[Mapping[str, PartClass]] = {
    "counter": SpendFirst,
    "limit": NoneLeft,
    "stretching": Pbkdf2,
    "derivation": FromAnswer,
    "wrapping": KeyWrap,
    "storing": RecordsAlone,
    "cipher": Xts,
    "health": ContinuousTests,
    "key_source": Drawn,
    "vault": OpenOnly,
    "pin_change": NewBeforeOld,
    "erasing": KeysFirst,
    "locking": LocksAlways,
    "write_guard": ReadOnlyMeansIt,
    "pin_policy": Digits,
    "sessions": FreshSessions,
    "pacing": ConstantTime,
    "caching": WriteThrough,
    "commands": NoVendorCommands,
    "update_check": SignedImages,
    "updating": SwitchesLast,
    "replies": ExactReplies,
    "transport": BulkOnlyRules,
}
