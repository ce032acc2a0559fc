"""SuperSpeed's descriptors against what a real disk has, round trips and any bytes."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.superspeed import EndpointCompanion, SuperSpeedCapability, Usb2Extension
from firmware_model.wire.usb import BosDescriptor

# What `lsusb -v` shows of a USB 3 disk, in bytes: a burst of 15 and 32 streams; LPM; full, high and
# SuperSpeed; U1 left in 10 us, U2 in 2047 us.
DATA_PIPE = bytes.fromhex("06 30 0f 05 00 00")
BOS = bytes.fromhex("05 0f 16 00 02  07 10 02 02 00 00 00  0a 10 03 00 0e 00 01 0a ff 07")


def test_companion_of_a_pipe_with_streams_is_read() -> None:
    companion = EndpointCompanion.decode(DATA_PIPE)

    assert (companion.burst, companion.stream_count) == (15, 32)
    assert companion.encode() == DATA_PIPE
    assert EndpointCompanion(0).stream_count == 0


def test_capabilities_of_a_disk_are_read() -> None:
    extension, superspeed = BosDescriptor.decode(BOS).capabilities

    assert Usb2Extension.decode(extension) == Usb2Extension(has_lpm=True)
    assert SuperSpeedCapability.decode(superspeed) == SuperSpeedCapability(0x0E, 1, 10, 2047)
    assert Usb2Extension(has_lpm=True).encode() == extension
    assert SuperSpeedCapability(0x0E, 1, 10, 2047).encode() == superspeed


def test_companion_is_found_among_what_follows_an_endpoint() -> None:
    usage = bytes.fromhex("04240300")

    assert EndpointCompanion.among(usage + DATA_PIPE) == EndpointCompanion(15, 5)
    assert EndpointCompanion.among(usage) is None


Descriptor = EndpointCompanion | Usb2Extension | SuperSpeedCapability
DECODERS: list[Callable[[bytes], Descriptor | None]] = [
    EndpointCompanion.decode,
    EndpointCompanion.among,
    Usb2Extension.decode,
    SuperSpeedCapability.decode,
]


@pytest.mark.parametrize("decode", DECODERS[:1] + DECODERS[2:])
@pytest.mark.parametrize("whole", [DATA_PIPE, BOS[5:12], BOS[12:]])
def test_truncated_descriptor_is_refused(decode: Callable[[bytes], object], whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises(DecodeError):
            decode(whole[:length])


@given(st.binary(max_size=24) | st.binary(max_size=4).map(lambda rest: b"\x06\x30" + rest))
def test_any_bytes_are_a_descriptor_or_refused(data: bytes) -> None:
    for decode in DECODERS:
        try:
            found = decode(data)
        except DecodeError:
            continue

        assert found is None or decode(found.encode()) == found


@pytest.mark.parametrize("numbers", [(16, 0), (-1, 0), (0, 17)])
def test_companion_of_no_bulk_endpoint_is_not_made(numbers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"burst|streams"):
        EndpointCompanion(*numbers)
