"""The parts the firmware is put together from, and what each of them must be able to do.

Every part is made anew, without arguments, at each power-up: it remembers nothing that the board
does not. A class that fills several seams is made once and shared between them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final, Protocol, get_type_hints

from firmware_model.firmware.image_check import UpdateRules
from firmware_model.firmware.keystore import KeyStoring
from firmware_model.firmware.sector_cipher import SectorCipher
from firmware_model.firmware.volume import Volume
from firmware_model.hardware.attempt_counter import AttemptCounter
from firmware_model.hardware.entropy import HealthTests
from firmware_model.wire.bot import Case, Csw, CswStatus
from firmware_model.wire.firmware_image import ImageFault
from firmware_model.wire.sense import Sense


class PartError(ValueError):
    """A class does not fit the part it is to replace; the message says what it lacks."""


# What a part of somebody else's may raise by mistake, when it is loaded or when it runs: anything.
ERRORS_OF_CODE: Final = (Exception,)


class LockCause(Enum):
    """What may lock an open drive, besides the loss of power."""

    COMMAND = "command"
    TIMER = "timer"
    DISCONNECT = "disconnect"
    SUSPEND = "suspend"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The verdict on a wrapped key; `key` counts only when it is right."""

    is_right: bool
    key: bytes


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """What the time of an answer must not depend on."""

    pin_length: int
    was_duress: bool


class TryLimit(Protocol):
    """When a role has used its tries up."""

    def is_reached(self, tries_left: int) -> bool: ...


class Stretching(Protocol):
    """What makes one guess expensive."""

    def stretch(self, pin: bytes, salt: bytes, iterations: int) -> bytes: ...


class KeyDerivation(Protocol):
    """How a KEK comes from the element's answer to a stretched PIN."""

    def kek(self, answer: bytes, stretched_pin: bytes, salt: bytes, slot: int) -> bytes: ...


class KeyWrapping(Protocol):
    """How a key is wrapped, and the verdict on a PIN: whether it unwraps."""

    def wrap(self, kek: bytes, key: bytes) -> bytes: ...

    def unwrap(self, kek: bytes, wrapped: bytes) -> Unwrapped: ...


class MediaCipher(Protocol):
    """What enciphers the data area."""

    def sectors(self, mek: bytes) -> SectorCipher: ...


class KeySource(Protocol):
    """Where media keys come from: 64 bytes, the halves different."""

    def mek(self, draw: Callable[[int], bytes], now_us: int) -> bytes: ...


class KeyVault(Protocol):
    """Where the media key of an open drive is kept in memory."""

    def hold(self, mek: bytes) -> None: ...

    def release(self) -> None: ...

    def key(self) -> bytes | None: ...


class SlotChange(Protocol):
    """The steps of changing a PIN, each durable when it returns."""

    def draw(self) -> None:
        """Draw new slot secrets beside the live ones."""
        ...

    def wrap(self) -> None:
        """Wrap the keys for the new PINs, in memory."""
        ...

    def store(self) -> None:
        """Write the wrapped keys."""
        ...

    def commit(self) -> None:
        """Make the new secrets the live ones."""
        ...

    def finish(self) -> None:
        """Destroy the old secrets."""
        ...


class PinChange(Protocol):
    """The order in which a PIN is changed."""

    def change(self, steps: SlotChange) -> None: ...


class EraseSteps(Protocol):
    """The steps of an erase, each durable when it returns."""

    def destroy_secrets(self) -> bool:
        """Destroy the secrets behind all keys; return whether none is left."""
        ...

    def wipe_records(self) -> None: ...

    def discard_data(self) -> None: ...


class Erasing(Protocol):
    """The order in which a drive is erased."""

    def erase(self, steps: EraseSteps) -> bool:
        """Take the steps; return whether the drive is erased."""
        ...


class Locking(Protocol):
    """Which events lock an open drive."""

    def locks_on(self, cause: LockCause) -> bool: ...


class WriteGuard(Protocol):
    """Whether a command may change the medium."""

    def allows(self, is_read_only: bool) -> bool: ...


class PinPolicy(Protocol):
    """Which PINs are looked at, and which are accepted as new ones."""

    def is_possible(self, pin: bytes, fewest: int, most: int) -> bool: ...

    def is_accepted(self, pin: bytes) -> bool: ...


class Sessions(Protocol):
    """What makes each session of the native dialect its own."""

    def ephemeral(self, draw: Callable[[int], bytes]) -> bytes:
        """Return a private X25519 key, 32 bytes."""
        ...

    def takes(self, sequence: int, expected: int) -> bool:
        """Tell whether a frame of that number may be opened."""
        ...


class Pacing(Protocol):
    """When a failed attempt is answered."""

    def answer_at(self, began_us: int, budget_us: int, attempt: FailedAttempt) -> int: ...


class Caching(Protocol):
    """What stands between the host and the volume."""

    def read(self, volume: Volume, lba: int, block_count: int) -> bytes: ...

    def write(self, volume: Volume, lba: int, data: bytes) -> None: ...

    def flush(self, volume: Volume) -> None: ...


class Door(Protocol):
    """What a vendor's commands can reach inside."""

    @property
    def is_open(self) -> bool: ...

    def open(self, mek: bytes) -> None: ...


class VendorCommands(Protocol):
    """Operation codes C0h to FFh; None stands for no such code."""

    def run(self, cdb: bytes, data_out: bytes, door: Door) -> bytes | Sense | None: ...


class UpdateCheck(Protocol):
    """What is wrong with a firmware image; None for one that may run."""

    def arriving(self, offset: int, piece: bytes, rules: UpdateRules) -> ImageFault | None:
        """Judge a piece, as far as it tells anything, before it is stored."""
        ...

    def staged(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        """Judge an image as it was read back from flash, before the drive switches to it."""
        ...

    def at_boot(self, image: bytes, rules: UpdateRules) -> ImageFault | None:
        """Judge what stands in a slot, at every power-up."""
        ...


class SwitchSteps(Protocol):
    """What makes an image the firmware, each step durable when it returns.

    `switch` names its slot and raises the floor to its security version, the others do one of both.
    """

    def switch(self) -> None: ...

    def name_slot(self) -> None: ...

    def raise_floor(self) -> None: ...


class Updating(Protocol):
    """Who may update, and in which order it happens."""

    def allows(self, is_owned: bool) -> bool: ...

    def begin(self, steps: SwitchSteps) -> None:
        """An image begins to arrive; only its header is known, and nobody has checked it."""
        ...

    def end(self, steps: SwitchSteps) -> None:
        """The whole image is in flash, and was found good there."""
        ...


class Replies(Protocol):
    """How an answer is cut to what was asked for."""

    def clip(self, answer: bytes, length: int) -> bytes: ...


class Transport(Protocol):
    """How commands, halts and resets are answered on the bulk endpoints (BOT 5, 6)."""

    def wrap(self, tag: int, residue: int, status: CswStatus) -> Csw:
        """Return what tells the host how a command ended."""
        ...

    def refuses(self, case: Case) -> bool:
        """Whether such a command is a phase error, and is not executed."""
        ...

    def halts(self, case: Case) -> bool:
        """Whether the data phase ends in a halt of its endpoint."""
        ...

    def keeps_halt(self, is_bad_cbw: bool) -> bool:
        """Whether a halt outlives CLEAR FEATURE; `is_bad_cbw` tells where it came from."""
        ...

    def drops_status(self) -> bool:
        """Whether clearing the halt of IN also ends the command whose status is to come."""
        ...

    def reset_drops_command(self) -> bool:
        """Whether Bulk-Only Mass Storage Reset ends the command that is under way."""
        ...

    def reset_clears_halts(self) -> bool:
        """Whether Bulk-Only Mass Storage Reset clears halts as well."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each, as made at a power-up."""

    counter: AttemptCounter
    limit: TryLimit
    stretching: Stretching
    derivation: KeyDerivation
    wrapping: KeyWrapping
    storing: KeyStoring
    cipher: MediaCipher
    health: HealthTests
    key_source: KeySource
    vault: KeyVault
    pin_change: PinChange
    erasing: Erasing
    locking: Locking
    write_guard: WriteGuard
    pin_policy: PinPolicy
    sessions: Sessions
    pacing: Pacing
    caching: Caching
    commands: VendorCommands
    update_check: UpdateCheck
    updating: Updating
    replies: Replies
    transport: Transport


PartClass = Callable[[], Any]
PART_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Parts))


def methods_of(part: str) -> tuple[str, ...]:
    """Return the names of the methods that a part must have."""
    seam = get_type_hints(Parts)[part]
    return tuple(name for name in vars(seam) if not name.startswith("_"))


def check_fit(part: str, replacement: PartClass) -> None:
    """Raise PartError unless `replacement` could be that part."""
    name = getattr(replacement, "__name__", repr(replacement))
    if part not in PART_NAMES:
        raise PartError(f"there is no part {part!r}; there are {', '.join(PART_NAMES)}")
    lacking = [method for method in methods_of(part) if not hasattr(replacement, method)]
    if lacking:
        raise PartError(f"{name} can't be the {part}: it has no method {', '.join(lacking)}")


def part_for(replacement: PartClass) -> str:
    """Return the part a class is for: the one it names as `part`, or the only one it fits."""
    name = getattr(replacement, "__name__", repr(replacement))
    named = getattr(replacement, "part", None)
    if named is not None:
        check_fit(str(named), replacement)
        return str(named)
    fitting = [
        part
        for part in PART_NAMES
        if all(hasattr(replacement, method) for method in methods_of(part))
    ]
    if len(fitting) != 1:
        found = f"fits {' and '.join(fitting)}" if fitting else "fits no part"
        raise PartError(f"{name} {found}; give it `part = NAME`, one of {', '.join(PART_NAMES)}")
    return fitting[0]


def make_parts(classes: Mapping[str, PartClass]) -> Parts:
    """Make one of each; a class named for several parts is made once."""
    made: dict[PartClass, Any] = {}
    for replacement in classes.values():
        if replacement not in made:
            made[replacement] = replacement()
    return Parts(**{part: made[replacement] for part, replacement in classes.items()})
