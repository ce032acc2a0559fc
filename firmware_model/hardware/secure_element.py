"""The secure element as the firmware sees it, whatever it is made of.

No slot secret ever leaves it. What leaves is an answer to a guess, after the try was spent; the
try comes back only for a proof that the answer opened the media key, which the element checks by
itself. So firmware that was replaced or glitched has as few guesses as a thief.
"""

from collections.abc import Mapping
from typing import Protocol

from firmware_model.hardware.attempt_counter import (
    Answers,
    AttemptCounter,
    AttemptRequest,
    External,
    NewSecret,
)
from firmware_model.hardware.element_state import Count, FirmwareSlot, PublicState, Slot


class ElementError(Exception):
    """The element does not answer, or not as it must; one line."""


class SecureElement(Protocol):
    """Keeps secrets, and makes every guess cost a try."""

    @property
    def state(self) -> PublicState:
        """What it tells of itself; no secret is in it."""
        ...

    @property
    def external(self) -> External:
        """The serial flash beside it, which anybody can read and write."""
        ...

    @property
    def identity(self) -> bytes:
        """The public key of the drive, 32 bytes (Ed25519, RFC 8032)."""
        ...

    def power_on(self, counter: AttemptCounter) -> None:
        """Begin with an attempt counter that remembers nothing outside the element."""
        ...

    def attempt(self, request: AttemptRequest) -> Answers | None:
        """Spend a try and answer one guess; None when there is no try left."""
        ...

    def settle(self, count: Count, proof: bytes | None) -> bool:
        """Hear the verdict: a proof that the PIN was right gives the tries back."""
        ...

    def tries_left(self, count: Count) -> int:
        """Return how many guesses are left."""
        ...

    def challenge(self) -> bytes:
        """Return what the next proof is over: a proof is HMAC(refund key, challenge), 32 bytes.

        Each proof is given once, for the challenge that was asked last.
        """
        ...

    def answer_with_proof(self, slot: Slot, stretched_pin: bytes, proof: bytes) -> bytes | None:
        """Answer without a try, for whoever proves to hold the media key already."""
        ...

    def extend(self, event: int, head: bytes) -> None:
        """Take one more record into the head and the counts."""
        ...

    def draw_spare(self, new: Mapping[Slot, NewSecret]) -> None:
        """Put new secrets beside the live ones."""
        ...

    def spare_answer(self, slot: Slot, stretched_pin: bytes) -> bytes:
        """Return what the spare secret answers; raise ValueError where none was drawn."""
        ...

    def commit(
        self,
        slots: tuple[Slot, ...],
        event: int,
        head: bytes,
        *,
        end: tuple[Slot, ...] = (),
        refill: tuple[Count, ...] = (),
        proof: bytes | None = None,
        first: tuple[bytes, bytes] | None = None,
    ) -> bool:
        """Make the spare secrets of `slots` the live ones, all at once.

        With it go the slots in `end`, tries come back to the counts in `refill`, and the log grows
        by a record. On a drive that has keys it takes a proof of the media key; the first slot of
        a drive without any brings refund key and stretching salt (`first`) instead. Returns False,
        and changes nothing, without either, and where a slot has no spare secret.
        """
        ...

    def destroy_spares(self) -> None:
        """Destroy whatever stands beside the live secrets, if anything does."""
        ...

    def destroy_all(self, event: int, head: bytes) -> None:
        """Destroy every slot secret and the refund key: the moment of erasure."""
        ...

    def set_read_only(self, is_read_only: bool, event: int, head: bytes) -> None:
        """Keep the read-only flag."""
        ...

    def switch_firmware(self, slot: FirmwareSlot, floor: int, event: int, head: bytes) -> bool:
        """Name the slot to begin with and raise the floor of security versions.

        Returns False, and changes nothing, for a floor below the one there is.
        """
        ...

    def reset_code_is_right(self, code: bytes) -> bool:
        """Tell whether `code` is the one printed when the drive was made."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the drive's signature, 64 bytes."""
        ...
