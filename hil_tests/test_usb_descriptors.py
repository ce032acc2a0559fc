"""What a drive says of itself, at each speed: USB 2.0 and 3.2 section 9.6."""

import pytest

from firmware_model.usb.descriptors import Descriptors
from firmware_model.usb.device import MassStorageDevice
from firmware_model.wire.function import BusEvent
from firmware_model.wire.superspeed import EndpointCompanion, SuperSpeedCapability, Usb2Extension
from firmware_model.wire.uas import PipeId, PipeUsage
from firmware_model.wire.usb import (
    BosDescriptor,
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    DeviceQualifier,
    InterfaceDescriptor,
    SetupPacket,
    Speed,
    StringDescriptor,
)
from hil_tests.ram_disk import RamDrive


def attached(speed: Speed = Speed.HIGH) -> RamDrive:
    drive = RamDrive()
    drive.bus(BusEvent.ATTACH, speed)
    return drive


def descriptor(drive: RamDrive, kind: int, index: int = 0, length: int = 0xFFFF) -> bytes:
    answer = drive.control(SetupPacket(0x80, 6, kind << 8 | index, 0, length))
    assert isinstance(answer, bytes)
    return answer


def settings(speed: Speed, kind: int = DescriptorType.CONFIGURATION) -> list[InterfaceDescriptor]:
    blob = descriptor(attached(speed), kind)
    return list(ConfigurationDescriptor.decode(blob).interfaces)


SPEEDS = {
    Speed.FULL: (0x0210, 64, 64, 100),
    Speed.HIGH: (0x0210, 64, 512, 100),
    Speed.SUPER: (0x0320, 9, 1024, 25),
}


@pytest.mark.parametrize("speed", SPEEDS)
def test_descriptors_are_those_of_the_speed_it_was_attached_at(speed: Speed) -> None:
    drive = attached(speed)
    device = DeviceDescriptor.decode(descriptor(drive, DescriptorType.DEVICE))
    configuration = ConfigurationDescriptor.decode(descriptor(drive, DescriptorType.CONFIGURATION))
    (packet_bytes,) = {
        endpoint.max_packet_size
        for interface in configuration.interfaces
        for endpoint in interface.endpoints
    }

    found = (device.usb_version, device.max_packet_size_0, packet_bytes, configuration.max_power)
    assert found == SPEEDS[speed]


@pytest.mark.parametrize("port", [Speed.UNKNOWN, Speed.LOW, Speed.WIRELESS, Speed.SUPER_PLUS])
def test_port_of_another_speed_is_met_as_far_as_the_drive_can(port: Speed) -> None:
    version = DeviceDescriptor.decode(descriptor(attached(port), DescriptorType.DEVICE)).usb_version

    assert version == (0x0320 if port is Speed.SUPER_PLUS else 0x0210)


def test_serial_is_the_third_string() -> None:
    drive = attached()
    device = DeviceDescriptor.decode(descriptor(drive, DescriptorType.DEVICE))
    serial = StringDescriptor.decode(descriptor(drive, 3, device.serial_index))

    assert serial.text == "0123456789AB"


@pytest.mark.parametrize("speed", SPEEDS)
def test_one_interface_speaks_bulk_only_and_uas_as_its_second_setting(speed: Speed) -> None:
    triples = [
        (one.alternate_setting, one.interface_class, one.interface_subclass, one.interface_protocol)
        for one in settings(speed)
    ]

    assert triples == [(0, 8, 6, 0x50), (1, 8, 6, 0x62)]


@pytest.mark.parametrize("speed", SPEEDS)
def test_each_pipe_of_uas_says_what_it_is_for(speed: Speed) -> None:
    _, uas = settings(speed)

    usages = {PipeUsage.among(endpoint.extra): endpoint for endpoint in uas.endpoints}
    assert list(usages) == [PipeUsage(pipe) for pipe in PipeId]
    assert [one.is_in for one in usages.values()] == [False, True, True, False]
    assert len({endpoint.address for endpoint in uas.endpoints}) == 4


def test_superspeed_gives_every_pipe_but_that_of_commands_32_streams() -> None:
    bulk_only, uas = settings(Speed.SUPER)

    def streams(interface: InterfaceDescriptor) -> list[int]:
        found = [EndpointCompanion.among(each.extra) for each in interface.endpoints]
        return [-1 if each is None else each.stream_count for each in found]

    assert (streams(bulk_only), streams(uas)) == ([0, 0], [0, 32, 32, 32])
    assert [streams(each) for each in settings(Speed.HIGH)] == [[-1] * 2, [-1] * 4]


@pytest.mark.parametrize("speed", SPEEDS)
def test_drive_tells_that_it_could_be_faster(speed: Speed) -> None:
    store = BosDescriptor.decode(descriptor(attached(speed), DescriptorType.BOS))
    extension, superspeed = store.capabilities

    assert Usb2Extension.decode(extension).has_lpm
    assert SuperSpeedCapability.decode(superspeed).speeds == 0b1110


@pytest.mark.parametrize(("speed", "other_bytes"), [(Speed.HIGH, 64), (Speed.FULL, 512)])
def test_drive_tells_what_it_would_be_at_the_other_speed(speed: Speed, other_bytes: int) -> None:
    qualifier = descriptor(attached(speed), DescriptorType.DEVICE_QUALIFIER)
    other = settings(speed, DescriptorType.OTHER_SPEED_CONFIGURATION)

    assert DeviceQualifier.decode(qualifier).configuration_count == 1
    assert {one.max_packet_size for each in other for one in each.endpoints} == {other_bytes}


@pytest.mark.parametrize("length", [0, 1, 8, 18, 64])
def test_descriptor_is_cut_to_what_the_host_asked_for(length: int) -> None:
    whole = descriptor(attached(), DescriptorType.DEVICE)

    assert descriptor(attached(), DescriptorType.DEVICE, length=length) == whole[:length]


def test_every_descriptor_answer_passes_the_clip() -> None:
    asked: list[int] = []

    def clip(answer: bytes, length: int) -> bytes:
        asked.append(length)
        return answer

    descriptors = Descriptors(1, 2, "m", "p", "s")
    drive = MassStorageDevice(descriptors, (RamDrive().bulk_only,), lambda *_: None, clip)
    drive.bus(BusEvent.ATTACH)
    answers = [drive.control(SetupPacket(0x80, 6, kind << 8, 0, 1)) for kind in (1, 2, 3, 6, 7)]

    assert asked == [1] * 5
    assert all(isinstance(answer, bytes) and len(answer) > 1 for answer in answers)
