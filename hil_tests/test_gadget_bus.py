"""A gadget on a device port in memory: what its drive hears of the bus, and when it is gone."""

from contextlib import ExitStack

import pytest

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.serve.gadget_session import AWAY_S
from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.setup import SetupPacket, Speed
from hil_tests.emulated_port import EmulatedPort
from hil_tests.plugged_gadget import CONFIGURE, Plugged
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, read10
from hil_tests.targets import ModelName, powered


def test_reset_of_the_bus_is_a_reset() -> None:
    plugged = Plugged()
    plugged.host.bus(BusEvent.RESET)

    assert plugged.heard == [BusEvent.RESET]


def test_pulled_cable_is_a_detachment() -> None:
    plugged = Plugged()
    plugged.host.bus(BusEvent.DETACH)

    assert plugged.heard == [BusEvent.DETACH, BusEvent.ATTACH]


def test_silence_is_heard_and_its_end() -> None:
    plugged = Plugged()
    plugged.host.bus(BusEvent.SUSPEND)
    plugged.host.bus(BusEvent.RESUME)

    assert plugged.heard == [BusEvent.SUSPEND, BusEvent.RESUME]


def test_silence_that_the_kernel_told_too_late_is_heard() -> None:
    """It drops a SUSPEND that nobody has read when RESUME comes: the drive must lock."""
    plugged = Plugged()
    plugged.host.bus(BusEvent.RESUME)

    assert plugged.heard == [BusEvent.SUSPEND, BusEvent.RESUME]


def test_configuration_anew_counts_as_a_reset() -> None:
    """The kernel drops the DISABLE before it; to be locked once too often is the safe side."""
    plugged = Plugged()
    plugged.host.control(CONFIGURE)
    plugged.host.run()

    assert plugged.heard == [BusEvent.RESET]
    assert plugged.command(INQUIRY, length=36) == INQUIRY_DATA


def test_nothing_read_before_a_reset_is_there_after_it() -> None:
    plugged = Plugged()
    plugged.host.transfer_out(ENDPOINT_OUT, Cbw(1, 512, True, 0, read10(0, 1)).encode())
    plugged.host.bus(BusEvent.RESET)
    plugged.host.control(CONFIGURE)

    assert plugged.host.transfer_in(ENDPOINT_IN, 512) is Handshake.NAK


def test_nothing_sent_before_a_reset_is_obeyed_after_it() -> None:
    """The kernel tells of the reset first, and of what had come before it later."""
    plugged = Plugged()
    plugged.host.is_asleep = True
    plugged.host.transfer_out(ENDPOINT_OUT, Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    plugged.host.bus(BusEvent.RESET)
    plugged.host.control(CONFIGURE)
    plugged.host.is_asleep = False

    assert plugged.host.transfer_in(ENDPOINT_IN, 13) is Handshake.NAK


@pytest.mark.parametrize("speed", [Speed.UNKNOWN, Speed.LOW])
def test_host_that_is_gone_before_its_speed_was_looked_at_is_none(speed: Speed) -> None:
    drive = RamDrive()
    host = EmulatedPort(drive)
    drive.heard.clear()
    host.is_asleep = True
    host.control(CONFIGURE)
    host.speed, host.is_asleep = speed, False
    host.run()

    assert not drive.heard and not host.told


# --- the drive comes and goes -------------------------------------------------------------------


def drive_at_a_port(stack: ExitStack) -> tuple[EmulatedDrive, EmulatedPort]:
    drive = powered(ModelName.parse("plain"), stack)
    host = EmulatedPort(drive)
    host.control(CONFIGURE)
    host.run()
    return drive, host


def test_drive_that_its_operator_unplugs_is_gone_and_comes_back() -> None:
    with ExitStack() as stack:
        drive, host = drive_at_a_port(stack)
        drive.unplug()
        away = host.control(CONFIGURE)
        drive.plug()
        host.now_s += AWAY_S
        host.run()
        host.run()

        assert away is Handshake.DETACHED
        assert host.control(CONFIGURE) == 0


def test_drive_that_is_back_at_once_stays_away_long_enough_to_be_missed() -> None:
    with ExitStack() as stack:
        drive, host = drive_at_a_port(stack)
        drive.unplug()
        drive.plug()
        host.run()
        soon = host.control(CONFIGURE)
        host.now_s += AWAY_S
        host.run()

        assert soon is Handshake.DETACHED
        assert host.control(CONFIGURE) == 0


def test_drive_that_loses_power_is_gone() -> None:
    with ExitStack() as stack:
        drive, host = drive_at_a_port(stack)
        drive.power_off()
        host.now_s += AWAY_S
        host.run()

        assert host.control(CONFIGURE) is Handshake.DETACHED


class Vanishing(RamDrive):
    """A drive that is gone when its host comes for an answer."""

    is_gone = False

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        return Handshake.DETACHED if self.is_gone else super().control(setup, data)

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        self.is_gone = True
        return Handshake.DETACHED


def test_drive_that_goes_while_it_is_asked_leaves_its_host_at_once() -> None:
    """Nobody else would wake the gadget."""
    plugged = Plugged(Vanishing())
    plugged.host.transfer_out(ENDPOINT_OUT, Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())

    assert plugged.host.told[-1] == "emulated: the device has left"
