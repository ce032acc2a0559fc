"""The lines of -v: each exchange on the bus, decoded, without what it carries."""

import pytest
import usb.core
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire.function import BusEvent
from firmware_model.wire.usb import SetupPacket
from hil_tests.ram_disk import INQUIRY, UNKNOWN, RamDrive, read10, write10
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.errors import Disconnected
from host_driver.verbose import Told, Verbose, command_text, request_text


def opened(backend: InProcess | Told) -> BulkOnlyTransport:
    device = usb.core.find(backend=backend)
    assert device is not None
    return BulkOnlyTransport(device)


def test_lines_tell_of_each_command_without_its_payload() -> None:
    lines: list[str] = []
    drive = RamDrive()
    transport = Verbose(opened(InProcess([drive])), lines.append)
    transport.execute(write10(0, 1), data_out=bytes(512))
    transport.execute(read10(16, 1), data_in_length=512)
    transport.execute(UNKNOWN)
    drive.bus(BusEvent.DETACH)
    with pytest.raises(Disconnected):
        transport.execute(INQUIRY, data_in_length=36)

    assert lines == [
        "WRITE_10 2a000000000000000100 lba=0 block_count=1: out 512 of 512, GOOD",
        "READ_10 28000000001000000100 lba=16 block_count=1: in 0 of 512, CHECK_CONDITION, "
        "ILLEGAL_REQUEST 21h/00h",
        "1Fh 1f0000000000: no data, CHECK_CONDITION, ILLEGAL_REQUEST 20h/00h",
        "INQUIRY 120000002400 allocation_length=36: Disconnected, command 12h: the drive is gone",
    ]


def test_lines_tell_of_each_control_transfer() -> None:
    lines: list[str] = []
    backend = Told(InProcess([RamDrive()]), lines.append)
    device = usb.core.find(backend=backend)
    assert device is not None and device.serial_number
    transport = BulkOnlyTransport(device)
    transport.get_max_lun()
    transport.reset_recovery()
    with pytest.raises(usb.core.USBError):
        device.ctrl_transfer(0xC0, 0x33, 0, 0, 4)

    assert lines == [
        "GET_DESCRIPTOR 800600030000fe00 STRING 0: in 4 of 254, done",
        "GET_DESCRIPTOR 800603030904fe00 STRING 3: in 26 of 254, done",
        "SET_CONFIGURATION 0009010000000000: no data, done",
        "SET_INTERFACE 010b000000000000: no data, done",
        "GET_MAX_LUN a1fe000000000100: in 1 of 1, done",
        "RESET 21ff000000000000: no data, done",
        "CLEAR_FEATURE 0201000081000000 endpoint 81h: no data, done",
        "CLEAR_FEATURE 0201000002000000 endpoint 02h: no data, done",
        "33h c033000000000400: Pipe error",
    ]


@given(st.binary(min_size=1, max_size=16), st.binary(min_size=8, max_size=8))
def test_any_command_and_request_has_a_line(cdb: bytes, setup: bytes) -> None:
    assert cdb.hex() in command_text(cdb)
    assert setup.hex() in request_text(SetupPacket.decode(setup))
