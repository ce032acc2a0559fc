"""A drive as people use it: `with open_drive("model:native") as drive: drive.unlock(pin)`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from firmware_model.wire.attempt_log import Checkpoint, Evidence, LogRecord
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.native import (
    PROTOCOL,
    Channel,
    Entry,
    Feature,
    Role,
    State,
    Status,
)
from host_driver import firmware_update
from host_driver.attachment import Attachment, Holder, OpenOptions, Operator
from host_driver.attempt_log import AttemptLog, check_evidence
from host_driver.dialects.dialect import Dialect, role_named
from host_driver.dialects.keypad import KeypadDialect
from host_driver.dialects.native import NativeDialect, read_status
from host_driver.dialects.plain import PlainDialect
from host_driver.errors import CommandRefused, NotFound, NotSupported, ProtocolError
from host_driver.known_drives import IdentityCheck, KnownDrives, default_path
from host_driver.scsi import ScsiDisk

if TYPE_CHECKING:
    from usb.core import Device

BLOCK_BYTES: Final = 512
NONCE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Info:
    """What a drive says of itself without a PIN."""

    vendor: str
    product: str
    revision: str
    serial: str
    dialect: str
    status: Status | None  # None for a drive without a lock


class Drive:
    """An open connection to one drive. PINs are text; blocks have 512 bytes."""

    def __init__(
        self,
        attachment: Attachment,
        check: IdentityCheck,
        draw: Callable[[int], bytes],
    ) -> None:
        self._attachment = attachment
        self._check = check
        self._draw = draw
        self.disk = ScsiDisk(attachment.transport, attachment.transfer_bytes)
        self._dialect = self._find_dialect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the drive; one in this process loses power, and is locked again."""
        self._attachment.close()

    @property
    def operator(self) -> Operator | None:
        """Whoever can press keys and pull the plug, if anybody can."""
        return self._attachment.operator

    @property
    def device(self) -> Device | None:
        """The device on its bus, for who speaks to it below any transport; None where no bus is."""
        return self._attachment.device

    @property
    def destroys_data(self) -> bool:
        """Whether it may be written, erased, and cost its tries."""
        return self._attachment.destroys_data

    @property
    def holder(self) -> Holder | None:
        """The system that has the drive as a disk meanwhile, if one does."""
        return self._attachment.holder

    @property
    def is_trusted(self) -> bool:
        """Whether the drive was made for this occasion."""
        return self._attachment.is_trusted

    # --- what it is -----------------------------------------------------------------------------

    @property
    def dialect(self) -> str:
        """The host protocol the drive is managed by: native, keypad or none."""
        return self._dialect.name

    def info(self) -> Info:
        """Return what the drive says of itself."""
        inquiry = self.disk.inquiry()
        return Info(
            inquiry.vendor.strip(),
            inquiry.product.strip(),
            inquiry.revision.strip(),
            self._attachment.serial,
            self.dialect,
            self.status(),
        )

    def status(self) -> Status | None:
        """Return state, tries and features; None for a drive without a lock."""
        return self._dialect.status()

    def identity(self) -> bytes:
        """Return the drive's identity key, 32 bytes, as it proved it when the session opened."""
        return self._dialect.identity()

    @property
    def is_blank(self) -> bool:
        """Whether no PIN has been set since the drive was made or erased."""
        status = self.status()
        return status is not None and status.state in (State.FACTORY, State.ERASED)

    # --- PINs and policy ------------------------------------------------------------------------

    def unlock(self, pin: str, role: str = "user") -> None:
        """Open the drive; raise WrongPin, which says how many tries are left, or another refusal.

        A PIN that is of impossible length or alphabet is refused without costing a try.
        """
        self._dialect.unlock(pin, role_named(role))
        self._has_changed()

    def lock(self) -> None:
        """Lock the drive."""
        self._dialect.lock()
        self._has_changed()

    def set_pin(self, new_pin: str, role: str = "user") -> None:
        """Give a role a PIN: the first of a blank drive, or by the right of who opened it."""
        if self.is_blank and not self.is_trusted and self.dialect == "native":
            first = replace(self._check, ask=lambda serial, fingerprint: True)
            self._dialect = self._native(first)
        self._dialect.set_pin(new_pin, role_named(role))

    def recover(self, recovery_pin: str, new_pin: str) -> None:
        """Give the user a new PIN by a recovery PIN, which then ends."""
        self._dialect.recover(recovery_pin, new_pin)

    def make_recovery_pins(self) -> tuple[str, ...]:
        """Have the drive draw three recovery PINs, shown this once; earlier ones end."""
        return self._dialect.make_recovery_pins()

    def set_read_only(self, is_read_only: bool) -> None:
        """Make the medium read-only, or writable again, across power-ups."""
        self._dialect.set_read_only(is_read_only)
        self._has_changed()

    def erase(self, reset_code: str | None = None) -> None:
        """Destroy all keys, and so all data: by the right of the open session, or by the code."""
        self._dialect.erase(reset_code)
        self._has_changed()

    def update(
        self, image: bytes, progress: firmware_update.Progress = lambda sent, of: None
    ) -> None:
        """Give the drive new firmware, by the right of who opened it, and have it begin with it.

        The drive locks when the image begins, and leaves the bus when this returns: it is to be
        opened anew. Raises CommandRefused with the drive's reason; its firmware is then what it
        was.
        """
        if self.status() is None:
            raise NotSupported("the drive takes no firmware that sedlab knows")
        firmware_update.download(self.disk, image, progress)
        firmware_update.activate(self.disk)

    # --- data -----------------------------------------------------------------------------------

    @property
    def block_count(self) -> int:
        """Capacity in blocks of 512 bytes; raise Locked when the drive is not open."""
        block_count, block_bytes = self.disk.capacity()
        if block_bytes != BLOCK_BYTES:
            raise NotSupported(f"the drive's blocks have {block_bytes} bytes, not {BLOCK_BYTES}")
        return block_count

    def read(self, lba: int, block_count: int) -> bytes:
        """Return blocks; raise Locked when the drive is not open."""
        return self.disk.read(lba, block_count)

    def write(self, lba: int, data: bytes) -> None:
        """Store whole blocks, durable when this returns; raise Locked when it is not open."""
        self.disk.write(lba, data)

    def trim(self, lba: int, block_count: int) -> None:
        """Tell the drive that blocks are no longer needed; they read as zeros when it returns."""
        self.disk.trim(lba, block_count)

    def flush(self) -> None:
        """Have the drive store what it may still hold in a cache; others see what was written."""
        self.disk.flush()
        self._has_changed()

    # --- evidence -------------------------------------------------------------------------------

    def evidence(self, nonce: bytes | None = None) -> Evidence:
        """Return what the drive signs over a nonce of 32 bytes: log head and counts by kind.

        Needs no PIN. The signature is checked; whether the identity is the right one too.
        """
        nonce = self._draw(NONCE_BYTES) if nonce is None else nonce
        if self.dialect == "none":
            raise NotSupported("the drive keeps no log")
        self.disk.security_out(PROTOCOL, Channel.EVIDENCE, nonce)
        try:
            evidence = Evidence.decode(
                self.disk.security_in(PROTOCOL, Channel.EVIDENCE, Evidence.SIZE)
            )
        except DecodeError as wrong:
            raise ProtocolError(f"the drive's evidence is none: {wrong}") from wrong
        check_evidence(evidence, nonce)
        self._check(evidence.identity)
        return evidence

    def log(self) -> AttemptLog:
        """Return the attempt log, proved complete; it takes admin, or user where there is none."""
        checkpoint: Checkpoint | None = None
        records: list[LogRecord] = []
        number = 0
        while True:
            page = self._dialect.log_page(number)
            if page.checkpoint is not None and page.first > number:
                checkpoint, records, number = page.checkpoint, [], page.first
                continue
            records += page.records
            number += len(page.records)
            if number >= page.end or not page.records:
                break
        log = AttemptLog(page.checkpoint or checkpoint, tuple(records))
        log.prove(self.evidence())
        return log

    def _find_dialect(self) -> Dialect:
        try:
            listed = self.disk.security_protocols()
        except CommandRefused:
            listed = ()
        if PROTOCOL not in listed:
            return PlainDialect(self.disk)
        try:
            status = read_status(self.disk)
        except (CommandRefused, ProtocolError):  # a vendor's own protocol of that number
            return PlainDialect(self.disk)
        if status.entry is Entry.KEYPAD:
            return KeypadDialect(self.disk, self._attachment.operator)
        return self._native(self._check)

    def _native(self, check: IdentityCheck) -> NativeDialect:
        return NativeDialect(self.disk, self._draw, check, self._attachment.vouched)

    def _has_changed(self) -> None:
        """Tell whoever else uses the drive that its medium is not what it was."""
        if self.holder is not None:
            self.holder.look_again()


def schemes() -> tuple[str, ...]:
    """Return the URL schemes that are installed."""
    return tuple(sorted(point.name for point in entry_points(group="sedlab.targets")))


def attach(url: str, options: OpenOptions) -> Attachment:
    """Reach the drive a URL names; raise NotFound for an unknown scheme.

    Raises ValueError when what follows the scheme is no name of a drive.
    """
    scheme, colon, rest = url.partition(":")
    found = entry_points(group="sedlab.targets", name=scheme) if colon else ()
    for point in found:
        attachment: Attachment = point.load()(rest, options)
        return attachment
    known = ", ".join(f"{name}:" for name in schemes())
    raise NotFound(f"{url!r} names no drive: a URL begins with one of {known}")


def open_drive(
    url: str,
    options: OpenOptions | None = None,
    *,
    ask: Callable[[str, str], bool] | None = None,
    draw: Callable[[int], bytes] = os.urandom,
) -> Drive:
    """Open the drive that `url` names: model:PROFILE, usb:VID:PID[:SERIAL], sg:/dev/sgN.

    `ask` gets serial and fingerprint of a drive that is not known yet, and says whether to trust
    it; `draw` gives random bytes. Raises DriveError when the drive can't be reached.
    """
    options = options or OpenOptions()
    attachment = attach(url, options)
    known = KnownDrives(options.known_drives or default_path())
    check = IdentityCheck(attachment.serial, known, attachment.is_trusted, options.identity, ask)
    try:
        return Drive(attachment, check, draw)
    except BaseException:
        attachment.close()
        raise


__all__ = ["BLOCK_BYTES", "Drive", "Feature", "Info", "OpenOptions", "Role", "State", "open_drive"]
