"""The USB redirection server over real sockets: hellos, selections, transfers."""

from pathlib import Path

import pytest

from firmware_model.serve.usbredir_link import CAPABILITIES
from firmware_model.wire.bot import Cbw, CswStatus
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import SetupPacket
from firmware_model.wire.usbredir import (
    NOTHING,
    Capability,
    Header,
    Hello,
    PacketType,
    Status,
    endpoint_index,
)
from firmware_model.wire.usbredir_device import (
    AltSettingStatus,
    ConfigurationStatus,
    DeviceConnect,
    Endpoint,
    EndpointType,
    EpInfo,
    GetAltSetting,
    Interface,
    InterfaceInfo,
    RedirSpeed,
    SetAltSetting,
    SetConfiguration,
)
from firmware_model.wire.usbredir_transfers import (
    ControlPacket,
)
from hil_tests.ram_disk import TEST_UNIT_READY, RamDrive, write10
from hil_tests.redirection.guest import IN, OUT, QEMU, Guest, Redirecting, redirecting, works

CONFIGURE = SetupPacket(0x00, 9, 1, 0, 0)
GET_STATUS = SetupPacket(0x80, 0, 0, 0, 2)
GET_DEVICE = SetupPacket(0x80, 6, 0x0100, 0, 18)


# --- beginning ---------------------------------------------------------------------------------


def test_device_is_told_of_when_the_guest_has_said_hello(served: Redirecting) -> None:
    with served.guest() as guest:
        hello = guest.greet()
        device = guest.device()

    assert hello == Hello("sedlab", CAPABILITIES)
    assert device == DeviceConnect(RedirSpeed.HIGH, 0, 0, 0, 0x1209, 0x5ED0, 0x0100)


def test_capabilities_that_qemu_demands_at_xhci_are_there() -> None:
    demanded = (
        Capability.EP_INFO_MAX_PACKET_SIZE | Capability.IDS_64BITS | Capability.BULK_LENGTH_32BITS
    )

    assert demanded in CAPABILITIES


def test_first_configuration_is_told_of_before_any_is_selected(served: Redirecting) -> None:
    with served.guest() as guest:
        guest.greet()
        endpoints = guest.hear(EpInfo).endpoints
        interfaces = guest.hear(InterfaceInfo).interfaces

    bulk = Endpoint(EndpointType.BULK, max_packet_size=512)
    assert (endpoints[OUT], endpoints[endpoint_index(IN)]) == (bulk, bulk)
    assert [each.type for each in endpoints].count(EndpointType.INVALID) == 28
    assert interfaces == (Interface(0, 0x08, 0x06, 0x50),)


@pytest.mark.parametrize("capabilities", [Capability.NONE, *Capability, ~Capability.IDS_64BITS])
def test_guest_of_any_capabilities_is_served(served: Redirecting, capabilities: Capability) -> None:
    with served.using(capabilities) as guest:
        assert works(guest)


def test_guest_of_a_later_version_is_served(served: Redirecting) -> None:
    with served.guest(Capability(QEMU | 1 << 40)) as guest:
        guest.greet()
        guest.device()
        guest.configure()

        assert works(guest)


def test_guest_that_says_nothing_yet_does_not_keep_the_drive_from_another(
    served: Redirecting,
) -> None:
    with served.guest(), served.using() as other:
        assert works(other)


def test_drive_that_another_guest_has_is_busy_and_says_so(
    served: Redirecting, guest: Guest
) -> None:
    with served.guest() as other:
        name = other.hear_hello().version
        assert other.is_sent_away()

    assert name == "sedlab: another host has the drive"
    assert any("another host has it" in line for line in served.told)
    assert works(guest)


def test_guest_that_says_hello_too_late_is_sent_away(served: Redirecting) -> None:
    with served.guest() as late:
        late.hear_hello()
        with served.using() as other:
            hello = Hello("late", QEMU).encode()
            late.stream.sendall(Header(PacketType.HELLO, len(hello), 0).encode(NOTHING) + hello)

            assert late.is_sent_away()
            assert works(other)


# --- selections --------------------------------------------------------------------------------


def test_selection_is_told_of_before_it_is_answered(served: Redirecting) -> None:
    with served.guest() as guest:
        guest.greet()
        guest.device()
        number = guest.send(SetConfiguration(1))
        told = [guest.receive() for _ in range(3)]

    assert [type(each.body) for each in told] == [EpInfo, InterfaceInfo, ConfigurationStatus]
    assert [each.id for each in told] == [0, 0, number]


def test_deselected_device_has_nothing_but_its_control_endpoint(guest: Guest) -> None:
    guest.send(SetConfiguration(0))
    endpoints = guest.hear(EpInfo).endpoints
    interfaces = guest.hear(InterfaceInfo).interfaces

    assert guest.hear(ConfigurationStatus) == ConfigurationStatus(Status.SUCCESS, 0)
    assert [each.type for each in endpoints].count(EndpointType.INVALID) == 30
    assert interfaces == ()


def test_configuration_that_there_is_not_stalls_and_changes_nothing(guest: Guest) -> None:
    guest.send(SetConfiguration(7))
    refused = guest.hear(ConfigurationStatus)

    assert refused == ConfigurationStatus(Status.STALL, 1)
    assert works(guest)


def test_guest_may_ask_what_is_selected(guest: Guest) -> None:
    guest.signal(PacketType.GET_CONFIGURATION, 5)
    configuration = guest.receive()
    guest.send(GetAltSetting(0))
    setting = guest.hear(AltSettingStatus)
    guest.send(GetAltSetting(9))
    nowhere = guest.hear(AltSettingStatus)

    assert configuration.body == ConfigurationStatus(Status.SUCCESS, 1) and configuration.id == 5
    assert setting == AltSettingStatus(Status.SUCCESS, 0, 0)
    assert nowhere == AltSettingStatus(Status.STALL, 9, 255)


def test_alternate_setting_is_selected_or_stalls(guest: Guest) -> None:
    guest.send(SetAltSetting(0, 0))
    told = [type(guest.receive().body) for _ in range(2)]
    selected = guest.hear(AltSettingStatus)
    guest.send(SetAltSetting(0, 9))
    refused = guest.hear(AltSettingStatus)

    assert told == [EpInfo, InterfaceInfo]
    assert selected == AltSettingStatus(Status.SUCCESS, 0, 0)
    assert refused == AltSettingStatus(Status.STALL, 0, 0)


def test_selection_by_a_plain_control_packet_is_noticed(served: Redirecting) -> None:
    with served.guest() as guest:
        guest.greet()
        guest.device()
        guest.ask(CONFIGURE)
        told = [type(guest.receive().body) for _ in range(3)]

        assert told == [EpInfo, InterfaceInfo, ControlPacket]
        assert works(guest)


def test_guest_that_resets_selects_again_by_itself(guest: Guest, drive: RamDrive) -> None:
    guest.signal(PacketType.RESET)
    guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    unconfigured = guest.moved()
    guest.configure()

    assert drive.heard[-1] == (BusEvent.RESET, True)
    assert unconfigured[1] is Status.STALL
    assert works(guest)


# --- transfers ---------------------------------------------------------------------------------


def test_control_transfer_is_answered_with_what_was_asked(guest: Guest) -> None:
    number = guest.ask(GET_DEVICE)
    told = guest.receive()

    assert told.id == number
    assert told.body == ControlPacket(0x80, 6, 0x80, Status.SUCCESS, 0x0100, 0, 18)
    assert told.data[:2] == bytes((18, 1))


def test_short_answer_of_a_control_transfer_says_how_short(guest: Guest) -> None:
    guest.ask(SetupPacket(0x80, 6, 0x0100, 0, 255))
    told = guest.receive()

    assert isinstance(told.body, ControlPacket)
    assert (told.body.status, told.body.length, len(told.data)) == (Status.SUCCESS, 18, 18)


def test_unsupported_request_stalls(guest: Guest) -> None:
    assert guest.control(SetupPacket(0xC0, 1, 0, 0, 64)) == (Status.STALL, b"")
    assert guest.control(SetupPacket(0x40, 1, 0, 0, 4), b"data") == (Status.STALL, b"")
    assert guest.control(GET_STATUS) == (Status.SUCCESS, b"\x00\x00")


def test_data_out_arrives_as_it_was_sent(guest: Guest, drive: RamDrive) -> None:
    content = bytes(range(256)) * 8
    _, csw = guest.command(write10(2, 4), data=content)

    assert (csw.status, csw.residue) == (CswStatus.PASSED, 0)
    assert drive.disk.blocks[1024 : 1024 + len(content)] == content


def test_transfer_longer_than_16_bits_can_say(guest: Guest, drive: RamDrive) -> None:
    content = bytes(8192) + b"surplus" * 10_000
    guest.write(Cbw(1, len(content), False, 0, write10(0, 16)).encode())
    guest.write(content)
    answers = [guest.moved()[1:] for _ in range(2)]

    assert answers == [(Status.SUCCESS, 31), (Status.SUCCESS, len(content))]


def test_read_waits_until_there_is_something_to_read(guest: Guest) -> None:
    status = guest.read(13)
    cbw = guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    ended = [guest.moved() for _ in range(2)]

    assert [number for number, _, _ in ended] == [cbw, status]
    assert all(status is Status.SUCCESS for _, status, _ in ended)


def test_stall_lasts_until_the_halt_is_cleared(guest: Guest) -> None:
    guest.write(Cbw(1, 512, True, 0, TEST_UNIT_READY).encode())
    guest.moved()
    answers = []
    for _ in range(2):
        guest.read(512)
        answers.append(guest.moved()[1:])
    cleared = guest.control(SetupPacket(0x02, 1, 0, IN, 0))
    guest.read(13)
    _, status, csw = guest.moved()

    assert answers == [(Status.STALL, b"")] * 2
    assert cleared == (Status.SUCCESS, b"")
    assert status is Status.SUCCESS and isinstance(csw, bytes) and csw[:4] == b"USBS"


def test_endpoint_that_there_is_not_stalls(guest: Guest) -> None:
    guest.read(13, endpoint=0x8F)

    assert guest.moved()[1] is Status.STALL


@pytest.mark.parametrize("endpoint", [0x00, 0x80, 0x12, 0xF1])
def test_address_that_is_none_of_a_bulk_endpoint_is_invalid(guest: Guest, endpoint: int) -> None:
    if endpoint & 0x80:
        guest.read(13, endpoint=endpoint)
    else:
        guest.write(b"data", endpoint=endpoint)

    assert guest.moved()[1] is Status.INVAL
    assert works(guest)


def test_stream_that_was_not_allocated_is_invalid(guest: Guest) -> None:
    guest.read(13, stream=1)

    assert guest.moved()[1] is Status.INVAL


def test_control_packet_whose_endpoint_contradicts_it_is_invalid(guest: Guest) -> None:
    guest.send(ControlPacket(0x80, 9, 0x00, 0, 1, 0, 0))
    told = guest.receive()

    assert isinstance(told.body, ControlPacket) and told.body.status == Status.INVAL


def test_drive_that_sends_more_than_was_asked_for_babbles(tmp_path: Path) -> None:
    class Babbling(RamDrive):
        def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
            return bytes(length + 1)

    with redirecting(Babbling(), tmp_path / "socket") as served, served.using() as guest:
        guest.read(13)

        assert guest.moved()[1:] == (Status.BABBLE, b"")
