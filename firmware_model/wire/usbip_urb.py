"""USB/IP, version 1.1.1: the transfers of a device that was imported, over the same stream.

Source: Linux, Documentation/usb/usbip_protocol.rst; include/linux/usb.h for the flags and
include/uapi/asm-generic/errno.h for the status. All fields are big-endian, but for the setup
packet, which stands there as it does on the bus.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import ClassVar, Final, NamedTuple, Self

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.setup import DIRECTION_IN, SetupPacket

HEADER_BYTES: Final = 48  # of each message: 20 that all have, 28 of its own
NO_SETUP: Final = bytes(8)
NOT_ISOCHRONOUS: Final = (0, 0xFFFF_FFFF)  # as packet count: what Linux sends, what the text says


class Command(IntEnum):
    """What a message is."""

    CMD_SUBMIT = 1
    CMD_UNLINK = 2
    RET_SUBMIT = 3
    RET_UNLINK = 4


class TransferFlags(IntFlag):
    """The flags of a transfer that change what a server does (include/linux/usb.h)."""

    SHORT_NOT_OK = 0x0001  # a short IN ends in EREMOTEIO
    ZERO_PACKET = 0x0040  # an OUT of whole packets ends in an empty one
    DIR_IN = 0x0200


class UrbStatus(IntEnum):
    """How a transfer ended: error numbers of Linux, negated; there are others."""

    OK = 0
    ENOMEM = -12
    ENODEV = -19
    EINVAL = -22
    EPIPE = -32  # stalled
    EPROTO = -71
    EOVERFLOW = -75  # the device sent more than was asked for
    ECONNRESET = -104  # unlinked
    ESHUTDOWN = -108
    ETIMEDOUT = -110
    EREMOTEIO = -121  # short, where SHORT_NOT_OK was set


_BEGINNING_BYTES: Final = 4
_SUBMIT: Final = Struct(">4sIIIIIIIII8s")
_ENDED: Final = Struct(">4sI12xiIIII8x")


def _beginning(command: Command) -> bytes:
    return command.to_bytes(_BEGINNING_BYTES, "big")


def _check(beginning: bytes, data: bytes) -> None:
    """Raise DecodeError unless `data` is 48 bytes that begin so."""
    if len(data) != HEADER_BYTES or not data.startswith(beginning):
        name = Command(int.from_bytes(beginning, "big")).name
        raise DecodeError(f"{len(data)} bytes that begin {data[:4].hex()} are no {name}")


# The two that each transfer takes are tuples: making frozen dataclasses of them takes a server as
# long as all else that it does for a transfer. For the same reason nothing is looked up for them
# that can be here, once.
_CMD_SUBMIT: Final = _beginning(Command.CMD_SUBMIT)
_CMD_UNLINK: Final = _beginning(Command.CMD_UNLINK)
_RET_SUBMIT: Final = _beginning(Command.RET_SUBMIT)
_RET_UNLINK: Final = _beginning(Command.RET_UNLINK)
_pack_submit, _unpack_submit = _SUBMIT.pack, _SUBMIT.unpack
_pack_ended, _unpack_ended = _ENDED.pack, _ENDED.unpack


class CmdSubmit(NamedTuple):
    """A transfer begins. OUT data follows, and 16 bytes for each isochronous packet."""

    seqnum: int
    devid: int
    direction: int  # 0 OUT, 1 IN
    endpoint: int  # number of 4 bits, without the direction
    flags: int  # TransferFlags, and others
    length: int  # bytes of the buffer
    start_frame: int = 0
    packet_count: int = 0  # of isochronous packets
    interval: int = 0
    setup: bytes = NO_SETUP

    @property
    def is_in(self) -> bool:
        """Whether data goes to the host."""
        return self.direction == 1

    @property
    def address(self) -> int:
        """The endpoint's address, as its descriptor gives it."""
        return self.endpoint | DIRECTION_IN if self.direction else self.endpoint

    @property
    def is_isochronous(self) -> bool:
        """Whether the data is in packets that are described behind it."""
        return self.packet_count not in NOT_ISOCHRONOUS

    def encode(self) -> bytes:
        """Return the 48 bytes; raise struct.error when a field exceeds its width."""
        return _pack_submit(_CMD_SUBMIT, *self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the command; raise DecodeError on a wrong length, command or endpoint."""
        _check(_CMD_SUBMIT, data)
        found = cls._make(_unpack_submit(data)[1:])
        if found.direction > 1 or found.endpoint > 15:
            raise DecodeError(
                f"CMD_SUBMIT to endpoint {found.endpoint} in direction {found.direction}"
            )
        return found

    def setup_packet(self) -> SetupPacket:
        """Return the setup packet of a control transfer."""
        return SetupPacket.decode(self.setup)


class RetSubmit(NamedTuple):
    """A transfer has ended. IN data follows: only who submitted it knows that it was IN."""

    seqnum: int  # of the CMD_SUBMIT
    status: int  # a UrbStatus, or another negative error number of Linux
    actual_length: int
    start_frame: int = 0
    packet_count: int = 0
    error_count: int = 0  # of isochronous packets

    def encode(self) -> bytes:
        """Return the 48 bytes; raise struct.error when a field exceeds its width."""
        return _pack_ended(_RET_SUBMIT, *self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the reply; raise DecodeError on a wrong length or command."""
        _check(_RET_SUBMIT, data)
        return cls._make(_unpack_ended(data)[1:])


@dataclass(frozen=True, slots=True)
class CmdUnlink:
    """A transfer is withdrawn."""

    seqnum: int  # of this command
    devid: int
    unlinked: int  # seqnum of the CMD_SUBMIT

    LAYOUT: ClassVar[Struct] = Struct(">IIIIII24x")

    def encode(self) -> bytes:
        """Return the 48 bytes."""
        return self.LAYOUT.pack(Command.CMD_UNLINK, self.seqnum, self.devid, 0, 0, self.unlinked)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the command; raise DecodeError on a wrong length or command."""
        _check(_CMD_UNLINK, data)
        _, seqnum, devid, _, _, unlinked = cls.LAYOUT.unpack(data)
        return cls(seqnum, devid, unlinked)


@dataclass(frozen=True, slots=True)
class RetUnlink:
    """What became of a CMD_UNLINK: ECONNRESET, or what the transfer ended in before."""

    seqnum: int  # of the CMD_UNLINK
    status: int

    LAYOUT: ClassVar[Struct] = Struct(">II12xi24x")

    def encode(self) -> bytes:
        """Return the 48 bytes."""
        return self.LAYOUT.pack(Command.RET_UNLINK, self.seqnum, self.status)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the reply; raise DecodeError on a wrong length or command."""
        _check(_RET_UNLINK, data)
        return cls(*cls.LAYOUT.unpack(data)[1:])


@dataclass(frozen=True, slots=True)
class IsoPacket:
    """One packet of an isochronous transfer, 16 bytes; no storage has them."""

    offset: int  # bytes from the start of the buffer
    length: int
    actual_length: int
    status: int

    LAYOUT: ClassVar[Struct] = Struct(">IIIi")

    def encode(self) -> bytes:
        """Return the 16 bytes."""
        return self.LAYOUT.pack(self.offset, self.length, self.actual_length, self.status)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the packet; raise DecodeError on a wrong length."""
        if len(data) != cls.LAYOUT.size:
            raise DecodeError(f"isochronous packet has {len(data)} bytes, expected 16")
        return cls(*cls.LAYOUT.unpack(data))


def decode_command(data: bytes) -> CmdSubmit | CmdUnlink:
    """Return what a client sends; raise DecodeError for anything else."""
    if data.startswith(_CMD_UNLINK):
        return CmdUnlink.decode(data)
    return CmdSubmit.decode(data)


def decode_reply(data: bytes) -> RetSubmit | RetUnlink:
    """Return what a server answers; raise DecodeError for anything else."""
    if data.startswith(_RET_UNLINK):
        return RetUnlink.decode(data)
    return RetSubmit.decode(data)
