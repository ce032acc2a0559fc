"""What is stored on a drive under test, and the exact search for it in dumps of its flash.

Content stands in a dump when the two share a window of 16 bytes at any alignment, of which 8 or
more are distinct: fewer are filling, found everywhere. PINs and keys are searched as needles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil_tests.actions import PINS
from hil_tests.register import RESIDENTS, register

BLOCK_BYTES: Final = 512
WINDOW_BYTES: Final = 16
DISTINCT_MIN: Final = 8
PIECE_BYTES: Final = 8
NUMBERED: Final = 16_384  # blocks that runs may take by number, all of them different
CONTENT_BYTES_MAX: Final = 128 << 20  # beyond, the index would not leave memory for others
HEAD_BYTES: Final = 4
NEEDLE_BYTES_MIN: Final = 6  # fewer stand in 64 MiB of noise by chance

CHUNK_BYTES: Final = 1 << 18  # numpy's scratch stays in the cache
AT_ONCE: Final = 16_384  # candidates
FEW: Final = 32  # places of a piece that are compared one by one
NEIGHBOURS_MAX: Final = 4 << 20
TABLE_BITS_MAX: Final = 27
SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Places = NDArray[np.int64]


class ContentError(ValueError):
    """A file that can't serve as content: says why."""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to store, in blocks of 512. Compared and shown by name."""

    name: str
    data: bytes = field(repr=False)
    _stamped: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.data:
            raise ContentError(f"{self.name}: there is nothing in it")
        seen: set[bytes] = set()
        stamped = set()
        for number in range(min(NUMBERED, self.block_count)):
            block = self.blocks(number, 1)
            if block in seen or len(set(block)) < DISTINCT_MIN:
                stamped.add(number)
            seen.add(block)
        object.__setattr__(self, "_stamped", frozenset(stamped))

    @property
    def block_count(self) -> int:
        return -(-len(self.data) // BLOCK_BYTES)

    def blocks(self, first: int, count: int) -> bytes:
        """Return `count` blocks as they are, the last one padded with zeros."""
        data = self.data[first * BLOCK_BYTES : (first + count) * BLOCK_BYTES]
        return data + bytes(-len(data) % BLOCK_BYTES)

    def block(self, number: int) -> bytes:
        """Return the block that runs know by `number`: all below 16,384 are different.

        A run must tell by a block's bytes which one it is. So beyond the end of short content its
        blocks come again, and these, repeated blocks and blocks of filling end in a stamp.
        """
        block = self.blocks(number % self.block_count, 1)
        if number < self.block_count and number not in self._stamped:
            return block
        stamp = b"block %09d\n" % number
        return block[: -len(stamp)] + stamp

    def slice(self, first: int, count: int) -> bytes:
        """Return blocks `first` to `first + count - 1` as runs write them."""
        return b"".join(self.block(number) for number in range(first, first + count))


@cache
def default_content() -> Content:
    """Return the register of 465,177 residents, about 60 MB; built once in a process."""
    return Content(f"register of {RESIDENTS:,} invented residents", register())


def load(path: Path) -> Content:
    """Return a file of the user's as content; raise ContentError where it can't serve."""
    try:
        if not path.is_file():
            raise ContentError(f"{path}: {'not a' if path.exists() else 'no such'} file")
        if path.stat().st_size > CONTENT_BYTES_MAX:
            raise ContentError(f"{path}: content has at most {CONTENT_BYTES_MAX >> 20} MiB")
        data = path.read_bytes()
    except OSError as refused:
        raise ContentError(f"{path}: {refused.strerror}") from None
    if not any(part.any() for part in _rich_windows(np.frombuffer(data, np.uint8))):
        raise ContentError(f"{path}: too uniform, it could not be told from filling in a dump")
    return Content(path.name, data)


# --- PINs and keys ------------------------------------------------------------------------------


def pin_needles(pin: str) -> dict[str, bytes]:
    """Return a PIN in every usual form, by the form's name; forms below 6 bytes are left out."""
    text = pin.encode()
    needles = {
        "text": text,
        "UTF-16LE": pin.encode("utf-16-le"),
        "UTF-16BE": pin.encode("utf-16-be"),
        "its MD5": hashlib.md5(text, usedforsecurity=False).digest(),
        "its SHA-1": hashlib.sha1(text, usedforsecurity=False).digest(),
        "its SHA-256": hashlib.sha256(text).digest(),
    }
    if pin.isascii() and pin.isdigit():
        digits = [int(digit) for digit in pin]
        filled = pin + "f" * (len(pin) % 2)
        needles |= {
            "BCD": bytes.fromhex("0" * (len(pin) % 2) + pin),
            "BCD with filler": bytes.fromhex(filled),
            "swapped BCD": bytes.fromhex("".join(b + a for a, b in _two_by_two(filled))),
            "a byte a digit": bytes(digits),
            "USB key codes": bytes(0x1E + (digit - 1) % 10 for digit in digits),
            "USB keypad codes": bytes(0x59 + (digit - 1) % 10 for digit in digits),
        }
        if len(pin) <= 19:
            needles["big-endian number"] = int(pin).to_bytes(8, "big")
            needles["little-endian number"] = int(pin).to_bytes(8, "little")
    return {form: needle for form, needle in needles.items() if len(needle) >= NEEDLE_BYTES_MIN}


def _two_by_two(text: str) -> Iterator[tuple[str, str]]:
    return zip(text[::2], text[1::2], strict=True)


def find_needles(data: bytes, needles: Mapping[str, bytes]) -> list[str]:
    """Return the names of the needles that stand in `data`."""
    if len(data) <= CHUNK_BYTES:
        return [name for name, needle in needles.items() if needle in data]
    heads = {needle: int.from_bytes(needle[:HEAD_BYTES], "little") for needle in needles.values()}
    standing = _heads_in(data, set(heads.values()))
    return [
        name
        for name, each in needles.items()
        if (heads[each] in standing or len(each) < HEAD_BYTES) and each in data
    ]


def _heads_in(data: bytes, heads: set[int]) -> set[int]:
    """Return which 4 bytes, read as little-endian numbers, stand in `data`: one look for all."""
    table = np.zeros(1 << 16, np.bool_)
    table[[head & 0xFFFF for head in heads]] = True
    found: set[int] = set()
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES + HEAD_BYTES - 1]
        chunk = chunk.ljust(2 * HEAD_BYTES, b"\0")
        low = np.ndarray(len(chunk) - HEAD_BYTES + 1, "<u2", chunk, strides=(1,))
        whole = np.ndarray(len(low), "<u4", chunk, strides=(1,))
        found.update(np.unique(whole[table[low]]).tolist())
    return found & heads


def pins_in(content: bytes, pins: Iterable[str] = PINS) -> tuple[str, ...]:
    """Return the PINs that content holds in some form: finding these in data proves nothing."""
    return tuple(pin for pin in pins if find_needles(content, pin_needles(pin)))


# --- content ------------------------------------------------------------------------------------


def _rich_windows(data: Bytes) -> Iterator[NDArray[np.bool_]]:
    """Give, chunk by chunk, whether the 16 bytes from each place on have 8 or more distinct.

    A window's distinct bytes are those whose last equal byte lies before the window.
    """
    for start in range(0, len(data) - WINDOW_BYTES + 1, CHUNK_BYTES):
        part = data[start : start + CHUNK_BYTES + WINDOW_BYTES - 1]
        gap = np.full(len(part), WINDOW_BYTES, np.uint8)  # back to the last equal byte
        for back in range(1, WINDOW_BYTES):
            is_equal = (part[back:] == part[:-back]).view(np.uint8)
            np.minimum(gap[back:], WINDOW_BYTES - is_equal * (WINDOW_BYTES - back), out=gap[back:])
        windows = len(part) - WINDOW_BYTES + 1
        distinct = np.zeros(windows, np.uint8)
        for place in range(WINDOW_BYTES):
            distinct += gap[place : place + windows] > place
        yield distinct >= DISTINCT_MIN


def _windows_at(data: Bytes, places: Places) -> Bytes:
    """Return the 16 bytes from each place on, a row each."""
    return np.asarray(data[places[:, None] + np.arange(WINDOW_BYTES)])


def _are_rich(windows: Bytes) -> NDArray[np.bool_]:
    ordered = np.sort(windows, axis=1)
    distinct = (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) + 1
    return np.asarray(distinct >= DISTINCT_MIN)


class ContentIndex:
    """Content, prepared to be found in any number of dumps.

    Each window of 16 bytes holds a whole piece of 8 that begins at a multiple of 8 of the content,
    at most 7 bytes after the window does. Only such pieces are indexed; a dump is looked through
    at every byte, and where a piece stands, the window around it decides.
    """

    def __init__(self, content: bytes) -> None:
        self._content: Bytes = np.frombuffer(content, np.uint8)
        numbers = np.flatnonzero(self._serving())
        words = np.ndarray(len(content) // PIECE_BYTES, "<u8", content)[numbers]
        order = np.argsort(words, kind="stable")
        self._pieces: Words = words[order]
        self._places = (numbers[order] * PIECE_BYTES).astype(np.int32)
        bits = min(TABLE_BITS_MAX, max(10, (len(words) * 16).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[self._hash(self._pieces)] = True
        self._neighbours: dict[int, list[tuple[Words, Places]]] = {}
        self._neighbour_count = 0

    def _serving(self) -> NDArray[np.bool_]:
        """Return whether each piece is the first one of some window that counts."""
        before = np.zeros(PIECE_BYTES - 1, np.bool_)
        rich = np.concatenate((before, *_rich_windows(self._content)))
        rows = np.concatenate((rich, np.zeros(-len(rich) % PIECE_BYTES, np.bool_)))
        return np.asarray(rows.view(np.uint64) != 0)

    def _hash(self, words: Words) -> NDArray[np.int64]:
        return (words * SPREAD >> self._shift).view(np.int64)

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Return places in `data` and in the content of some windows they share; none: no window.

        All places come from one part of `data`: a dump of plaintext is told by its first bytes.
        """
        if not len(self._pieces):
            return []
        for start in range(0, len(data) - WINDOW_BYTES + 1, CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES + WINDOW_BYTES - 1]
            words: Words = np.ndarray(len(chunk) - PIECE_BYTES + 1, "<u8", chunk, strides=(1,))
            hits = np.flatnonzero(self._table[self._hash(words)])
            starts = (0, *range(FEW, len(hits), AT_ONCE))  # what is everywhere is found at once
            for begin, end in zip(starts, (*starts[1:], len(hits)), strict=True):
                at = hits[begin:end]
                first = np.searchsorted(self._pieces, words[at])
                is_piece = self._pieces[np.minimum(first, len(self._pieces) - 1)] == words[at]
                found = self._around(chunk, at[is_piece], first[is_piece])
                if found:
                    return sorted((start + place, origin) for place, origin in found)
        return []

    def _around(self, chunk: bytes, at: Places, first: Places) -> list[tuple[int, int]]:
        """Return shared windows around pieces that stand `at` places of a chunk."""
        if not len(at):
            return []
        data = np.frombuffer(chunk, np.uint8)
        count = np.searchsorted(self._pieces, self._pieces[first], side="right") - first
        few = np.where(count <= FEW, count, 0)
        pair = np.repeat(np.arange(len(at)), few)
        rank = np.arange(len(pair)) - np.repeat(np.cumsum(few) - few, few)
        found = self._shared(data, at[pair], self._places[first[pair] + rank].astype(np.int64))
        if found:
            return found
        many = np.flatnonzero(count > FEW)
        for group in np.unique(first[many]).tolist():
            members = many[first[many] == group]
            found = self._shared_of_many(data, at[members], group, int(count[members[0]]))
            if found:
                return found
        return []

    def _shared(self, data: Bytes, at: Places, places: Places) -> list[tuple[int, int]]:
        """Return the windows that count around equal pieces, compared pair by pair."""
        left = _reach(data, at, self._content, places, range(-1, -PIECE_BYTES, -1))
        right = _reach(data, at, self._content, places, range(PIECE_BYTES, WINDOW_BYTES))
        found = []
        for before in range(PIECE_BYTES):
            pairs = np.flatnonzero((left >= before) & (right >= PIECE_BYTES - before))
            if len(pairs):
                rich = _are_rich(_windows_at(self._content, places[pairs] - before))
                for pair in pairs[rich][:PIECE_BYTES].tolist():
                    found.append((int(at[pair]) - before, int(places[pair]) - before))
        return found

    def _shared_of_many(
        self, data: Bytes, at: Places, group: int, count: int
    ) -> list[tuple[int, int]]:
        """Return the windows that count around a piece with many places, by their other bytes."""
        if group not in self._neighbours:
            if self._neighbour_count > NEIGHBOURS_MAX:
                self._neighbours.clear()
                self._neighbour_count = 0
            self._neighbour_count += count
            self._neighbours[group] = [
                self._others(group, count, before) for before in range(PIECE_BYTES)
            ]
        found = []
        for before, (others, origins) in enumerate(self._neighbours[group]):
            starts = at - before
            starts = starts[(starts >= 0) & (starts <= len(data) - WINDOW_BYTES)]
            seen = _without_piece(_windows_at(data, starts), before)
            rank = np.searchsorted(others, seen)
            is_shared = np.append(others, np.uint64(0))[rank] == seen
            is_shared &= rank < len(others)
            for which in np.flatnonzero(is_shared)[:PIECE_BYTES].tolist():
                found.append((int(starts[which]), int(origins[rank[which]])))
        return found

    def _others(self, group: int, count: int, before: int) -> tuple[Words, Places]:
        """Return what stands around a piece in windows that begin `before` bytes earlier."""
        origins = self._places[group : group + count].astype(np.int64) - before
        origins = origins[(origins >= 0) & (origins <= len(self._content) - WINDOW_BYTES)]
        windows = _windows_at(self._content, origins)
        rich = _are_rich(windows)
        others, first = np.unique(_without_piece(windows[rich], before), return_index=True)
        return others, origins[rich][first]


def _reach(
    data: Bytes, at: Places, content: Bytes, places: Places, steps: range
) -> NDArray[np.int64]:
    """Return how many bytes in a row are equal in both, by the offsets `steps`."""
    reach = np.zeros(len(at), np.int64)
    going = np.ones(len(at), np.bool_)
    for step in steps:
        there, here = at + step, places + step
        going &= (there >= 0) & (here >= 0) & (there < len(data)) & (here < len(content))
        going &= data.take(there, mode="clip") == content.take(here, mode="clip")
        reach += going
    return reach


def _without_piece(windows: Bytes, before: int) -> Words:
    """Return the 8 bytes of each window that are not the piece `before` bytes into it."""
    rest = np.concatenate((windows[:, :before], windows[:, before + PIECE_BYTES :]), axis=1)
    return np.ascontiguousarray(rest).view(np.uint64).reshape(len(windows))
