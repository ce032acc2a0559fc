"""Logical units of drives in this process, spoken to without any bus."""

from collections.abc import Callable, Mapping
from typing import Final

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.commands.unit import Identity
from firmware_model.firmware.controller import DriveController
from firmware_model.firmware.firmware import Firmware
from firmware_model.firmware.logical_unit import LogicalUnit
from firmware_model.firmware.native import NativeChannels
from firmware_model.firmware.parts import PartClass, make_parts
from firmware_model.firmware.plain import PlainController
from firmware_model.firmware.policy import Policy
from firmware_model.firmware.reference import REFERENCE
from firmware_model.hardware.board import Board
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire import mode, scsi
from firmware_model.wire.native import Role
from firmware_model.wire.scsi.reservations import ReserveParameters
from firmware_model.wire.sense import MEDIUM_CHANGED, NO_SENSE, Sense, SenseKey
from firmware_model.wire.unmap import Extent, encode_unmap_list
from hil_tests.actions import PINS

PIN = PINS[0].encode()
BLOCK = bytes(range(256)) * 2
IDENTITY = Identity("sedlab", "Native", "0001", "0123456789AB")


# A command of each class, as a host means it, with the data that goes with it.
SAMPLES: Final[dict[scsi.Command, bytes]] = {
    scsi.TestUnitReady(): b"",
    scsi.RequestSense(): b"",
    scsi.Inquiry(): b"",
    scsi.ReportLuns(): b"",
    scsi.ModeSense(mode.ALL_PAGES): b"",
    scsi.ModeSelect(16): bytes(4) + mode.DEFAULTS[mode.CONTROL_PAGE],
    scsi.StartStopUnit(False): b"",
    scsi.PreventAllow(False): b"",
    scsi.SendDiagnostic(): b"",
    scsi.ReadFormatCapacities(): b"",
    scsi.ReadCapacity(): b"",
    scsi.ReadCapacity(16): b"",
    scsi.GetLbaStatus(0): b"",
    scsi.ReadDefectData(): b"",
    scsi.ReportSupportedOpcodes(): b"",
    scsi.ReportTaskFunctions(): b"",
    scsi.Read(0, 1): b"",
    scsi.Verify(0, 1): b"",
    scsi.Verify(0, 1, compares=True): BLOCK,
    scsi.Verify(0, 1, compares=True, repeats=True): BLOCK,
    scsi.PreFetch(0, 1): b"",
    scsi.SynchronizeCache(): b"",
    scsi.Write(0, 1): BLOCK,
    scsi.WriteAndVerify(0, 1): BLOCK,
    scsi.WriteSame(0, 1): BLOCK,
    scsi.WriteSame(0, 1, 16, unmaps=True, has_zeros=True): b"",
    scsi.Unmap(24): encode_unmap_list([Extent(0, 1)]),
    scsi.CompareAndWrite(0, 1): BLOCK * 2,
    scsi.OrWrite(0, 1): BLOCK,
    scsi.FormatUnit(): b"",
    scsi.Sanitize(): b"",
    scsi.ExitFailureMode(): b"",
    scsi.Reserve(): b"",
    scsi.Release(): b"",
    scsi.PersistentReserveIn(scsi.ReserveIn.READ_KEYS): b"",
    scsi.PersistentReserveOut(scsi.ReserveOut.REGISTER): ReserveParameters().encode(),
    scsi.SecurityProtocolIn(0, 0, 64): b"",
    scsi.SecurityProtocolOut(0xF0, 0, 0): b"",
    scsi.ReadBufferDescriptor(): b"",
    scsi.DownloadMicrocode(0, 0): b"",
    scsi.ActivateMicrocode(): b"",
}


class Unit:
    """The logical unit of a drive, with what is behind it."""

    unit: LogicalUnit

    def run(self, command: scsi.Command, data: bytes = b"") -> bytes | Sense:
        """Return what a command answers; a status without sense data is NO SENSE."""
        return self.run_cdb(command.encode(), data)

    def run_cdb(self, cdb: bytes, data: bytes = b"") -> bytes | Sense:
        """Return what a CDB is answered with."""
        reply = self.unit.execute(cdb, data)
        return reply.data if reply.sense is None else reply.sense

    def status(self, command: scsi.Command, data: bytes = b"") -> scsi.ScsiStatus:
        """Return the status a command ends with."""
        return self.unit.execute(command.encode(), data).status

    def settle(self) -> None:
        """Hear the unit attentions that wait."""
        while isinstance(heard := self.run(scsi.TestUnitReady()), Sense):
            if heard.key is not SenseKey.UNIT_ATTENTION:
                return

    def told(self) -> Sense:
        """Return what REQUEST SENSE tells."""
        data = self.run(scsi.RequestSense(252, wants_descriptor=True))
        return Sense.decode(data) if isinstance(data, bytes) else NO_SENSE


class NativeUnit(Unit):
    """Of a self-encrypting drive, on a board of its own or on one that is given."""

    def __init__(
        self,
        failed: tuple[str, ...] = (),
        change: Callable[[Policy], Policy] = lambda policy: policy,
        board: Board | None = None,
        parts: Mapping[str, PartClass] | None = None,
        profile: profiles.Profile | None = None,
    ) -> None:
        profile = profile or profiles.load("native")
        drive = EmulatedDrive.new(profile, SeededNoise(b"unit"), kdf_iterations=1)
        self.board = board or drive.board
        made = make_parts({**REFERENCE, **(parts or {})})
        policy = change(drive.policy)
        self.firmware = Firmware(self.board, policy, made, self_test=lambda: failed)
        controller = DriveController(self.firmware, NativeChannels(self.firmware))
        self.unit = LogicalUnit(IDENTITY, controller)
        self.firmware.on_open = lambda: self.unit.attention(MEDIUM_CHANGED)

    def own(self) -> "NativeUnit":
        """Give it a first PIN, which leaves it locked."""
        self.firmware.set_pin(Role.USER, PIN)
        self.settle()
        return self

    def open(self) -> "NativeUnit":
        """Unlock it."""
        self.firmware.unlock(Role.USER, PIN)
        self.settle()
        return self


class PlainUnit(Unit):
    """Of an ordinary stick."""

    def __init__(self) -> None:
        drive = EmulatedDrive.new(profiles.load("plain"), SeededNoise(b"unit"))
        self.controller = PlainController(drive.board, drive.policy, make_parts(REFERENCE))
        self.unit = LogicalUnit(IDENTITY, self.controller)
        self.settle()
