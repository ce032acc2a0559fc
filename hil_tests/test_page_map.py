"""The map of the translation layer, held to a dict."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.firmware.page_map import GROUP, PageMap

COUNT = 5 * GROUP + 7
PAGES = st.integers(0, COUNT - 1)
WRITES = st.lists(st.lists(st.tuples(PAGES, st.integers(0, 1 << 62)), max_size=9), max_size=9)


@given(WRITES, PAGES, st.integers(0, COUNT))
def test_map_holds_what_was_put_last(
    writes: list[list[tuple[int, int]]], first: int, count: int
) -> None:
    count = min(count, COUNT - first)
    page_map = PageMap(COUNT)
    expected: dict[int, int] = {}
    for write in writes:
        pages = np.array([page for page, _ in write], np.int64)
        page_map.put(pages, np.array([entry for _, entry in write], np.int64))
        expected.update(write)

    run = page_map.get(first, count) if count else np.zeros(0)
    assert run.tolist() == [expected.get(page, 0) for page in range(first, first + count)]
    anywhere = np.arange(COUNT)
    assert page_map.at(anywhere).tolist() == [expected.get(page, 0) for page in range(COUNT)]
    used = [page for page in range(first, first + count) if expected.get(page)]
    assert page_map.in_use(first, first + count).tolist() == used
    assert sorted(filter(None, page_map.entries().tolist())) == sorted(
        filter(None, expected.values())
    )


def test_memory_follows_what_is_put_and_not_the_capacity() -> None:
    page_map = PageMap(1 << 28)
    page_map.put(np.array([0, 1 << 27, (1 << 28) - 1]), np.array([1, 2, 3]))

    assert page_map.entries().nbytes < 4096
    assert page_map.in_use(0, 1 << 28).tolist() == [0, 1 << 27, (1 << 28) - 1]
