"""usbip:// with servers that do as others do."""

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import usb.core
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_model.wire.stream import Ended, receive, set_timeout
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
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, RamDrive, write10
from hil_tests.served import Elsewhere, serving
from host_driver import OpenOptions, usbip_link
from host_driver.backends.usbip import LinkPort, UsbIp, attach
from host_driver.errors import (
    CommandRefused,
    Disconnected,
    DriveError,
    DriveInUse,
    ProtocolError,
    TransportError,
)
from host_driver.usbip_link import UsbIpLink, UsbIpName, import_device

IN, OUT = 0x81, 0x02


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


@pytest.mark.parametrize("said", [b"", OpHeader(OpCode.REP_IMPORT).encode() + b"half a device"])
def test_server_that_stops_talking_is_told(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(usbip_link, "ANSWER_TIMEOUT_S", 0.2)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        name = UsbIpName("127.0.0.1", listener.getsockname()[1], "1-1")
        with ThreadPoolExecutor(1) as thread:
            importing = thread.submit(import_device, name)
            stream = stack.enter_context(listener.accept()[0])
            stream.sendall(said)
            refused = importing.exception()

        assert isinstance(refused, TransportError)
        assert ("stopped in the middle" if said else "answered nothing for 0.2 s") in str(refused)


def test_message_that_comes_drop_by_drop_takes_no_longer_than_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as thread:
        set_timeout(ours, 0.2)
        theirs.setblocking(False)
        receiving = thread.submit(receive, ours, 64 << 20)
        while not receiving.done():
            with contextlib.suppress(BlockingIOError):  # it has stopped listening, and says so soon
                theirs.send(b"drop")

        assert isinstance(receiving.exception(), Ended)


def test_what_a_server_does_wrong_is_told() -> None:
    too_much = RetSubmit(1, 0, 0x7FFF_FFFF).encode()
    with server_that(too_much) as name, pytest.raises(Disconnected, match="2147483647 bytes came"):
        attach(str(name), OpenOptions())


def test_device_of_another_server_may_be_real_and_is_spared() -> None:
    with serving([RamDrive()], Elsewhere) as served:
        attachment = attach(served.name(), OpenOptions())
        assert attachment.transport.execute(INQUIRY, data_in_length=36).data == INQUIRY_DATA
        with pytest.raises(CommandRefused, match="needs --destroys-data and its serial number"):
            attachment.transport.execute(write10(0, 1), bytes(512))
        attachment.close()


def test_device_of_another_server_is_changed_where_that_is_said() -> None:
    drive = RamDrive()
    with serving([drive], Elsewhere) as served:
        options = OpenOptions(destroys_data=True, serial="0123456789AB")
        attachment = attach(served.name(), options)
        attachment.transport.execute(write10(0, 1), b"x" * 512)
        attachment.close()

    assert drive.disk.blocks[:512] == b"x" * 512
