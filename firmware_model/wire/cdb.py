"""Reading CDBs: any bytes give a command, or the sense data it is refused with."""

from collections.abc import Callable
from typing import Final

from firmware_model.wire.buffer import (
    ACTIVATE_MODE,
    BUFFER_ID,
    DESCRIPTOR_MODE,
    DOWNLOAD_MODE,
    PO_ACT,
    ActivateMicrocode,
    DownloadMicrocode,
    ReadBufferDescriptor,
)
from firmware_model.wire.scsi import (
    BLOCK_BYTES,
    NOTHING,
    SANITIZE_CRYPTO_ERASE,
    SERVICE_READ_CAPACITY_16,
    Command,
    Direction,
    FormatUnit,
    Inquiry,
    ModeSelect,
    ModeSense,
    Opcode,
    PreventAllow,
    Read,
    ReadCapacity,
    ReadFormatCapacities,
    ReportLuns,
    RequestSense,
    Sanitize,
    SecurityProtocolIn,
    SecurityProtocolOut,
    SendDiagnostic,
    StartStopUnit,
    SynchronizeCache,
    TestUnitReady,
    Transfer,
    Unmap,
    Verify,
    Write,
)
from firmware_model.wire.sense import INVALID_FIELD_IN_CDB, INVALID_OPCODE, Sense

# Length of a CDB by its group code, the top three bits (SPC-4 4.2.5.1); 0: no such group here.
_LENGTHS: Final = (6, 10, 10, 0, 16, 12, 0, 0)
_LINK: Final = 0x01  # NACA and LINK of CONTROL ask for what is not offered (SAM-5 5.2)
_NACA: Final = 0x04

Decode = Callable[[bytes], Command | Sense]


def decode_cdb(cdb: bytes) -> Command | Sense:
    """Return the command in `cdb`, or the sense data it is refused with; surplus is ignored."""
    decode = _DECODERS.get(cdb[0]) if cdb else None
    if decode is None:
        return INVALID_OPCODE
    length = _LENGTHS[cdb[0] >> 5]
    if len(cdb) < length or cdb[length - 1] & (_LINK | _NACA):
        return INVALID_FIELD_IN_CDB
    return decode(cdb)


def transfer_of(command: Command) -> Transfer:
    """Return what a command moves."""
    match command:
        case Read():
            return Transfer(Direction.IN, command.block_count * BLOCK_BYTES)
        case Write():
            return Transfer(Direction.OUT, command.block_count * BLOCK_BYTES)
        case Verify() if command.compares:
            return Transfer(Direction.OUT, command.block_count * BLOCK_BYTES)
        case ModeSelect() | Unmap():
            return Transfer(Direction.OUT, command.list_length)
        case SecurityProtocolOut() | DownloadMicrocode():
            return Transfer(Direction.OUT, command.length)
        case SecurityProtocolIn():
            return Transfer(Direction.IN, command.length)
        case ReadCapacity(size=10):
            return Transfer(Direction.IN, 8)
        case (
            RequestSense()
            | Inquiry()
            | ModeSense()
            | ReadFormatCapacities()
            | ReadCapacity()
            | ReportLuns()
            | ReadBufferDescriptor()
        ):
            return Transfer(Direction.IN, command.allocation_length)
    return NOTHING


def _number(cdb: bytes, first: int, length: int) -> int:
    return int.from_bytes(cdb[first : first + length], "big")


def _test_unit_ready(cdb: bytes) -> Command | Sense:
    return INVALID_FIELD_IN_CDB if any(cdb[1:5]) else TestUnitReady()


def _request_sense(cdb: bytes) -> Command | Sense:
    return RequestSense(cdb[4], bool(cdb[1] & 1))


def _inquiry(cdb: bytes) -> Command | Sense:
    has_page = bool(cdb[1] & 1)
    if cdb[1] & ~1 or (cdb[2] and not has_page):
        return INVALID_FIELD_IN_CDB
    return Inquiry(_number(cdb, 3, 2), cdb[2] if has_page else None)


def _mode_sense_6(cdb: bytes) -> Command | Sense:
    return ModeSense(cdb[2] & 0x3F, cdb[4], 6, cdb[2] >> 6, cdb[3], bool(cdb[1] & 8))


def _mode_sense_10(cdb: bytes) -> Command | Sense:
    length = _number(cdb, 7, 2)
    return ModeSense(cdb[2] & 0x3F, length, 10, cdb[2] >> 6, cdb[3], bool(cdb[1] & 8))


def _mode_select_6(cdb: bytes) -> Command | Sense:
    return ModeSelect(cdb[4], 6, bool(cdb[1] & 1)) if cdb[1] & 0x10 else INVALID_FIELD_IN_CDB


def _mode_select_10(cdb: bytes) -> Command | Sense:
    if not cdb[1] & 0x10:
        return INVALID_FIELD_IN_CDB
    return ModeSelect(_number(cdb, 7, 2), 10, bool(cdb[1] & 1))


def _start_stop(cdb: bytes) -> Command | Sense:
    if cdb[4] & 0xF0:  # POWER CONDITION: none but the START bit
        return INVALID_FIELD_IN_CDB
    return StartStopUnit(bool(cdb[4] & 1), bool(cdb[4] & 2))


def _prevent_allow(cdb: bytes) -> Command | Sense:
    return INVALID_FIELD_IN_CDB if cdb[4] & 0xFE else PreventAllow(bool(cdb[4] & 1))


def _send_diagnostic(cdb: bytes) -> Command | Sense:
    is_default = cdb[1] & 0xE4 == 0x04 and not any(cdb[3:5])
    return SendDiagnostic() if is_default else INVALID_FIELD_IN_CDB


def _format_capacities(cdb: bytes) -> Command | Sense:
    return ReadFormatCapacities(_number(cdb, 7, 2))


def _read_capacity_10(cdb: bytes) -> Command | Sense:
    """PMI is obsolete since SBC-3; with it, an LBA had to be zero."""
    return INVALID_FIELD_IN_CDB if any(cdb[2:6]) or cdb[8] & 1 else ReadCapacity()


def _service_action_in(cdb: bytes) -> Command | Sense:
    if cdb[1] & 0x1F != SERVICE_READ_CAPACITY_16 or any(cdb[2:10]):
        return INVALID_FIELD_IN_CDB
    return ReadCapacity(16, _number(cdb, 10, 4))


def _report_luns(cdb: bytes) -> Command | Sense:
    length = _number(cdb, 6, 4)
    return INVALID_FIELD_IN_CDB if cdb[2] > 2 or length < 16 else ReportLuns(length, cdb[2])


def _format_unit(cdb: bytes) -> Command | Sense:
    return INVALID_FIELD_IN_CDB if cdb[1] else FormatUnit()


def _sanitize(cdb: bytes) -> Command | Sense:
    is_crypto = cdb[1] & 0x1F == SANITIZE_CRYPTO_ERASE and not any(cdb[7:9])
    return Sanitize() if is_crypto else INVALID_FIELD_IN_CDB


def _security_in(cdb: bytes) -> Command | Sense:
    return SecurityProtocolIn(cdb[1], _number(cdb, 2, 2), *_security_length(cdb))


def _security_out(cdb: bytes) -> Command | Sense:
    return SecurityProtocolOut(cdb[1], _number(cdb, 2, 2), *_security_length(cdb))


def _security_length(cdb: bytes) -> tuple[int, bool]:
    inc_512 = bool(cdb[4] & 0x80)
    return _number(cdb, 6, 4) * (512 if inc_512 else 1), inc_512


def _write_buffer(cdb: bytes) -> Command | Sense:
    """Download in the one way that is offered, or activate, which ignores every other field."""
    if cdb[1] & 0x1F == ACTIVATE_MODE:
        return ActivateMicrocode()
    if cdb[1] != PO_ACT | DOWNLOAD_MODE or cdb[2] != BUFFER_ID:
        return INVALID_FIELD_IN_CDB
    return DownloadMicrocode(_number(cdb, 3, 3), _number(cdb, 6, 3))


def _read_buffer(cdb: bytes) -> Command | Sense:
    if cdb[1] != DESCRIPTOR_MODE or cdb[2] != BUFFER_ID or any(cdb[3:6]):
        return INVALID_FIELD_IN_CDB
    return ReadBufferDescriptor(_number(cdb, 6, 3))


def _blocks(cdb: bytes) -> tuple[int, int, int]:
    """Return LBA, block count and size of the CDB of a command on blocks."""
    match len_of := _LENGTHS[cdb[0] >> 5]:
        case 6:
            return _number(cdb, 1, 3) & 0x1FFFFF, cdb[4] or 256, 6
        case 10:
            return _number(cdb, 2, 4), _number(cdb, 7, 2), 10
        case 12:
            return _number(cdb, 2, 4), _number(cdb, 6, 4), 12
    return _number(cdb, 2, 8), _number(cdb, 10, 4), len_of


def _read(cdb: bytes) -> Command | Sense:
    return INVALID_FIELD_IN_CDB if _wants_protection(cdb) else Read(*_blocks(cdb))


def _write(cdb: bytes) -> Command | Sense:
    return INVALID_FIELD_IN_CDB if _wants_protection(cdb) else Write(*_blocks(cdb))


def _wants_protection(cdb: bytes) -> bool:
    """RDPROTECT or WRPROTECT, which a medium without protection information refuses (4.22)."""
    return bool(cdb[1] & 0xE0) and cdb[0] not in (Opcode.READ_6, Opcode.WRITE_6)


def _unmap(cdb: bytes) -> Command | Sense:
    is_anchored = bool(cdb[1] & 1)  # which nothing here can be
    return INVALID_FIELD_IN_CDB if is_anchored else Unmap(_number(cdb, 7, 2))


def _verify(cdb: bytes) -> Command | Sense:
    check = cdb[1] >> 1 & 3
    if cdb[1] & 0xE0 or check > 1:
        return INVALID_FIELD_IN_CDB
    return Verify(*_blocks(cdb), bool(check))


def _synchronize(cdb: bytes) -> Command | Sense:
    return SynchronizeCache(*_blocks(cdb))


_DECODERS: Final[dict[int, Decode]] = {
    Opcode.TEST_UNIT_READY: _test_unit_ready,
    Opcode.REQUEST_SENSE: _request_sense,
    Opcode.FORMAT_UNIT: _format_unit,
    Opcode.READ_6: _read,
    Opcode.WRITE_6: _write,
    Opcode.INQUIRY: _inquiry,
    Opcode.MODE_SELECT_6: _mode_select_6,
    Opcode.MODE_SENSE_6: _mode_sense_6,
    Opcode.START_STOP_UNIT: _start_stop,
    Opcode.SEND_DIAGNOSTIC: _send_diagnostic,
    Opcode.PREVENT_ALLOW_MEDIUM_REMOVAL: _prevent_allow,
    Opcode.READ_FORMAT_CAPACITIES: _format_capacities,
    Opcode.READ_CAPACITY_10: _read_capacity_10,
    Opcode.READ_10: _read,
    Opcode.WRITE_10: _write,
    Opcode.VERIFY_10: _verify,
    Opcode.SYNCHRONIZE_CACHE_10: _synchronize,
    Opcode.UNMAP: _unmap,
    Opcode.WRITE_BUFFER: _write_buffer,
    Opcode.READ_BUFFER: _read_buffer,
    Opcode.SANITIZE: _sanitize,
    Opcode.MODE_SELECT_10: _mode_select_10,
    Opcode.MODE_SENSE_10: _mode_sense_10,
    Opcode.READ_16: _read,
    Opcode.WRITE_16: _write,
    Opcode.VERIFY_16: _verify,
    Opcode.SYNCHRONIZE_CACHE_16: _synchronize,
    Opcode.SERVICE_ACTION_IN_16: _service_action_in,
    Opcode.REPORT_LUNS: _report_luns,
    Opcode.SECURITY_PROTOCOL_IN: _security_in,
    Opcode.SECURITY_PROTOCOL_OUT: _security_out,
    Opcode.READ_12: _read,
    Opcode.WRITE_12: _write,
}
