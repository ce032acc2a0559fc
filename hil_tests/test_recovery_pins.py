"""Recovery PINs: the check digit catches slips before they cost a try."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire import recovery_pin as recovery

RECOVERY_PINS = st.builds(
    recovery.recovery_pin,
    st.integers(1, recovery.RECOVERY_PINS),
    st.text("0123456789", min_size=20, max_size=20),
)


def test_check_digit_is_that_of_a_published_number() -> None:
    """7992739871 has the check digit 3: the usual example of ISO/IEC 7812-1."""
    assert recovery.recovery_pin(0, "7992739871".zfill(20))[-1] == "3"


@given(RECOVERY_PINS)
def test_recovery_pin_tells_its_number(pin: str) -> None:
    assert len(pin) == recovery.RECOVERY_PIN_DIGITS
    assert recovery.recovery_number(pin) == int(pin[0])


@given(RECOVERY_PINS)
def test_check_digit_catches_every_single_wrong_digit(pin: str) -> None:
    slips = [
        pin[:place] + digit + pin[place + 1 :]
        for place in range(len(pin))
        for digit in "0123456789"
        if digit != pin[place]
    ]

    assert [slip for slip in slips if recovery.recovery_number(slip) is not None] == []


@given(RECOVERY_PINS)
def test_check_digit_catches_every_swap_of_neighbours_but_09_and_90(pin: str) -> None:
    for place in range(len(pin) - 1):
        pair = pin[place : place + 2]
        swapped = pin[:place] + pair[::-1] + pin[place + 2 :]
        is_unnoticed = pair[0] == pair[1] or (pair in ("09", "90") and place > 0)

        assert (recovery.recovery_number(swapped) is not None) == is_unnoticed, pair


@given(st.text(max_size=30) | st.text("0123456789٣²", min_size=22, max_size=22))
def test_any_text_is_a_recovery_pin_or_none(text: str) -> None:
    number = recovery.recovery_number(text)

    assert number is None or recovery.recovery_pin(number, text[1:-1]) == text
