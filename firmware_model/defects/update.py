"""Defects of firmware updates: what runs that should not, and what no longer runs."""

from typing import Final

from firmware_model.defects.defect import Defect
from firmware_model.firmware.image_check import UpdateRules, header_fault, manifest_fault
from firmware_model.firmware.parts import SwitchSteps
from firmware_model.firmware.reference import SignedImages, SwitchesLast
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import FirmwareImage, ImageFault

# RFC 8032, section 7.1, test 2: a key pair that is printed in a standard.
_PUBLISHED_KEY: Final = bytes.fromhex(
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
)


def _form_fault(data: bytes) -> ImageFault | None:
    try:
        FirmwareImage.decode(data)
    except DecodeError:
        return ImageFault.MALFORMED
    return None


class FormOnly(SignedImages):
    """Takes whatever has the form of an image for this product; nobody looks at the signature."""

    def staged(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        fault = _form_fault(image)
        if fault is not None:
            return fault
        decoded = FirmwareImage.decode(image)
        return header_fault(decoded.header, rules) or manifest_fault(decoded.manifest, rules)

    at_boot = staged


class PublishedKeyToo(SignedImages):
    """Takes the signature of a key that was left in from development."""

    def staged(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        fault = super().staged(image, rules)
        if fault is not ImageFault.SIGNATURE:
            return fault
        return super().staged(image, _with_key(rules, _PUBLISHED_KEY))

    at_boot = staged


def _with_key(rules: UpdateRules, key: bytes) -> UpdateRules:
    return UpdateRules(key, rules.product, rules.floor, rules.may_name)


class TrustsWhatCame(SignedImages):
    """Judges the bytes as they come over the bus, and switches to those that stand in flash."""

    def __init__(self) -> None:
        self._came = b""

    def arriving(self, offset: int, piece: bytes, rules: UpdateRules) -> ImageFault | None:
        self._came = self._came[:offset] + piece
        return super().arriving(offset, piece, rules)

    def staged(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        return super().staged(self._came, rules)


class UnverifiedAtBoot(SignedImages):
    """Judges an image once, when it is put in."""

    def at_boot(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        return _form_fault(image)


class AnyVersion(SignedImages):
    """Takes whatever the maker ever signed."""

    def arriving(self, offset: int, piece: bytes, rules: UpdateRules) -> ImageFault | None:
        return super().arriving(offset, piece, _without_floor(rules))

    def staged(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        return super().staged(image, _without_floor(rules))

    at_boot = staged


def _without_floor(rules: UpdateRules) -> UpdateRules:
    return UpdateRules(rules.key, rules.product, 0, rules.may_name)


class VersionAsText(AnyVersion):
    """Compares security versions as text, in which 9 comes after 10."""

    def staged(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        fault = super().staged(image, rules)
        if fault is not None:
            return fault
        version = FirmwareImage.decode(image).header.security_version
        return ImageFault.DOWNGRADE if str(version) < str(rules.floor) else None

    at_boot = staged


class FloorFirst(SwitchesLast):
    """Raises the floor when an image begins to arrive."""

    def begin(self, steps: SwitchSteps) -> None:
        steps.raise_floor()

    def end(self, steps: SwitchSteps) -> None:
        steps.switch()


class FloorInASecondStep(SwitchesLast):
    """Names the slot, and raises the floor in a step of its own."""

    def end(self, steps: SwitchSteps) -> None:
        steps.name_slot()
        steps.raise_floor()


class FromAnybody(SwitchesLast):
    """Takes firmware from whoever sends it."""

    def allows(self, is_owned: bool) -> bool:
        return True


DEFECTS: Final = (
    Defect(
        "firmware-update-unauthenticated",
        "An image of the right form runs, signed or not.",
        "Verbatim Keypad Secure, CVE-2022-28383; Alendal and others, got HW crypto?, 2015; "
        "BadUSB, Nohl and Lell, Black Hat USA 2014",
        {"update_check": FormOnly},
        "unsigned-never-runs",
    ),
    Defect(
        "update-test-key-accepted",
        "Firmware signed with a key that everybody has runs as if its maker had signed it.",
        "PKfail, Binarly, CVE-2024-8105, 2024",
        {"update_check": PublishedKeyToo},
        "unsigned-never-runs",
    ),
    Defect(
        "update-check-before-staging",
        "What is judged is what came over the bus; what is switched to is what stands in flash.",
        "RFC 9124 4.2.18, THREAT.MFST.TOCTOU; Bosch and Hudson, Now you see it: TOCTOU attacks "
        "against BootGuard, HITB Amsterdam 2019",
        {"update_check": TrustsWhatCame},
        "altered-never-runs",
    ),
    Defect(
        "firmware-unverified-at-boot",
        "Firmware is judged when it is put in, and never again.",
        "Verbatim Keypad Secure, CVE-2022-28383; WDC-19007 on SanDisk X300, secure boot bypass",
        {"update_check": UnverifiedAtBoot},
        "altered-never-runs",
    ),
    Defect(
        "update-from-anybody",
        "A locked drive takes firmware from whoever holds it.",
        "a corollary of RFC 9124 4.2.9, THREAT.IMG.NON_AUTH",
        {"updating": FromAnybody},
        "unsigned-never-runs",
    ),
    Defect(
        "firmware-rollback",
        "Old firmware with a known hole is as good as new.",
        "RFC 9124 4.2.1, THREAT.IMG.EXPIRED; NIST SP 800-193 4.2.1.3",
        {"update_check": AnyVersion},
        "no-downgrade",
    ),
    Defect(
        "security-version-as-text",
        "Security version 2 counts as newer than 10.",
        "a corollary of RFC 9124 4.2.1, THREAT.IMG.EXPIRED",
        {"update_check": VersionAsText},
        "no-downgrade",
    ),
    Defect(
        "floor-in-a-second-step",
        "A cut between slot and floor leaves new firmware that takes old firmware back.",
        "a corollary of RFC 9124 4.2.1, THREAT.IMG.EXPIRED, under power cut",
        {"updating": FloorInASecondStep},
        "no-downgrade",
    ),
    Defect(
        "floor-before-firmware",
        "A cut update leaves a floor that no firmware on the drive reaches.",
        "a corollary of RFC 9124 4.2.1, THREAT.IMG.EXPIRED, under power cut",
        {"updating": FloorFirst},
        "cut-update-leaves-one",
    ),
)
