"""Processes among which long work is shared out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any

from hil_tests.ending import breakable


class _Pool(ProcessPoolExecutor):
    """Processes whose work, when they are ended, closes what it has open."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        return super().submit(_run, work, *args, **options)


@contextmanager
def workers(count: int, begin: Callable[..., None] | None = None, *args: Any) -> Iterator[Executor]:
    """Processes that judge; whatever breaks this one off ends them too."""
    pool = _Pool(count, get_context("spawn"), _begin, (begin, *args))
    try:
        with breakable():
            yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in active_children():  # they would go on with what waits in their queue
            worker.terminate()
        raise
    pool.shutdown()


def _begin(begin: Callable[..., None] | None, *args: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends whoever started them, and so them
    Thread(target=_end_with_starter, daemon=True).start()
    if begin is not None:
        begin(*args)


def _end_with_starter() -> None:
    """Wait until whoever started this process has ended: one that is killed ends nobody."""
    starter = parent_process()
    assert starter is not None
    starter.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _run(work: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        with breakable():
            return work(*args, **options)
    except KeyboardInterrupt:  # the executor would go on with what waits in the queue
        os._exit(128 + signal.SIGTERM)
