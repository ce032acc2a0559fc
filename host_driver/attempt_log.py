"""Reading the attempt log, and proving that nothing is missing from it.

Evidence is head, number of records and counts by kind, signed by the drive over the asker's own
nonce. Records chain to that head. So records that were cut, rolled back or forged do not verify;
and two pieces of evidence, one of them noted before a loss, tell what happened in between.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from firmware_model.wire.attempt_log import (
    KINDS,
    Checkpoint,
    Event,
    Evidence,
    LogRecord,
    head_after,
)
from host_driver.errors import ProtocolError


class LogNotProved(ProtocolError):
    """The log, or the evidence, is not what the drive signed."""


@dataclass(frozen=True, slots=True)
class AttemptLog:
    """The records that still stand, behind a checkpoint of those that were folded away."""

    checkpoint: Checkpoint | None
    records: tuple[LogRecord, ...]

    def prove(self, evidence: Evidence) -> None:
        """Raise LogNotProved unless the records lead to the head that `evidence` signs."""
        base, head = 0, bytes(32)
        counts: tuple[int, ...] = (0,) * KINDS
        if self.checkpoint is not None:
            _check_signature(
                evidence.identity,
                self.checkpoint.signature,
                self.checkpoint.signed_bytes(),
                "the log's checkpoint",
            )
            base, head = self.checkpoint.base, self.checkpoint.base_head
            counts = self.checkpoint.counts
        numbers = [record.number for record in self.records]
        if numbers != list(range(base, base + len(numbers))):
            raise LogNotProved("the log has a gap")
        if base + len(numbers) != evidence.count or head_after(head, self.records) != evidence.head:
            raise LogNotProved("the log does not lead to the head that the drive signs")
        kinds = Counter(int(record.event) for record in self.records)
        if tuple(count + kinds[kind] for kind, count in enumerate(counts)) != evidence.counts:
            raise LogNotProved("the log does not hold as many records as the drive counted")


def check_evidence(evidence: Evidence, nonce: bytes) -> None:
    """Raise LogNotProved unless `evidence` is signed, and over this nonce."""
    if evidence.nonce != nonce:
        raise LogNotProved("the evidence is over another nonce: it may be an old one")
    _check_signature(evidence.identity, evidence.signature, evidence.signed_bytes(), "the evidence")


def counts_by_name(evidence: Evidence) -> Mapping[str, int]:
    """Return how often each kind of event happened, by its name."""
    return {event.name: evidence.counts[event] for event in Event}


def attempts(evidence: Evidence) -> int:
    """Return how many PINs were ever tried."""
    kinds: Iterable[Event] = (Event.ATTEMPT_USER, Event.ATTEMPT_ADMIN, Event.ATTEMPT_RECOVERY)
    return sum(evidence.counts[kind] for kind in kinds)


def _check_signature(identity: bytes, signature: bytes, signed: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise LogNotProved(f"{what} is not signed by the drive") from None
