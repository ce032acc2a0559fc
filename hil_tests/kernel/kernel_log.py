"""Records of the kernel's log, as /dev/kmsg gives them (Documentation/ABI/testing/dev-kmsg)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

FAULT: Final = re.compile(  # of the kernel itself
    r"\bBUG\b|\bOops\b|WARNING: CPU|blocked for more than|refcount_t|list_(add|del) corruption"
)
# What hangs and is reset is tried again, so that nobody but this log learns of it.
RECOVERY: Final = re.compile(r"reset \S+ USB device|uas_eh_|timed? ?out|I/O error", re.IGNORECASE)
HEAD: Final = re.compile(r"(\d{1,10}),(\d{1,20}),(\d{1,20}),[^;\n]*;([^\n]*)")


class Level(IntEnum):
    """How grave a message is (syslog(2)); the lower, the graver."""

    EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG = range(8)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One message."""

    number: int  # counts up from boot
    level: Level
    time_us: int  # since boot
    text: str

    @classmethod
    def decode(cls, record: str) -> Self:
        """Return the record; raise ValueError if it is none."""
        found = HEAD.match(record)
        if found is None:
            raise ValueError(f"no record of the kernel's log: {record[:80]!r}")
        priority, number, time_us = (int(each) for each in found.groups()[:3])
        return cls(number, Level(priority & 7), time_us, found[4])

    def __str__(self) -> str:
        return f"[{self.time_us / 1e6:12.6f}] {self.text}"


def troubles(records: Iterable[LogRecord]) -> list[LogRecord]:
    """Return what tells of a fault of the kernel, or of a device that did not do as it was told."""
    return [each for each in records if FAULT.search(each.text) or RECOVERY.search(each.text)]


def warnings(records: Iterable[LogRecord]) -> list[LogRecord]:
    """Return what is a warning or graver."""
    return [record for record in records if record.level <= Level.WARNING]
