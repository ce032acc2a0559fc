"""Halts, their clearing and resets, in every order, from everything that may call for them.

Source: BOT 1.0 3.1, 5.3.4, 6.6.1, 6.7; USB 2.0 9.4.5. A recovery is some of three steps in some
order: `r`, Bulk-Only Mass Storage Reset; `i` and `o`, clearing the halt of IN and of OUT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from firmware_model.wire.bot import Cbw, Csw
from firmware_model.wire.codec import DecodeError
from hil_tests.actions import BOT_ORDERS, BOT_TROUBLES
from hil_tests.bot.link import CSW_BYTES, RawLink, Stop
from hil_tests.bot.medium import (
    BLOCK_BYTES,
    BLOCKS,
    HALF_BYTES,
    LBA,
    READ_10,
    WRITE_10,
    Medium,
    blocks,
    ten,
)

NONE: Final = BOT_ORDERS[0]  # no step at all
TAG, LATER_TAG = 0x5ED1AC00, 0x5ED1AD00
INQUIRY_BYTES: Final = 36
INQUIRY: Final = bytes.fromhex("120000002400")
READY: Final = bytes(6)


class Awaits(Enum):
    """What the device is to do next."""

    COMMAND = "a command"
    STATUS = "the host to read a status"
    DATA_IN = "the host to read data"
    DATA_OUT = "data"
    RESET = "a reset"  # after what was no wrapper


@dataclass(slots=True)
class Expected:
    """Where Bulk-Only has the device be."""

    awaits: Awaits
    in_halted: bool = False
    out_halted: bool | None = False  # None: as the device likes

    def step(self, step: str) -> None:
        """Take one step of a recovery."""
        if step == "r":  # halts outlive it (3.1)
            self.awaits = Awaits.COMMAND
        elif self.awaits is Awaits.RESET:  # which a clear-halt does not replace (6.6.1)
            return
        elif step == "i":
            self.in_halted = False
        else:
            self.out_halted = False


@dataclass(slots=True)
class Recovery:
    """What was seen of one."""

    trouble: str
    order: str
    faults: list[str] = field(default_factory=list)
    unreached: str | None = None  # why there is nothing to recover from


def recover(link: RawLink, trouble: str, order: str, medium: Medium | None) -> Recovery:
    """Bring the device into trouble, recover in an order, judge where that led, and clean up.

    Raises DriveError where the drive is gone.
    """
    link.settle()
    seen = Recovery(trouble, order)
    needs, begin = TROUBLES[trouble]
    if needs and (medium is None or not medium.is_writable):
        seen.unreached = "it takes a medium that can be written"
        return seen
    expected = begin(link, medium)
    if expected is None:
        seen.unreached = "the drive does not halt there"
    else:
        for step in order if order != NONE else "":
            _take(link, step)
            expected.step(step)
        _judge(link, seen, expected, medium)
    link.recover()
    _judge_next(link, seen, LATER_TAG)
    if needs and medium is not None and blocks(link) != medium.before:
        medium.restore(link)
    return seen


def _take(link: RawLink, step: str) -> None:
    if step == "r":
        link.reset()
    else:
        link.clear_halt(is_in=step == "i")


# --- what calls for it -------------------------------------------------------------------------


def _bad_wrapper(link: RawLink, medium: Medium | None) -> Expected | None:
    link.send(b"USBX" + _cbw(READY).encode()[4:])
    return Expected(Awaits.RESET, in_halted=True, out_halted=None)


def _halted_in(link: RawLink, medium: Medium | None) -> Expected | None:
    """Case 4, with the status behind the halt."""
    link.send(_cbw(READY, BLOCK_BYTES, is_in=True).encode())
    if link.receive(BLOCK_BYTES) is not Stop.HALT:
        return None
    return Expected(Awaits.STATUS, in_halted=True)


def _halted_out(link: RawLink, medium: Medium | None) -> Expected | None:
    """Case 9, with the status to come."""
    link.send(_cbw(READY, BLOCK_BYTES).encode())
    if link.send(bytes(BLOCK_BYTES)) is not Stop.HALT:
        return None
    return Expected(Awaits.STATUS, out_halted=True)


def _host_halts_in(link: RawLink, medium: Medium | None) -> Expected | None:
    link.set_halt(is_in=True)
    return Expected(Awaits.COMMAND, in_halted=True)


def _host_halts_out(link: RawLink, medium: Medium | None) -> Expected | None:
    link.set_halt(is_in=False)
    return Expected(Awaits.COMMAND, out_halted=True)


def _unread_status(link: RawLink, medium: Medium | None) -> Expected | None:
    link.send(_cbw(READY).encode())
    return Expected(Awaits.STATUS)


def _amid_data_in(link: RawLink, medium: Medium | None) -> Expected | None:
    link.send(_cbw(ten(READ_10, LBA, BLOCKS), BLOCKS * BLOCK_BYTES, is_in=True).encode())
    came = link.receive(HALF_BYTES)
    return Expected(Awaits.DATA_IN) if isinstance(came, bytes) else None


def _amid_data_out(link: RawLink, medium: Medium | None) -> Expected | None:
    assert medium is not None
    link.send(_cbw(ten(WRITE_10, LBA, BLOCKS), BLOCKS * BLOCK_BYTES).encode())
    taken = link.send(medium.written[:HALF_BYTES])
    return Expected(Awaits.DATA_OUT) if taken == HALF_BYTES else None


Begin = Callable[[RawLink, Medium | None], Expected | None]
TROUBLES: Final[dict[str, tuple[bool, Begin]]] = {  # does it take a medium, and how it begins
    "bad_wrapper": (False, _bad_wrapper),
    "halted_in": (False, _halted_in),
    "halted_out": (False, _halted_out),
    "host_halts_in": (False, _host_halts_in),
    "host_halts_out": (False, _host_halts_out),
    "unread_status": (False, _unread_status),
    "amid_data_in": (True, _amid_data_in),
    "amid_data_out": (True, _amid_data_out),
}
assert tuple(TROUBLES) == BOT_TROUBLES


def _cbw(cdb: bytes, length: int = 0, *, is_in: bool = False, tag: int = TAG) -> Cbw:
    return Cbw(tag, length, is_in, 0, cdb)


# --- where it led --------------------------------------------------------------------------------


def _judge(link: RawLink, seen: Recovery, expected: Expected, medium: Medium | None) -> None:
    in_told, out_told = link.is_halted(is_in=True), link.is_halted(is_in=False)
    if expected.out_halted is None:  # the drive's own choice, to which it keeps
        expected.out_halted = out_told
    for name, wanted, told in (
        ("IN", expected.in_halted, in_told),
        ("OUT", expected.out_halted, out_told),
    ):
        if None not in (wanted, told) and told != wanted:
            seen.faults.append(f"{name} is {'' if told else 'not '}halted")
    if expected.awaits is Awaits.RESET:
        _judge_wedged(link, seen)
    elif seen.faults:
        return
    elif expected.in_halted or expected.out_halted:
        _judge_halted(link, seen, expected)
    elif expected.out_halted is not None:
        _judge_going_on(link, seen, expected, medium)


def _judge_wedged(link: RawLink, seen: Recovery) -> None:
    """A command sent now must not be run: host and device disagree on where commands begin."""
    link.send(_cbw(READY).encode())
    if isinstance(link.receive(CSW_BYTES), bytes):
        seen.faults.append("a command was answered before any reset")


def _judge_halted(link: RawLink, seen: Recovery, expected: Expected) -> None:
    if expected.in_halted and link.receive(CSW_BYTES) is not Stop.HALT:
        seen.faults.append("IN was to be halted, and answers otherwise")
    if expected.out_halted and link.send(_cbw(READY).encode()) is not Stop.HALT:
        seen.faults.append("OUT was to be halted, and answers otherwise")


def _judge_going_on(
    link: RawLink, seen: Recovery, expected: Expected, medium: Medium | None
) -> None:
    """Nothing is halted: what was to come, comes."""
    if expected.awaits is Awaits.COMMAND:
        _judge_next(link, seen, LATER_TAG + 1)
        return
    before, written = (b"", b"") if medium is None else (medium.before, medium.written)
    is_in, is_out = expected.awaits is Awaits.DATA_IN, expected.awaits is Awaits.DATA_OUT
    if is_in and link.receive(HALF_BYTES) != before[HALF_BYTES:]:
        seen.faults.append("the rest of the data is lost")
    if is_out and link.send(written[HALF_BYTES:]) != HALF_BYTES:
        seen.faults.append("the rest of the data is not taken")
    _judge_status(link, seen, TAG)


def _judge_next(link: RawLink, seen: Recovery, tag: int) -> None:
    """A new command is answered, with its own data and status."""
    if link.send(_cbw(INQUIRY, INQUIRY_BYTES, is_in=True, tag=tag).encode()) != Cbw.LAYOUT.size:
        seen.faults.append("the next command is not taken")
        return
    data = link.receive(INQUIRY_BYTES)
    if not isinstance(data, bytes) or len(data) != INQUIRY_BYTES:
        came = data.value if isinstance(data, Stop) else f"{len(data)} bytes"
        seen.faults.append(f"the next command gives no data, but {came}")
        return
    _judge_status(link, seen, tag)


def _judge_status(link: RawLink, seen: Recovery, tag: int) -> None:
    came = link.receive(CSW_BYTES)
    if isinstance(came, Stop):
        seen.faults.append(f"no status came, but {came.value}")
        return
    try:
        csw = Csw.decode(came)
    except DecodeError as wrong:
        seen.faults.append(str(wrong))
        return
    if csw.tag != tag:
        seen.faults.append(f"the status of another command came, tag {csw.tag:08X}h")
