"""The picture of a dump: entropy by page, in areas, as SVG that asks for nothing."""

import math
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.firmware.policy import Policy
from hil_tests.entropy_map import COLOURS, COLUMNS, ROWS_MAX, EntropyMap, entropies, map_of
from hil_tests.report.page import report_html
from hil_tests.runs import Target
from hil_tests.test_report import Page, evaluation

NATIVE = profiles.load("native").policy
PAGE_BYTES = 4096
EVEN = bytes(range(256)) * (PAGE_BYTES // 256)
SVG = "{http://www.w3.org/2000/svg}"


def shannon(data: bytes) -> float:
    """Return the entropy of a byte by its definition."""
    parts = [count / len(data) for count in Counter(data).values()]
    return -sum(part * math.log2(part) for part in parts)


def paths(picture: EntropyMap) -> list[str]:
    """Return the colours of what is drawn, the legend left out."""
    root = ElementTree.fromstring(picture.svg(is_file=True))
    drawn = [each.get("fill") or "" for each in root.iter(f"{SVG}path")]
    return drawn[: -len(COLOURS) - 2]


@given(st.lists(st.binary(min_size=48, max_size=48), min_size=1, max_size=5))
def test_entropy_is_shannons(pages: list[bytes]) -> None:
    assert entropies(pages).tolist() == pytest.approx([shannon(each) for each in pages])


def test_one_value_has_no_entropy_and_all_values_have_eight_bits() -> None:
    assert entropies([bytes(PAGE_BYTES), EVEN]).tolist() == [0, 8]
    assert not np.signbit(entropies([bytes(PAGE_BYTES)])).any()


def test_colour_tells_noise_from_filling_and_erased() -> None:
    picture = EntropyMap(NATIVE)
    picture.add(0, EVEN)
    picture.add(70, bytes(PAGE_BYTES))

    erased = "#8a929a"
    assert paths(picture) == [erased, COLOURS[0], COLOURS[-1], erased, erased, erased, erased]


def test_picture_is_xml_that_asks_for_nothing_outside_itself() -> None:
    picture = EntropyMap(NATIVE)
    picture.add(0, EVEN)
    picture.mark(0)
    picture.retire(3)

    root = ElementTree.fromstring(picture.svg(is_file=True))

    names = {name for each in root.iter() for name in each.attrib}
    assert not {"href", "src", "style", "id", "class"} & names
    assert "http" not in picture.svg() and "url(" not in picture.svg()
    assert len(list(root.iter(f"{SVG}circle"))) == 2  # the page's, and the legend's


def test_picture_says_in_words_what_it_shows() -> None:
    picture = EntropyMap(NATIVE)
    picture.add(0, EVEN)

    title = ElementTree.fromstring(picture.svg(is_file=True)).find(f"{SVG}title")

    assert title is not None and title.text is not None
    assert title.text.startswith("Entropy of the flash, wrapped keys: 8.00 bits a byte,")
    assert "data: erased" in title.text


def test_picture_of_a_huge_drive_is_as_small_as_any() -> None:
    text = profiles.changed(
        profiles.text_of("native"),
        {"capacity": "1 TiB", "flash.pages_per_block": 256, "flash.planes": 4,
         "flash.page_bytes": 16384, "flash.spare_bytes": 1664},
    )  # fmt: skip
    huge: Policy = profiles.parse(text).policy
    picture = EntropyMap(huge)
    last = picture.panels["data"].first_page + picture.panels["data"].page_count - 1
    picture.add(last, bytes(huge.flash.page_bytes))

    assert all(len(each.total) <= COLUMNS * ROWS_MAX for each in picture.panels.values())
    assert len(picture.svg()) < 10_000


def test_page_beyond_the_flash_is_refused() -> None:
    picture = EntropyMap(NATIVE)

    with pytest.raises(ValueError, match="there is no page"):
        picture.mark(10**9)


def test_map_of_a_drive_marks_its_wrapped_keys_and_retired_blocks() -> None:
    bench = Target("model:native").bench()
    bench.host().set_pin("840295713602")

    picture = map_of(bench.drive.board.nand, bench.drive.policy)

    assert picture.panels["keys"].marked == {0, 1}  # two copies
    assert any(each.is_retired.any() for each in picture.panels.values())
    assert picture.panels["data"].mean is None


def test_page_shows_the_flash_of_each_drive_that_was_looked_at() -> None:
    picture = EntropyMap(NATIVE)
    picture.add(0, bytes(range(256)) * 16)
    looked_at = replace(evaluation(), picture=picture.svg())
    text = report_html([looked_at, evaluation("model:plain")])
    page = Page(text)

    assert page.tags.count("figure") == 1
    assert picture.told() in page.words
    assert page.outside == [] and "http://" not in text
