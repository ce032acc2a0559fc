"""What a secure element remembers: slot secrets, counters, the head of the log."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

SECRET_BYTES: Final = 32
KINDS: Final = 32  # of events that are counted
MAGIC: Final = b"SEDLABSE"


class ElementStateError(ValueError):
    """The bytes hold no state of an element."""


class Slot(IntEnum):
    """A place for one secret that answers guesses."""

    USER = 0
    ADMIN = 1
    RECOVERY_1 = 2
    RECOVERY_2 = 3
    RECOVERY_3 = 4
    DURESS = 5


class Count(IntEnum):
    """A try counter."""

    USER = 0
    ADMIN = 1
    RECOVERY = 2


class FirmwareSlot(IntEnum):
    """Where a firmware stands: in the controller's own memory, or in one of two areas of flash."""

    BUILT_IN = 0
    A = 1
    B = 2


RECOVERY_SLOTS: Final = (Slot.RECOVERY_1, Slot.RECOVERY_2, Slot.RECOVERY_3)
_COUNTS: Final = {Slot.USER: Count.USER, Slot.DURESS: Count.USER, Slot.ADMIN: Count.ADMIN}


def count_of(slot: Slot) -> Count:
    """Return the counter that guesses at a slot are taken from."""
    return _COUNTS.get(slot, Count.RECOVERY)


@dataclass(frozen=True, slots=True)
class SlotState:
    """A slot: the secret that counts, the one that may follow or has just preceded it."""

    live: bytes | None = None
    spare: bytes | None = None
    generation: int = 0  # of the live secret; it grows with each commit


EMPTY: Final = SlotState()


@dataclass(frozen=True, slots=True)
class PublicSlot:
    """What anybody on the board may know of a slot."""

    is_set: bool
    generation: int


@dataclass(frozen=True, slots=True)
class PublicState:
    """What an element tells of itself: all that the firmware works with, and no secret."""

    limits: tuple[int, int, int]  # by Count
    slots: tuple[PublicSlot, ...]  # by Slot
    stretch_salt: bytes | None
    attempt_number: int
    head: bytes
    log_count: int
    counts: tuple[int, ...]
    epoch: int
    was_erased: bool
    is_read_only: bool
    update_key: bytes
    firmware_floor: int
    firmware_slot: FirmwareSlot


@dataclass(frozen=True, slots=True)
class ElementState:
    """All of it. Replaced as a whole, in one durable step."""

    limits: tuple[int, int, int]  # by Count
    tries: tuple[int, int, int]  # left
    identity_seed: bytes  # Ed25519
    reset_code_hash: bytes  # SHA-256
    update_key: bytes  # Ed25519, public: what signs firmware; never changed
    slots: tuple[SlotState, ...] = (EMPTY,) * len(Slot)
    refund_key: bytes | None = None
    stretch_salt: bytes | None = None
    attempt_number: int = 0
    head: bytes = bytes(32)
    log_count: int = 0
    counts: tuple[int, ...] = (0,) * KINDS
    epoch: int = 0  # grows with each erase
    was_erased: bool = False
    is_read_only: bool = False
    firmware_floor: int = 0  # the lowest security version that may run; it never falls
    firmware_slot: FirmwareSlot = FirmwareSlot.BUILT_IN  # to begin with at power-up

    @classmethod
    def fresh(
        cls,
        limits: tuple[int, int, int],
        identity_seed: bytes,
        reset_code_hash: bytes,
        update_key: bytes = bytes(32),
        firmware_floor: int = 0,
    ) -> ElementState:
        """Return the state of an element that leaves the factory; no key signs for all zeros."""
        return cls(
            limits,
            limits,
            identity_seed,
            reset_code_hash,
            update_key,
            firmware_floor=firmware_floor,
        )

    @property
    def public(self) -> PublicState:
        """What of it the element tells."""
        return PublicState(
            limits=self.limits,
            slots=tuple(PublicSlot(each.live is not None, each.generation) for each in self.slots),
            stretch_salt=self.stretch_salt,
            attempt_number=self.attempt_number,
            head=self.head,
            log_count=self.log_count,
            counts=self.counts,
            epoch=self.epoch,
            was_erased=self.was_erased,
            is_read_only=self.is_read_only,
            update_key=self.update_key,
            firmware_floor=self.firmware_floor,
            firmware_slot=self.firmware_slot,
        )

    def logged(self, event: int, head: bytes) -> ElementState:
        """Return the state with one more record in its log."""
        counts = (*self.counts[:event], self.counts[event] + 1, *self.counts[event + 1 :])
        return replace(self, head=head, log_count=self.log_count + 1, counts=counts)

    def with_slots(self, changes: Mapping[Slot, SlotState]) -> ElementState:
        """Return the state with some slots replaced."""
        slots = tuple(changes.get(Slot(i), old) for i, old in enumerate(self.slots))
        return replace(self, slots=slots)

    def with_tries(self, count: Count, left: int) -> ElementState:
        """Return the state with one counter set."""
        tries = list(self.tries)
        tries[count] = left
        return replace(self, tries=(tries[0], tries[1], tries[2]))

    def encode(self) -> bytes:
        """Return the state as bytes of one length, ending in a checksum."""
        parts = [MAGIC, bytes(self.limits), bytes(self.tries)]
        parts += [self.identity_seed, self.reset_code_hash, self.update_key]
        for slot in self.slots:
            parts += [_optional(slot.live), _optional(slot.spare), _U32.pack(slot.generation)]
        parts += [_optional(self.refund_key), _optional(self.stretch_salt)]
        flags = self.was_erased | self.is_read_only << 1
        parts.append(_TAIL.pack(self.attempt_number, self.log_count, self.epoch, flags))
        parts += [_FIRMWARE.pack(self.firmware_floor, self.firmware_slot), self.head]
        parts += [_U32.pack(count) for count in self.counts]
        body = b"".join(parts)
        return body + _U32.pack(zlib.crc32(body))

    @classmethod
    def decode(cls, data: bytes) -> ElementState:
        """Return the state in `data`; raise ElementStateError where there is none."""
        if len(data) != ENCODED_BYTES or zlib.crc32(data[:-4]) != _U32.unpack(data[-4:])[0]:
            raise ElementStateError("checksum of the element's state")
        fields = _Fields(data)
        if fields.take(8) != MAGIC:
            raise ElementStateError("no element's state")
        limits, tries = tuple(fields.take(3)), tuple(fields.take(3))
        seed, code, update_key = fields.take(32), fields.take(32), fields.take(32)
        slots = tuple(
            SlotState(fields.optional(), fields.optional(), fields.u32()) for _ in range(len(Slot))
        )
        refund_key, salt = fields.optional(), fields.optional()
        attempt_number, log_count, epoch, flags = _TAIL.unpack(fields.take(_TAIL.size))
        floor, firmware_slot = _FIRMWARE.unpack(fields.take(_FIRMWARE.size))
        if firmware_slot >= len(FirmwareSlot):
            raise ElementStateError(f"there is no firmware slot {firmware_slot}")
        state = cls(
            limits=(limits[0], limits[1], limits[2]),
            tries=(tries[0], tries[1], tries[2]),
            identity_seed=seed,
            reset_code_hash=code,
            update_key=update_key,
            slots=slots,
            refund_key=refund_key,
            stretch_salt=salt,
            attempt_number=attempt_number,
            head=fields.take(32),
            log_count=log_count,
            counts=tuple(fields.u32() for _ in range(KINDS)),
            epoch=epoch,
            was_erased=bool(flags & 1),
            is_read_only=bool(flags & 2),
            firmware_floor=floor,
            firmware_slot=FirmwareSlot(firmware_slot),
        )
        numbers = (*state.counts, epoch, floor, *(slot.generation for slot in slots))
        if max(attempt_number, log_count) >> 63 or max(numbers) >> 31:
            raise ElementStateError("a count of the element that has no room to grow")
        if state.encode() != data:
            raise ElementStateError("bytes outside the fields of the element's state")
        return state


_U32: Final = struct.Struct(">I")
_TAIL: Final = struct.Struct(">QQIB")
_FIRMWARE: Final = struct.Struct(">IB")


def _optional(secret: bytes | None) -> bytes:
    return bytes(1 + SECRET_BYTES) if secret is None else b"\x01" + secret


class _Fields:
    """Takes fields off the front of bytes whose length was checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def optional(self) -> bytes | None:
        there, secret = self.take(1), self.take(SECRET_BYTES)
        return secret if there == b"\x01" else None


ENCODED_BYTES: Final = len(ElementState.fresh((1, 1, 1), bytes(32), bytes(32)).encode())
