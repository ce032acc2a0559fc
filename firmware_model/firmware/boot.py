"""The first thing at power-up: which firmware runs, out of three places, and no other way in.

The slot that the element names is begun with; where what stands there may not run, the other slot,
then what is built in, each only if its security version is not below the floor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from firmware_model.firmware import built_in
from firmware_model.firmware.firmware_slots import SLOTS, FirmwareSlots
from firmware_model.firmware.image_check import UpdateRules
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.parts import PartClass, UpdateCheck
from firmware_model.firmware.policy import Policy
from firmware_model.firmware.self_test import SIGNATURE_ANSWERS, known_answer_tests
from firmware_model.hardware.board import Board
from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import FirmwareImage, Manifest, Version

NO_VERSION: Final = Version(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Running:
    """The firmware that a power-up began with."""

    slot: FirmwareSlot | None  # None: there is none that may run
    policy: Policy
    version: Version = built_in.VERSION
    security_version: int = built_in.SECURITY_VERSION
    parts: Mapping[str, PartClass] = field(default_factory=dict)  # that its manifest names
    is_tired: bool = False  # the flash it stands in needed much correction


def rules_of(board: Board, policy: Policy) -> UpdateRules:
    """Return what images are measured by on a board whose profile has that policy."""
    state = board.element.state
    return UpdateRules(
        state.update_key,
        policy.product,
        state.firmware_floor,
        lambda manifest: built_in.configured(policy, manifest) is not None,
    )


def begin(board: Board, policy: Policy, check: UpdateCheck) -> Running:
    """Return the firmware to run; one in flash has just been read into memory and found good."""
    state = board.element.state
    slots = FirmwareSlots(board.nand, Layout.of(policy).firmware_block)
    named = state.firmware_slot
    is_tested = named is FirmwareSlot.BUILT_IN or not known_answer_tests(SIGNATURE_ANSWERS)
    others = [slot for slot in (*SLOTS, FirmwareSlot.BUILT_IN) if slot is not named]
    for slot in (named, *others) if is_tested else ():
        if slot is not FirmwareSlot.BUILT_IN:
            running = _in_slot(board, policy, check, slots, slot)
        elif state.firmware_floor <= built_in.SECURITY_VERSION:
            running = Running(slot, policy)
        else:
            running = None
        if running is not None:
            return running
    return Running(None, policy, NO_VERSION, 0)


def _in_slot(
    board: Board, policy: Policy, check: UpdateCheck, slots: FirmwareSlots, slot: FirmwareSlot
) -> Running | None:
    """Return the firmware in a slot of flash, if it may run."""
    data = slots.read(slot)
    if data is None:
        return None
    board.clock.charge(board.timing.verify_us)
    if check.at_boot(data, rules_of(board, policy)) is not None:
        return None
    if check.at_boot(data, rules_of(board, policy)) is not None:  # no single verdict lets it run
        return None
    try:
        image = FirmwareImage.decode(data)
        configured = built_in.configured(policy, Manifest.decode(image.manifest))
    except DecodeError:
        return None
    if configured is None:
        return None
    header = image.header
    return Running(
        slot,
        configured.policy,
        header.version,
        header.security_version,
        configured.parts,
        slots.is_tired,
    )
