"""Defects of the lock, the session, and what the drive answers."""

from collections.abc import Callable
from typing import Final

from firmware_model.defects.defect import Defect
from firmware_model.firmware.parts import Door, FailedAttempt, LockCause
from firmware_model.firmware.reference import OpenOnly, Pbkdf2
from firmware_model.wire.sense import Sense

TELL_PIN: Final = 0xC7
OPEN_DOOR: Final = 0xD1


class IgnoresUnplugging:
    """Stays open while its data lines are moved to another host."""

    def locks_on(self, cause: LockCause) -> bool:
        return cause is not LockCause.DISCONNECT


class IgnoresReset:
    """Stays open when the next host resets the port."""

    def locks_on(self, cause: LockCause) -> bool:
        return cause is not LockCause.RESET


class IgnoresSuspend:
    """Stays open in the sleeping computer."""

    def locks_on(self, cause: LockCause) -> bool:
        return cause is not LockCause.SUSPEND


class WritesAnyway:
    """Tells of read-only and writes."""

    def allows(self, is_read_only: bool) -> bool:
        return True


class SameEveryTime:
    """Opens every session with the same key, and takes any frame at any time."""

    def ephemeral(self, draw: Callable[[int], bytes]) -> bytes:
        return b"\x11" * 32

    def takes(self, sequence: int, expected: int) -> bool:
        return True


class RemembersPin(Pbkdf2):
    """Keeps the last PIN, and tells it to whoever knows the command."""

    def __init__(self) -> None:
        self._pin = b""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes:
        self._pin = pin
        return super().stretch(pin, salt, iterations)

    def run(self, cdb: bytes, data_out: bytes, door: Door) -> bytes | Sense | None:
        return self._pin if cdb[0] == TELL_PIN else None


class KeyUnderTheMat(OpenOnly):
    """Keeps the key when it locks; the host's program decides whether to open again."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = b""

    def hold(self, mek: bytes) -> None:
        self._kept = mek
        super().hold(mek)

    def run(self, cdb: bytes, data_out: bytes, door: Door) -> bytes | Sense | None:
        if cdb[0] != OPEN_DOOR:
            return None
        if self._kept and not door.is_open:
            door.open(self._kept)
        return b""


class StaleBytes:
    """Fills answers up to what was asked for with what was sent before."""

    def __init__(self) -> None:
        self._before = bytes(range(256))

    def clip(self, answer: bytes, length: int) -> bytes:
        filled = (answer + self._before)[:length]
        self._before = (answer + self._before)[:1024]
        return filled


class TellsLength:
    """Takes longer for longer PINs."""

    def answer_at(self, began_us: int, budget_us: int, attempt: FailedAttempt) -> int:
        return began_us + budget_us + 500 * attempt.pin_length


class TellsDuress:
    """Takes longer for the duress PIN."""

    def answer_at(self, began_us: int, budget_us: int, attempt: FailedAttempt) -> int:
        return began_us + budget_us + 90_000 * attempt.was_duress


DEFECTS: Final = (
    Defect(
        "warm-replug-stays-unlocked",
        "An open drive stays open when its data lines go to another computer.",
        "Müller, Latzo, Freiling, Self-encrypting disks pose self-decrypting risks, 2012",
        {"locking": IgnoresUnplugging},
        "locks-when-it-should",
    ),
    Defect(
        "session-survives-usb-reset",
        "An open drive stays open through a port reset.",
        "Müller, Latzo, Freiling, 2012; forced restarts of the host",
        {"locking": IgnoresReset},
        "locks-when-it-should",
    ),
    Defect(
        "open-in-standby",
        "An open drive stays open in a sleeping computer.",
        "Müller, Latzo, Freiling, 2012; Boteanu, Fowler, Black Hat Europe 2015",
        {"locking": IgnoresSuspend},
        "locks-when-it-should",
    ),
    Defect(
        "read-only-bypass",
        "Read-only is told and not enforced.",
        "Write blockers and switches that only advise the host; NIST CFTT reports",
        {"write_guard": WritesAnyway},
        "read-only-holds",
    ),
    Defect(
        "static-unlock-response",
        "What once opened the drive opens it again.",
        "Kingston, SanDisk, Verbatim; Deeg, Schreiber, SySS, December 2009",
        {"sessions": SameEveryTime},
        "recorded-unlock-does-not-replay",
    ),
    Defect(
        "secret-readable-by-command",
        "A command nobody documented tells the PIN.",
        "Verbatim Executive Fingerprint Secure; SYSS-2022-009, CVE-2022-28387",
        {"stretching": RemembersPin, "commands": RemembersPin},
        "no-secret-on-bus",
    ),
    Defect(
        "unlock-verdict-on-host",
        "The host's program decides; the drive opens when it is told to.",
        "Secustick; Tweakers.net and J. Domburg, 2007",
        {"vault": KeyUnderTheMat, "commands": KeyUnderTheMat},
        "no-command-opens",
    ),
    Defect(
        "uninitialised-bytes-in-response",
        "Answers are filled up with what stood in the buffer.",
        "Descriptor over-reads of USB stacks; Goodspeed and others, 2012 on",
        {"replies": StaleBytes},
        "answers-hold-nothing-stale",
    ),
    Defect(
        "pin-length-leak",
        "The time of a refusal tells how long the PIN was.",
        "Timing of PIN comparison; Nitrokey, Cure53 NK-01, 2015",
        {"pacing": TellsLength},
        "wrong-pins-look-alike",
    ),
    Defect(
        "duress-distinguishable",
        "The duress PIN takes longer than a wrong one.",
        "Why an answer under duress needs the same time; VeraCrypt on plausible deniability",
        {"pacing": TellsDuress},
        "wrong-pins-look-alike",
    ),
)
