"""usbip:// as the driver uses it: with our server, and with servers that do as others do."""

import contextlib
import errno
import socket
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import usb.core
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.hardware.entropy import SeededNoise
from firmware_model.serve.port import Description
from firmware_model.serve.usbip import Export
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent
from firmware_model.wire.stream import Ended, receive
from firmware_model.wire.usbip import ExportedDevice, ImportRequest, OpCode, OpHeader
from firmware_model.wire.usbip_urb import (
    HEADER_BYTES,
    CmdSubmit,
    CmdUnlink,
    RetSubmit,
    RetUnlink,
    UrbStatus,
    decode_command,
)
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive, write10
from hil_tests.served import Serving, serving
from hil_tests.targets import ModelName, fresh_drive
from hil_tests.updated_drives import image
from host_driver import Locked, OpenOptions, WrongPin, open_drive
from host_driver.backends.usbip import LinkPort, UsbIp, attach
from host_driver.errors import (
    CommandRefused,
    Disconnected,
    DriveError,
    DriveInUse,
    NotFound,
    ProtocolError,
    TransportError,
)
from host_driver.usbip_link import UsbIpLink, UsbIpName, import_device, split_address

IN, OUT = 0x81, 0x02
PIN = "8402957136"


@pytest.fixture
def drive() -> RamDrive:
    return RamDrive()


@pytest.fixture
def served(drive: RamDrive) -> Iterator[Serving]:
    with serving([drive]) as found:
        yield found


def name_of(served: Serving, busid: str = "1-1") -> str:
    return served.url(busid).removeprefix("usbip:")


@contextlib.contextmanager
def linked(served: Serving) -> Iterator[UsbIpLink]:
    """Give an imported device."""
    link = import_device(UsbIpName.parse(name_of(served)))
    try:
        yield link
    finally:
        link.close()


@pytest.fixture
def device(served: Serving) -> Iterator[usb.core.Device]:
    """The drive as pyusb has it, configured."""
    with linked(served) as link:
        found = usb.core.find(backend=UsbIp(link))
        found.set_configuration()
        yield found


def refusal(error: pytest.ExceptionInfo[usb.core.USBError]) -> tuple[int | None, int | None]:
    return error.value.errno, error.value.backend_error_code


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("//127.0.0.1/1-1", UsbIpName("127.0.0.1", 3240, "1-1")),
        ("//pi.local:3241/1-1.4", UsbIpName("pi.local", 3241, "1-1.4")),
        ("//[::1]/1-1", UsbIpName("::1", 3240, "1-1")),
        ("//[fe80::1]:9/2-1", UsbIpName("fe80::1", 9, "2-1")),
    ],
)
def test_name_says_host_port_and_device(text: str, name: UsbIpName) -> None:
    assert UsbIpName.parse(text) == name
    assert UsbIpName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "//",
        "//host",
        "//host/",
        "host/1-1",
        "//:3240/1-1",
        "//host:/1-1",
        "//host:x/1-1",
        "//host:65536/1-1",
        "//::1/1-1",
        "//[host/1-1",
        "//host/1-1/2",
        "//host/" + "1" * 32,
        "//ho st/1-1",
        "//host/1\n1",
    ],
)
def test_malformed_name_is_wrong_usage(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        UsbIpName.parse(text)


@given(st.text(max_size=30).map(lambda text: f"//{text}"))
def test_any_text_is_a_name_that_reads_back_or_a_refusal(text: str) -> None:
    try:
        name = UsbIpName.parse(text)
    except ValueError:
        return

    assert UsbIpName.parse(str(name)) == name


def test_address_without_a_port_has_the_protocols_own() -> None:
    assert split_address("127.0.0.1") == ("127.0.0.1", 3240)


# --- as pyusb uses it --------------------------------------------------------------------------


def test_device_is_found_and_described(device: usb.core.Device) -> None:
    assert (device.idVendor, device.serial_number) == (0x1209, "0123456789AB")
    addresses = [each.bEndpointAddress for each in device.get_active_configuration()[0, 0]]
    assert addresses == [IN, OUT]


def test_bulk_transfers_carry_a_command(device: usb.core.Device) -> None:
    written = device.write(OUT, Cbw(5, 36, True, 0, INQUIRY).encode())
    buffer = array("B", bytes(64))
    count = device.read(IN, buffer)

    assert (written, count) == (31, 36)
    assert buffer.tobytes() == INQUIRY_DATA + bytes(28)
    assert device.read(IN, 13).tobytes() == b"USBS\x05" + bytes(8)


def test_stall_is_a_pipe_error_until_the_halt_is_cleared(device: usb.core.Device) -> None:
    device.write(OUT, Cbw(5, 512, True, 0, TEST_UNIT_READY).encode())
    with pytest.raises(usb.core.USBError) as refused:
        device.read(IN, 512)
    device.clear_halt(IN)

    assert refusal(refused) == (errno.EPIPE, -9)
    assert len(device.read(IN, 13)) == 13


def test_nothing_to_read_is_a_timeout_and_the_transfer_is_withdrawn(
    device: usb.core.Device,
) -> None:
    with pytest.raises(usb.core.USBTimeoutError) as refused:
        device.read(IN, 13, timeout=1)
    device.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode())

    assert refusal(refused) == (errno.ETIMEDOUT, -7)
    assert len(device.read(IN, 13)) == 13


def test_unplugged_drive_is_no_device_from_then_on(
    device: usb.core.Device, served: Serving, drive: RamDrive
) -> None:
    with served.ports[0].lock:
        drive.bus(BusEvent.DETACH)
        drive.bus(BusEvent.ATTACH)
    for _ in range(2):
        with pytest.raises(usb.core.USBError) as refused:
            device.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode())

        assert refusal(refused) == (errno.ENODEV, -4)


def test_port_reset_reaches_the_drive_and_keeps_its_configuration(
    device: usb.core.Device, drive: RamDrive
) -> None:
    device.reset()

    assert (BusEvent.RESET, True) in drive.heard
    assert device.write(OUT, Cbw(5, 0, False, 0, TEST_UNIT_READY).encode()) == 31


# --- as a person uses it -----------------------------------------------------------------------


def test_drive_of_somebody_else_is_in_use(served: Serving) -> None:
    with linked(served), pytest.raises(DriveInUse, match="attached to another host"):
        open_drive(served.url())


def test_drive_that_there_is_not_comes_with_those_that_there_are(served: Serving) -> None:
    with pytest.raises(NotFound, match=r"no drive at usbip://.*/1-7; offered are: 1-1$"):
        open_drive(served.url("1-7"))


def test_server_that_there_is_not_is_told_in_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotFound, match=rf"no USB/IP server at 127.0.0.1 port {port}: .*refused"):
        open_drive(f"usbip://127.0.0.1:{port}/1-1")


def test_name_of_no_host_is_told_in_a_line() -> None:
    with pytest.raises(NotFound, match="no USB/IP server at"):
        open_drive(f"usbip://{'x' * 64}.invalid/1-1")


@pytest.fixture
def native(tmp_path: Path) -> Iterator[tuple[Serving, OpenOptions]]:
    """A served drive with a lock, and options by which the driver knows it."""
    drive = fresh_drive(ModelName.parse("native"), SeededNoise(b"served"), kdf_iterations=1)
    drive.power_on()
    options = OpenOptions(known_drives=tmp_path / "known")
    with serving([drive]) as found:
        yield found, options


def test_drive_is_used_over_the_network_as_in_this_process(
    native: tuple[Serving, OpenOptions],
) -> None:
    served, options = native
    content = bytes(range(256)) * 512  # 128 KiB, written and read in one transfer each
    with open_drive(served.url(), options, ask=lambda *_: True) as drive:
        drive.set_pin(PIN)
        with pytest.raises(WrongPin) as wrong:
            drive.unlock("1234509876")
        drive.unlock(PIN)
        drive.write(0, content)

        assert drive.read(0, len(content) // 512) == content
        assert wrong.value.tries_left == 9


def test_drive_that_was_given_back_can_be_had_at_once() -> None:
    with serving([RamDrive()]) as there:
        name = UsbIpName("127.0.0.1", there.address[1], "1-1")
        for _ in range(30):
            import_device(name).close()

        assert there.log.lines[-1].startswith("1-1: detached")


def test_disconnecting_locks_the_drive(native: tuple[Serving, OpenOptions]) -> None:
    served, options = native
    with open_drive(served.url(), options, ask=lambda *_: True) as drive:
        drive.set_pin(PIN)
        drive.unlock(PIN)
        drive.write(0, b"kept".ljust(512))
    with open_drive(served.url(), options) as drive:
        with pytest.raises(Locked):
            drive.read(0, 1)
        drive.unlock(PIN)

        assert drive.read(0, 1).startswith(b"kept")


def test_updated_drive_leaves_and_is_there_again_with_new_firmware(
    native: tuple[Serving, OpenOptions],
) -> None:
    served, options = native
    with open_drive(served.url(), options, ask=lambda *_: True) as drive:
        drive.set_pin(PIN)
        drive.unlock(PIN)
        drive.update(image())
        with pytest.raises(Disconnected):
            drive.info()
    assert served.is_free()
    with open_drive(served.url(), options) as drive:
        status = drive.status()

    assert status is not None and str(status.version) == "1.1.0"


def test_model_of_our_own_server_may_be_changed_and_is_not_trusted(served: Serving) -> None:
    attachment = attach(name_of(served), OpenOptions())
    attachment.close()

    assert (attachment.destroys_data, attachment.is_trusted) == (True, False)
    assert attachment.serial == "0123456789AB"


def test_trace_and_lines_are_written_as_asked(served: Serving, tmp_path: Path) -> None:
    lines: list[str] = []
    options = OpenOptions(trace=tmp_path / "drive.pcap", on_exchange=lines.append)
    attachment = attach(name_of(served), options)
    attachment.transport.execute(TEST_UNIT_READY)
    attachment.close()

    assert lines[-1].startswith("TEST_UNIT_READY")
    assert (tmp_path / "drive.pcap").read_bytes()[20:24] == b"\xdc\x00\x00\x00"


# --- servers that do as others do ----------------------------------------------------------------

Answering = Callable[[CmdSubmit | CmdUnlink, socket.socket], None]
STRANGE = ExportedDevice("/sys/devices/usb1/1-1", "1-1", 3, 9, 3, *(0,) * 6, 1, 1, 1)
DEVID = 3 << 16 | 9


@contextlib.contextmanager
def server_that(
    answers: Answering | bytes, device: bytes = STRANGE.encode(), status: int = 0
) -> Iterator[UsbIpName]:
    """Give the name of a device of a server in this process, for one client.

    It answers each command as it is told to, or says some bytes when it gets the first.
    """

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as stream:
            receive(stream, OpHeader.LAYOUT.size + ImportRequest.SIZE)
            stream.sendall(OpHeader(OpCode.REP_IMPORT, status).encode() + device)
            while len(device) == ExportedDevice.LAYOUT.size:
                command = decode_command(receive(stream, HEADER_BYTES))
                if isinstance(command, CmdSubmit) and not command.is_in and command.length:
                    receive(stream, command.length)
                assert command.devid == DEVID
                if isinstance(answers, bytes):
                    stream.sendall(answers)
                    return
                answers(command, stream)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield UsbIpName("127.0.0.1", listener.getsockname()[1], "1-1")
        finally:
            thread.join(30)


@contextlib.contextmanager
def link_to(answers: Answering | bytes) -> Iterator[UsbIpLink]:
    with server_that(answers) as name, contextlib.closing(import_device(name)) as link:
        yield link


def read(link: UsbIpLink, length: int = 4, timeout_ms: int = 1) -> bytes:
    buffer = bytearray(length)
    return bytes(buffer[: link.transfer_in(IN, memoryview(buffer), timeout_ms)])


def withdrawn(status: int, before: bool = False, after: bool = False) -> Answering:
    """Answer a CMD_UNLINK with a status, and the transfer before or after it, or not at all."""
    waiting: list[int] = []

    def answer(command: CmdSubmit | CmdUnlink, stream: socket.socket) -> None:
        if isinstance(command, CmdUnlink):
            end = RetSubmit(command.unlinked, 0, 4).encode() + b"late"
            unlinked = RetUnlink(command.seqnum, status).encode()
            stream.sendall(end * before + unlinked + end * after)
            waiting.append(command.unlinked)
        elif waiting:
            stream.sendall(RetSubmit(command.seqnum, 0, 4).encode() + b"next")

    return answer


def test_transfer_that_ends_while_it_is_withdrawn_counts() -> None:
    with link_to(withdrawn(UrbStatus.OK, before=True)) as link:
        assert read(link) == b"late"
        assert read(link, timeout_ms=0) == b"next"


@pytest.mark.parametrize("status", [UrbStatus.ECONNRESET, UrbStatus.OK, -2])
def test_withdrawn_transfer_that_never_ends_is_a_timeout(status: int) -> None:
    with link_to(withdrawn(status)) as link:
        with pytest.raises(usb.core.USBTimeoutError):
            read(link)

        assert read(link, timeout_ms=0) == b"next"


def test_late_end_of_a_withdrawn_transfer_is_passed_over() -> None:
    with link_to(withdrawn(UrbStatus.ECONNRESET, after=True)) as link:
        with pytest.raises(usb.core.USBTimeoutError):
            read(link)

        assert read(link, timeout_ms=0) == b"next"


def ended(status: int, data: bytes = b"") -> Answering:
    def answer(command: CmdSubmit | CmdUnlink, stream: socket.socket) -> None:
        stream.sendall(RetSubmit(command.seqnum, status, len(data)).encode() + data)

    return answer


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (UrbStatus.EPIPE, errno.EPIPE),
        (UrbStatus.EOVERFLOW, errno.EOVERFLOW),
        (UrbStatus.ETIMEDOUT, errno.ETIMEDOUT),
        (UrbStatus.ENODEV, errno.ENODEV),
        (UrbStatus.ESHUTDOWN, errno.ENODEV),
        (UrbStatus.EPROTO, errno.EIO),
        (-9999, errno.EIO),
    ],
)
def test_status_of_a_transfer_is_an_error_of_pyusb(status: int, number: int) -> None:
    with link_to(ended(status, b"part")) as link, pytest.raises(usb.core.USBError) as refused:
        read(link, timeout_ms=0)

    assert refused.value.errno == number


def test_short_read_that_a_server_calls_an_error_is_short() -> None:
    with link_to(ended(UrbStatus.EREMOTEIO, b"ab")) as link:
        assert read(link, timeout_ms=0) == b"ab"


def test_server_that_hands_a_port_reset_on_to_the_device_is_forgiven() -> None:
    asked: list[int] = []

    def answer(command: CmdSubmit | CmdUnlink, stream: socket.socket) -> None:
        assert isinstance(command, CmdSubmit)
        request = command.setup_packet().request
        asked.append(request)
        status, data = (UrbStatus.EPIPE, b"") if request == 3 else (0, b"\x01"[: command.length])
        stream.sendall(RetSubmit(command.seqnum, status, len(data)).encode() + data)

    with link_to(answer) as link:
        bus = UsbIp(link)
        bus.reset_device(bus.open_device(LinkPort(link)))

    assert asked == [8, 3, 9]  # which configuration, reset, and that configuration again


@pytest.mark.parametrize(
    "said",
    [
        RetSubmit(1, 0, 5).encode() + b"long!",
        RetSubmit(1, 0, 0xFFFF_FFFF).encode(),
        RetSubmit(7, 0, 4).encode() + b"what",
        RetUnlink(1, 0).encode(),
        CmdSubmit(1, DEVID, 1, 1, 0, 4).encode(),
        bytes(HEADER_BYTES),
    ],
)
def test_reply_that_breaks_the_protocol_ends_the_link(said: bytes) -> None:
    with link_to(said) as link:
        with pytest.raises(usb.core.USBError) as broken:
            read(link, timeout_ms=0)
        with pytest.raises(usb.core.USBError) as after:
            read(link, timeout_ms=0)

    assert (broken.value.errno, after.value.errno) == (errno.EPROTO, errno.ENODEV)


@pytest.mark.parametrize("said", [b"", RetSubmit(1, 0, 4).encode() + b"ab", bytes(20)])
def test_server_that_goes_is_a_drive_that_is_gone(said: bytes) -> None:
    with link_to(said) as link, pytest.raises(usb.core.USBError) as gone:
        read(link, timeout_ms=0)

    assert gone.value.errno == errno.ENODEV


HEADS = st.tuples(st.integers(0, 3), st.integers(-130, 0), st.integers(0, 6)).map(
    lambda fields: RetSubmit(*fields)
)


@settings(max_examples=50)
@given(
    st.binary(max_size=150)
    | st.tuples(HEADS, st.binary(max_size=60)).map(lambda said: said[0].encode() + said[1])
)
def test_whatever_a_server_says_is_data_or_an_error_of_pyusb(said: bytes) -> None:
    with link_to(said) as link:
        for _ in range(3):
            with contextlib.suppress(usb.core.USBError):
                assert len(read(link, timeout_ms=0)) <= 4


@pytest.mark.parametrize(
    ("device", "status", "kind", "message"),
    [
        (STRANGE.encode(), 2, DriveInUse, "another host"),
        (STRANGE.encode(), 3, TransportError, "status 3"),
        (STRANGE.encode(), 77, TransportError, "status 77"),
        (STRANGE.encode().replace(b"1-1\x00", b"1-2\x00"), 0, ProtocolError, "gave 1-2 for 1-1"),
        (STRANGE.encode()[:-1], 0, TransportError, "went"),
        (b"\xff" * 312, 0, ProtocolError, "speaks no USB/IP"),
    ],
)
def test_server_that_gives_no_device_is_told_in_a_line(
    device: bytes, status: int, kind: type[DriveError], message: str
) -> None:
    def close(command: CmdSubmit | CmdUnlink, stream: socket.socket) -> None:
        raise Ended

    with server_that(close, device, status) as name, pytest.raises(kind, match=message):
        import_device(name)


class Elsewhere(Export):
    """An export of another server, by what it says of where the device is."""

    def device(self, found: Description) -> ExportedDevice:
        return replace(super().device(found), path="/sys/devices/usb1/1-1")


def test_device_of_another_server_may_be_real_and_is_spared() -> None:
    with serving([RamDrive()], Elsewhere) as served:
        attachment = attach(name_of(served), OpenOptions())
        assert attachment.transport.execute(INQUIRY, data_in_length=36).data == INQUIRY_DATA
        with pytest.raises(CommandRefused, match="needs --destroys-data and its serial number"):
            attachment.transport.execute(write10(0, 1), bytes(512))
        attachment.close()


def test_device_of_another_server_is_changed_where_that_is_said() -> None:
    drive = RamDrive()
    with serving([drive], Elsewhere) as served:
        options = OpenOptions(destroys_data=True, serial="0123456789AB")
        attachment = attach(name_of(served), options)
        attachment.transport.execute(write10(0, 1), b"x" * 512)
        attachment.close()

    assert drive.disk.blocks[:512] == b"x" * 512
