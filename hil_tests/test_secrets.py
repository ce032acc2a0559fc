"""Keys in a dump: which count, and in which form."""

from collections.abc import Callable

import pytest

from hil_tests.actions import parse_steps
from hil_tests.bench.forensics import derived_secrets
from hil_tests.bench.probes import key_needles, needles_of, secrets_in, split_secrets_in
from hil_tests.remnants import DumpPage
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
        assert secrets_in(needles_of(bench), iter([("page 7", page)])), key.hex()


def test_forms_of_a_key_are_told_apart_and_a_page_of_noise_holds_none() -> None:
    bench = Target("model:native").bench()
    bench.run_all(parse_steps("set_pin-user-0,unlock-user-0"))

    assert len(set(key_needles(bytes(range(32))).values())) == 4
    assert secrets_in(needles_of(bench), iter([("page 7", bytes(range(256)) * 16)])) == []


def test_what_leads_from_a_pin_to_the_key_counts_as_a_secret_for_old_pins_too() -> None:
    bench = Target("model:native").bench()
    bench.run_all(parse_steps("set_pin-user-0,unlock-user-0,set_pin-user-1"))

    kinds = [name.split()[0] for name in derived_secrets(bench)]

    assert kinds.count("KEK") == kinds.count("answer") == 2
    assert kinds.count("PIN") == 2
    kek = derived_secrets(bench)["KEK of USER 1 of epoch 0"]
    assert secrets_in(needles_of(bench), iter([("page 7", kek)])) == [
        "KEK of USER 1 of epoch 0 in page 7"
    ]


KEY = bytes(range(64))
NEEDLES = {"key": KEY}


def page(number: int, data: bytes, spare: bytes = b"", place: int = 0) -> DumpPage:
    """Return a page of the log, with its place in the ring."""
    record = b"\xb1" + place.to_bytes(8, "big")
    return DumpPage(number, "log", False, data, (spare or record).ljust(32, b"\xff"))


@pytest.mark.parametrize("at", [1, 16, 32, 63])
@pytest.mark.parametrize(
    ("parted", "where"),
    [
        (lambda a, b: [page(4, b"x" + a), page(5, b + b"x")], "page after page"),
        (lambda a, b: [page(4, b + b"x", place=9), page(70, b"x" + a, place=8)], "the log"),
        (lambda a, b: [page(4, b"x" + a, b.ljust(64, b"x"))], "pages with their spare areas"),
    ],
)
def test_key_is_found_across_the_ends_of_pages(
    parted: Callable[[bytes, bytes], list[DumpPage]], where: str, at: int
) -> None:
    found = split_secrets_in(NEEDLES, parted(KEY[:at], KEY[at:]))

    assert any(said.startswith(f"key across {where}") for said in found)


def test_key_is_found_in_spare_area_after_spare_area() -> None:
    pages = [page(number, b"", KEY[at : at + 32]) for number, at in ((8, 0), (9, 32))]

    assert "key across spare area after spare area" in split_secrets_in(NEEDLES, pages)


def test_key_within_a_page_is_no_split_one() -> None:
    assert split_secrets_in(NEEDLES, [page(4, KEY), page(5, KEY)]) == []
