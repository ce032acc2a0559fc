"""A picture of a dump: the Shannon entropy of its pages, in the areas they are in.

Ciphertext is of one even colour. What shows in it is not ciphertext: text, filling, a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from firmware_model.firmware.layout import Layout
from firmware_model.firmware.policy import Policy
from firmware_model.hardware.cells import ERASED
from firmware_model.hardware.nand import Nand
from hil_tests.remnants import key_records

BITS_MAX: Final = 8.0  # of entropy in a byte
COLUMNS: Final = 64
ROWS_MAX: Final = 16  # of an area
PAGES_AT_ONCE: Final = 64
TITLES: Final = {
    "keys": "Wrapped keys",
    "log": "Attempt log",
    "firmware": "Firmware",
    "data": "Data",
}

CELL: Final = 10  # user units of the picture
LEFT: Final = 10
# Viridis, in sixteen steps: even to the eye, and to those who see few colours.
COLOURS: Final = (
    "#440154",
    "#481a6c",
    "#472f7d",
    "#414487",
    "#39568c",
    "#31688e",
    "#2a788e",
    "#23888e",
    "#1f988b",
    "#22a884",
    "#35b779",
    "#54c568",
    "#7ad151",
    "#a5db36",
    "#d2e21b",
    "#fde725",
)
ERASED_FILL: Final = 'fill="#8a929a" fill-opacity=".22"'
RETIRED: Final = "#d81b60"


def entropies(pages: Sequence[bytes]) -> NDArray[np.float64]:
    """Return the bits of entropy of a byte of each page, 0 to 8; all are of one length, not 0."""
    size = len(pages[0])
    values = np.frombuffer(b"".join(pages), np.uint8).reshape(-1, size)
    places = values + 256 * np.arange(len(pages))[:, None]
    counts = np.bincount(places.ravel(), minlength=256 * len(pages)).reshape(-1, 256)
    # A byte that does not occur adds nothing: 0 times the logarithm of 1.
    bits: NDArray[np.float64] = np.log2(size) - (counts * np.log2(np.maximum(counts, 1))).sum(
        axis=1
    ) / float(size)
    return np.abs(bits)  # of a page of one value, -0.0 otherwise


@dataclass(slots=True)
class Panel:
    """One area: cells of one or more pages each, in order."""

    title: str
    first_page: int
    page_count: int
    pages_per_cell: int
    total: NDArray[np.float64] = field(init=False)  # of the entropies in a cell
    programmed: NDArray[np.int64] = field(init=False)  # pages in a cell
    is_retired: NDArray[np.bool_] = field(init=False)
    marked: set[int] = field(init=False, default_factory=set)  # cells

    def __post_init__(self) -> None:
        cells = -(-self.page_count // self.pages_per_cell)
        self.total = np.zeros(cells)
        self.programmed = np.zeros(cells, np.int64)
        self.is_retired = np.zeros(cells, np.bool_)

    @property
    def mean(self) -> float | None:
        """Bits of entropy of a byte, in the middle of all programmed pages; None without any."""
        count = int(self.programmed.sum())
        return float(self.total.sum()) / count if count else None


class EntropyMap:
    """Takes in pages in any order; what it keeps grows with the picture, not with the flash."""

    def __init__(self, policy: Policy) -> None:
        layout = Layout.of(policy)
        block_pages = self._block_pages = layout.geometry.block_pages
        self.panels: dict[str, Panel] = {}
        for name, blocks in layout.areas.items():
            count = len(blocks) * block_pages
            needed = -(-count // (COLUMNS * ROWS_MAX))
            pages_per_cell = 1 << (needed - 1).bit_length()
            title = TITLES.get(name, name.capitalize())
            first = blocks.start * block_pages
            self.panels[name] = Panel(title, first, count, pages_per_cell)
        self._waiting: list[tuple[int, bytes]] = []

    def add(self, page: int, data: bytes) -> None:
        """Take in a page that is not erased."""
        self._waiting.append((page, data))
        if len(self._waiting) == PAGES_AT_ONCE:
            self._take_in()

    def mark(self, page: int) -> None:
        """Put a dot where a page is."""
        panel, cell = self._cell(page)
        panel.marked.add(cell)

    def retire(self, block: int) -> None:
        """Frame a block that is marked bad."""
        for page in (block * self._block_pages, (block + 1) * self._block_pages - 1):
            panel, cell = self._cell(page)
            panel.is_retired[cell] = True
        first = self._cell(block * self._block_pages)[1]
        panel.is_retired[first : cell + 1] = True

    def svg(self, *, is_file: bool = False) -> str:
        """Return the picture as an SVG element for a page, or as a file of its own."""
        self._take_in()
        parts: list[str] = []
        y = 0
        for panel in self.panels.values():
            parts += _panel(panel, y)
            y += 34 + -(-len(panel.total) // COLUMNS) * CELL
        parts += _legend(y + 14)
        namespace = ' xmlns="http://www.w3.org/2000/svg"' if is_file else ""
        width, height = COLUMNS * CELL + 2 * LEFT, y + 62
        return "\n".join(
            (
                f'<svg{namespace} viewBox="0 0 {width} {height}"'
                f' width="{width}" height="{height}" color="#1b2126" role="img"'
                ' font-family="system-ui, sans-serif" font-size="12">',
                f"<title>{escape(self.told())}</title>",
                *parts,
                "</svg>",
            )
        )

    def told(self) -> str:
        """Return in words what the picture shows."""
        self._take_in()
        parts = []
        for panel in self.panels.values():
            said = "erased" if panel.mean is None else f"{panel.mean:.2f} bits a byte"
            parts.append(f"{panel.title.lower()}: {said}")
        return f"Entropy of the flash, {', '.join(parts)}"

    def _cell(self, page: int) -> tuple[Panel, int]:
        for panel in self.panels.values():
            if panel.first_page <= page < panel.first_page + panel.page_count:
                return panel, (page - panel.first_page) // panel.pages_per_cell
        raise ValueError(f"there is no page {page}")

    def _take_in(self) -> None:
        if not self._waiting:
            return
        bits = entropies([data for _, data in self._waiting])
        for (page, _), each in zip(self._waiting, bits.tolist(), strict=True):
            panel, cell = self._cell(page)
            panel.total[cell] += each
            panel.programmed[cell] += 1
        self._waiting.clear()


def map_of(nand: Nand, policy: Policy) -> EntropyMap:
    """Return the picture of a part, its wrapped keys and retired blocks marked."""
    picture = EntropyMap(policy)
    for page, data, _ in nand.contents():
        picture.add(page, data.ljust(nand.geometry.page_bytes, ERASED))
        if any(key_records(data)):
            picture.mark(page)
    for block in nand.cells.blocks():
        if nand.is_bad(block):
            picture.retire(block)
    return picture


def _panel(panel: Panel, y: int) -> Iterator[str]:
    """Draw an area below `y`."""
    pages = f"{panel.pages_per_cell} page{'s' if panel.pages_per_cell > 1 else ''}"
    mean = "erased" if panel.mean is None else f"mean {panel.mean:.2f} bits"
    said = f"{panel.page_count:,} pages, {pages} a square, {mean}"
    yield (
        f'<text x="{LEFT}" y="{y + 22}" fill="currentColor"><tspan font-weight="600">'
        f'{escape(panel.title)}</tspan> <tspan fill-opacity=".75">{said}</tspan></text>'
    )
    top = y + 30
    cells = len(panel.total)
    means = panel.total / np.maximum(panel.programmed, 1)
    steps = np.minimum(means * len(COLOURS) / BITS_MAX, len(COLOURS) - 1).astype(int)
    levels = np.where(panel.programmed > 0, steps, -1).tolist()
    erased = _runs((at for at in range(cells) if levels[at] < 0), top)
    if erased:
        yield f'<path {ERASED_FILL} d="{erased}"/>'
    for level, colour in enumerate(COLOURS):
        path = _runs((at for at in range(cells) if levels[at] == level), top)
        if path:
            yield f'<path fill="{colour}" d="{path}"/>'
    retired = _runs(np.flatnonzero(panel.is_retired).tolist(), top)
    if retired:
        yield f'<path fill="none" stroke="{RETIRED}" stroke-width="1.6" d="{retired}"/>'
    for cell in sorted(panel.marked):
        x, row = LEFT + cell % COLUMNS * CELL + CELL // 2, top + cell // COLUMNS * CELL + CELL // 2
        yield _dot(x, row)


def _runs(cells: Iterable[int], top: int) -> str:
    """Return a path round cells, in order, those side by side in one piece."""
    runs: list[list[int]] = []
    for cell in cells:
        if runs and cell == sum(runs[-1]) and cell % COLUMNS:
            runs[-1][1] += 1
        else:
            runs.append([cell, 1])
    return "".join(
        f"M{LEFT + cell % COLUMNS * CELL} {top + cell // COLUMNS * CELL}"
        f"h{count * CELL}v{CELL}h-{count * CELL}z"
        for cell, count in runs
    )


def _dot(x: int, y: int) -> str:
    return f'<circle cx="{x}" cy="{y}" r="2.6" fill="#fff" stroke="#000" stroke-width="1"/>'


def _legend(y: int) -> Iterator[str]:
    """Draw what the colours stand for."""
    width = 12
    for level, colour in enumerate(COLOURS):
        yield f'<path fill="{colour}" d="M{LEFT + level * width} {y}h{width}v10h-{width}z"/>'
    for bits in range(0, 9, 2):
        x = LEFT + bits * len(COLOURS) * width // 8
        anchor = {0: "start", 8: "end"}.get(bits, "middle")
        unit = " bits a byte" if bits == 8 else ""
        yield _text(x + (70 if bits == 8 else 0), y + 26, f"{bits}{unit}", anchor)
    x = LEFT + 300
    yield f'<path {ERASED_FILL} d="M{x} {y}h10v10h-10z"/>'
    yield _text(x + 16, y + 10, "erased")
    yield (
        f'<path fill="none" stroke="{RETIRED}" stroke-width="1.6" d="M{x + 76} {y}h10v10h-10z"/>'
    )
    yield _text(x + 92, y + 10, "retired block")
    yield _dot(x + 186, y + 5)
    yield _text(x + 196, y + 10, "wrapped key")


def _text(x: int, y: int, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="currentColor" text-anchor="{anchor}">{text}</text>'
