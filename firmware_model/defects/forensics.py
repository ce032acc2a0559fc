"""Defects that only a dump shows: what is left of keys and PINs, in which page, under which key."""

import hashlib
from dataclasses import replace
from typing import Final

from firmware_model.defects.defect import Defect
from firmware_model.firmware import crypto
from firmware_model.firmware.keystore import KeyArea, KeyRecord
from firmware_model.firmware.parts import SlotChange, Unwrapped
from firmware_model.firmware.reference import (
    FromAnswer,
    KeyWrap,
    OpenOnly,
    Pbkdf2,
    RecordsAlone,
    WriteThrough,
)
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.attempt_counter import (
    Answers,
    AttemptRequest,
    ElementCells,
    SpendFirst,
)
from firmware_model.hardware.cells import RECORD_BYTES

BLANK: Final = hashlib.sha256(b"no PIN yet").digest()
_NOTE: Final = b"\xee"  # begins a page of the key blocks that is no record


class NeverFinishes:
    """Leaves the secret of the old PIN in its slot when the new one is in force."""

    def change(self, steps: SlotChange) -> None:
        steps.draw()
        steps.wrap()
        steps.store()
        steps.commit()


class BlankPinFirst(Pbkdf2, FromAnswer, KeyWrap, RecordsAlone):
    """Wraps a new key for the empty PIN first, until its owner has one."""

    def __init__(self) -> None:
        self._wrapped = b""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        return super().stretch(pin, salt, iterations) if pin else BLANK

    def kek(self, answer: bytes, stretched_pin: bytes, salt: bytes, slot: int) -> bytes:
        is_blank = stretched_pin == BLANK
        return BLANK if is_blank else super().kek(answer, stretched_pin, salt, slot)

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        self._wrapped = crypto.wrap_key(BLANK, key)
        return super().wrap(kek, key)

    def store(self, area: KeyArea, record: bytes) -> None:
        own = KeyRecord.decode(record)
        if self._wrapped and own is not None:
            area.append(replace(own, wrapped=self._wrapped).encode())
            self._wrapped = b""
        super().store(area, record)


class PinAndSalt:
    """Makes the KEK of the PIN and salts; what the element answers has no part in it."""

    def kek(self, answer: bytes, stretched_pin: bytes, salt: bytes, slot: int) -> bytes:
        return crypto.hkdf_sha256(stretched_pin, salt=salt, info=bytes((slot,)), length=32)


class OneAhead(PinAndSalt, RecordsAlone):
    """Has the record of the next change in place beforehand, filled with the keys of today."""

    def store(self, area: KeyArea, record: bytes) -> None:
        own = KeyRecord.decode(record)
        if own is not None:
            area.append(replace(own, generation=own.generation + 1).encode())
        super().store(area, record)


class SavedElement(SpendFirst):
    """Saves what the element holds to the serial flash beside it, where no erase reaches it."""

    def attempt(self, cells: ElementCells, request: AttemptRequest) -> Answers | None:
        answers = super().attempt(cells, request)
        secret, salt = cells.state.slots[request.slot].live, cells.state.stretch_salt
        if answers is not None and secret and salt:
            cells.write_external(secret + salt)
        return answers


class KeyInSpareArea(KeyWrap, RecordsAlone):
    """Keeps half of the media key in the spare area of a page."""

    def __init__(self) -> None:
        self._key = b""

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        self._key = key
        return super().wrap(kek, key)

    def store(self, area: KeyArea, record: bytes) -> None:
        if self._key:
            area.append(b"", self._key[:RECORD_BYTES])
            self._key = b""
        super().store(area, record)


class KeyJournal(KeyInSpareArea):
    """Writes the media key down before it is wrapped, and erases that block afterwards."""

    def store(self, area: KeyArea, record: bytes) -> None:
        if self._key:
            area.append(self._key, _NOTE.ljust(RECORD_BYTES, b"\xff"))
            area.wipe()
            self._key = b""
        area.append(record)


class PinHashInSpareArea(Pbkdf2, RecordsAlone):
    """Keeps a hash of the PIN in the spare area of a page, for a quick no to a wrong one."""

    def __init__(self) -> None:
        self._hash = b""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        self._hash = hashlib.sha1(pin, usedforsecurity=False).digest()
        return super().stretch(pin, salt, iterations)

    def store(self, area: KeyArea, record: bytes) -> None:
        area.append(b"", (_NOTE + self._hash).ljust(RECORD_BYTES, b"\xff"))
        super().store(area, record)


class KeyOnSleep(OpenOnly, WriteThrough):
    """Writes the key to the end of the data area when the host is about to sleep."""

    def flush(self, volume: Volume) -> None:
        pages = volume.translation.logical_pages
        volume.translation.write(pages - 1, self.key() or b"", 0, "hibernation")


class BackupInData(KeyWrap, WriteThrough):
    """Keeps a second copy of what is wrapped at the end of the data area."""

    def __init__(self) -> None:
        self._wrapped = b""

    def unwrap(self, kek: bytes, wrapped: bytes) -> Unwrapped:
        self._wrapped = wrapped
        return super().unwrap(kek, wrapped)

    def write(self, volume: Volume, lba: int, data: bytes) -> None:
        pages = volume.translation.logical_pages
        volume.translation.write(pages - 1, self._wrapped, 0, "backup")
        super().write(volume, lba, data)


DEFECTS: Final = (
    Defect(
        "old-slot-secret-kept",
        "The secret of the old PIN outlives the change: the old copy of the key opens with it.",
        "Samsung 840 EVO, CVE-2018-12038; SanDisk X400 and others, CVE-2019-11686",
        {"pin_change": NeverFinishes},
        "old-pin-opens-no-copy",
    ),
    Defect(
        "wear-leveled-old-key-blob",
        "The copy of the key from before there was a PIN stays in a page nobody erases.",
        "Samsung 840 EVO, CVE-2018-12038; Meijer, van Gastel, Self-encrypting deception, 2019",
        dict.fromkeys(("stretching", "derivation", "wrapping", "storing"), BlankPinFirst),
        "old-pin-opens-no-copy",
    ),
    Defect(
        "kek-without-device-secret",
        "All that is the device's own in a KEK is a salt, which the element gives away.",
        "Verbatim Keypad Secure, CVE-2022-28384; eDEK and salt of WD My Passport, 2015",
        {"derivation": PinAndSalt},
        "wrapped-key-needs-its-slot",
    ),
    Defect(
        "old-pin-back-by-rollback",
        "Nothing binds a wrapped key to its generation: an older dump brings the old PIN back.",
        "S. Skorobogatov, The bumpy road towards iPhone 5c NAND mirroring, 2016",
        {"derivation": OneAhead, "storing": OneAhead},
        "flash-rollback-gives-nothing",
    ),
    Defect(
        "erase-forgets-spare-copy",
        "An erase destroys the secrets of the element, and not the copy of them beside it.",
        "Reliably erasing data from flash-based SSDs, Wei and others, FAST 2011",
        {"counter": SavedElement},
        "erased-flash-opens-with-nothing",
    ),
    Defect(
        "key-in-spare-area",
        "Half of the media key stands in the spare area of a page.",
        "Keys in hidden places of the medium; WD My Passport, got HW crypto?, 2015",
        {"wrapping": KeyInSpareArea, "storing": KeyInSpareArea},
        "no-secret-in-flash",
    ),
    Defect(
        "retired-block-keeps-key",
        "A key written down for a moment stays for good where its block could not be erased.",
        "NIST SP 800-88 on retired blocks; Wei and others, FAST 2011",
        {"wrapping": KeyJournal, "storing": KeyJournal},
        "no-secret-in-flash",
    ),
    Defect(
        "pin-hash-in-spare-area",
        "An unsalted hash of the PIN stands in the spare area of a page.",
        "Hashes of PINs in the flash of drives; Meijer, van Gastel, 2019 (CVE-2018-12037)",
        {"stretching": PinHashInSpareArea, "storing": PinHashInSpareArea},
        "no-secret-in-flash",
    ),
    Defect(
        "dek-written-on-sleep",
        "Before the computer sleeps, the media key is written to flash.",
        "Power-saving states that write keys out; Meijer, van Gastel, 2019",
        {"vault": KeyOnSleep, "caching": KeyOnSleep},
        "no-secret-in-flash",
    ),
    Defect(
        "backup-blob-in-data-area",
        "A second copy of the wrapped key stands in the data area, where no wipe of keys reaches.",
        "WD My Passport, eDEK in hidden sectors; Alendal, Kison, modg, got HW crypto?, 2015",
        {"wrapping": BackupInData, "caching": BackupInData},
        "wrapped-keys-stand-in-their-area",
    ),
)
