"""Real content: a register of residents to store, and the search for it in a dump.

The register is shaped like the one lost in Amagasaki in June 2022: 465,177 residents with number,
name, birth date, address, account and tax figures. It is generated, the same on every machine, and
nobody's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words: TypeAlias = npt.NDArray[np.uint64]

RESIDENTS: Final = 465_177
RECORD_BYTES: Final = 128
BLOCK_BYTES: Final = 512
WINDOW_BYTES: Final = 16
DISTINCT_MIN: Final = 8  # a window of fewer different bytes stands in much that is no content
SLICE_RESIDENTS: Final = 16_384  # 2 MiB: what runs write of the register
CONTENT_BYTES_MAX: Final = 4 << 30
_PIECE: Final = 8  # bytes; a common window holds at least one whole aligned piece of the content
_CHUNK: Final = 4 << 20

_FAMILY: Final = (
    "ABE", "AOKI", "ENDO", "FUJII", "FUKUDA", "GOTO", "HARA", "HASEGAWA", "HAYASHI", "IKEDA",
    "INOUE", "ISHII", "ITO", "KATO", "KIMURA", "KOBAYASHI", "KONDO", "MAEDA", "MATSUMOTO", "MIURA",
    "MORI", "MURAKAMI", "NAKAGAWA", "NAKAMURA", "NISHIMURA", "OGAWA", "OKADA", "OTA", "SAITO",
    "SAKAMOTO", "SASAKI", "SATO", "SHIMIZU", "SUZUKI", "TAKAHASHI", "TANAKA", "UEDA", "WATANABE",
    "YAMADA", "YAMAMOTO",
)  # fmt: skip
_GIVEN: Final = (
    "AKIRA", "AOI", "AYUMI", "CHIE", "DAIKI", "EMI", "FUMIO", "HANA", "HARUKA", "HIROSHI",
    "ICHIRO", "JUN", "KAORI", "KAZUO", "KEIKO", "KENJI", "MAKOTO", "MARI", "MEGUMI", "MINORU",
    "NAOKI", "NOBORU", "REI", "RYO", "SAKURA", "SATOSHI", "SHOTA", "TADASHI", "TAKASHI", "YUKI",
)  # fmt: skip
_TOWN: Final = (
    "HIGASHI", "NISHI", "MINAMI", "KITA", "NAKA", "HON", "SHIN", "KAMI", "SHIMO", "OKI",
    "TSUKAGUCHI", "MUKO", "SONODA", "TACHIBANA", "OSHO", "INABA", "NANAMATSU", "KUISE",
)  # fmt: skip


class ContentError(ValueError):
    """A file can't be the content; the message says why."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is stored and searched for."""

    name: str
    data: bytes

    @property
    def block_count(self) -> int:
        """How many blocks of 512 bytes it fills."""
        return -(-len(self.data) // BLOCK_BYTES)

    def block(self, number: int) -> bytes:
        """Return one block; numbers beyond the end begin again."""
        return self.blocks(number % self.block_count, 1)

    def blocks(self, first: int, count: int) -> bytes:
        """Return blocks that follow each other; the last is filled with zeros."""
        end = (first + count) * BLOCK_BYTES
        return self.data[first * BLOCK_BYTES : end].ljust(count * BLOCK_BYTES, b"\0")

    @classmethod
    def register(cls) -> Content:
        """Return the whole register, 59.5 MB."""
        return cls(f"register of {RESIDENTS:,} residents", _register(0, RESIDENTS))

    @classmethod
    def register_slice(cls) -> Content:
        """Return the start of the register, 2 MiB: enough for runs."""
        return cls("slice of the register", _register(0, SLICE_RESIDENTS))

    @classmethod
    def of_file(cls, path: Path) -> Content:
        """Return a file of the user's; raise ContentError when it can't be the content."""
        try:
            size = path.stat().st_size
            if size > CONTENT_BYTES_MAX:
                raise ContentError(f"{path}: content of more than 4 GiB is not searched for")
            data = path.read_bytes()
        except OSError as refused:
            raise ContentError(f"{path}: {refused.strerror or refused}") from None
        blocks = {data[at : at + BLOCK_BYTES] for at in range(0, min(len(data), 1 << 20), 512)}
        if len(blocks) < 300:
            raise ContentError(
                f"{path}: too little to tell blocks apart: 300 different ones or more"
            )
        return cls(path.name, data)


def _draw(count: int, first: int, salt: int) -> Words:
    """Return 64 well-mixed bits for each number: SplitMix64 (Steele, Lea, Flood, 2014)."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = np.arange(first, first + count, dtype=np.uint64) + np.uint64(salt << 32)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@cache
def _register(first: int, count: int) -> bytes:
    """Return records of 128 characters: fixed fields between semicolons, a line each."""
    import numpy as np

    rows = np.full((count, RECORD_BYTES), ord(" "), np.uint8)
    numbers = np.arange(first, first + count, dtype=np.uint64)

    def digits(at: int, width: int, values: Words) -> None:
        for place in range(width):
            scale = np.uint64(10 ** (width - 1 - place))
            rows[:, at + place] = (values // scale % np.uint64(10)).astype(np.uint8) + ord("0")

    def words(at: int, width: int, table: tuple[str, ...], values: Words) -> None:
        padded = np.array([list(word[:width].ljust(width).encode()) for word in table], np.uint8)
        rows[:, at : at + width] = padded[(values % np.uint64(len(table))).astype(np.int64)]

    def draw(salt: int, least: int, most: int) -> Words:
        span = np.uint64(most - least + 1)
        return _draw(count, first, salt) % span + np.uint64(least)

    digits(0, 11, numbers * np.uint64(97) + np.uint64(10_000_000_019))
    words(12, 10, _FAMILY, _draw(count, first, 1))
    words(23, 8, _GIVEN, _draw(count, first, 2))
    digits(32, 4, draw(3, 1925, 2021))
    digits(36, 2, draw(4, 1, 12))
    digits(38, 2, draw(5, 1, 28))
    words(41, 10, _TOWN, _draw(count, first, 6))
    for at, width, salt, most in ((52, 1, 7, 9), (54, 2, 8, 40), (57, 4, 9, 1204)):
        digits(at, width, draw(salt, 1, most))
    digits(62, 4, draw(10, 1, 9999))
    digits(67, 3, draw(11, 1, 899))
    digits(71, 7, draw(12, 1_000_000, 9_999_999))
    for at, salt in ((79, 13), (88, 14), (97, 15)):
        digits(at, 8, draw(salt, 0, 19_999_999))
    digits(106, 10, _draw(count, first, 16) % np.uint64(10**10))
    digits(117, 9, _draw(count, first, 17) % np.uint64(10**9))
    for at in (11, 22, 31, 40, 51, 53, 56, 61, 66, 70, 78, 87, 96, 105, 116):
        rows[:, at] = ord(";")
    rows[:, 126] = ord(";")
    rows[:, 127] = ord("\n")
    return rows.tobytes()


class ContentIndex:
    """Content, prepared to be found: exact, at any alignment in content and dump."""

    def __init__(self, content: bytes) -> None:
        import numpy as np

        self._content = content
        pieces = np.frombuffer(content, "<u8", len(content) // _PIECE)
        self._pieces: Words = np.unique(pieces)
        self._shift = np.uint64(64 - max(12, int(self._pieces.size).bit_length() + 3))
        self._may = np.zeros(1 << int(np.uint64(64) - self._shift), np.bool_)
        self._may[self._hash(self._pieces)] = True
        self._judged: dict[bytes, int] = {}  # window -> where it stands in the content, or -1

    def _hash(self, pieces: Words) -> Words:
        import numpy as np

        with np.errstate(over="ignore"):
            return (pieces * np.uint64(0x9E3779B97F4A7C15)) >> self._shift

    def find(self, dump: bytes, at_most: int = 4) -> list[tuple[int, int]]:
        """Return offsets in dump and content of common windows: 16 bytes, 8 of them different."""
        found: list[tuple[int, int]] = []
        for begin in range(0, len(dump), _CHUNK):
            chunk = dump[begin : begin + _CHUNK + WINDOW_BYTES]
            for place in self._candidates(chunk):
                hit = self._around(chunk, place)
                if hit is not None:
                    found.append((begin + hit[0], hit[1]))
                    if len(found) == at_most:
                        return found
        return found

    def _candidates(self, chunk: bytes) -> Iterable[int]:
        """Give places in a chunk where some aligned piece of the content begins."""
        import numpy as np

        places: list[int] = []
        for shift in range(_PIECE):
            count = (len(chunk) - shift) // _PIECE
            if count <= 0:
                continue
            words = np.frombuffer(chunk, "<u8", count, shift)
            likely = np.flatnonzero(self._may[self._hash(words)])
            if likely.size:
                at = np.searchsorted(self._pieces, words[likely])
                at = np.minimum(at, self._pieces.size - 1)
                exact = likely[self._pieces[at] == words[likely]]
                places += (exact * _PIECE + shift).tolist()
        return sorted(places)

    def _around(self, chunk: bytes, place: int) -> tuple[int, int] | None:
        """Return the first common window that holds the piece at `place`."""
        for begin in range(max(place - _PIECE, 0), place + 1):
            window = chunk[begin : begin + WINDOW_BYTES]
            if len(window) < WINDOW_BYTES or len(set(window)) < DISTINCT_MIN:
                continue
            if window not in self._judged:
                self._judged[window] = self._content.find(window)
            if self._judged[window] >= 0:
                return begin, self._judged[window]
        return None


def pin_needles(pin: str) -> dict[str, bytes]:
    """Return the forms in which a PIN may stand somewhere, by their names."""
    forms = {"text": pin.encode(), "UTF-16": pin.encode("utf-16-le")}
    if pin.isdecimal():
        even = pin if len(pin) % 2 == 0 else pin + "0"
        packed = bytes.fromhex(even)
        forms["BCD"] = packed
        forms["BCD, low digit first"] = bytes((b & 0xF) << 4 | b >> 4 for b in packed)
        forms["one digit a byte"] = bytes(int(digit) for digit in pin)
    return forms


def find_needles(data: bytes, needles: Mapping[str, bytes]) -> list[str]:
    """Return the names of those that stand in `data`, forwards or backwards."""
    return [name for name, needle in needles.items() if needle in data or needle[::-1] in data]


def pins_in(content: Content, pins: Iterable[str]) -> list[str]:
    """Return the PINs that occur in the content, in any of their forms."""
    return [
        pin for pin in pins if any(needle in content.data for needle in pin_needles(pin).values())
    ]
