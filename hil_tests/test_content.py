"""Content and its search: what is planted is found at any alignment, and nothing else is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hil_tests.actions import PINS
from hil_tests.content import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    CONTENT_BYTES_MAX,
    Content,
    ContentError,
    ContentIndex,
    default_content,
    find_needles,
    load,
    pin_needles,
    pins_in,
)
from hil_tests.register import HEADER, RESIDENTS

REGISTER_SHA256 = "5dd13d28a28c3e2f4408d89ba2d30837a27abd13ca6eba4be55503f518f1fb68"
PAGE_BYTES = 4096


def noise(label: object, byte_count: int) -> bytes:
    """Return bytes that nobody wrote, always the same for a label."""
    return hashlib.shake_128(repr(label).encode()).digest(byte_count)


def shared_windows(content: bytes, dump: bytes) -> set[tuple[int, int]]:
    """Return all that the search may find, by comparing everything with everything."""
    origins: dict[bytes, list[int]] = {}
    for at in range(len(content) - 15):
        window = content[at : at + 16]
        if len(set(window)) >= 8:
            origins.setdefault(window, []).append(at)
    return {
        (at, origin)
        for at in range(len(dump) - 15)
        for origin in origins.get(dump[at : at + 16], ())
    }


# --- the register -------------------------------------------------------------------------------


def test_register_is_the_same_on_every_machine() -> None:
    assert hashlib.sha256(default_content().data).hexdigest() == REGISTER_SHA256


def test_register_is_a_csv_of_every_resident() -> None:
    lines = default_content().data.split(b"\r\n")

    assert lines.pop() == b""
    assert lines.pop(0) == HEADER.encode("cp932").rstrip()
    assert len(lines) == RESIDENTS
    assert {len(line) for line in lines} == {126}
    assert {line.count(b",") for line in lines} == {HEADER.count(",")}
    assert len({line[:10] for line in lines}) == RESIDENTS


def test_residents_have_names_birth_dates_addresses_accounts_and_taxes() -> None:
    line = default_content().data.split(b"\r\n")[1].decode("cp932")

    assert line == (
        "0000000017,10000001,ﾌｸﾀﾞ ｼｹﾞﾙ       ,福田\u3000茂\u3000\u3000\u3000,19741025,1,9990092,"
        "水車町\u3000\uff16丁目\uff14\uff10番,9903,166,1,2046437,02641166,092469"
    )


def test_register_holds_no_test_pin_in_any_form() -> None:
    assert pins_in(default_content().data) == ()


# --- the user's own -----------------------------------------------------------------------------


def test_own_file_is_content(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(b"the quick brown fox jumps over the lazy dog")

    content = load(path)

    assert content.name == "own.txt"
    assert content.block_count == 1
    assert content.blocks(0, 1) == path.read_bytes().ljust(BLOCK_BYTES, b"\0")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "too uniform"),
        (b"abcdefgh", "too uniform"),
        (bytes(100_000), "too uniform"),
        (b"1234567" * 1000, "too uniform"),
        (None, "no such file"),
    ],
)
def test_file_that_could_not_be_found_again_is_refused(
    tmp_path: Path, data: bytes | None, why: str
) -> None:
    path = tmp_path / "own.bin"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(ContentError, match=why):
        load(path)


def test_folder_is_refused_as_content(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="not a file"):
        load(tmp_path)


def test_file_that_is_too_large_to_index_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as stream:
        stream.truncate(CONTENT_BYTES_MAX + 1)

    with pytest.raises(ContentError, match="at most 128 MiB"):
        load(path)


def test_empty_content_is_refused() -> None:
    with pytest.raises(ContentError, match="nothing in it"):
        Content("nothing", b"")


def test_content_that_holds_a_test_pin_is_told() -> None:
    assert pins_in(b"account " + PINS[2].encode() + b", closed") == (PINS[2],)


@pytest.mark.parametrize("data", [b"a few words only", bytes(5000), noise("file", 700) * 3])
def test_every_block_that_a_run_can_name_is_different(data: bytes) -> None:
    content = Content("short", data)

    blocks = [content.block(number) for number in range(10_100)]

    assert len(set(blocks)) == len(blocks)
    assert {len(block) for block in blocks} == {BLOCK_BYTES}


def test_blocks_of_the_register_are_stored_as_they_are() -> None:
    content = default_content()

    assert content.slice(0, 10_100) == content.data[: 10_100 * BLOCK_BYTES]


# --- windows ------------------------------------------------------------------------------------


@given(st.data())
def test_window_planted_at_any_offset_is_found(data: st.DataObject) -> None:
    content = noise("content", 3000)
    origin = data.draw(st.integers(0, len(content) - 16), label="offset in the content")
    at = data.draw(st.integers(0, PAGE_BYTES - 16), label="offset in the page")
    page = bytearray(noise("page", PAGE_BYTES))
    page[at : at + 16] = content[origin : origin + 16]

    assert (at, origin) in ContentIndex(content).find(bytes(page))


@given(st.integers(0, 3000 - 16), st.integers(0, PAGE_BYTES - 16), st.integers(0, 15))
def test_window_with_one_wrong_byte_is_not_found(origin: int, at: int, wrong: int) -> None:
    content = noise("content", 3000)
    page = bytearray(noise("page", PAGE_BYTES))
    page[at : at + 16] = content[origin : origin + 16]
    page[at + wrong] ^= 0x80

    # Not even 15 equal bytes are a finding, unless the byte beside them is equal by chance.
    assert set(ContentIndex(content).find(bytes(page))) == shared_windows(content, bytes(page))


@given(st.integers(0, 1 << 32))
def test_noise_has_no_finding(seed: int) -> None:
    index = ContentIndex(noise("content", 3000))

    assert index.find(noise(seed, 16 * PAGE_BYTES)) == []


FEW_LETTERS = st.text("abcdefghij", max_size=120).map(str.encode)


@given(FEW_LETTERS, FEW_LETTERS, st.integers(0, 120), st.integers(0, 120))
def test_search_agrees_with_comparing_everything(
    content: bytes, dump: bytes, first: int, last: int
) -> None:
    mixed = dump[:first] + content[first:last] + dump[first:]
    shared = shared_windows(content, mixed)

    found = set(ContentIndex(content).find(mixed))

    assert found <= shared
    assert bool(found) == bool(shared)


# Pieces that stand in very many places, where comparing pair by pair would take for ever.
TOKENS = st.sampled_from([b"00000000", b"abcdefgh", b"ijkl    ", b"x", b"yz1"])
WORDY = st.lists(TOKENS, min_size=1, max_size=12).map(b"".join)


@given(WORDY, WORDY, st.integers(1, 60))
@example(b"00000000abcdefgh", b"00000000abcdefgx", 60)
@example(b"00000000abcdefgh", b"x00000000abcdefgh", 60)
def test_common_pieces_are_searched_as_exactly(content: bytes, dump: bytes, repeats: int) -> None:
    much = (content + b"%") * repeats
    shared = shared_windows(much, dump)

    found = set(ContentIndex(much).find(dump))

    assert found <= shared
    assert bool(found) == bool(shared)


@given(st.lists(st.integers(0, 255), min_size=7, max_size=7), st.data())
def test_window_of_seven_distinct_bytes_is_filling(values: list[int], data: st.DataObject) -> None:
    filling = bytes(data.draw(st.lists(st.sampled_from(values), min_size=16, max_size=64)))

    assert ContentIndex(filling).find(filling) == []


def test_window_of_eight_distinct_bytes_is_content() -> None:
    window = b"01234567" + b"0" * 8

    assert ContentIndex(window).find(b"-" + window) == [(1, 0)]


@pytest.mark.parametrize("before", range(-16, 17))
def test_window_across_parts_of_a_large_dump_is_found(before: int) -> None:
    content = noise("content", 64)
    dump = bytearray(2 * CHUNK_BYTES)
    at = CHUNK_BYTES + before
    dump[at : at + 16] = content[7:23]

    assert ContentIndex(content).find(bytes(dump)) == [(at, 7)]


def test_too_short_content_and_too_short_dumps_share_nothing() -> None:
    assert ContentIndex(b"").find(noise("page", 100)) == []
    assert ContentIndex(b"0123456789abcde").find(b"0123456789abcde") == []
    assert ContentIndex(b"0123456789abcdef").find(b"0123456789abcde") == []
    assert ContentIndex(b"0123456789abcdef").find(b"") == []


def test_any_window_of_the_whole_register_is_found_and_noise_is_not() -> None:
    data = default_content().data
    index = ContentIndex(data)
    origins = [
        origin
        for origin in range(1, len(data) - 16, len(data) // 61)
        if len(set(data[origin : origin + 16])) >= 8
    ]

    assert len(origins) > 40
    assert index.find(noise("dump", 1 << 20)) == []
    for at, origin in enumerate(origins):
        window = data[origin : origin + 16]
        page = noise(at, at) + window + noise(origin, PAGE_BYTES)
        found = index.find(page)
        assert found, f"the window at {origin} is missed"
        for here, there in found:
            assert page[here : here + 16] == data[there : there + 16]


# --- PINs and keys ------------------------------------------------------------------------------


def test_pin_has_the_forms_that_firmware_keeps_it_in() -> None:
    needles = pin_needles("840295713602")

    assert needles["text"] == b"840295713602"
    assert needles["UTF-16LE"].startswith(b"8\x004\x00")
    assert needles["BCD"] == bytes.fromhex("840295713602")
    assert needles["swapped BCD"] == bytes.fromhex("482059176320")
    assert needles["a byte a digit"][:3] == bytes((8, 4, 0))
    assert needles["USB key codes"][:3] == bytes((0x25, 0x21, 0x27))
    assert needles["big-endian number"] == (840295713602).to_bytes(8, "big")


def test_odd_pin_is_padded_to_whole_bytes() -> None:
    needles = pin_needles("1234567890123")

    assert needles["BCD"] == bytes.fromhex("01234567890123")
    assert needles["BCD with filler"] == bytes.fromhex("1234567890123f")


def test_form_that_noise_could_hold_is_left_out() -> None:
    assert "BCD" not in pin_needles("12345678")


@given(st.sampled_from(PINS), st.integers(0, 3 * CHUNK_BYTES), st.data())
@example(PINS[0], CHUNK_BYTES - 3, None)
@example(PINS[0], 3 * CHUNK_BYTES, None)
def test_needle_is_found_anywhere_in_small_and_large_data(
    pin: str, at: int, data: st.DataObject | None
) -> None:
    needles = pin_needles(pin)
    form = "text" if data is None else data.draw(st.sampled_from(sorted(needles)))
    haystack = bytes(at) + needles[form]

    assert form in find_needles(haystack, needles)
    assert form in find_needles(haystack + bytes(5), needles)
    assert form not in find_needles(haystack[:-1], needles)


def test_short_needle_at_the_end_of_large_data_is_found() -> None:
    assert find_needles(bytes(2 * CHUNK_BYTES) + b"ab", {"short": b"ab"}) == ["short"]


def test_keys_are_found_by_their_names() -> None:
    keys = {"MEK": noise("mek", 64), "KEK": noise("kek", 32)}

    assert find_needles(noise("page", 100) + keys["KEK"], keys) == ["KEK"]
