"""Command descriptor blocks, as values. Source: SPC-4 section 6, SBC-3 section 5.

Each command is a frozen dataclass with `encode`, `decode` and what it moves. `decode` is given a
CDB of the right length in which nothing is set but what the command has a meaning for
(`wire.cdb`). Fields that ask for what a drive without protection information or link does not
offer are refused when they are set, so that no command is half obeyed.
"""

from firmware_model.wire.scsi.blocks import (
    COUNT_AT,
    CompareAndWrite,
    OrWrite,
    PreFetch,
    Read,
    SynchronizeCache,
    Unmap,
    Verify,
    Write,
    WriteAndVerify,
    WriteSame,
)
from firmware_model.wire.scsi.buffer import (
    ActivateMicrocode,
    DownloadMicrocode,
    ReadBufferDescriptor,
)
from firmware_model.wire.scsi.opcodes import (
    MaintenanceIn,
    Opcode,
    SanitizeAction,
    ScsiStatus,
    ServiceActionIn,
)
from firmware_model.wire.scsi.parameters import (
    ModeSelect,
    ModeSense,
    SecurityProtocolIn,
    SecurityProtocolOut,
)
from firmware_model.wire.scsi.reports import (
    GetLbaStatus,
    ReadCapacity,
    ReadDefectData,
    ReadFormatCapacities,
    ReportSupportedOpcodes,
    ReportTaskFunctions,
)
from firmware_model.wire.scsi.reservations import (
    PersistentReserveIn,
    PersistentReserveOut,
    ReservationType,
    ReserveIn,
    ReserveOut,
)
from firmware_model.wire.scsi.transfer import (
    BLOCK_BYTES,
    NOTHING,
    TRANSFER_BLOCKS_MAX,
    Command,
    Direction,
    Transfer,
)
from firmware_model.wire.scsi.unit import (
    ExitFailureMode,
    FormatUnit,
    Inquiry,
    PreventAllow,
    Release,
    ReportLuns,
    RequestSense,
    Reserve,
    Sanitize,
    SendDiagnostic,
    StartStopUnit,
    TestUnitReady,
)

__all__ = [
    "BLOCK_BYTES",
    "COUNT_AT",
    "NOTHING",
    "TRANSFER_BLOCKS_MAX",
    "ActivateMicrocode",
    "Command",
    "CompareAndWrite",
    "Direction",
    "DownloadMicrocode",
    "ExitFailureMode",
    "FormatUnit",
    "GetLbaStatus",
    "Inquiry",
    "MaintenanceIn",
    "ModeSelect",
    "ModeSense",
    "Opcode",
    "OrWrite",
    "PersistentReserveIn",
    "PersistentReserveOut",
    "PreFetch",
    "PreventAllow",
    "Read",
    "ReadBufferDescriptor",
    "ReadCapacity",
    "ReadDefectData",
    "ReadFormatCapacities",
    "Release",
    "ReportLuns",
    "ReportSupportedOpcodes",
    "ReportTaskFunctions",
    "RequestSense",
    "ReservationType",
    "Reserve",
    "ReserveIn",
    "ReserveOut",
    "Sanitize",
    "SanitizeAction",
    "ScsiStatus",
    "SecurityProtocolIn",
    "SecurityProtocolOut",
    "SendDiagnostic",
    "ServiceActionIn",
    "StartStopUnit",
    "SynchronizeCache",
    "TestUnitReady",
    "Transfer",
    "Unmap",
    "Verify",
    "Write",
    "WriteAndVerify",
    "WriteSame",
]
