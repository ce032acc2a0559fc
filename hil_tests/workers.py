"""Processes among which long work is shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any


@contextmanager
def workers(count: int, begin: Callable[..., None] | None = None, *args: Any) -> Iterator[Executor]:
    """Processes that judge; whatever breaks this one off ends them too."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), begin, args)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in active_children():  # they would go on with what waits in their queue
            worker.terminate()
        raise
    pool.shutdown()
