"""The device as a bus sees it: chapter 9, bus events, and total answers to any setup packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.usb.device import (
    ENDPOINT_IN,
    ENDPOINT_OUT,
    Descriptors,
    MassStorageDevice,
)
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import (
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    DeviceQualifier,
    SetupPacket,
    StringDescriptor,
)
from hil_tests.ram_disk import RamDrive

SET_CONFIGURATION = SetupPacket(0x00, 9, 1, 0, 0)
GET_CONFIGURATION = SetupPacket(0x80, 8, 0, 0, 1)


def attached() -> RamDrive:
    drive = RamDrive()
    drive.bus(BusEvent.ATTACH)
    return drive


def configured() -> RamDrive:
    drive = attached()
    assert drive.control(SET_CONFIGURATION) == 0
    return drive


def descriptor(drive: RamDrive, kind: int, index: int = 0, length: int = 0xFFFF) -> bytes:
    answer = drive.control(SetupPacket(0x80, 6, kind << 8 | index, 0, length))
    assert isinstance(answer, bytes)
    return answer


def halt_status(drive: RamDrive, endpoint: int) -> bytes | int | Handshake:
    return drive.control(SetupPacket(0x82, 0, 0, endpoint, 2))


def test_nobody_answers_before_the_drive_is_attached() -> None:
    drive = RamDrive()

    assert drive.control(GET_CONFIGURATION) is Handshake.DETACHED
    assert drive.transfer_in(ENDPOINT_IN, 13) is Handshake.DETACHED
    assert drive.transfer_out(ENDPOINT_OUT, b"") is Handshake.DETACHED


def test_nobody_answers_after_the_drive_is_unplugged() -> None:
    drive = configured()
    drive.bus(BusEvent.DETACH)

    assert drive.control(GET_CONFIGURATION) is Handshake.DETACHED
    assert drive.transfer_in(ENDPOINT_IN, 13) is Handshake.DETACHED


def test_descriptors_describe_a_high_speed_mass_storage_drive() -> None:
    drive = attached()
    device = DeviceDescriptor.decode(descriptor(drive, DescriptorType.DEVICE))
    configuration = ConfigurationDescriptor.decode(descriptor(drive, DescriptorType.CONFIGURATION))

    (interface,) = configuration.interfaces
    triple = (
        interface.interface_class,
        interface.interface_subclass,
        interface.interface_protocol,
    )
    assert triple == (8, 6, 0x50)
    assert [endpoint.max_packet_size for endpoint in interface.endpoints] == [512, 512]
    serial = StringDescriptor.decode(descriptor(drive, 3, device.serial_index))
    assert serial.text == "0123456789AB"


def test_at_full_speed_the_packets_would_have_64_bytes() -> None:
    drive = attached()
    qualifier = DeviceQualifier.decode(descriptor(drive, DescriptorType.DEVICE_QUALIFIER))
    other = ConfigurationDescriptor.decode(
        descriptor(drive, DescriptorType.OTHER_SPEED_CONFIGURATION)
    )

    assert qualifier.configuration_count == 1
    assert {endpoint.max_packet_size for endpoint in other.interfaces[0].endpoints} == {64}


@pytest.mark.parametrize("length", [0, 1, 8, 18, 64])
def test_descriptor_is_cut_to_what_the_host_asked_for(length: int) -> None:
    whole = descriptor(attached(), DescriptorType.DEVICE)

    assert descriptor(attached(), DescriptorType.DEVICE, length=length) == whole[:length]


def test_every_descriptor_answer_passes_the_clip() -> None:
    asked: list[int] = []

    def clip(answer: bytes, length: int) -> bytes:
        asked.append(length)
        return answer

    descriptors = Descriptors.mass_storage(1, 2, "m", "p", "s")
    drive = MassStorageDevice(descriptors, RamDrive().bulk_only, lambda *_: None, clip)
    drive.bus(BusEvent.ATTACH)
    answers = [drive.control(SetupPacket(0x80, 6, kind << 8, 0, 1)) for kind in (1, 2, 3, 6, 7)]

    assert asked == [1] * 5
    assert all(isinstance(answer, bytes) and len(answer) > 1 for answer in answers)


def test_bus_events_are_told_twice_and_say_whether_the_drive_was_configured() -> None:
    drive = attached()
    drive.bus(BusEvent.RESET)
    drive.control(SET_CONFIGURATION)
    drive.bus(BusEvent.RESET)
    drive.bus(BusEvent.RESET)

    assert drive.heard[::2] == drive.heard[1::2]
    assert drive.heard[::2] == [
        (BusEvent.ATTACH, False),
        (BusEvent.RESET, False),
        (BusEvent.RESET, True),
        (BusEvent.RESET, False),
    ]


def test_reset_leaves_the_drive_unconfigured() -> None:
    drive = configured()
    drive.bus(BusEvent.RESET)

    assert drive.control(GET_CONFIGURATION) == b"\x00"
    assert drive.transfer_in(ENDPOINT_IN, 13) is Handshake.STALL


def test_suspend_keeps_the_configuration() -> None:
    drive = configured()
    drive.bus(BusEvent.SUSPEND)
    drive.bus(BusEvent.RESUME)

    assert drive.control(GET_CONFIGURATION) == b"\x01"


@pytest.mark.parametrize("endpoint", [ENDPOINT_IN, ENDPOINT_OUT])
def test_halt_is_set_reported_and_cleared(endpoint: int) -> None:
    drive = configured()
    before = halt_status(drive, endpoint)
    drive.control(SetupPacket(0x02, 3, 0, endpoint, 0))
    during = halt_status(drive, endpoint)
    drive.control(SetupPacket(0x02, 1, 0, endpoint, 0))

    assert (before, during, halt_status(drive, endpoint)) == (b"\0\0", b"\1\0", b"\0\0")


def test_set_configuration_clears_halts() -> None:
    drive = configured()
    drive.control(SetupPacket(0x02, 3, 0, ENDPOINT_IN, 0))
    drive.control(SET_CONFIGURATION)

    assert halt_status(drive, ENDPOINT_IN) == b"\0\0"


@pytest.mark.parametrize(
    "setup",
    [
        SetupPacket(0x00, 9, 2, 0, 0),  # no such configuration
        SetupPacket(0x00, 3, 1, 0, 0),  # no remote wakeup
        SetupPacket(0x01, 11, 1, 0, 0),  # no such alternate setting
        SetupPacket(0x02, 3, 0, 0x83, 0),  # no such endpoint
        SetupPacket(0x80, 6, 0x0F00, 0, 5),  # no BOS below USB 2.1
        SetupPacket(0x80, 6, 0x0304, 0, 255),  # no such string
        SetupPacket(0xC0, 1, 0, 0, 1),  # no vendor requests
        SetupPacket(0xA1, 0xFE, 0, 1, 1),  # GET MAX LUN of another interface
        SetupPacket(0xA1, 0xFE, 0, 0, 2),  # GET MAX LUN of another length
    ],
)
def test_what_is_not_supported_stalls(setup: SetupPacket) -> None:
    assert configured().control(setup) is Handshake.STALL


def test_the_drive_has_one_logical_unit() -> None:
    assert configured().control(SetupPacket(0xA1, 0xFE, 0, 0, 1)) == b"\x00"


def test_waiting_host_is_told_when_an_answer_is_there() -> None:
    drive = configured()
    calls: list[int] = []
    drive.on_ready(lambda: calls.append(1))
    assert drive.transfer_in(ENDPOINT_IN, 13) is Handshake.NAK
    drive.transfer_out(ENDPOINT_OUT, bytes.fromhex("55534243" + "00" * 10 + "06" + "00" * 16))

    assert calls == [1]
    assert drive.transfer_in(ENDPOINT_IN, 13) == b"USBS" + bytes(9)


SETUPS = st.builds(
    SetupPacket,
    st.integers(0, 0xFF) | st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x21, 0xA1]),
    st.integers(0, 0xFF) | st.integers(0, 12),
    st.integers(0, 0xFFFF) | st.integers(0, 1),
    st.integers(0, 0xFFFF) | st.sampled_from([0, ENDPOINT_IN, ENDPOINT_OUT]),
    st.integers(0, 0xFFFF) | st.integers(0, 2),
)


@given(st.lists(st.tuples(SETUPS, st.binary(max_size=8)), max_size=12))
def test_any_setup_packets_are_answered_within_their_length(
    requests: list[tuple[SetupPacket, bytes]],
) -> None:
    drive = configured()
    for setup, data in requests:
        answer = drive.control(setup, data)
        if isinstance(answer, bytes):
            assert setup.is_in
            assert len(answer) <= setup.length
        else:
            assert answer in (0, Handshake.STALL)
