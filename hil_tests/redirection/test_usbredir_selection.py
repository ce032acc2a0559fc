"""What a guest is told of a SuperSpeed drive with two alternate settings, and its streams."""

import pytest

from firmware_model.serve.port import Description
from firmware_model.serve.usbredir_selection import Selection
from firmware_model.wire.usb import (
    ConfigurationDescriptor,
    DeviceDescriptor,
    EndpointDescriptor,
    InterfaceDescriptor,
    SetupPacket,
)
from firmware_model.wire.usbredir import endpoint_index
from firmware_model.wire.usbredir_device import EndpointType, Interface, RedirSpeed

STATUS_IN, DATA_IN, DATA_OUT, COMMAND_OUT = 0x83, 0x81, 0x02, 0x04
CONFIGURE, DECONFIGURE = (SetupPacket(0x00, 9, value, 0, 0) for value in (1, 0))
SELECT_UAS, SELECT_BULK_ONLY = (SetupPacket(0x01, 11, alt, 0, 0) for alt in (1, 0))


def endpoint(address: int, streams: int) -> EndpointDescriptor:
    """Return a bulk endpoint of SuperSpeed; `streams` is the exponent in its companion."""
    return EndpointDescriptor(address, 2, 1024, extra=bytes((6, 0x30, 15, streams, 0, 0)))


DEVICE = DeviceDescriptor(0x0320, 0, 0, 0, 9, 0x1209, 0x5ED0, 0x0100, 1, 2, 3, 1)
BULK_ONLY = InterfaceDescriptor(0, 0, 8, 6, 0x50, (endpoint(DATA_IN, 0), endpoint(DATA_OUT, 0)))
UAS = InterfaceDescriptor(
    0,
    1,
    8,
    6,
    0x62,
    (
        endpoint(COMMAND_OUT, 0),
        endpoint(STATUS_IN, 5),
        endpoint(DATA_IN, 5),
        endpoint(DATA_OUT, 5),
    ),
)
STREAMED = sum(1 << endpoint_index(each) for each in (STATUS_IN, DATA_IN, DATA_OUT))


@pytest.fixture
def selection() -> Selection:
    configured = Selection(Description(DEVICE, ConfigurationDescriptor(1, (BULK_ONLY, UAS))))
    configured.note(CONFIGURE)
    return configured


def bulk_endpoints(selection: Selection) -> dict[int, tuple[int, int]]:
    """Return largest packet and number of streams, by place."""
    return {
        index: (each.max_packet_size, each.max_streams)
        for index, each in enumerate(selection.ep_info.endpoints)
        if each.type is EndpointType.BULK
    }


def test_speed_is_that_of_the_descriptors(selection: Selection) -> None:
    assert selection.device_connect.speed is RedirSpeed.SUPER


def test_bulk_only_has_two_endpoints_without_streams(selection: Selection) -> None:
    assert bulk_endpoints(selection) == {2: (1024, 0), 17: (1024, 0)}
    assert selection.interface_info.interfaces == (Interface(0, 8, 6, 0x50),)


def test_other_setting_has_other_endpoints(selection: Selection) -> None:
    is_changed = selection.note(SELECT_UAS)

    assert is_changed and selection.alt_setting(0) == 1
    assert bulk_endpoints(selection) == {
        2: (1024, 32),
        4: (1024, 0),
        17: (1024, 32),
        19: (1024, 32),
    }
    assert selection.interface_info.interfaces == (Interface(0, 8, 6, 0x62),)


def test_selecting_a_configuration_selects_the_first_setting(selection: Selection) -> None:
    selection.note(SELECT_UAS)
    selection.note(CONFIGURE)

    assert selection.alt_setting(0) == 0


def test_what_selects_nothing_changes_nothing(selection: Selection) -> None:
    assert not selection.note(SetupPacket(0x80, 6, 0x0100, 0, 18))


def test_interface_that_there_is_not_has_no_setting(selection: Selection) -> None:
    selection.note(SetupPacket(0x01, 11, 1, 7, 0))
    selection.note(DECONFIGURE)

    assert selection.alt_setting(7) == selection.alt_setting(0) == 255


def test_streams_are_numbered_from_one(selection: Selection) -> None:
    selection.note(SELECT_UAS)
    before = [selection.has_stream(DATA_IN, stream) for stream in (0, 1)]
    is_done = selection.alloc_streams(STREAMED, 16)
    after = [selection.has_stream(DATA_IN, stream) for stream in (0, 1, 16, 17)]

    assert (before, is_done, after) == ([True, False], True, [False, True, True, False])
    assert selection.has_stream(COMMAND_OUT, 0)


@pytest.mark.parametrize(
    ("mask", "count"),
    [
        (STREAMED, 33),
        (STREAMED, 0),
        (STREAMED | 1 << endpoint_index(COMMAND_OUT), 16),
        (STREAMED | 1 << 31, 16),
    ],
)
def test_streams_that_one_endpoint_has_not_are_given_to_none(
    selection: Selection, mask: int, count: int
) -> None:
    selection.note(SELECT_UAS)

    assert not selection.alloc_streams(mask, count)
    assert not selection.has_stream(DATA_IN, 1)


def test_freed_streams_are_gone(selection: Selection) -> None:
    selection.note(SELECT_UAS)
    selection.alloc_streams(STREAMED, 16)
    had = selection.free_streams(1 << endpoint_index(DATA_IN) | 1)

    assert had == (DATA_IN,)
    assert selection.has_stream(DATA_IN, 0) and not selection.has_stream(DATA_IN, 1)
    assert selection.has_stream(DATA_OUT, 1)


@pytest.mark.parametrize("setup", [SELECT_BULK_ONLY, CONFIGURE, None])
def test_streams_end_with_the_setting_they_were_of(
    selection: Selection, setup: SetupPacket | None
) -> None:
    selection.note(SELECT_UAS)
    selection.alloc_streams(STREAMED, 16)
    if setup is None:
        selection.reset()
    else:
        selection.note(setup)

    assert not selection.has_stream(DATA_IN, 1)
