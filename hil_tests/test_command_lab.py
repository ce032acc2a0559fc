"""`sedlab lab` without its kernel: the drive beside it, and the terminal."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_model.wire.local_socket import connect_to
from hil_tests.command_line import PATIENCE_S, ROOT, Run
from hil_tests.kernel.beside import DriveBeside, NotServed, redirected
from hil_tests.kernel.json_lines import JsonLines
from hil_tests.kernel.terminal import joined, raw

SERVES_AND_WAITS = {
    "lab": """
from hil_tests.kernel.beside import redirected
with redirected("model:plain") as drive:
    print(drive.socket, flush=True)
    sys.stdin.read()
""",
    "test": """
from hil_tests.command_line import Server
server = Server(pathlib.Path(sys.argv[1]), "model:plain", "--usbredir", "redir", "--json")
print(f"{sys.argv[1]}/{server.drives()[0]['socket']}", flush=True)
sys.stdin.read()
""",
}


def server_at(guest: socket.socket) -> int:
    """Return the process that listens at the socket that a guest has connected to."""
    credentials = guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


@pytest.mark.parametrize("target", ["nowhere.sed", "model:none-such"])
def test_drive_that_can_not_be_served_is_told_as_serve_tells_it(target: str) -> None:
    with (
        pytest.raises(NotServed, match=r"^sedlab: .*no (such drive|profile)") as refused,
        redirected(target),
    ):
        pass

    assert refused.value.status == 3


def test_drive_has_a_socket_as_long_as_it_is_wanted() -> None:
    with redirected("model:plain") as drive:
        connect_to(drive.socket, PATIENCE_S).close()
        assert (drive.target, drive.dialect) == ("model:plain", "none")

    assert not drive.socket.exists()


def test_interrupt_at_the_terminal_is_not_for_the_server() -> None:
    with redirected("model:plain") as drive, connect_to(drive.socket, PATIENCE_S) as guest:
        assert os.getsid(server_at(guest)) == server_at(guest) != os.getsid(0)


@pytest.mark.parametrize("whose", SERVES_AND_WAITS)
def test_server_ends_with_a_process_that_is_killed(whose: str, tmp_path: Path) -> None:
    script = f"import pathlib, sys\n{SERVES_AND_WAITS[whose]}"
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        with connect_to(Path(owner.stdout.readline().strip()), PATIENCE_S) as guest:
            assert guest.recv(1 << 12)  # its hello
            owner.kill()
            assert not guest.recv(1 << 12)


def test_server_that_is_killed_meanwhile_is_told_whatever_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # for its folder, which stays
    with (
        pytest.raises(
            NotServed, match=r"^sedlab: the drive's server was killed by signal 9$"
        ) as told,
        redirected("model:plain") as drive,
        connect_to(drive.socket, PATIENCE_S) as guest,
    ):
        ended = os.pidfd_open(server_at(guest))
        os.kill(server_at(guest), signal.SIGKILL)
        select.select([ended], [], [], PATIENCE_S)
        os.close(ended)
        sys.exit(0)

    assert told.value.status == 3


@pytest.mark.parametrize(
    ("dialect", "line"),
    [
        ("native", "to unlock: sedlab unlock sg:/dev/sg0 --destroys-data --serial 01AB"),
        (
            "keypad",
            "to unlock, from another terminal of the host: sedlab press 'my drive.sed' KEYS",
        ),
        ("none", "nothing to unlock: the drive has no PIN"),
    ],
)
def test_lab_says_how_a_drive_is_unlocked_and_operated(dialect: str, line: str) -> None:
    drive = DriveBeside(Path("redir"), "my drive.sed", "01AB", dialect, "my drive.sed.operator")
    manual = drive.manual("/dev/sda", "/dev/sg0")

    assert line in manual
    assert manual[-1].endswith("sedlab unplug|plug|cut-power|leds 'my drive.sed'")


def test_model_in_the_lab_is_operated_at_its_socket() -> None:
    drive = DriveBeside(Path("redir"), "model:keypad", "01AB", "keypad", "/tmp/x/1-1.operator")

    assert drive.manual("/dev/sda", "/dev/sg0")[-1].endswith(" /tmp/x/1-1.operator")


@pytest.mark.parametrize(
    "arguments",
    [
        ("model:plain", "--usbredir", os.devnull),
        ("--no-uas",),
        ("usbip://127.0.0.1/1-1",),
        ("sg:/dev/sg0",),
        ("drive.img",),
    ],
    ids=str,
)
def test_lab_says_what_it_takes(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run("lab", *arguments)

    assert ran.status == 2
    assert "(see `sedlab lab --help`)" in ran.err


def test_shell_at_a_terminal_that_hangs_up_is_left() -> None:
    person, terminal = os.openpty()
    console, machine = socket.socketpair()
    agent, _ = socket.socketpair()
    with raw(terminal), console, machine, agent:
        os.write(person, b"exit\n")
        os.close(person)

        assert not joined(terminal, terminal, console, JsonLines(agent))
    os.close(terminal)


def test_what_the_machine_said_last_is_shown() -> None:
    person, terminal = os.openpty()
    console, machine = socket.socketpair()
    agent, _ = socket.socketpair()
    with raw(terminal), console, agent:
        machine.sendall(b"bye")
        machine.close()

        assert joined(terminal, terminal, console, JsonLines(agent))
    assert os.read(person, 80) == b"bye"
    os.close(person)
    os.close(terminal)
