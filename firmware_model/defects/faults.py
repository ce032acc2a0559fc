"""Defects that show when something goes wrong: a glitch, a noise source, a page of flash."""

import hashlib
from dataclasses import replace
from typing import Final

from firmware_model.defects.defect import Defect
from firmware_model.firmware import crypto
from firmware_model.firmware.medium import Unreadable
from firmware_model.firmware.parts import Unwrapped
from firmware_model.firmware.reference import WriteThrough
from firmware_model.firmware.sector_cipher import SECTOR_BYTES
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.attempt_counter import (
    Answers,
    AttemptRequest,
    ElementCells,
    SpendFirst,
)
from firmware_model.hardware.element_state import count_of

_DIGEST_BYTES: Final = 32


class OneVerdict:
    """Makes the KEK without the PIN; whether that was right is one comparison, and nothing else."""

    def __init__(self) -> None:
        self._entered = b""

    def kek(self, answer: bytes, stretched_pin: bytes, salt: bytes, slot: int) -> bytes:
        self._entered = hashlib.sha256(answer).digest()
        return crypto.hkdf_sha256(salt, salt=b"", info=bytes((slot,)), length=32)

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        return self._entered + crypto.wrap_key(kek, key)

    def unwrap(self, kek: bytes, wrapped: bytes) -> Unwrapped:
        is_right = wrapped[:_DIGEST_BYTES] == self._entered
        key = crypto.unwrap_key(kek, wrapped[_DIGEST_BYTES:])
        return Unwrapped(is_right, key)


class NoReadBack(SpendFirst):
    """Writes the count of tries, and never looks whether it is there."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        state, count = cells.state, count_of(request.slot)
        if not state.tries[count]:
            return None
        spent = state.with_tries(count, state.tries[count] - 1)
        spent = replace(spent, attempt_number=state.attempt_number + 1)
        cells.commit("spend try", spent.logged(request.event, request.head))
        return cells.answers(request)


class TrustsAnything:
    """Takes whatever the source gives for noise."""

    def complaint(self, before: bytes, samples: bytes) -> str | None:
        return None


class IgnoresUncorrectable(WriteThrough):
    """Answers zeros, and GOOD, for what can't be read."""

    def read(self, volume: Volume, lba: int, block_count: int) -> bytes:
        try:
            return super().read(volume, lba, block_count)
        except Unreadable:
            return bytes(block_count * SECTOR_BYTES)


DEFECTS: Final = (
    Defect(
        "single-check-verdict",
        "One comparison decides on a PIN: a glitch that turns it opens the drive.",
        "Crucial MX100 and others through a debug port; Meijer, van Gastel, IEEE S&P 2019",
        {"derivation": OneVerdict, "wrapping": OneVerdict},
        "forced-verdict-opens-nothing",
    ),
    Defect(
        "counter-write-failure-ignored",
        "A count of tries that can't be written costs nothing.",
        "Secustick, its memory's write-protect pin grounded; J. Domburg, 2007",
        {"counter": NoReadBack},
        "tries-count-down",
    ),
    Defect(
        "trusts-any-entropy",
        "Keys are drawn from a noise source that has failed.",
        "YubiKey FIPS before 4.4.5, a buffer with little entropy in it; YSA-2019-02",
        {"health": TrustsAnything},
        "keys-are-unpredictable",
    ),
    Defect(
        "ignores-uncorrectable",
        "Data that can't be corrected is answered as if it were there.",
        "Drives that corrupt data without a word; Zheng and others, FAST 2013",
        {"caching": IgnoresUncorrectable},
        "answered-data-survives",
    ),
)
