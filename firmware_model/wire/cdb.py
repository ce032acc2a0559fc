"""Reading CDBs: any bytes give a command, or the sense data it is refused with.

A form is a layout of a CDB: which of its bits mean something, and how they are read. What is set
besides them is refused, and the refusal points at it. The same bits are what REPORT SUPPORTED
OPERATION CODES tells of a command.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from firmware_model.wire import scsi
from firmware_model.wire.scsi import buffer
from firmware_model.wire.scsi.opcodes import Opcode
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPCODE,
    Sense,
    invalid_field,
)

_ACTION: Final = 0x1F  # the service action, in byte 1
_HAVE_ACTIONS: Final = (
    Opcode.SANITIZE,
    Opcode.PERSISTENT_RESERVE_IN,
    Opcode.PERSISTENT_RESERVE_OUT,
    Opcode.SERVICE_ACTION_IN_16,
    Opcode.MAINTENANCE_IN,
)

Decode = Callable[[bytes], scsi.Command | Sense]


@dataclass(frozen=True, slots=True)
class Form:
    """One layout of a CDB, of an operation code or of one of its service actions."""

    usage: bytes  # CDB usage data (SPC-4 6.34.3): the codes, and else the bits that mean something
    command: type  # that it is, or the first of those that it may be
    decode: Decode
    service_action: int | None = None
    edges: tuple[int, ...] = ()  # leftmost bits, in byte 1, of fields that mean nothing here
    is_refused: int = field(init=False)  # the bits that mean nothing, of the CDB as one number

    def __post_init__(self) -> None:
        means = bytearray(self.usage)
        means[0] = 0xFF
        if self.service_action is not None:
            means[1] |= _ACTION
        object.__setattr__(self, "is_refused", ~_number(means) & (1 << 8 * len(means)) - 1)

    @property
    def opcode(self) -> int:
        """The operation code."""
        return self.usage[0]

    def refusal(self, surplus: int) -> Sense:
        """Return the refusal that points at the first of bits that mean nothing.

        Neighbours among them in a byte are one field, unless an edge parts them.
        """
        length = len(self.usage)
        byte = length - 1 - (surplus.bit_length() - 1) // 8
        bit = (surplus.bit_length() - 1) % 8
        refused = self.is_refused >> 8 * (length - 1 - byte) & 0xFF
        while refused >> bit + 1 & 1 and not (byte == 1 and bit in self.edges):
            bit += 1
        return invalid_field(byte, bit)


def _number(data: bytes | bytearray) -> int:
    return int.from_bytes(data, "big")


_ANCHOR_SAME: Final = (4, 2, 1)  # of WRITE SAME, and what is obsolete beside it
_ANCHOR: Final = (0,)  # of UNMAP
_RARC: Final = (2, 1, 0)  # and what is obsolete beside it


def _form(
    usage: str,
    command: type[Any],
    decode: Decode | None = None,
    edges: tuple[int, ...] = (),
) -> Form:
    bits = bytes.fromhex(usage)
    action = bits[1] & _ACTION if bits[0] in _HAVE_ACTIONS else None
    return Form(bits, command, decode or command.decode, action, edges)


# FF is a byte that is taken as it is, 1F beside LBA and count the group number.
FORMS: Final = (
    _form("00 00 00 00 00 00", scsi.TestUnitReady),
    _form("03 01 00 00 ff 00", scsi.RequestSense),
    _form("04 00 00 00 00 00", scsi.FormatUnit),
    _form("08 1f ff ff ff 00", scsi.Read),
    _form("0a 1f ff ff ff 00", scsi.Write),
    _form("12 01 ff ff ff 00", scsi.Inquiry),
    _form("15 11 00 00 ff 00", scsi.ModeSelect),
    _form("16 00 00 00 00 00", scsi.Reserve),
    _form("17 00 00 00 00 00", scsi.Release),
    _form("1a 08 ff ff ff 00", scsi.ModeSense),
    _form("1b 01 00 0f f7 00", scsi.StartStopUnit),
    _form("1d 17 00 00 00 00", scsi.SendDiagnostic),
    _form("1e 00 00 00 03 00", scsi.PreventAllow),
    _form("23 00 00 00 00 00 00 ff ff 00", scsi.ReadFormatCapacities),
    _form("25 00 00 00 00 00 00 00 00 00", scsi.ReadCapacity),
    _form("28 18 ff ff ff ff 1f ff ff 00", scsi.Read, edges=_RARC),
    _form("2a 18 ff ff ff ff 1f ff ff 00", scsi.Write, edges=_RARC),
    _form("2e 12 ff ff ff ff 1f ff ff 00", scsi.WriteAndVerify),
    _form("2f 16 ff ff ff ff 1f ff ff 00", scsi.Verify),
    _form("34 02 ff ff ff ff 1f ff ff 00", scsi.PreFetch),
    _form("35 06 ff ff ff ff 1f ff ff 00", scsi.SynchronizeCache),
    _form("37 00 1f 00 00 00 00 ff ff 00", scsi.ReadDefectData),
    _form("3b ff ff ff ff ff ff ff ff 00", buffer.DownloadMicrocode, buffer.write_buffer),
    _form("3c 1f ff ff ff ff ff ff ff 00", buffer.ReadBufferDescriptor),
    _form("41 08 ff ff ff ff 1f ff ff 00", scsi.WriteSame, edges=_ANCHOR_SAME),
    _form("42 00 00 00 00 00 1f ff ff 00", scsi.Unmap, edges=_ANCHOR),
    _form("48 a3 00 00 00 00 00 00 00 00", scsi.Sanitize),
    _form("48 1f 00 00 00 00 00 00 00 00", scsi.ExitFailureMode),
    _form("55 11 00 00 00 00 00 ff ff 00", scsi.ModeSelect),
    _form("56 00 00 00 00 00 00 00 00 00", scsi.Reserve),
    _form("57 00 00 00 00 00 00 00 00 00", scsi.Release),
    _form("5a 18 ff ff 00 00 00 ff ff 00", scsi.ModeSense),
    *(
        _form(f"5e {action:02x} 00 00 00 00 00 ff ff 00", scsi.PersistentReserveIn)
        for action in scsi.ReserveIn
    ),
    *(
        _form(f"5f {action:02x} ff 00 00 ff ff ff ff 00", scsi.PersistentReserveOut)
        for action in scsi.ReserveOut
    ),
    _form("88 18 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.Read, edges=_RARC),
    _form("89 18 ff ff ff ff ff ff ff ff 00 00 00 ff 1f 00", scsi.CompareAndWrite),
    _form("8a 18 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.Write, edges=_RARC),
    _form("8b 18 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.OrWrite),
    _form("8e 12 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.WriteAndVerify),
    _form("8f 16 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.Verify),
    _form("90 02 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.PreFetch),
    _form("91 06 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.SynchronizeCache),
    _form("93 09 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00", scsi.WriteSame, edges=_ANCHOR_SAME),
    _form("9e 10 00 00 00 00 00 00 00 00 ff ff ff ff 00 00", scsi.ReadCapacity),
    _form("9e 12 ff ff ff ff ff ff ff ff ff ff ff ff 00 00", scsi.GetLbaStatus),
    _form("a0 00 ff 00 00 00 ff ff ff ff 00 00", scsi.ReportLuns),
    _form("a2 ff ff ff 80 00 ff ff ff ff 00 00", scsi.SecurityProtocolIn),
    _form("a3 0c 87 ff ff ff ff ff ff ff 00 00", scsi.ReportSupportedOpcodes),
    _form("a3 0d 80 00 00 00 ff ff ff ff 00 00", scsi.ReportTaskFunctions),
    _form("a8 18 ff ff ff ff ff ff ff ff 1f 00", scsi.Read, edges=_RARC),
    _form("aa 18 ff ff ff ff ff ff ff ff 1f 00", scsi.Write, edges=_RARC),
    _form("ae 12 ff ff ff ff ff ff ff ff 1f 00", scsi.WriteAndVerify),
    _form("af 16 ff ff ff ff ff ff ff ff 1f 00", scsi.Verify),
    _form("b5 ff ff ff 80 00 ff ff ff ff 00 00", scsi.SecurityProtocolOut),
    _form("b7 1f ff ff ff ff ff ff ff ff 00 00", scsi.ReadDefectData),
)

_SINGLE: Final = {form.opcode: form for form in FORMS if form.service_action is None}
_OF_ACTIONS: Final = {
    (form.opcode, form.service_action): form for form in FORMS if form.service_action is not None
}


def decode_cdb(cdb: bytes) -> scsi.Command | Sense:
    """Return the command in `cdb`, or the sense data it is refused with; surplus is ignored."""
    if not cdb:
        return INVALID_OPCODE
    form = _SINGLE.get(cdb[0])
    if form is None:
        if cdb[0] not in _HAVE_ACTIONS:
            return INVALID_OPCODE
        form = _OF_ACTIONS.get((cdb[0], cdb[1] & _ACTION if len(cdb) > 1 else 0))
        if form is None:
            return invalid_field(1, 4)
    length = len(form.usage)
    if len(cdb) != length:
        if len(cdb) < length:
            return INVALID_FIELD_IN_CDB
        cdb = cdb[:length]
    surplus = int.from_bytes(cdb, "big") & form.is_refused
    return form.refusal(surplus) if surplus else form.decode(cdb)
