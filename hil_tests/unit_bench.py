"""Where units for an operator are made: drives of one make, each given away by a server."""

from __future__ import annotations

from typing import Final

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.operated_drive import Plugged
from firmware_model.serve.port import Port
from firmware_model.serve.usbip import Export, UsbIpServer
from firmware_model.wire.operator import OperatorRequest, Result, Verb
from hil_tests import drive_faults
from hil_tests.facts import reset_code_of
from hil_tests.opened_firmware import measure_stretching, patch_verdict
from hil_tests.targets import ModelName

ITERATIONS_MAX: Final = 10_000_000


class UnitBench:
    """Makes units of the profile in `text`, with the parts that `name` replaces."""

    def __init__(self, name: ModelName, text: str, server: UsbIpServer) -> None:
        self._text = text
        self._parts = name.parts()
        self._server = server

    def new(self, seed: str, settings: str, iterations: int) -> tuple[EmulatedDrive, str]:
        """Return a new drive of the same make, and its reset code; raise ValueError."""
        if iterations > ITERATIONS_MAX:
            raise ValueError(f"{iterations} iterations would never end")
        changes = dict(profiles.setting(each) for each in settings.split("+") if each)
        text = profiles.changed(self._text, changes) if changes else self._text
        profile = profiles.parse(text)
        if profile.tcti is not None:
            raise ValueError("its element is a TPM, and a fresh one is not to be had")
        noise = SeededNoise(seed.encode())
        code = reset_code_of(profile, noise)
        return EmulatedDrive.new(profile, noise, self._parts, iterations or None), code

    def take(self, drive: EmulatedDrive, request: OperatorRequest) -> Result:
        """Do to a unit what nobody does to a drive: fail, patch, measure; raise ValueError."""
        match request.verb:
            case Verb.FAIL:
                drive_faults.put_into(drive, request.fault, request.number)
            case Verb.PATCH if not drive.is_on:
                patch_verdict(drive)
            case Verb.MEASURE if 0 < request.iterations <= ITERATIONS_MAX:
                found = measure_stretching(drive, request.iterations)
                return {"per_mille": found.per_mille, "ignored": "\n".join(found.ignored)}
            case verb:
                raise ValueError(f"{verb} can't be done to this unit, or not now")
        return {}

    def plug_in(self, drive: EmulatedDrive) -> Export:
        """Give a drive to hosts; raise ValueError where there is no place for it."""
        return self._server.add(Port(drive))

    def take_away(self, plugged: Plugged) -> None:
        """Give it to nobody any more."""
        self._server.remove(plugged.busid)
