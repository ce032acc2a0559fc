"""Setup packets and descriptors against printed bytes, round trips, and any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usb import (
    BosDescriptor,
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    DeviceQualifier,
    EndpointDescriptor,
    InterfaceDescriptor,
    LangIds,
    Recipient,
    RequestKind,
    SetupPacket,
    StringDescriptor,
)

BYTES = st.integers(0, 0xFF)
WORDS = st.integers(0, 0xFFFF)
COMPANION = bytes.fromhex("06 30 0f 00 00 00")
# A mass-storage configuration as Linux's g_mass_storage gives it at high speed.
STORAGE = bytes.fromhex("09022000010100c001 0904000002080650000705810200020007050102000201")


def test_descriptor_request_of_an_enumerating_host_is_read_field_by_field() -> None:
    setup = SetupPacket.decode(bytes.fromhex("80 06 00 01 00 00 40 00"))

    assert setup == SetupPacket(0x80, 6, value=0x0100, index=0, length=64)
    assert setup.is_in
    assert (setup.kind, setup.recipient) == (RequestKind.STANDARD, Recipient.DEVICE)


def test_get_max_lun_is_a_class_request_to_an_interface() -> None:
    setup = SetupPacket.decode(bytes.fromhex("a1 fe 00 00 00 00 01 00"))

    assert (setup.kind, setup.recipient) == (RequestKind.CLASS, Recipient.INTERFACE)


def test_mass_storage_configuration_is_read_whole() -> None:
    configuration = ConfigurationDescriptor.decode(STORAGE)

    (interface,) = configuration.interfaces
    assert (interface.interface_class, interface.interface_subclass) == (8, 6)
    assert [endpoint.address for endpoint in interface.endpoints] == [0x81, 0x01]
    assert all(endpoint.is_bulk for endpoint in interface.endpoints)
    assert configuration.encode() == STORAGE


@pytest.mark.parametrize("length", range(len(STORAGE)))
def test_truncated_configuration_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        ConfigurationDescriptor.decode(STORAGE[:length])


def test_alternate_settings_count_as_one_interface() -> None:
    bulk_only = InterfaceDescriptor(0, 0, 8, 6, 0x50)
    uas = InterfaceDescriptor(
        0, 1, 8, 6, 0x62, (EndpointDescriptor(0x81, 2, 1024, extra=COMPANION),)
    )
    configuration = ConfigurationDescriptor(1, (bulk_only, uas))

    assert configuration.interface_numbers == (0,)
    assert ConfigurationDescriptor.decode(configuration.encode()) == configuration


ENDPOINTS = st.builds(
    EndpointDescriptor, BYTES, BYTES, WORDS, BYTES, st.sampled_from([b"", COMPANION])
)
INTERFACES = st.builds(
    InterfaceDescriptor,
    BYTES,
    BYTES,
    BYTES,
    BYTES,
    BYTES,
    st.lists(ENDPOINTS, max_size=4).map(tuple),
    BYTES,
    st.sampled_from([b"", b"\x04\x24\x06\x00"]),
)
CONFIGURATIONS = st.builds(
    ConfigurationDescriptor,
    BYTES,
    st.lists(INTERFACES, max_size=4).map(tuple),
    BYTES,
    BYTES,
    BYTES,
    st.sampled_from([b"", b"\x08\x0b\x00\x02\x08\x06\x50\x00"]),
)


@given(CONFIGURATIONS)
def test_configuration_survives_the_wire(configuration: ConfigurationDescriptor) -> None:
    assert ConfigurationDescriptor.decode(configuration.encode()) == configuration


@given(st.lists(st.integers(0, 0xFF), min_size=12, max_size=12))
def test_device_descriptor_survives_the_wire(fields: list[int]) -> None:
    descriptor = DeviceDescriptor(*fields)
    qualifier = DeviceQualifier(*fields[:6])

    assert DeviceDescriptor.decode(descriptor.encode()) == descriptor
    assert DeviceQualifier.decode(qualifier.encode()) == qualifier


@given(st.text(st.characters(max_codepoint=0xFFFF), max_size=126), st.lists(WORDS, max_size=126))
def test_strings_and_languages_survive_the_wire(text: str, languages: list[int]) -> None:
    assert StringDescriptor.decode(StringDescriptor(text).encode()).text == text
    assert LangIds.decode(LangIds(tuple(languages)).encode()).languages == tuple(languages)


def test_string_too_long_for_its_descriptor_is_refused() -> None:
    with pytest.raises(ValueError, match="126 code units"):
        StringDescriptor("x" * 127).encode()


DECODERS = (
    SetupPacket,
    DeviceDescriptor,
    DeviceQualifier,
    ConfigurationDescriptor,
    BosDescriptor,
    StringDescriptor,
    LangIds,
)


@pytest.mark.parametrize("codec", DECODERS)
@given(data=st.data())
def test_any_bytes_are_a_descriptor_that_encodes_back_or_a_refusal(
    codec: type[SetupPacket], data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(DescriptorType))
    body = data.draw(st.binary(max_size=40) | st.just(STORAGE[2:]))
    blob = data.draw(st.sampled_from([body, bytes((2 + len(body), kind)) + body]))
    try:
        value = codec.decode(blob)
    except DecodeError:
        return

    assert value.encode() == blob


@given(st.integers(0, len(STORAGE) - 1), BYTES)
def test_configuration_with_one_byte_changed_is_read_back_or_refused(at: int, byte: int) -> None:
    blob = STORAGE[:at] + bytes((byte,)) + STORAGE[at + 1 :]
    try:
        configuration = ConfigurationDescriptor.decode(blob)
    except DecodeError:
        return

    assert configuration.encode() == blob
