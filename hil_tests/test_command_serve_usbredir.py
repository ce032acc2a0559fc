"""`sedlab serve --usbredir` as a process of its own."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from firmware_model.wire.local_socket import connect_to, listen_at
from firmware_model.wire.usbredir import PacketType
from hil_tests.command_line import FAST, PATIENCE_S, Run, Server
from hil_tests.guest_address import GuestAddress
from hil_tests.redirection.guest import Guest

INQUIRY = bytes.fromhex("120000002400")
Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers, and ends those that have not ended."""
    with ExitStack() as stack:

        def begin(*arguments: str) -> Server:
            server = Server(tmp_path, *arguments, "--json")

            def end() -> None:
                if server.process.poll() is None:
                    server.ends(signal.SIGTERM)

            stack.callback(end)
            return server

        yield begin


def product(stream: socket.socket) -> bytes:
    """Use a drive, and return what product it is."""
    with Guest(stream) as guest:
        guest.greet()
        guest.device()
        guest.configure()
        return guest.command(INQUIRY, 36)[0][16:32].rstrip()


def test_guest_uses_a_drive_at_a_socket_in_the_file_system(start: Start, tmp_path: Path) -> None:
    server = start("model:plain", "--usbredir", "drive.socket")
    (drive,) = server.drives()
    path = tmp_path / "drive.socket"
    used = product(connect_to(path, PATIENCE_S))
    status, _, err = server.ends(signal.SIGTERM)

    assert used == b"Plain"
    assert drive["socket"] == "drive.socket"
    assert drive["attach"] == (
        f"-chardev socket,id=sedlab,path={path} -device usb-redir,chardev=sedlab"
    )
    assert (status, path.exists()) == (0, False)
    assert err.splitlines() == [
        "attached to local: a guest",
        "detached from local: the peer closed the stream",
    ]


def test_guest_uses_a_drive_over_tcp(start: Start) -> None:
    (drive,) = start("model:plain", "--usbredir", "127.0.0.1:0").drives()
    host, _, port = drive["socket"].rpartition(":")

    assert product(socket.create_connection((host, int(port)))) == b"Plain"
    assert f"host=127.0.0.1,port={port}" in drive["attach"]


def test_guest_that_listens_is_connected_to_and_when_it_goes_so_does_the_server(
    start: Start, tmp_path: Path
) -> None:
    with listen_at(tmp_path / "guest.socket") as listener:
        server = start("model:plain", "--usbredir", "guest.socket", "--connect")
        stream, _ = listener.accept()
        used = product(stream)
    (drive,) = server.drives()
    _, err = server.process.communicate(timeout=PATIENCE_S)

    assert used == b"Plain"
    assert drive["attach"].startswith("-chardev socket,id=sedlab,path=")
    assert ",server=on,wait=off " in drive["attach"]
    assert server.process.returncode == 0
    assert "detached from guest.socket" in err


def test_drive_that_is_unplugged_comes_back_to_the_same_guest(start: Start, run: Run) -> None:
    assert run("new", "drive.sed", *FAST).status == 0
    start("drive.sed", "--usbredir", "drive.socket").drives()
    with Guest(connect_to(Path("drive.socket"), PATIENCE_S)) as guest:
        guest.greet()
        guest.device()
        guest.configure()
        assert run("unplug", "drive.sed").status == 0
        gone = guest.receive()
        guest.signal(PacketType.DEVICE_DISCONNECT_ACK)
        assert run("plug", "drive.sed").status == 0
        guest.device()
        guest.configure()

        assert gone.type is PacketType.DEVICE_DISCONNECT
        assert guest.command(INQUIRY, 36)[0][16:32].rstrip() == b"Native"


def test_socket_that_a_killed_server_left_is_replaced(start: Start, tmp_path: Path) -> None:
    listen_at(tmp_path / "drive.socket").close()
    start("model:plain", "--usbredir", "drive.socket").drives()

    assert product(connect_to(tmp_path / "drive.socket", PATIENCE_S)) == b"Plain"


def test_socket_that_a_server_uses_is_not(start: Start, tmp_path: Path) -> None:
    first = start("model:plain", "--usbredir", "drive.socket")
    first.drives()
    second = start("model:plain", "--usbredir", "drive.socket")
    _, err = second.process.communicate(timeout=PATIENCE_S)

    assert second.process.returncode == 2
    assert "drive.socket: Address already in use" in err
    assert product(connect_to(tmp_path / "drive.socket", PATIENCE_S)) == b"Plain"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model:plain", "model:keypad", "--usbredir", "x"), "has one drive"),
        (("model:plain", "--usbredir", "x", "--usbip", "127.0.0.1:0"), "which drives and how"),
        (("model:plain", "--usbip", "127.0.0.1:0", "--connect"), "--connect goes with --usbredir"),
        (("model:plain", "--usbredir", "0.0.0.0:0"), "--allow-remote says it is meant"),
        (("model:plain", "--usbredir", "nowhere/x"), "nowhere/x: No such file"),
    ],
)
def test_what_can_not_be_served_is_told_in_a_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    ran = run("serve", *arguments)

    assert ran.status == 2
    assert message in ran.err


def test_guest_that_does_not_listen_is_not_found(run: Run) -> None:
    ran = run("serve", "model:plain", "--usbredir", "x", "--connect")

    assert ran.status == 3
    assert "no guest listens at x: No such file or directory" in ran.err


def test_address_with_a_slash_is_a_path_whatever_follows() -> None:
    assert GuestAddress("localhost:7000").is_tcp and GuestAddress("[::1]:7000").is_tcp
    assert not any(GuestAddress(text).is_tcp for text in ("socket", "./a:7000", "/run/a:1", "a:b"))


def test_comma_in_a_path_is_doubled_as_qemu_wants_it(tmp_path: Path) -> None:
    address = GuestAddress(str(tmp_path / "a,b"))
    with address.stream() as listener:
        assert address.chardev(listener).endswith("/a,,b")
