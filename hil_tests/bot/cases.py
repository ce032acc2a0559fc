"""The thirteen cases: what host and device expect of a data phase, and what came of it.

Source: BOT 1.0 6.7, and 5.2 and 6.3 for the status. Each command is sent as by a host that knows
no better, and its data phase goes a packet at a time, so that what passed before a halt is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from firmware_model.wire.bot import Cbw, Csw, CswStatus
from firmware_model.wire.codec import DecodeError
from hil_tests.actions import BOT_CASES
from hil_tests.bot.link import CSW_BYTES, RawLink, Stop
from hil_tests.bot.medium import BLOCK_BYTES, LBA, READ_10, WRITE_10, Medium, blocks, ten

PASSED, FAILED, PHASE_ERROR = CswStatus
EITHER: Final = (PASSED, FAILED)
FIRST_TAG: Final = 0x5ED1AB00
INQUIRY_BYTES: Final = 36


class Way(Enum):
    """A direction, as 6.7 names it."""

    NONE = "n"
    IN = "i"
    OUT = "o"


class Needs(Enum):
    """What of the medium a command needs."""

    NOTHING = "nothing"
    OPEN = "a medium that can be read"
    WRITABLE = "a medium that can be written"


@dataclass(frozen=True, slots=True)
class BotCase:
    """A command in a wrapper: what each side expects, and which statuses may end it."""

    name: str  # in replay ids
    number: int  # of the thirteen
    command: str
    cdb: Callable[[Medium | None], bytes]
    host: tuple[Way, int]  # bytes that the wrapper announces
    device: tuple[Way, int]  # bytes that the command moves
    statuses: tuple[CswStatus, ...]
    needs: Needs

    @property
    def host_text(self) -> str:
        """The host's intent, as 6.7 writes it."""
        return f"H{self.host[0].value} {self.host[1]}"

    @property
    def device_text(self) -> str:
        """The device's intent."""
        return f"D{self.device[0].value} {self.device[1]}"


@dataclass(slots=True)
class Observation:
    """What was seen of one case."""

    case: BotCase
    data: bytes = b""  # that came
    taken: int = 0  # bytes that the device took
    stop: Stop | None = None  # what ended the data phase early; None: nothing, or a short packet
    status_halted: bool = False  # a halt stood before the status
    csw: Csw | None = None
    faults: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)  # against the letter; hosts cope with it

    @property
    def moved(self) -> int:
        """The bytes that passed in the data phase."""
        return self.taken if self.case.host[0] is Way.OUT else len(self.data)

    @property
    def halt_text(self) -> str:
        """Where a halt was seen."""
        places = ["data"] if self.stop is Stop.HALT else []
        return " and ".join([*places, *(["status"] if self.status_halted else [])]) or "none"


def _fixed(text: str) -> Callable[[Medium | None], bytes]:
    return lambda medium: bytes.fromhex(text)


def _ten(opcode: int, count: int, lba: Callable[[Medium], int]) -> Callable[[Medium | None], bytes]:
    def cdb(medium: Medium | None) -> bytes:
        assert medium is not None, "a command for a medium, where there is none"
        return ten(opcode, lba(medium), count)

    return cdb


def _scratch(medium: Medium) -> int:
    return LBA


def _beyond(medium: Medium) -> int:
    return medium.lba_last + 1


NOTHING: Final = (Way.NONE, 0)
ONE, TWO = BLOCK_BYTES, 2 * BLOCK_BYTES
READY, INQUIRY = _fixed("000000000000"), _fixed("120000002400")
SENSE, UNKNOWN = _fixed("030000001200"), _fixed("1f0000000000")
READ_1, READ_2 = _ten(READ_10, 1, _scratch), _ten(READ_10, 2, _scratch)
WRITE_1, WRITE_2 = _ten(WRITE_10, 1, _scratch), _ten(WRITE_10, 2, _scratch)
READ_OUTSIDE, WRITE_OUTSIDE = _ten(READ_10, 1, _beyond), _ten(WRITE_10, 1, _beyond)

# fmt: off
CASES: Final = (
    BotCase("hn_eq_dn", 1, "TEST UNIT READY", READY, NOTHING, NOTHING, EITHER, Needs.NOTHING),
    BotCase("hn_eq_dn_refused", 1, "1Fh, unknown", UNKNOWN, NOTHING, NOTHING, (FAILED,),
            Needs.NOTHING),
    BotCase("hn_lt_di", 2, "READ", READ_1, NOTHING, (Way.IN, ONE), (PHASE_ERROR,), Needs.OPEN),
    BotCase("hn_lt_di_inquiry", 2, "INQUIRY", INQUIRY, NOTHING, (Way.IN, 36), (PHASE_ERROR,),
            Needs.NOTHING),
    BotCase("hn_lt_do", 3, "WRITE", WRITE_1, NOTHING, (Way.OUT, ONE), (PHASE_ERROR,),
            Needs.WRITABLE),
    BotCase("hi_gt_dn", 4, "TEST UNIT READY", READY, (Way.IN, ONE), NOTHING, EITHER,
            Needs.NOTHING),
    BotCase("hi_gt_dn_refused", 4, "READ past the end", READ_OUTSIDE, (Way.IN, ONE), NOTHING,
            (FAILED,), Needs.OPEN),
    BotCase("hi_gt_di", 5, "READ", READ_1, (Way.IN, TWO), (Way.IN, ONE), (PASSED,), Needs.OPEN),
    BotCase("hi_gt_di_inquiry", 5, "INQUIRY", INQUIRY, (Way.IN, 96), (Way.IN, 36), (PASSED,),
            Needs.NOTHING),
    BotCase("hi_gt_di_sense", 5, "REQUEST SENSE", SENSE, (Way.IN, 64), (Way.IN, 18), (PASSED,),
            Needs.NOTHING),
    BotCase("hi_eq_di", 6, "READ", READ_1, (Way.IN, ONE), (Way.IN, ONE), (PASSED,), Needs.OPEN),
    BotCase("hi_eq_di_inquiry", 6, "INQUIRY", INQUIRY, (Way.IN, 36), (Way.IN, 36), (PASSED,),
            Needs.NOTHING),
    BotCase("hi_lt_di", 7, "READ", READ_2, (Way.IN, ONE), (Way.IN, TWO), (PHASE_ERROR,),
            Needs.OPEN),
    BotCase("hi_lt_di_inquiry", 7, "INQUIRY", INQUIRY, (Way.IN, 16), (Way.IN, 36), (PHASE_ERROR,),
            Needs.NOTHING),
    BotCase("hi_ne_do", 8, "WRITE", WRITE_1, (Way.IN, ONE), (Way.OUT, ONE), (PHASE_ERROR,),
            Needs.WRITABLE),
    BotCase("ho_gt_dn", 9, "TEST UNIT READY", READY, (Way.OUT, ONE), NOTHING, EITHER,
            Needs.NOTHING),
    BotCase("ho_gt_dn_refused", 9, "1Fh, unknown", UNKNOWN, (Way.OUT, ONE), NOTHING, (FAILED,),
            Needs.NOTHING),
    BotCase("ho_ne_di", 10, "READ", READ_1, (Way.OUT, ONE), (Way.IN, ONE), (PHASE_ERROR,),
            Needs.OPEN),
    BotCase("ho_ne_di_inquiry", 10, "INQUIRY", INQUIRY, (Way.OUT, 36), (Way.IN, 36),
            (PHASE_ERROR,), Needs.NOTHING),
    BotCase("ho_gt_do", 11, "WRITE", WRITE_1, (Way.OUT, TWO), (Way.OUT, ONE), (PASSED,),
            Needs.WRITABLE),
    BotCase("ho_eq_do", 12, "WRITE", WRITE_1, (Way.OUT, ONE), (Way.OUT, ONE), (PASSED,),
            Needs.WRITABLE),
    BotCase("ho_eq_do_refused", 12, "WRITE past the end", WRITE_OUTSIDE, (Way.OUT, ONE),
            (Way.OUT, ONE), (FAILED,), Needs.WRITABLE),
    BotCase("ho_lt_do", 13, "WRITE", WRITE_2, (Way.OUT, ONE), (Way.OUT, TWO), (PHASE_ERROR,),
            Needs.WRITABLE),
)
# fmt: on
BY_NAME: Final = {case.name: case for case in CASES}
assert tuple(BY_NAME) == BOT_CASES
DISAGREEMENTS: Final = (2, 3, 7, 8, 10, 13)


def lacking(case: BotCase, medium: Medium | None) -> str | None:
    """Return what a case needs that is not there."""
    has_it = {
        Needs.NOTHING: True,
        Needs.OPEN: medium is not None,
        Needs.WRITABLE: medium is not None and medium.is_writable,
    }
    return None if has_it[case.needs] else case.needs.value


def run(link: RawLink, case: BotCase, medium: Medium | None) -> Observation:
    """Run one case, judge it, and leave the drive ready and its medium as it was.

    Raises DriveError where the drive is gone.
    """
    link.settle()
    seen = Observation(case)
    tag = FIRST_TAG + CASES.index(case)
    _exchange(link, seen, tag, medium)
    _judge(seen, tag, medium)
    if seen.csw is None or PHASE_ERROR in (seen.csw.status, *case.statuses):
        link.recover()
    if link.command(INQUIRY(None), length=INQUIRY_BYTES)[0] != PASSED:
        seen.faults.append("the command that followed failed")
    if case.needs is Needs.WRITABLE and medium is not None:
        _judge_blocks(seen, medium, blocks(link))
        medium.restore(link)
    return seen


def _exchange(link: RawLink, seen: Observation, tag: int, medium: Medium | None) -> None:
    way, length = seen.case.host
    cbw = Cbw(tag, length, way is Way.IN, 0, seen.case.cdb(medium))
    if link.send(cbw.encode()) != Cbw.LAYOUT.size:
        seen.faults.append("the wrapper was not taken")
        return
    if way is Way.IN:
        _take(link, seen, length)
    elif way is Way.OUT:
        _give(
            link, seen, (b"" if medium is None else medium.written).ljust(length, b"\xa5")[:length]
        )
    if seen.stop is Stop.HALT:
        link.clear_halt(way is Way.IN)
    _read_status(link, seen)


def _take(link: RawLink, seen: Observation, length: int) -> None:
    while len(seen.data) < length:
        wanted = min(link.packet_bytes, length - len(seen.data))
        came = link.receive(wanted)
        if isinstance(came, Stop):
            seen.stop = came
            return
        seen.data += came
        if len(came) < wanted:
            return


def _give(link: RawLink, seen: Observation, data: bytes) -> None:
    for at in range(0, len(data), link.packet_bytes):
        taken = link.send(data[at : at + link.packet_bytes])
        if isinstance(taken, Stop):
            seen.stop = taken
            return
        seen.taken += taken


def _read_status(link: RawLink, seen: Observation) -> None:
    """Read the status; once more behind a halt, or an empty packet that came too much."""
    came = link.receive(CSW_BYTES)
    if came is Stop.HALT:
        seen.status_halted = True
        link.clear_halt(is_in=True)
        came = link.receive(CSW_BYTES)
    elif came == b"":
        seen.tolerated.append("an empty packet stands before the status")
        came = link.receive(CSW_BYTES)
    if isinstance(came, Stop):
        seen.faults.append(f"no status came, but {came.value}")
        return
    try:
        seen.csw = Csw.decode(came)
    except DecodeError as wrong:
        seen.faults.append(str(wrong))


def _judge(seen: Observation, tag: int, medium: Medium | None) -> None:
    """Hold what was seen to 6.7; after a phase error the residue means nothing (6.7.1)."""
    _judge_data(seen, tag, medium)
    csw, case = seen.csw, seen.case
    if csw is None:
        return
    if csw.tag != tag:
        seen.faults.append(f"the status answers tag {csw.tag:08X}h, not {tag:08X}h")
    if csw.status not in case.statuses:
        wanted = " or ".join(f"{status.value:02X}" for status in case.statuses)
        seen.faults.append(f"status {csw.status.value:02X}, not {wanted}")
    elif csw.status is not PHASE_ERROR:
        is_done = case.statuses != (FAILED,)
        residue = case.host[1] - (case.device[1] if is_done else 0)
        if csw.residue != residue:
            seen.faults.append(f"residue {csw.residue}, not {residue}")


def _judge_data(seen: Observation, tag: int, medium: Medium | None) -> None:
    case, length = seen.case, seen.case.host[1]
    if seen.stop in (Stop.SILENCE, Stop.BABBLE):
        seen.faults.append(f"the data phase ended in {seen.stop.value}")
    if case.host[0] is Way.NONE and seen.status_halted and case.number == 1:
        seen.faults.append("IN was halted, where nobody expected data")
    if case.host[0] is Way.IN:
        _judge_in(seen, tag, medium)
    elif case.host[0] is Way.OUT:
        if seen.stop is None and seen.taken < length:
            seen.faults.append(f"{seen.taken} bytes were taken, and no halt told so")
        if case.number == 12 and seen.stop is Stop.HALT and case.statuses == (PASSED,):
            seen.faults.append("OUT was halted, where both expected the same")
        if case.number == 11 and seen.taken < case.device[1]:
            seen.faults.append("OUT was halted before the command had its data")


def _judge_in(seen: Observation, tag: int, medium: Medium | None) -> None:
    case, length = seen.case, seen.case.host[1]
    if seen.data[:8] == b"USBS" + tag.to_bytes(4, "little"):
        seen.faults.append("the status came where data was due")
        return
    is_halted = seen.stop is Stop.HALT or seen.status_halted
    if case.number == 6 and (is_halted or len(seen.data) < length):
        seen.faults.append(f"{len(seen.data)} bytes came, and halt: {seen.halt_text}")
    elif len(seen.data) < length and not is_halted and seen.stop is None:
        seen.tolerated.append("the data ends short of what was announced, without a halt")
    if case.number == 5 and len(seen.data) < case.device[1]:
        seen.faults.append(f"{len(seen.data)} bytes came, of {case.device[1]} that there are")
    if case.needs is Needs.OPEN and case.number in (5, 6) and medium is not None:
        there = seen.data[: case.device[1]]
        if there != medium.before[: len(there)]:
            seen.faults.append("other data came than is stored")


def _judge_blocks(seen: Observation, medium: Medium, after: bytes | None) -> None:
    """Hold the medium to what may have been written: nothing, or the first block where there is."""
    may_change = seen.case.number in (11, 12, 13) and seen.case.statuses != (FAILED,)
    must_change = seen.case.statuses == (PASSED,)
    if after is None:
        seen.faults.append("the blocks can't be read any more")
        return
    old, new = medium.before[:BLOCK_BYTES], medium.written[:BLOCK_BYTES]
    first, second = after[:BLOCK_BYTES], after[BLOCK_BYTES:]
    if second != medium.before[BLOCK_BYTES:]:
        seen.faults.append("a block was written that the command does not name")
    if must_change and first != new:
        seen.faults.append("the block was not written")
    elif not must_change and first != old and not (may_change and first == new):
        seen.faults.append("a block was written by a command that was not run")
