"""`sedlab serve` as a process of its own, and the verbs that reach what it serves."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import usb.core

from hil_tests.command_line import FAST, PATIENCE_S, Run, Server, environment
from host_driver.backends.usbip import UsbIp
from host_driver.bulk_only import BULK_ONLY
from host_driver.uas import USB_ATTACHED_SCSI
from host_driver.usbip_link import UsbIpName, import_device, listed_devices

PIN = "8402957136"
KEYS = "1357924"


@pytest.fixture
def files(run: Run, tmp_path: Path) -> Path:
    """A folder with a native drive that has a PIN, and a keypad drive."""
    assert run("new", "native.sed", *FAST).status == 0
    assert run("new", "keypad.sed", "--profile", "keypad", *FAST).status == 0
    assert run("set-pin", "native.sed", NEW_PIN=PIN).status == 0
    return tmp_path


@pytest.fixture
def server(files: Path) -> Iterator[Server]:
    found = Server(
        files, "native.sed", "keypad.sed", "model:plain", "--usbip", "127.0.0.1:0", "--json"
    )
    yield found
    if found.process.poll() is None:
        found.ends(signal.SIGTERM)


def test_drives_are_used_from_other_processes(server: Server, run: Run, files: Path) -> None:
    native, keypad, plain = (each["url"] for each in server.drives())
    content = b"what must not be lost".ljust(512, b"\x00")
    (files / "content").write_bytes(content)
    written = run("write", native, "content", PIN_USER=PIN)
    read = run("read", native, "-o", "back", PIN_USER=PIN)
    locked = run("read", native)

    assert (written.status, read.status, locked.status) == (0, 0, 1)
    assert (files / "back").read_bytes()[:512] == content
    assert "the drive is locked" in locked.err
    assert [run("info", each).status for each in (keypad, plain)] == [0, 0]


def test_driver_reaches_a_served_drive_by_uas_below_superspeed(run: Run, files: Path) -> None:
    server = Server(files, "native.sed", "--usbip", "127.0.0.1:0", "--speed", "high", "--json")
    url = server.drives()[0]["url"]
    by_uas = run("read", url, "--transport", "uas", "--count", "1", PIN_USER=PIN)
    server.ends(signal.SIGTERM)

    assert by_uas.status == 0


def test_driver_says_what_to_do_where_uas_takes_streams(server: Server, run: Run) -> None:
    by_uas = run("info", server.drives()[0]["url"], "--transport", "uas")

    assert by_uas.status == 3
    assert "--transport bulk-only" in by_uas.err and "serve --speed high" in by_uas.err


@pytest.mark.parametrize(
    ("options", "protocols"),
    [
        ((), [BULK_ONLY]),  # without streams, which USB/IP lacks, UAS is nothing at SuperSpeed
        (("--speed", "high"), [BULK_ONLY, USB_ATTACHED_SCSI]),
        (("--speed", "high", "--no-uas"), [BULK_ONLY]),
    ],
)
def test_uas_is_offered_where_it_can_be_spoken(
    tmp_path: Path, options: tuple[str, ...], protocols: list[int]
) -> None:
    server = Server(tmp_path, "model:plain", "--usbip", "127.0.0.1:0", "--json", *options)
    link = import_device(UsbIpName.parse(server.drives()[0]["url"].removeprefix("usbip:")))
    device = usb.core.find(backend=UsbIp(link))
    found = [each.bInterfaceProtocol for each in device[0]]
    link.close()
    server.ends(signal.SIGTERM)

    assert found == protocols


def test_wrappers_are_sent_over_usbip_as_over_any_bus(server: Server, run: Run) -> None:
    ran = run("bot-cases", server.drives()[0]["url"], "--json", PIN_USER=PIN)
    verdicts = {each["verdict"] for each in json.loads(ran.out)["cases"]}

    assert (ran.status, verdicts) == (0, {"as specified"})


def test_keypad_drive_is_unlocked_beside_its_host(server: Server, run: Run) -> None:
    url = server.drives()[1]["url"]
    set_ = run("press", "keypad.sed", "SET", KEYS, "UNLOCK", KEYS, "UNLOCK")
    before = run("read", url)
    unlocked = run("press", "keypad.sed", f"{KEYS} UNLOCK", "--json")
    after = run("read", url, "--count", "1")

    assert (set_.status, before.status, after.status) == (0, 1, 0)
    assert json.loads(unlocked.out) == {"red": "off", "green": "blink", "blue": "off"}
    assert run("leds", "keypad.sed").out.split() == ["red", "on", "green", "off", "blue", "off"]


def test_driver_presses_the_keys_where_it_is_told_whose(server: Server, run: Run) -> None:
    url = server.drives()[1]["url"]
    with_keys = run("set-pin", url, "--operator", "keypad.sed", NEW_PIN=KEYS)
    without = run("unlock", url, PIN_USER=KEYS)
    unlocked = run("unlock", url, "--operator", "keypad.sed", PIN_USER=KEYS)

    assert (with_keys.status, without.status, unlocked.status) == (0, 1, 0)
    assert "nobody is at its keys" in without.err


def test_keys_come_by_a_file_descriptor_where_arguments_are_seen(server: Server, run: Run) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, f"SET {KEYS} UNLOCK {KEYS} UNLOCK\n".encode())
    os.close(theirs)
    pressed = run("press", "keypad.sed", "--keys-fd", str(ours))
    os.close(ours)

    assert pressed.status == 0 and "blink" in pressed.out
    assert run("press", "keypad.sed").err.startswith("sedlab: no keys: give them as arguments")


def test_drive_is_unplugged_and_its_power_cut_beside_its_host(server: Server, run: Run) -> None:
    url = server.drives()[0]["url"]
    unplugged = run("unplug", "native.sed", "--json")
    gone = run("info", url)
    run("plug", "native.sed")
    there = run("info", url)
    cut = run("cut-power", "native.sed")
    dark = run("info", url)
    back = run("plug", "native.sed")

    assert json.loads(unplugged.out) == {"power": "on", "plug": "out"}
    assert (gone.status, there.status, dark.status) == (3, 0, 3)
    assert "offered are: 1-2, 1-3" in gone.err
    assert (cut.out.split(), back.out.split()) == (
        ["power", "off", "plug", "in"],
        ["power", "on", "plug", "in"],
    )
    assert run("info", url).status == 0


def test_power_is_cut_inside_a_write_and_what_was_written_before_is_there(
    server: Server, run: Run, files: Path
) -> None:
    url = server.drives()[0]["url"]
    (files / "old").write_bytes(b"old".ljust(512))
    (files / "new").write_bytes(b"new".ljust(512))
    run("write", url, "old", PIN_USER=PIN)
    run("cut-power", "native.sed", "--at-step", "3", "--torn", "half")
    interrupted = run("write", url, "new", PIN_USER=PIN)
    run("plug", "native.sed")
    run("read", url, "-o", "back", "--count", "1", PIN_USER=PIN)

    assert interrupted.status == 3 and "is gone" in interrupted.err
    assert (files / "back").read_bytes()[:3] in (b"old", b"new")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_ends_at_a_signal_with_its_files_whole(
    server: Server, run: Run, files: Path, number: signal.Signals
) -> None:
    url, operator = server.drives()[0]["url"], server.drives()[2]["operator"]
    (files / "content").write_bytes(b"kept".ljust(512))
    run("write", url, "content", PIN_USER=PIN)
    in_use = run("info", "native.sed")
    status, _, err = server.ends(number)
    read = run("read", "native.sed", "-o", "back", "--count", "1", PIN_USER=PIN)

    assert (in_use.status, status, read.status) == (3, 0, 0)
    assert (files / "back").read_bytes()[:4] == b"kept"
    assert "1-1: attached to 127.0.0.1:" in err and "Traceback" not in err
    assert not list(files.glob("*.operator")) and not Path(operator).parent.exists()


def test_killed_server_leaves_files_that_are_served_again(
    server: Server, run: Run, files: Path
) -> None:
    server.process.kill()
    server.process.wait(PATIENCE_S)
    alone = run("press", "keypad.sed", "LOCK")
    again = Server(files, "keypad.sed", "--usbip", "127.0.0.1:0", "--json")
    pressed = run("press", "keypad.sed", "LOCK")
    again.ends(signal.SIGTERM)

    assert (alone.status, pressed.status) == (3, 0)
    assert "nobody serves keypad.sed: `sedlab serve keypad.sed --usbip` does" in alone.err


def test_where_drives_are_and_how_to_attach_them_is_printed(files: Path) -> None:
    server = Server(files, "native.sed", "--usbip", "127.0.0.1:0")
    status, out, _ = server.ends(signal.SIGTERM)
    first, *rest = out.splitlines()
    url = first.split()[0]
    port = url.removeprefix("usbip://127.0.0.1:").removesuffix("/1-1")

    assert status == 0 and first == f"{url} is native.sed"
    assert [line.split()[0] for line in rest] == ["serial", "identity", "attach", "operator"]
    assert f"  attach     usbip --tcp-port {port} attach -r 127.0.0.1 -b 1-1" in rest


def test_address_may_be_left_out_wherever_the_option_stands(files: Path) -> None:
    for arguments in (("--usbip", "native.sed"), ("native.sed", "--usbip")):
        server = Server(files, *arguments)
        _, out, err = server.ends(signal.SIGTERM)

        # The port of the protocol may be somebody else's on this machine.
        assert out.startswith("usbip://127.0.0.1:3240/1-1 is native.sed") or "in use" in err


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process, as Linux sets them")
def test_server_without_descriptors_makes_room_for_whoever_comes(files: Path) -> None:
    import resource

    server = Server(files, "native.sed", "--usbip", "127.0.0.1:0", "--json")
    url = server.drives()[0]["url"]
    name = UsbIpName.parse(url.removeprefix("usbip:"))
    open_files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (open_files + 4, open_files + 4))
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(socket.create_connection((name.host, name.port), PATIENCE_S))
        offered = listed_devices(name.host, name.port)
    server.ends(signal.SIGTERM)

    assert [each.busid for each in offered] == ["1-1"]


def test_drive_that_is_served_twice_is_in_use(files: Path) -> None:
    first = Server(files, "native.sed", "--usbip", "127.0.0.1:0")
    second = Server(files, "native.sed", "--usbip", "127.0.0.1:0")
    _, err = second.process.communicate(timeout=PATIENCE_S)
    first.ends(signal.SIGTERM)

    assert (second.process.returncode, err) == (
        3,
        "sedlab: native.sed: in use by another process\n",
    )


def test_file_that_is_named_twice_is_told(run: Run, files: Path) -> None:
    twice = run("serve", "native.sed", str(files / "native.sed"), "--usbip", "127.0.0.1:0")

    assert (twice.status, f"{files}/native.sed is named twice" in twice.err) == (2, True)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals that hang up, as POSIX has it")
def test_server_ends_with_its_terminal_and_leaves_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path, "model:plain", "--usbip", "127.0.0.1:0", "--json")
    operator = Path(server.drives()[0]["operator"])
    status, _, _ = server.ends(signal.SIGHUP)

    assert status == 0
    assert not operator.parent.exists()


def test_address_may_be_a_name(tmp_path: Path) -> None:
    server = Server(tmp_path, "model:plain", "--usbip", "localhost:0", "--json")
    drive = server.drives()[0]
    server.ends(signal.SIGTERM)

    assert drive["url"].startswith("usbip://localhost:")


def test_server_for_all_addresses_is_told_by_the_name_of_its_machine(tmp_path: Path) -> None:
    server = Server(tmp_path, "model:plain", "--usbip", "0.0.0.0:0", "--allow-remote", "--json")
    drive = server.drives()[0]
    server.ends(signal.SIGTERM)

    assert drive["url"].startswith(f"usbip://{socket.gethostname()}:")
    assert f"attach -r {socket.gethostname()} " in drive["attach"]


def test_drive_that_is_unplugged_costs_no_other_its_verdicts(run: Run, tmp_path: Path) -> None:
    server = Server(tmp_path, "model:plain", "--usbip", "127.0.0.1:0", "--json")
    drive = server.drives()[0]
    (tmp_path / "content").write_bytes(b"0123456789abcde\n" * 4096)
    judged = ("evaluate", "model:plain", drive["url"], "--profile", "plain")
    how = ("--depth", "survey", "--content", "content", "--out", "report")
    with subprocess.Popen(
        [sys.executable, "-m", "host_driver", *judged, *how],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as judges:
        assert judges.stderr is not None
        while f"{drive['url']}: scenarios" not in judges.stderr.readline():
            assert judges.poll() is None
        unplugged = run("unplug", drive["operator"])
        *_, last = judges.stderr
    server.ends(signal.SIGTERM)
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))

    assert (unplugged.status, judges.returncode) == (0, 3)
    assert last == f"sedlab: {drive['url']} has gone: there is no verdict\n"
    assert [each["target"] for each in report["evaluations"]] == ["model:plain"]
