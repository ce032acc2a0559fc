"""What a server has, and how much more of it than before is a leak."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from hil_tests.soak.server import InUse


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has."""

    heap_kib: int  # in use
    blocks: int  # in use
    anonymous_kib: int  # resident, and no file: what is in use, and what an allocator keeps
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int, in_use: InUse) -> Usage:
        """Return it as Linux (proc(5)) and the process itself tell it."""
        process = Path("/proc") / str(pid)
        status = dict(re.findall(r"(\w+):\s+(\d+)", (process / "status").read_text()))
        return cls(
            in_use.heap_kib,
            in_use.blocks,
            int(status["RssAnon"]),
            len(tuple((process / "fd").iterdir())),
            int(status["Threads"]),
        )

    @classmethod
    def least(cls, usages: Iterable[Usage]) -> Usage:
        """Return the least of each: what is under way comes and goes."""
        return cls(*map(min, *map(astuple, usages)))


@dataclass(frozen=True, slots=True)
class Bound:
    """How much more of something a server may have at the end than half-way."""

    what: str
    more: int
    each: float = 0.0  # and for each re-plug between

    def after(self, replugs: int) -> int:
        """Return it, after so many re-plugs."""
        return self.more + int(self.each * replugs)


# One power cycle's firmware is 20 KiB in 2,800 blocks, a session some 3 KiB; transfers that are
# under way at every look are up to 512 KiB. An allocator that has not seen a thousand power cycles
# has a few MiB more to keep in the end, in steps of 1 MiB.
BOUNDS: Final = {
    "heap_kib": Bound("KiB of heap in use", 512, 0.5),
    "blocks": Bound("blocks in use", 2000, 5),
    "anonymous_kib": Bound("KiB of memory", 8192),
    "files": Bound("open files", 4),
    "threads": Bound("threads", 4),
}


def growth(before: Usage | None, after: Usage | None, replugs: int) -> list[str]:
    """Return what a server has more of than it may, so many re-plugs later."""
    if before is None or after is None:
        return ["its server ended, or did not tell what memory it has in use"]
    changes = [(each, getattr(before, name), getattr(after, name)) for name, each in BOUNDS.items()]
    return [
        f"the server has {now} {bound.what}, and had {then} {replugs} re-plugs before"
        for bound, then, now in changes
        if now > then + bound.after(replugs)
    ]
