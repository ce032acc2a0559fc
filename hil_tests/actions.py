"""What a run can do to a drive: one `Action` a step, each with a text that reads and runs.

A sequence is its actions joined by commas; a replay id is `PROPERTY:TARGET:STEPS`. Both use only
characters that no shell touches, spell the steps themselves and therefore outlive any generator:

    limit-holds:model:native+no-lockout-enforced:set_pin-user-0,unlock-user-1,unlock-user-0

PINs and content are named by their place in a fixed table, so that a sequence says nothing else.
An action that ends in `@n` is cut: supply fails at its n-th durable step, then power comes back.
What a cut inside a program or an erase of flash leaves is said by a word: `@n.half`, `@n.weak`.
Each further `@n` falls into the start that follows: `set_pin-user-1@5.half@2` loses power twice.
With `@end` supply fails when the action has been answered, before anything else is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from firmware_model.hardware.supply import Torn

# Twelve digits or more: long enough not to occur by chance in 60 MB of digits and names.
PINS: tuple[str, ...] = (
    "840295713602",
    "517394826049",
    "296048371503",
    "731592604837",
    "604827391582",
    "38159726041479",
)
# No drive may look at these: their length or alphabet is impossible for a PIN.
IMPOSSIBLE_PINS: tuple[str, ...] = ("", "5829", "8402957a3602", PINS[0] * 6)
# Possible to enter, but no policy accepts them as a new PIN: one digit repeated, one long run.
WEAK_PINS: tuple[str, ...] = ("777777777777", "345678901234")
PIN_TABLE: tuple[str, ...] = PINS + IMPOSSIBLE_PINS + WEAK_PINS

LBA_TABLE: tuple[int, ...] = (0, 1, 7, 8, 64, 1000, -16, -1)  # negative: counted from the end
ROLES: tuple[str, ...] = ("user", "admin")
MALFORMED_KINDS = 8  # see bench_malformed.py
IMAGES = 15  # see firmware_images.py
STEPS_MAX = 4096  # a sequence is read by people; a longer one is a mistake
CUTS_MAX = 8  # of one action and the starts that follow


# What can fail in a drive; the number that follows says which, how much or how long.
FAULTS: tuple[str, ...] = (
    "disconnect",  # pull the cable before the n-th transfer of the next action; 0: count them
    "disconnect_late",  # when half of it has arrived
    "element_deaf",  # the element does not get the n-th command of the next action; 0: count them
    "element_mute",  # or obeys it, but its answer does not arrive, nor anything until power-up
    "counter_sticks",  # the try counters no longer fall; n means nothing
    "noise_sticks",  # the noise source gives nothing but n
    "noise_repeats",  # or the same n samples
    "clock_forward",  # n seconds
    "clock_back",
    "flip_data",  # n bits in each codeword of every page of that area
    "flip_keys",
    "flip_one_key",  # of the newest page only
    "flip_log",
    "flip_data_records",  # n bits of the record in each spare area
    "flip_key_records",
    "flip_log_records",
    "fail_data",  # the first n blocks of that area that are programmed or erased fail
    "fail_keys",
    "fail_log",
)

# The thirteen cases of BOT 6.7 by what host and device expect, each with a command of its own
# choice and some with more; see bot/cases.py.
BOT_CASES: tuple[str, ...] = (
    "hn_eq_dn",
    "hn_eq_dn_refused",
    "hn_lt_di",
    "hn_lt_di_inquiry",
    "hn_lt_do",
    "hi_gt_dn",
    "hi_gt_dn_refused",
    "hi_gt_di",
    "hi_gt_di_inquiry",
    "hi_gt_di_sense",
    "hi_eq_di",
    "hi_eq_di_inquiry",
    "hi_lt_di",
    "hi_lt_di_inquiry",
    "hi_ne_do",
    "ho_gt_dn",
    "ho_gt_dn_refused",
    "ho_ne_di",
    "ho_ne_di_inquiry",
    "ho_gt_do",
    "ho_eq_do",
    "ho_eq_do_refused",
    "ho_lt_do",
)
# What calls for a recovery, and in which order its steps are taken; see bot/recovery.py.
BOT_TROUBLES: tuple[str, ...] = (
    "bad_wrapper",
    "halted_in",
    "halted_out",
    "host_halts_in",
    "host_halts_out",
    "unread_status",
    "amid_data_in",
    "amid_data_out",
)
BOT_ORDERS: tuple[str, ...] = (
    "none",
    *("".join(each) for count in (1, 2, 3) for each in permutations("rio", count)),
)


class ActionError(ValueError):
    """A step, sequence or replay id that can't be read: says which, and what would be."""


@dataclass(frozen=True, slots=True)
class Word:
    """An argument that is one of a few words."""

    name: str
    words: tuple[str, ...]

    def read(self, text: str) -> str:
        if text not in self.words:
            raise ActionError(f"{self.name} {text!r} is not one of {', '.join(self.words)}")
        return text


@dataclass(frozen=True, slots=True)
class Number:
    """An argument that is a whole number from `first` to `last`."""

    name: str
    first: int
    last: int

    def read(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not self.first <= int(text) <= self.last:
            raise ActionError(f"{self.name} {text!r} is not a number {self.first}..{self.last}")
        return int(text)


Argument = Word | Number

ROLE = Word("role", ROLES)
PIN = Number("PIN", 0, len(PIN_TABLE) - 1)
GOOD_PIN = Number("PIN", 0, len(PINS) - 1)
LBA = Number("LBA", 0, len(LBA_TABLE) - 1)
BLOCKS = Number("block count", 1, 64)
CONTENT = Number("content", 0, 9999)
IMAGE = Number("image", 0, IMAGES - 1)
PAGES = Number("page count", 1, 64)


@dataclass(frozen=True, slots=True)
class Verb:
    """What a kind of action takes, and what it does, in a sentence."""

    arguments: tuple[Argument, ...]
    sentence: str


VERBS: dict[str, Verb] = {
    # The owner.
    "set_pin": Verb((ROLE, PIN), "give a role a PIN"),
    "unlock": Verb((ROLE, PIN), "try a PIN"),
    "lock": Verb((), "ask the drive to lock"),
    "read": Verb((LBA, BLOCKS), "read blocks"),
    "write": Verb((LBA, CONTENT, BLOCKS), "write blocks of the content"),
    "read_all": Verb((), "read every block of the medium"),
    "trim": Verb((LBA, BLOCKS), "tell the drive that blocks are no longer needed"),
    "fill": Verb((CONTENT,), "write every block of the medium"),
    "scatter": Verb((CONTENT, PAGES), "write pages here and there, each with a command of its own"),
    "flush": Verb((), "SYNCHRONIZE CACHE"),
    "make_recovery": Verb((), "have the drive draw recovery PINs"),
    "recover": Verb(
        (Number("recovery PIN", 0, 5), GOOD_PIN),
        "enter a recovery PIN (0..2 given, 3 wrong, 4 impossible, 5 last used), and a new user PIN",
    ),
    "set_duress": Verb((GOOD_PIN,), "set the PIN that destroys"),
    "erase": Verb((), "erase, by the right of the open session"),
    "erase_by_code": Verb((), "erase with the reset code"),
    "sanitize": Verb((), "SANITIZE, cryptographic erase"),
    "set_read_only": Verb((Word("setting", ("on", "off")),), "set persistent read-only mode"),
    "update": Verb((IMAGE,), "give the drive a firmware image, and have it begin with it"),
    "stage": Verb((IMAGE,), "give the drive a firmware image for its next power-up"),
    # Supply, plug, bus and time.
    "power_cycle": Verb((), "take supply away and give it back"),
    "unplug": Verb((), "move the data lines to another host; supply stays"),
    "reset": Verb((), "port reset by the host"),
    "suspend": Verb((), "bus suspend, then resume"),
    "bulk_reset": Verb((), "Bulk-Only Mass Storage Reset and clear-halt"),
    "wait": Verb((Number("seconds", 1, 99999),), "let time pass"),
    # The attacker.
    "malformed": Verb((Number("kind", 0, MALFORMED_KINDS - 1),), "send bytes no driver sends"),
    "sweep": Verb((), "send every opcode and every native channel and operation without a PIN"),
    "write_ways": Verb((), "send every write-like opcode"),
    "note_flash": Verb((), "copy the flash out"),
    "rollback_flash": Verb((), "put the copied flash back, with supply off"),
    "transplant": Verb((GOOD_PIN,), "put the copied flash into another unit and try a PIN there"),
    "forced_verdict": Verb((), "patch the firmware's verdict to 'right' and try a wrong PIN"),
    "record_unlock": Verb((ROLE, PIN), "record the bus while a PIN is tried"),
    "replay_unlock": Verb((), "send the recorded bytes again"),
    "update_swapped": Verb((IMAGE,), "give the drive an image, and alter what is staged of it"),
    "tamper_firmware": Verb((), "alter the firmware in flash, with supply off"),
    "search_flash": Verb((), "search a dump of the flash for content, PINs and keys"),
    "open_remnants": Verb((), "try all wrapped keys of the dumps with all the element still holds"),
    "wear_out_keys": Verb((), "age the blocks of the wrapped keys until their next erase fails"),
    "search_bus": Verb((), "search the bus trace for PINs and keys"),
    "inspect_cipher": Verb((), "write equal and related sectors and compare them in flash"),
    "reprovision": Verb((Number("units", 2, 4096),), "provision units and compare their keys"),
    "compare_wrong": Verb((), "compare how the drive answers different wrong PINs"),
    "compare_cuts": Verb(
        (ROLE, GOOD_PIN, GOOD_PIN), "cut a wrong and a right attempt at each step"
    ),
    "guess_near": Verb((), "try PINs that are nearly the user's, and well-known ones, on copies"),
    "measure_kdf": Verb((), "measure one attempt at full stretching cost"),
    "store_register": Verb((), "store the whole register"),
    "ask_descriptors": Verb((), "ask for every descriptor with every length"),
    "check_transport": Verb((), "enumerate the drive, and ask for its capacity"),
    "bot_case": Verb((Word("case", BOT_CASES),), "run one of the thirteen cases of Bulk-Only"),
    "bot_recovery": Verb(
        (Word("trouble", BOT_TROUBLES), Word("order", BOT_ORDERS)),
        "bring Bulk-Only into trouble, and reset (r) and clear halts of IN (i) and OUT (o)",
    ),
    "evidence": Verb((), "ask for signed evidence over a fresh nonce"),
    "read_log": Verb((), "ask for the single records of the log"),
    # What goes wrong in the drive, in the action that follows.
    "fault": Verb(
        (Word("fault", FAULTS), Number("number", 0, 9_999_999)),
        "have a part fail, as bench/faults.py says",
    ),
    "twin_keys": Verb((), "have two units draw keys from noise that fails as this drive's does"),
    "glitch": Verb(
        (Number("number", 0, 999_999),),
        "turn its n-th verdict of the firmware, or leave its n-th step out; 0: only count them",
    ),
}


@dataclass(frozen=True, slots=True)
class Cut:
    """Where supply fails: before a durable step, or inside it, leaving it torn."""

    number: int  # 1 is the first step of the action, or of the start; see END
    torn: Torn | None = None

    def __str__(self) -> str:
        if self == END:
            return "@end"
        return f"@{self.number}" if self.torn is None else f"@{self.number}.{self.torn}"


END = Cut(0)  # when the action has been answered


@dataclass(frozen=True, slots=True)
class Action:
    """One step: a verb, its arguments, and where power is cut, if it is.

    The first cut falls into the action, each further one into the start after the one before.
    """

    verb: str
    args: tuple[str | int, ...] = ()
    cuts: tuple[Cut, ...] = ()

    def __str__(self) -> str:
        return "-".join((self.verb, *map(str, self.args))) + "".join(map(str, self.cuts))

    @property
    def ends_dark(self) -> bool:
        """Whether supply fails when it has been answered."""
        return self.cuts[:1] == (END,)

    def at(self, *cuts: Cut) -> Action:
        """Return this action cut there."""
        return replace(self, cuts=cuts)


def parse_action(text: str) -> Action:
    """Return the action that `text` spells; raise ActionError with what was wrong."""
    body, *cuts = text.split("@")
    verb, *arguments = body.split("-")
    if verb not in VERBS:
        raise ActionError(f"step {text!r}: no verb {verb!r}; there are {', '.join(VERBS)}")
    kinds = VERBS[verb].arguments
    if len(arguments) != len(kinds):
        wanted = ", ".join(kind.name for kind in kinds) or "nothing"
        raise ActionError(f"step {text!r}: {verb} takes {wanted}, got {len(arguments)} arguments")
    if len(cuts) > CUTS_MAX:
        raise ActionError(f"step {text!r}: {len(cuts)} cuts, and {CUTS_MAX} are the most")
    try:
        values = [kind.read(argument) for kind, argument in zip(kinds, arguments, strict=True)]
        action = Action(verb, tuple(values), tuple(map(_parse_cut, cuts)))
        if END in action.cuts[1:]:
            raise ActionError("a start is not answered: end stands behind the action alone")
        return action
    except ActionError as wrong:
        raise ActionError(f"step {text!r}: {wrong}") from None


def _parse_cut(text: str) -> Cut:
    if text == "end":
        return END
    number, dot, torn = text.partition(".")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", number):
        raise ActionError(f"cuts are counted from 1, so {text!r} cuts nothing")
    if not dot:
        return Cut(int(number))
    if torn not in tuple(Torn):
        raise ActionError(f"{torn!r} is not what a cut leaves: {', '.join(Torn)}")
    return Cut(int(number), Torn(torn))


def parse_steps(text: str) -> tuple[Action, ...]:
    """Return the actions of a comma-joined sequence; raise ActionError on the first bad one."""
    parts = text.split(",")
    if len(parts) > STEPS_MAX:
        raise ActionError(f"{len(parts)} steps: a sequence has at most {STEPS_MAX}")
    return tuple(parse_action(part) for part in parts)


def spell_steps(actions: Sequence[Action]) -> str:
    return ",".join(map(str, actions))


@dataclass(frozen=True, slots=True)
class ReplayId:
    """What failed, where, and by which steps: `PROPERTY:TARGET:STEP,STEP,...`."""

    property_id: str
    target: str
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        return f"{self.property_id}:{self.target}:{spell_steps(self.actions)}"

    @classmethod
    def parse(cls, text: str) -> ReplayId:
        """Return the id in `text`; raise ActionError if it has not the three parts."""
        property_id, first, rest = text.partition(":")
        target, last, steps = rest.rpartition(":")
        if not (first and last and property_id and target and steps):
            raise ActionError(f"{text!r} is not a replay id: PROPERTY:TARGET:STEP,STEP,...")
        return cls(property_id, target, parse_steps(steps))
