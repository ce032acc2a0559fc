"""What a trace holds: a pcap that explains itself, and payloads in memory."""

import errno
from io import BytesIO
from itertools import count
from struct import unpack_from

import pytest
import usb.core

from firmware_model.wire.bot import Csw, CswStatus
from firmware_model.wire.function import BusEvent
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, RamDrive, read10, write10
from host_driver.backends.in_process import InProcess
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.errors import Disconnected
from host_driver.trace import Recorded, TracedBackend
from host_driver.usbmon import status_of

Packet = dict[str, object]


def opened(backend: Recorded | TracedBackend | InProcess) -> BulkOnlyTransport:
    device = usb.core.find(backend=backend)
    assert device is not None
    return BulkOnlyTransport(device)


def packets(capture: bytes) -> list[Packet]:
    """Read a capture by the offsets of struct mon_bin_hdr, with none of the writer's constants."""
    assert capture[:24].hex() == "d4c3b2a102000400" + "00" * 8 + "00000004" + "dc000000"
    found: list[Packet] = []
    at = 24
    while at < len(capture):
        seconds, microseconds, size, original = unpack_from("<IIII", capture, at)
        packet = capture[at + 16 : at + 16 + size]
        assert size == original == len(packet) == 64 + unpack_from("<I", packet, 36)[0]
        assert (seconds, microseconds) == unpack_from("<qi", packet, 16)
        found.append({
            "id": unpack_from("<Q", packet, 0)[0],
            "event": chr(packet[8]),
            "type": packet[9],
            "endpoint": packet[10],
            "device": packet[11],
            "bus": unpack_from("<H", packet, 12)[0],
            "no setup": packet[14],
            "no data": packet[15],
            "time": seconds * 1_000_000 + microseconds,
            "status": unpack_from("<i", packet, 28)[0],
            "length": unpack_from("<I", packet, 32)[0],
            "setup": packet[40:48],
            "data": packet[64:],
        })  # fmt: skip
        at += 16 + size
    return found


def traced(drive: RamDrive | None = None) -> tuple[BulkOnlyTransport, BytesIO]:
    stream = BytesIO()
    ticks = count(1_700_000_000_999_990, 5)
    backend = TracedBackend(InProcess([drive or RamDrive()]), stream, lambda: next(ticks))
    return opened(backend), stream


def test_trace_begins_with_the_descriptors_and_the_configuration() -> None:
    _, stream = traced()
    setups = [one["setup"] for one in packets(stream.getvalue()) if one["event"] == "S"]

    assert [setup.hex(" ") for setup in setups if isinstance(setup, bytes)] == [
        "80 06 00 01 00 00 12 00",  # device
        "80 06 00 02 00 00 55 00",  # configuration
        "80 06 00 03 00 00 fe 00",  # languages
        "80 06 01 03 09 04 fe 00",  # manufacturer
        "80 06 02 03 09 04 fe 00",  # product
        "80 06 03 03 09 04 fe 00",  # serial
        "00 09 01 00 00 00 00 00",
        "01 0b 00 00 00 00 00 00",  # one setting of two
    ]


def test_configuration_is_in_the_trace_whole() -> None:
    _, stream = traced()
    answer = packets(stream.getvalue())[3]

    assert (answer["event"], answer["type"], answer["endpoint"]) == ("C", 2, 0x80)
    assert answer["data"] == bytes.fromhex(
        "090255000101008064"
        "090400000208065000" "07058102000200" "07050202000200"
        "090400010408066200" "07050402000200" "04240100" "07058302000200" "04240200"
        "07058102000200" "04240300" "07050202000200" "04240400"
    )  # fmt: skip


def test_each_submission_has_its_completion_later() -> None:
    transport, stream = traced()
    transport.execute(INQUIRY, data_in_length=36)
    found = packets(stream.getvalue())

    assert [one["id"] for one in found[::2]] == [one["id"] for one in found[1::2]]
    assert {one["event"] for one in found[::2]} == {"S"}
    assert {one["event"] for one in found[1::2]} == {"C"}
    times = [one["time"] for one in found]
    assert times == [1_700_000_000_999_990 + 5 * index for index in range(len(times))]


def test_inquiry_is_three_bulk_transfers() -> None:
    transport, stream = traced()
    transport.execute(INQUIRY, data_in_length=36)
    bulk = [one for one in packets(stream.getvalue()) if one["type"] == 3]

    shown = [
        (one["event"], one["endpoint"], one["status"], one["length"], one["no data"])
        for one in bulk
    ]
    assert shown == [
        ("S", 0x02, -115, 31, 0),
        ("C", 0x02, 0, 31, ord(">")),
        ("S", 0x81, -115, 36, ord("<")),
        ("C", 0x81, 0, 36, 0),
        ("S", 0x81, -115, 13, ord("<")),
        ("C", 0x81, 0, 13, 0),
    ]
    assert [one["data"] for one in bulk[3::2]] == [
        INQUIRY_DATA,
        Csw(1, 0, CswStatus.PASSED).encode(),
    ]
    assert {(one["bus"], one["device"], one["no setup"]) for one in bulk} == {(1, 1, ord("-"))}


def test_stall_and_the_clearing_of_it_are_in_the_trace() -> None:
    transport, stream = traced()
    transport.execute(read10(16, 1), data_in_length=512)
    found = packets(stream.getvalue())

    (stalled,) = (index for index, one in enumerate(found) if one["status"] == -32)
    assert (found[stalled]["length"], found[stalled]["data"]) == (0, b"")
    assert found[stalled + 1]["setup"] == bytes.fromhex("0201000081000000")


def test_unplugged_drive_ends_the_trace_with_its_error() -> None:
    drive = RamDrive()
    transport, stream = traced(drive)
    drive.bus(BusEvent.DETACH)
    with pytest.raises(Disconnected):
        transport.execute(INQUIRY, data_in_length=36)

    assert packets(stream.getvalue())[-1]["status"] == -19


def test_drive_opened_twice_is_described_once() -> None:
    stream = BytesIO()
    backend = TracedBackend(InProcess([RamDrive()]), stream, lambda: 0)
    opened(backend).close()
    opened(backend)
    submitted = [one["setup"] for one in packets(stream.getvalue()) if one["event"] == "S"]

    requests = [setup[1] for setup in submitted if isinstance(setup, bytes)]
    assert requests == [6] * 6 + [9, 11, 11]


def test_recorded_payloads_are_what_crossed_the_bus() -> None:
    backend = Recorded(InProcess([RamDrive()]))
    transport = opened(backend)
    backend.payloads.clear()
    secret = b"\xa5" * 512
    transport.execute(write10(0, 1), data_out=secret)
    transport.execute(read10(0, 1), data_in_length=512)

    assert [len(payload) for payload in backend.payloads] == [31, 512, 13, 31, 512, 13]
    assert backend.payloads.count(secret) == 2


@pytest.mark.parametrize(
    ("number", "names", "status"),
    [
        (errno.EPIPE, errno.errorcode, -32),
        (60, {60: "ETIMEDOUT"}, -110),  # macOS
        (10060, {10060: "WSAETIMEDOUT"}, -110),  # Windows
        (84, {84: "EOVERFLOW"}, -75),
        (7, {7: "E2BIG"}, -71),
        (None, {}, -71),
    ],
)
def test_status_of_an_urb_is_a_number_of_linux_on_every_system(
    number: int | None, names: dict[int, str], status: int
) -> None:
    assert status_of(number, names) == status
