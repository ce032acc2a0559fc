"""A soak looks at what it drives: workers, servers, the kernel; without any kernel."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hil_tests.soak import server
from hil_tests.soak.memory import BOUNDS, Usage, growth
from hil_tests.soak.run import DriveOutcome, Failed, Outcome, Reports, complaints
from hil_tests.soak.server import AskedServer, InUse
from hil_tests.soak.worker import Order
from host_driver.operator_socket import OperatorSocket

SEED = 7
ORDER = Order("0123456789AB", "", "", SEED, threads=1, blocks=8)
USAGE = Usage(heap_kib=12_000, blocks=200_000, anonymous_kib=40_000, files=10, threads=4)
POWER_CYCLES = 20
asks_process = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="memory as Linux and glibc tell it",
)
# A drive whose every power-up costs memory for good: 16 KiB, and 1,000 objects.
HOARDER = """
from firmware_model.firmware.reference import ConstantTime

hoard = []

class Hoarder(ConstantTime):
    part = "pacing"

    def __init__(self):
        hoard.append([bytes(16 << 10), [object() for _ in range(1000)]])
"""


def test_worker_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Traceback\nKeyError: 3\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reports = Reports(listener, log)
        with socket.create_connection(listener.getsockname()) as worker:
            reports.begin(ORDER)
            worker.sendall(b'{"state": "working", "plugs": 1, "losses": 0, "why": ""}\n{"st')
            reports.wait("not open", lambda told: told["plugs"] == 1)
        with pytest.raises(Failed, match="not open: the worker has ended: KeyError: 3"):
            reports.wait("not open", lambda told: told["plugs"] == 2)


def test_worker_that_does_not_begin_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Traceback\nModuleNotFoundError: No module named 'click'\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        with pytest.raises(Failed, match="has not begun: ModuleNotFoundError: No module named"):
            Reports(listener, log).begin(ORDER)


def grown_in_use(folder: Path, target: str) -> InUse:
    """Return what a served drive has more in use after some power cycles."""
    with ExitStack() as stack:
        server = AskedServer(folder, target, "--usbip", "127.0.0.1:0", "--json")
        stack.enter_context(closing(server))
        operator = OperatorSocket(server.drives()[0]["operator"])
        stack.enter_context(closing(operator))
        looks: list[InUse] = []
        for _ in range(3):  # what is made once, is made in the first
            for _ in range(POWER_CYCLES):
                operator.power_off()
                operator.power_on()
            in_use = server.in_use()
            assert in_use
            looks.append(in_use)
    _, before, after = looks
    return InUse(after.heap_kib - before.heap_kib, after.blocks - before.blocks)


@asks_process
def test_memory_in_use_does_not_grow_with_power_cycles(tmp_path: Path) -> None:
    grown = grown_in_use(tmp_path, "model:plain")

    assert grown.heap_kib < POWER_CYCLES
    assert grown.blocks < 100 * POWER_CYCLES


@asks_process
def test_memory_that_a_drive_hoards_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "hoarder.py").write_text(HOARDER)
    grown = grown_in_use(tmp_path, "model:plain+hoarder.py:Hoarder")

    assert grown.heap_kib >= 16 * POWER_CYCLES
    assert grown.blocks >= 1000 * POWER_CYCLES


@asks_process
def test_server_that_has_ended_has_nothing_in_use(tmp_path: Path) -> None:
    with closing(AskedServer(tmp_path, "model:plain", "--usbip", "127.0.0.1:0")) as server:
        server.ends(signal.SIGKILL)

        assert server.in_use() is None


@asks_process
def test_server_that_hangs_is_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PATIENCE_S", 1)
    with closing(AskedServer(tmp_path, "model:plain", "--usbip", "127.0.0.1:0", "--json")) as hung:
        assert hung.drives()
        hung.process.send_signal(signal.SIGSTOP)
        assert hung.in_use() is None

        hung.process.send_signal(signal.SIGCONT)
        assert hung.in_use() is None  # it would be the answer to the question before
        hung.process.send_signal(signal.SIGSTOP)
    assert hung.process.returncode == -signal.SIGKILL


@asks_process
def test_usage_of_this_process_is_read() -> None:
    in_use = InUse.here()
    usage = Usage.of(os.getpid(), in_use)

    assert (usage.heap_kib, usage.blocks) == (in_use.heap_kib, in_use.blocks)
    assert usage.anonymous_kib > usage.heap_kib > 0
    assert usage.files > 0
    assert usage.threads > 0


def test_least_of_several_looks_counts() -> None:
    assert Usage.least([replace(USAGE, blocks=7), replace(USAGE, files=3)]) == replace(
        USAGE, blocks=7, files=3
    )


@pytest.mark.parametrize("name", BOUNDS)
def test_process_that_grows_is_told(name: str) -> None:
    then, bound = getattr(USAGE, name), BOUNDS[name]
    most = then + bound.more + int(100 * bound.each)
    told = [growth(USAGE, replace(USAGE, **{name: now}), 100) for now in (most, most + 1)]

    assert told == [
        [],
        [f"the server has {most + 1} {bound.what}, and had {then} 100 re-plugs before"],
    ]


def test_process_that_was_not_looked_at_has_not_passed() -> None:
    assert growth(None, USAGE, 0)
    assert growth(USAGE, None, 0)


AT_WORK: dict[str, Any] = {
    "written_bytes": 4096,
    "read_bytes": 4096,
    "replugs": {"unplugged": 1},
    "is_verified": True,
}
IDLE: dict[str, Any] = {"written_bytes": 0, "read_bytes": 0, "replugs": {}, "is_verified": False}


def passes(**seen: Any) -> bool:
    return Outcome(SEED, 30, (DriveOutcome("one", **AT_WORK | seen),), ()).is_good


@pytest.mark.parametrize("name", AT_WORK)
def test_drive_that_was_not_at_work_or_not_verified_has_not_passed(name: str) -> None:
    assert passes()
    assert not passes(**{name: IDLE[name]})


def test_kernel_that_waits_too_long_or_stumbles_is_told() -> None:
    log = """\
[   12.5] usb 2-1: USB disconnect, device number 2
[  140.0] INFO: task kworker/0:1:10 blocked for more than 120 seconds.
[  150.0] BUG: kernel NULL pointer dereference, address: 0000000000000010
"""

    assert len(complaints(log)) == 2
