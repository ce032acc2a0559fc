"""Which function does which verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hil_tests.actions import VERBS
from hil_tests.bench import (
    attacks,
    bulk_only,
    disk_commands,
    faults,
    forensics,
    guesses,
    malformed,
    owner,
    probes,
    updates,
)

Handler = Callable[..., None]

_ROOMS: Final[tuple[Any, ...]] = (
    owner,
    attacks,
    disk_commands,
    forensics,
    guesses,
    probes,
    malformed,
    bulk_only,
    updates,
    faults,
)


def _find(verb: str) -> Handler:
    for room in _ROOMS:
        handler: Handler | None = vars(room).get(verb)
        if handler is not None:
            return handler
    raise LookupError(f"nothing does the verb {verb}")


HANDLERS: Final[dict[str, Handler]] = {verb: _find(verb) for verb in VERBS}
