"""Keys in a dump: which count, and in which form."""

from collections.abc import Callable

import pytest

from hil_tests.actions import parse_steps
from hil_tests.bench.probes import key_needles, secrets_in
from hil_tests.runs import Target


@pytest.mark.parametrize(
    "form",
    [
        bytes,
        lambda key: key[::-1],
        lambda key: key.hex().encode(),
        lambda k: k.hex().upper().encode(),
    ],
)
def test_every_key_of_a_drive_is_found_in_every_form(form: Callable[[bytes], bytes]) -> None:
    bench = Target("model:native").bench()
    bench.run_all(parse_steps("set_pin-user-0,unlock-user-0"))
    firmware, state = bench.drive.firmware, bench.drive.board.embedded.memory
    assert firmware is not None and firmware.access.mek is not None
    mek, slot = firmware.access.mek, state.slots[0].live
    assert slot is not None and state.refund_key is not None

    for key in (mek, mek[:32], mek[32:], slot, state.refund_key, state.identity_seed):
        page = b"before" + form(key) + b"behind"
        assert secrets_in(bench, iter([("page 7", page)])), key.hex()


def test_forms_of_a_key_are_told_apart_and_a_page_of_noise_holds_none() -> None:
    bench = Target("model:native").bench()
    bench.run_all(parse_steps("set_pin-user-0,unlock-user-0"))

    assert len(set(key_needles(bytes(range(32))).values())) == 4
    assert secrets_in(bench, iter([("page 7", bytes(range(256)) * 16)])) == []
