"""The device as a bus sees it: chapter 9, bus events, and total answers to any setup packet."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT, PIPES
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.uas import CommandIu, PipeId
from firmware_model.wire.usb import (
    DescriptorType,
    SetupPacket,
    Speed,
)
from hil_tests.ram_disk import RamDrive, read10
from hil_tests.test_usb_descriptors import SPEEDS, attached, descriptor

SET_CONFIGURATION = SetupPacket(0x00, 9, 1, 0, 0)
GET_CONFIGURATION = SetupPacket(0x80, 8, 0, 0, 1)


def configured(speed: Speed = Speed.HIGH) -> RamDrive:
    drive = attached(speed)
    assert drive.control(SET_CONFIGURATION) == 0
    return drive


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
        SetupPacket(0x01, 11, 2, 0, 0),  # no such alternate setting
        SetupPacket(0x02, 3, 0, 0x83, 0),  # no such endpoint
        SetupPacket(0x00, 49, 40, 0, 0),  # SET ISOCH DELAY, which is of SuperSpeed
        SetupPacket(0x00, 3, 48, 0, 0),  # U1 ENABLE too
        SetupPacket(0x01, 3, 0, 0, 0),  # FUNCTION SUSPEND too
        SetupPacket(0x80, 6, 0x0304, 0, 255),  # no such string
        SetupPacket(0xC0, 1, 0, 0, 1),  # no vendor requests
        SetupPacket(0xA1, 0xFE, 0, 1, 1),  # GET MAX LUN of another interface
        SetupPacket(0xA1, 0xFE, 0, 0, 2),  # GET MAX LUN of another length
    ],
)
def test_what_is_not_supported_stalls(setup: SetupPacket) -> None:
    assert configured().control(setup) is Handshake.STALL


SUPER_STALLS = [
    SetupPacket(0x80, 6, 0x0600, 0, 10),  # there is no other speed to ask about
    SetupPacket(0x80, 6, 0x0700, 0, 255),
    SetupPacket(0x00, 48, 0, 0, 5),  # SET SEL has 6 bytes
    SetupPacket(0x00, 3, 50, 0, 0),  # no latency tolerance messages
]


@pytest.mark.parametrize("setup", SUPER_STALLS)
def test_what_superspeed_does_not_have_stalls(setup: SetupPacket) -> None:
    assert configured(Speed.SUPER).control(setup, bytes(setup.length)) is Handshake.STALL


def test_superspeed_host_may_tell_its_latencies_and_suspend_the_function() -> None:
    drive = configured(Speed.SUPER)

    assert drive.control(SetupPacket(0x00, 48, 0, 0, 6), bytes(6)) == 6
    assert drive.control(SetupPacket(0x00, 49, 40, 0, 0)) == 0
    assert drive.control(SetupPacket(0x01, 3, 0, 0x0300, 0)) == 0


def test_link_states_are_enabled_told_and_gone_after_a_reset() -> None:
    drive = configured(Speed.SUPER)
    get_status = SetupPacket(0x80, 0, 0, 0, 2)
    seen = [drive.control(get_status)]
    for request, feature in ((3, 48), (3, 49), (1, 48)):
        drive.control(SetupPacket(0x00, request, feature, 0, 0))
        seen.append(drive.control(get_status))
    drive.bus(BusEvent.RESET)

    assert seen == [b"\x00\0", b"\x04\0", b"\x0c\0", b"\x08\0"]
    assert drive.control(get_status) == b"\0\0"


def test_alternate_setting_is_told_and_decides_which_endpoints_there_are() -> None:
    drive = configured()
    get_interface = SetupPacket(0x81, 10, 0, 0, 1)
    before = drive.control(get_interface), halt_status(drive, PIPES[PipeId.STATUS])
    assert drive.control(SetupPacket(0x01, 11, 1, 0, 0)) == 0

    assert before == (b"\0", Handshake.STALL)
    assert drive.control(get_interface) == b"\1"
    assert [halt_status(drive, endpoint) for endpoint in PIPES.values()] == [b"\0\0"] * 4
    assert drive.control(SetupPacket(0xA1, 0xFE, 0, 0, 1)) is Handshake.STALL


@pytest.mark.parametrize(
    "back",
    [
        lambda drive: drive.control(SET_CONFIGURATION),
        lambda drive: [drive.bus(BusEvent.RESET), drive.control(SET_CONFIGURATION)],
    ],
)
def test_configuring_anew_selects_bulk_only(back: Callable[[RamDrive], object]) -> None:
    drive = configured()
    drive.control(SetupPacket(0x01, 11, 1, 0, 0))
    back(drive)

    assert drive.control(SetupPacket(0x81, 10, 0, 0, 1)) == b"\0"


def test_selecting_a_setting_drops_what_was_under_way() -> None:
    drive = configured()
    drive.transfer_out(ENDPOINT_OUT, Cbw(1, 512, True, 0, read10(0, 1)).encode())
    drive.control(SetupPacket(0x02, 3, 0, ENDPOINT_IN, 0))
    drive.control(SetupPacket(0x01, 11, 0, 0, 0))

    assert halt_status(drive, ENDPOINT_IN) == b"\0\0"
    assert drive.transfer_in(ENDPOINT_IN, 512) is Handshake.NAK


def test_reset_does_not_change_the_speed() -> None:
    drive = configured(Speed.SUPER)
    drive.bus(BusEvent.RESET)

    assert descriptor(drive, DescriptorType.DEVICE)[2:4] == b"\x20\x03"


def test_drive_names_the_transfers_that_may_now_end_differently() -> None:
    drive = configured(Speed.SUPER)
    drive.control(SetupPacket(0x01, 11, 1, 0, 0))
    status, data_in = PIPES[PipeId.STATUS], PIPES[PipeId.DATA_IN]
    drive.ready()
    for tag in (1, 2, 3):
        assert drive.transfer_in(status, 112, tag) is Handshake.NAK
        assert drive.transfer_in(data_in, 512, tag) is Handshake.NAK
    named = [drive.ready()]
    for tag in (1, 2, 3):
        drive.transfer_out(PIPES[PipeId.COMMAND], CommandIu(tag, read10(0, 1)).encode())
        named.append(drive.ready())
    drive.transfer_in(data_in, 512, 1)
    named.append(drive.ready())
    drive.cancel(status, 3)
    drive.bus(BusEvent.RESET)
    named.append(drive.ready())

    assert named == [
        set(),
        {(data_in, 1)},
        set(),  # their turn is yet to come
        set(),
        {(status, 1), (data_in, 2)},
        {(status, 2), (data_in, 3)},
    ]
    assert drive.ready() == set()


def test_halt_ends_the_wait_of_every_transfer_on_its_endpoint() -> None:
    drive = configured(Speed.SUPER)
    drive.control(SetupPacket(0x01, 11, 1, 0, 0))
    status = PIPES[PipeId.STATUS]
    drive.ready()
    for tag in (1, 2):
        assert drive.transfer_in(status, 112, tag) is Handshake.NAK
    drive.control(SetupPacket(0x02, 3, 0, status, 0))

    assert drive.ready() == {(status, 1), (status, 2)}


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
    st.integers(0, 0xFF) | st.integers(0, 12) | st.integers(48, 49),
    st.integers(0, 0xFFFF) | st.integers(0, 1) | st.integers(48, 50),
    st.integers(0, 0xFFFF) | st.sampled_from([0, *PIPES.values()]),
    st.integers(0, 0xFFFF) | st.integers(0, 2),
)


@given(
    st.sampled_from(list(SPEEDS)), st.lists(st.tuples(SETUPS, st.binary(max_size=8)), max_size=12)
)
def test_any_setup_packets_are_answered_within_their_length(
    speed: Speed,
    requests: list[tuple[SetupPacket, bytes]],
) -> None:
    drive = configured(speed)
    for setup, data in requests:
        answer = drive.control(setup, data)
        if isinstance(answer, bytes):
            assert setup.is_in
            assert len(answer) <= setup.length
        else:
            assert answer in (0, setup.length, Handshake.STALL)
