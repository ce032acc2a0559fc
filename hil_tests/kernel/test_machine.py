"""The machine itself: what it gives back, what it keeps from the host, and how it ends."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_tests.command_line import Run, Terminal, environment
from hil_tests.kernel.image import Image, default_cache
from hil_tests.kernel.kernel_log import Level
from hil_tests.kernel.machine import HOST_LOOPBACK, CommandFailed, KernelMachine, MachineFault
from hil_tests.kernel.qemu import Bus, QemuError

ROOT = Path(__file__).parents[2]
GONE_S = 20
BOOTS_AND_WAITS = """
import sys
from hil_tests.kernel.machine import KernelMachine
machine = KernelMachine.boot()
print(machine.qemu.pid, machine.folder, flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.xdist_group("machine")


@pytest.fixture
def doomed() -> Iterator[KernelMachine]:
    """A machine of one's own, to be broken, that is given little time."""
    image = Image.cached(default_cache(), lambda line: None)
    with KernelMachine(image, grace_s=2) as machine:
        yield machine


def test_command_runs_as_root_on_debians_kernel(machine: KernelMachine) -> None:
    said = machine.output_of("uname -r; id -u").split()

    assert said == [machine.kernel_release, "0"]


def test_status_and_both_streams_come_back(machine: KernelMachine) -> None:
    ended = machine.run("echo one; echo two >&2; exit 7")

    assert (ended.status, ended.text) == (7, "one\ntwo\n")


def test_output_that_is_no_text_comes_back_as_it_is(machine: KernelMachine) -> None:
    given = bytes(range(256)) * 300
    ended = machine.run("cat", stdin=given)

    assert ended.output == given


def test_failed_command_is_told_with_the_last_it_said(machine: KernelMachine) -> None:
    with pytest.raises(CommandFailed, match=r"`echo why; false` exited 1: why$"):
        machine.output_of("echo why; false")


def test_command_that_takes_too_long_is_killed_with_its_children(machine: KernelMachine) -> None:
    ended = machine.run("echo begun; sleep 1234 & sleep 1234", timeout_s=1)
    left = machine.run("pgrep -f 'sleep 1234$'")

    assert (ended.status, ended.text, left.text) == (None, "begun\n", "")


def test_process_in_the_background_keeps_nobody_waiting(machine: KernelMachine) -> None:
    ended = machine.run("sleep 60 & echo done")

    assert (ended.status, ended.text) == (0, "done\n")


def test_commands_run_beside_each_other(machine: KernelMachine) -> None:
    machine.output_of("mkfifo /run/between")
    reading = machine.start("cat /run/between")
    machine.output_of("echo word >/run/between")

    assert reading.wait().text == "word\n"


def test_files_of_the_host_are_there_and_stay_as_they_are(machine: KernelMachine) -> None:
    readme, new = ROOT / "README.md", ROOT / "written-in-the-machine"
    before = readme.read_text()
    seen = machine.output_of(f"cat {readme}; echo changed >>{readme}; echo new >{new}; cat {new}")

    assert seen == f"{before}new\n"
    assert readme.read_text() == before
    assert not new.exists()


def test_shared_folder_is_the_same_on_both_sides(machine: KernelMachine) -> None:
    ours, theirs = machine.folder / "ours", machine.folder / "theirs"
    ours.write_text("from the host\n")
    seen = machine.output_of(f"cat {ours}; echo from the machine >{theirs}")

    assert (seen, theirs.read_text()) == ("from the host\n", "from the machine\n")


def test_machine_reaches_the_hosts_loopback(machine: KernelMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asking = machine.start(f"echo knock >/dev/tcp/{HOST_LOOPBACK}/{port}")
        with server.accept()[0] as connection:
            heard = connection.makefile().readline()

    assert (heard, asking.wait().status) == ("knock\n", 0)


def test_modules_for_every_way_in_are_there(machine: KernelMachine) -> None:
    modules = "vhci-hcd dummy_hcd usb_f_fs usb_f_mass_storage usbmon dm-crypt"

    assert machine.run(f"modprobe -a {modules} && lsmod").status == 0


def test_log_since_a_moment_has_what_was_logged_after_it(machine: KernelMachine) -> None:
    machine.output_of("echo '<4>sedlab: before' >/dev/kmsg")
    moment = machine.moment()
    machine.output_of("echo '<3>sedlab: after' >/dev/kmsg")
    logged = [(each.level, each.text) for each in machine.log_since(moment)]

    assert logged == [(Level.ERROR, "sedlab: after")]


def test_event_is_waited_for_and_found_afterwards_too(machine: KernelMachine) -> None:
    moment = machine.moment()
    wanted = {"ACTION": "add", "SUBSYSTEM": "usb", "DEVTYPE": "usb_device"}
    stick = machine.qemu.plug("usb-tablet", Bus.XHCI)
    waited = machine.event_since(moment, wanted)
    again = machine.event_since(moment, wanted)
    machine.qemu.unplug(stick)

    assert waited is not None and waited["SUBSYSTEM"] == "usb"
    assert again == waited


def test_event_that_does_not_come_is_none(machine: KernelMachine) -> None:
    assert machine.event_since(machine.moment(), {"SUBSYSTEM": "none"}, 0.1) is None


def test_usbredir_server_hears_from_the_machine(machine: KernelMachine, tmp_path: Path) -> None:
    path = tmp_path / "usbredir"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        unplug = machine.plug_usbredir(path, Bus.EHCI)
        with server.accept()[0] as connection:
            hello = connection.recv(80, socket.MSG_WAITALL)
            unplug()

    assert hello[:8] == bytes([0, 0, 0, 0, 68, 0, 0, 0])  # type hello, 64 + 4 bytes
    assert hello[12:].startswith(b"qemu usb-redir guest")


def test_missing_usbredir_server_is_a_refusal(machine: KernelMachine, tmp_path: Path) -> None:
    with pytest.raises(QemuError, match="No such file"):
        machine.plug_usbredir(tmp_path / "nobody")

    assert machine.output_of("echo still here") == "still here\n"


def test_kernel_panic_is_told_with_its_last_words(doomed: KernelMachine) -> None:
    with pytest.raises(MachineFault, match=r"(?s)has ended\n.*Kernel panic - not syncing: sysrq"):
        doomed.run("echo c >/proc/sysrq-trigger")

    assert not doomed.is_usable


def test_machine_that_hangs_is_told_and_leaves_nothing_when_closed(doomed: KernelMachine) -> None:
    doomed.qemu.qmp.execute("stop")

    with pytest.raises(MachineFault, match="does not answer for 3 s"):
        doomed.run("true", timeout_s=1)
    assert not doomed.is_usable
    doomed.close()
    assert not Path(f"/proc/{doomed.qemu.pid}").exists()
    assert not doomed.folder.exists()


def test_machine_dies_with_the_process_that_booted_it() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", BOOTS_AND_WAITS],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pid, folder = owner.stdout.readline().split()
    qemu = os.pidfd_open(int(pid))
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    ended, _, _ = select.select([qemu], [], [], GONE_S)
    os.close(qemu)
    shutil.rmtree(folder)  # which nobody is left to do

    assert ended


def lab(
    folder: Path, script: bytes, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Have the lab run a script."""
    kept = {"XDG_CACHE_HOME": str(default_cache().parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "host_driver", "lab", *arguments],
        input=script,
        capture_output=True,
        cwd=folder,
        env=environment(folder) | kept | variables,
        check=False,
    )


def test_lab_runs_a_script_and_ends_with_its_status(tmp_path: Path) -> None:
    ran = lab(tmp_path, b"uname -s\npwd\nexit 3\n")

    assert (ran.returncode, ran.stdout) == (3, f"Linux\n{tmp_path}\n".encode())


def test_lab_boots_where_folders_are_symbolic_links(tmp_path: Path) -> None:
    cache, shared, folder = tmp_path / "cache", tmp_path / "shared", tmp_path / "folder"
    cache.symlink_to(default_cache().parents[1])
    folder.mkdir()
    shared.symlink_to(folder)
    ran = lab(tmp_path, b"echo $SHARED", XDG_CACHE_HOME=str(cache), TMPDIR=str(shared))

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(folder).encode())


def test_drive_of_the_lab_keeps_what_its_machine_wrote(tmp_path: Path, run: Run) -> None:
    file = str(tmp_path / "plain.sed")
    made = run("new", file, "--profile", "plain", "--capacity", "4 MiB")
    ran = lab(tmp_path, b"lsblk -bno SIZE /dev/sda && echo kept | dd of=/dev/sda conv=fsync", file)
    read = run("read", file, "--count", "1")

    assert made.status == 0
    assert (ran.returncode, ran.stdout.split()[:1]) == (0, [b"4194304"]), ran.stderr
    assert b"plain.sed is /dev/sda, sg:/dev/sg0; its serial is " in ran.stderr
    assert b"nothing to unlock" in ran.stderr
    assert read.out.startswith("kept\n")


def test_lab_that_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    kept = {"XDG_CACHE_HOME": str(default_cache().parents[1]), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "host_driver", "lab", "model:plain"],
        stdin=subprocess.PIPE,  # which stays open: the script has not come yet
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(tmp_path) | kept,
    ) as ran:
        assert ran.stderr is not None
        while b"nothing to unlock" not in (line := ran.stderr.readline()):
            assert line
        had = list(tmp_path.glob("sedlab-*"))
        ran.terminate()
        ran.wait(GONE_S)

    assert (ran.returncode, bool(had)) == (130, True)
    assert not list(tmp_path.glob("sedlab-*"))


def test_lab_is_a_shell_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(default_cache().parents[1]))
    terminal = Terminal(tmp_path, "lab")
    terminal.answers("# ", "tty; echo $((6 * 7))")
    terminal.answers("42", "exit 5")

    assert terminal.ends() == 5
    assert "/dev/hvc0" in terminal.shown
