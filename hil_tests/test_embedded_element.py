"""The embedded element: each action is one durable step, and what is destroyed is nowhere in it."""

import hmac
from collections.abc import Callable
from dataclasses import replace

import pytest

from firmware_model.hardware.attempt_counter import AttemptRequest, NewSecret
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.element_state import Count, ElementState, FirmwareSlot, Slot, SlotState
from firmware_model.hardware.embedded_element import EmbeddedElement
from firmware_model.hardware.supply import PowerCut, Supply
from hil_tests.elements import FRESH, LIMITS

REFUND_KEY, SALT = b"R" * 32, b"S" * 32
SECRETS = {slot: bytes((0x40 + slot,)) * 32 for slot in Slot}
EVENT, HEAD = 7, b"h" * 32
NEW = NewSecret(b"n" * 32, b"pin")
IN_USE = replace(
    FRESH,
    slots=tuple(SlotState(SECRETS[slot], None, 1) for slot in Slot),
    refund_key=REFUND_KEY,
    stretch_salt=SALT,
)


class Kept:
    """An element, its supply, and every state that it stored."""

    def __init__(self, state: ElementState) -> None:
        self.supply, self.clock = Supply(), Clock()
        self.stored: list[ElementState] = []
        self.element = EmbeddedElement(state, self.supply, self.clock, Timing(), self.stored.append)


def proof_of(element: EmbeddedElement) -> bytes:
    return hmac.digest(REFUND_KEY, element.challenge(), "sha256")


ACTIONS: dict[str, Callable[[EmbeddedElement], object]] = {
    "attempt": lambda element: element.attempt(AttemptRequest(Slot.USER, b"pin", EVENT, HEAD)),
    "settle": lambda element: element.settle(Count.USER, proof_of(element)),
    "extend": lambda element: element.extend(EVENT, HEAD),
    "draw": lambda element: element.draw_spare({Slot.USER: NEW, Slot.ADMIN: NEW}),
    "commit": lambda element: element.commit(
        (Slot.USER, Slot.ADMIN),
        EVENT,
        HEAD,
        end=(Slot.RECOVERY_1,),
        refill=(Count.RECOVERY,),
        proof=proof_of(element),
    ),
    "destroy spares": lambda element: element.destroy_spares(),
    "read-only": lambda element: element.set_read_only(True, EVENT, HEAD),
    "switch firmware": lambda element: element.switch_firmware(FirmwareSlot.A, 2, EVENT, HEAD),
    "destroy all": lambda element: element.destroy_all(EVENT, HEAD),
}


def run_all(element: EmbeddedElement) -> None:
    for action in ACTIONS.values():
        action(element)


def test_every_action_is_one_step() -> None:
    kept = Kept(IN_USE)
    run_all(kept.element)

    assert kept.supply.count == len(kept.stored) == len(ACTIONS)


@pytest.mark.parametrize("number", range(1, len(ACTIONS) + 1))
def test_cut_at_a_step_leaves_the_state_before_it(number: int) -> None:
    whole = Kept(IN_USE)
    run_all(whole.element)
    kept = Kept(IN_USE)
    kept.supply.cut_at(number)

    with pytest.raises(PowerCut):
        run_all(kept.element)
    assert kept.element.memory == [IN_USE, *whole.stored][number - 1]
    assert kept.stored == whole.stored[: number - 1]


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_takes_the_elements_time(name: str) -> None:
    kept = Kept(IN_USE)
    ACTIONS[name](kept.element)

    assert kept.clock.now_us == Timing().element_us


def test_try_is_spent_and_logged_before_anything_is_answered() -> None:
    kept = Kept(IN_USE)
    kept.supply.cut_at(2)  # the first step after the spending would not happen
    ACTIONS["attempt"](kept.element)

    (stored,) = kept.stored
    assert stored.tries == (2, 4, 5)
    assert (stored.log_count, stored.head, stored.counts[EVENT]) == (1, HEAD, 1)


def test_destroying_spares_where_there_are_none_is_no_step() -> None:
    kept = Kept(IN_USE)
    kept.element.destroy_spares()

    assert kept.supply.count == 0


def test_destroyed_spares_are_nowhere_in_the_element() -> None:
    element = Kept(IN_USE).element
    element.draw_spare({Slot.USER: NEW})
    element.commit((Slot.USER,), EVENT, HEAD, proof=proof_of(element))
    element.destroy_spares()

    assert element.memory.slots[Slot.USER] == SlotState(NEW.secret, None, 2)
    assert SECRETS[Slot.USER] not in element.memory.encode()


def test_destroying_all_leaves_no_secret_in_the_element() -> None:
    kept = Kept(replace(IN_USE, tries=(0, 1, 2)))
    kept.element.draw_spare({Slot.USER: NEW})
    kept.element.destroy_all(EVENT, HEAD)

    secrets = [*SECRETS.values(), NEW.secret, REFUND_KEY, SALT]
    assert [secret for secret in secrets if secret in kept.stored[-1].encode()] == []
    assert kept.stored[-1].tries == LIMITS


def test_public_state_has_no_secret() -> None:
    text = repr(Kept(IN_USE).element.state)

    secrets = [*SECRETS.values(), REFUND_KEY, IN_USE.identity_seed, IN_USE.reset_code_hash]
    assert [secret for secret in secrets if repr(secret) in text] == []
