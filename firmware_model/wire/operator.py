"""What is said to the operator of a served drive, and answered: JSON, one line each.

A line has at most 64 KiB and ends in a line feed. The drive's owner alone can open the socket,
so nothing here is secret from who is allowed to say it; it is decoded as strictly as a stranger's.

Beside the drive itself, unit 0, an operator can have units of its own: new drives of the same make,
and copies of these as they are. They belong to the connection over which they were asked for.
"""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from firmware_model.wire.codec import DecodeError

LINE_BYTES_MAX: Final = 1 << 16  # the line feed included
NUMBER_MAX: Final = 1 << 48  # nine years, in microseconds
SUFFIX: Final = ".operator"


def socket_beside(file: Path) -> Path:
    """Return where the operator of a served drive's file is reached."""
    return file.with_name(file.name + SUFFIX)


Result = dict[str, str | int | bool]


class Verb(StrEnum):
    """What an operator can do, and which fields say how."""

    PRESS = "press"  # keys
    LEDS = "leds"
    PLUG = "plug"
    UNPLUG = "unplug"
    POWER_ON = "power_on"
    POWER_OFF = "power_off"
    SUSPEND = "suspend"  # the bus
    RESUME = "resume"
    CUT_AT = "cut_at"  # step, torn
    ADVANCE = "advance"  # us
    STATUS = "status"
    BEGIN = "begin"  # counts and names durable steps from here
    STEPS = "steps"  # step: names them, from that number on
    ABOUT = "about"  # tells what is served
    NEW = "new"  # seed, settings, iterations: makes a unit as it leaves the factory, without power
    COPY = "copy"  # makes a unit that is a copy of another, without power
    FAIL = "fail"  # fault, number: has a part of a unit fail from now on
    PATCH = "patch"  # has a unit call every PIN right from its next start on
    MEASURE = "measure"  # iterations: runs a unit's stretching of PINs by itself
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class OperatorRequest:
    """One thing to do."""

    verb: Verb
    keys: str = ""  # in the keypad's notation
    step: int | None = None  # the durable step from now that power is cut at; None: at none
    torn: str | None = None  # how the cut tears that step
    us: int = 0  # microseconds that pass
    unit: int = 0  # that is meant; 0 is the drive itself
    seed: str = ""  # that decides a new unit's identity and random bytes
    settings: str = ""  # keys of a new unit's profile that are changed: KEY=VALUE+KEY=VALUE
    fault: str = ""  # as the harness calls it
    number: int = 0  # which, how much or how long
    iterations: int = 0  # that a new unit stretches PINs with; 0: as its profile says

    def encode(self) -> bytes:
        """Return the line; raise ValueError where it would be too long."""
        fields = asdict(self).items()
        return _line({name: value for name, value in fields if value not in (None, "")})

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Return the request; raise DecodeError for a line that is none."""
        fields = _fields(line)
        for name, value in fields.items():
            if type(value) is not _TYPES.get(name):  # not isinstance: a truth is no number
                raise DecodeError(f"{name[:20]!r} is no field of a request, or of another type")
            if isinstance(value, int) and not 0 <= value <= NUMBER_MAX:
                raise DecodeError(f"{name} is out of range")
        try:
            fields["verb"] = Verb(fields.get("verb", ""))
        except ValueError:
            raise DecodeError(f"no such verb; there are {', '.join(Verb)}") from None
        return cls(**fields)


_TYPES: Final = {
    "verb": str,
    "keys": str,
    "step": int,
    "torn": str,
    "us": int,
    "unit": int,
    "seed": str,
    "settings": str,
    "fault": str,
    "number": int,
    "iterations": int,
}


@dataclass(frozen=True, slots=True)
class OperatorReply:
    """What became of it: an error in one line, or what was asked for."""

    error: str | None = None
    result: Result = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the line; raise ValueError where it would be too long."""
        return _line({"result": self.result} if self.error is None else {"error": self.error})

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Return the reply; raise DecodeError for a line that is none."""
        fields = _fields(line)
        error, result = fields.get("error"), fields.get("result", {})
        if len(fields) != 1 or not isinstance(result, dict):
            raise DecodeError("a reply has a result or an error")
        if not (error is None or isinstance(error, str)):
            raise DecodeError("error is not a string")
        if not all(isinstance(value, str | int) for value in result.values()):
            raise DecodeError("a result has texts, numbers and truths")
        return cls(error, result)


def _line(fields: dict[str, Any]) -> bytes:
    line = json.dumps(fields).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"a line has at most {LINE_BYTES_MAX} bytes, not {len(line)}")
    return line


def _fields(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX or not line.endswith(b"\n"):
        raise DecodeError(f"a line has at most {LINE_BYTES_MAX} bytes and a line feed at its end")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise DecodeError("the line is not JSON") from None
    if not isinstance(fields, dict):
        raise DecodeError("the line is not a JSON object")
    return fields
