"""FunctionFS: descriptors as the kernel's own example has them, and events that are anything."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.usb.descriptors import Descriptors as Drive
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.functionfs import Descriptors, Event, EventType, Strings
from firmware_model.wire.setup import SetupPacket, Speed, split_descriptors

DRIVE = Drive(0x1209, 0x5ED0, "sedlab", "Native", "0123456789AB")
SPEEDS = (Speed.FULL, Speed.HIGH, Speed.SUPER)
# A vendor's interface with two bulk endpoints, as tools/usb/ffs-test.c of Linux writes it.
INTERFACE = "0904000002ff000001"
EXAMPLE = {
    Speed.FULL: f"{INTERFACE}07058102000000" + "07050202000000",
    Speed.HIGH: f"{INTERFACE}07058102000200" + "07050202000201",
    Speed.SUPER: f"{INTERFACE}07058102000400063000000000" + "07050202000401063000000000",
}
EXAMPLE_BYTES = (
    "03000000" + "69000000" + "07000000"  # magic 3, length, flags: full, high and SuperSpeed
    "03000000" + "03000000" + "05000000" + "".join(EXAMPLE.values())
)  # fmt: skip
MAX_LUN = SetupPacket(0xA1, 0xFE, 0, 0, 1)
events = st.sampled_from(
    [Event(each, MAX_LUN if each is EventType.SETUP else None) for each in EventType]
)
rest = st.binary(max_size=11)  # of an event that was cut short


def test_descriptors_are_written_as_the_kernels_example_does() -> None:
    block = Descriptors({speed: bytes.fromhex(text) for speed, text in EXAMPLE.items()})

    assert block.encode().hex() == EXAMPLE_BYTES


def test_descriptors_of_a_drive_are_those_of_bulk_only_at_each_speed() -> None:
    block = Descriptors.of({speed: DRIVE.configuration(speed) for speed in SPEEDS}).encode()
    magic, length, flags, *counts = struct.unpack_from("<6I", block)
    found = split_descriptors(block[24:])

    assert (magic, length, flags, counts) == (3, len(block), 7, [3, 3, 5])
    assert [each.hex() for each in found if each[1] == 4] == ["090400000208065000"] * 3
    assert [struct.unpack_from("<H", each, 4)[0] for each in found if each[1] == 5] == [
        *(64, 64, 512, 512, 1024, 1024)
    ]


def test_speeds_that_a_device_lacks_are_left_out() -> None:
    block = Descriptors.of({Speed.HIGH: DRIVE.configuration(Speed.HIGH)}).encode()

    assert struct.unpack_from("<4I", block) == (3, len(block), 2, 3)


def test_descriptors_that_overrun_are_refused() -> None:
    with pytest.raises(DecodeError):
        Descriptors({Speed.HIGH: b"\x09\x04"}).encode()


def test_no_strings_are_sixteen_bytes() -> None:
    assert Strings().encode().hex() == "02000000" + "10000000" + "00000000" * 2


def test_events_are_twelve_bytes_each() -> None:
    read = bytes.fromhex("0000000000000000" + "02000000" + "a1fe000000000100" + "04000000")

    assert Event.decode_all(read) == [Event(EventType.ENABLE), Event(EventType.SETUP, MAX_LUN)]
    assert b"".join(each.encode() for each in Event.decode_all(read)) == read


@pytest.mark.parametrize("length", range(12))
def test_event_cut_short_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        Event.decode(Event(EventType.SETUP, MAX_LUN).encode()[:length])


def test_event_that_is_not_known_is_refused() -> None:
    with pytest.raises(DecodeError, match="event 7"):
        Event.decode(bytes(8) + b"\x07\0\0\0")


def test_event_that_is_not_known_hides_no_other() -> None:
    """Or a drive would not hear of the reset that was told beside it."""
    unknown = bytes(8) + b"\x07\0\0\0"
    disabled = Event(EventType.DISABLE)

    assert Event.decode_all(unknown + disabled.encode()) == [disabled]


@given(st.lists(st.binary(min_size=12, max_size=12) | st.builds(Event.encode, events)), rest)
def test_any_bytes_are_events_or_passed_over(read: list[bytes], rest: bytes) -> None:
    found = Event.decode_all(b"".join(read) + rest)

    assert len(found) == sum(each[8] in tuple(EventType) for each in read)
    for event in found:
        assert (event.setup is not None) == (event.type is EventType.SETUP)
