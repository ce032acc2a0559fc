"""Making a TPM the element of a new drive, and how its state is kept outside it."""

import hmac
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from firmware_model.hardware.attempt_counter import External
from firmware_model.hardware.element_state import Count, ElementState
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.tpm.state import ENCODED_BYTES, Counter, Lockout, TpmState

if TYPE_CHECKING:
    from firmware_model.hardware.tpm.chip import TpmChip

_TAG_BYTES: Final = 32


def connect(tcti: str) -> "TpmChip":
    """Return the TPM at a TCTI; raise ElementError without the extra, or where none answers."""
    try:
        from firmware_model.hardware.tpm.chip import TpmChip
    except ImportError as lacking:
        hint = "a TPM takes the extra sedlab[tpm]: pip install 'sedlab[tpm]'"
        raise ElementError(f"{hint} ({lacking})") from None
    return TpmChip(tcti)


def failures_max(limits: tuple[int, int, int]) -> int:
    """Return how many failures lock a TPM out: one more than a drive's owner could cause.

    A guess at the user's slot is one at the duress slot, too; and a TPM that loses power after
    a guess may count one more (part 1, dictionary attack protection).
    """
    user, admin, recovery = limits
    return 3 * user + 2 * admin + 2 * recovery + 1


def provision(chip: "TpmChip", made: ElementState, external: External) -> None:
    """Make a TPM the element of a new drive; raise ElementError if it is somebody's."""
    if chip.is_taken:
        raise ElementError("the TPM belongs to somebody, or to another drive: clear it first")
    chip.clear()
    chip.make_counters()
    chip.keep_identity(made.identity_seed)
    counters = chip.counters()
    # A digest that no policy has: until there are keys, nothing can be proven.
    lockout = Lockout(sha256(chip.random(32)).digest(), counters[Counter.ERA] - 1)
    bases = counters[: len(Count)]
    state = TpmState(
        counters,
        made.limits,
        made.reset_code_hash,
        made.update_key,
        lockout,
        bases,
        firmware_floor=made.firmware_floor,
    )
    external.write(sealed(chip, state))
    chip.take(failures_max(made.limits), lockout)


def sealed(chip: "TpmChip", state: TpmState) -> bytes:
    """Return a state with the TPM's word that it is genuine."""
    body = state.encode()
    return body + chip.mac(body)


def unsealed(chip: "TpmChip", stored: bytes) -> Iterator[tuple[bytes, TpmState]]:
    """Give what is genuine in what is stored, as it is stored and as the state that it holds."""
    size = ENCODED_BYTES + _TAG_BYTES
    for at in range(0, len(stored), size):
        body, tag = stored[at : at + ENCODED_BYTES], stored[at + ENCODED_BYTES : at + size]
        if hmac.compare_digest(chip.mac(body), tag):
            yield body + tag, TpmState.decode(body)
