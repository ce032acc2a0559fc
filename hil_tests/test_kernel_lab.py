"""The parts of the kernel lab that need no kernel."""

from __future__ import annotations

import io
import json
import lzma
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import execnet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_tests.command_line import PATIENCE_S
from hil_tests.kernel import warm
from hil_tests.kernel.agent import Agent, port_path
from hil_tests.kernel.checks import BATTERY, title
from hil_tests.kernel.image import NoImage, elf_kernel
from hil_tests.kernel.initramfs import load_order
from hil_tests.kernel.json_lines import JsonLines
from hil_tests.kernel.kernel_log import Level, LogRecord, troubles, warnings
from hil_tests.kernel.libiscsi import Judged, judged, summary
from hil_tests.kernel.outcome import Outcome, Verdict, table
from hil_tests.kernel.packages import lacking, missing
from hil_tests.kernel.ways_in import WAYS_IN

MODULES_DEP = """\
kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs/netfs.ko
kernel/fs/netfs/netfs.ko:
kernel/net/9p/9pnet.ko:
kernel/drivers/usb/storage/usb-storage.ko.xz: kernel/drivers/scsi/scsi_mod.ko kernel/common.ko
kernel/drivers/scsi/scsi_mod.ko: kernel/common.ko
kernel/common.ko:
"""
RECORD = "4,1234,5678901,-,caller=T1;usb 2-1: a text; with a semicolon\n SUBSYSTEM=usb\n"

LIBISCSI = """\

     CUnit - A unit testing framework for C - Version 2.1-3
     http://cunit.sourceforge.net/


Suite: Read10
  Test: Simple ...passed
  Test: Residuals ...    [SKIPPED] This residual test is only for iSCSI.
passed
Suite: Unmap
  Test: Simple ...
    [FAILED] UNMAP ended GOOD
FAILED
    1. test_unmap_simple.c:37  - CU_FAIL("UNMAP")

Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      2      2    n/a      0        0
"""


def test_modules_come_after_what_they_need() -> None:
    order = load_order(MODULES_DEP, ("usb_storage",))

    assert [Path(each).name for each in order] == ["common.ko", "scsi_mod.ko", "usb-storage.ko.xz"]


def test_module_that_two_need_comes_once() -> None:
    order = load_order(MODULES_DEP, ("scsi_mod", "9p", "usb-storage"))

    assert len(order) == len(set(order)) == 6


def test_module_that_the_kernel_lacks_is_refused() -> None:
    with pytest.raises(KeyError, match="uas"):
        load_order(MODULES_DEP, ("uas",))


def test_kernel_is_unpacked_from_what_the_boot_loader_takes() -> None:
    payload = lzma.compress(b"\x7fELF and so on")
    header = bytearray(2 * 512)
    header[0x1F1] = 1  # sectors of setup beside the first
    struct.pack_into("<II", header, 0x248, 16, len(payload))

    assert elf_kernel(bytes(header) + bytes(16) + payload + b"size") == b"\x7fELF and so on"


@given(st.binary(max_size=2048))
def test_what_is_no_kernel_is_refused(data: bytes) -> None:
    with pytest.raises(NoImage):
        elf_kernel(data)


def test_record_of_the_kernels_log_is_read() -> None:
    record = LogRecord.decode(RECORD)

    assert record == LogRecord(1234, Level.WARNING, 5678901, "usb 2-1: a text; with a semicolon")
    assert str(record) == "[    5.678901] usb 2-1: a text; with a semicolon"


@given(st.text())
def test_any_text_is_a_record_or_refused(text: str) -> None:
    try:
        record = LogRecord.decode(text)
    except ValueError:
        return

    assert record.text in text


def test_warnings_are_what_is_a_warning_or_graver() -> None:
    records = [LogRecord(number, Level(number), 0, "") for number in range(8)]

    assert [record.level for record in warnings(records)] == list(Level)[:5]


def asked(agent: Agent, answers: io.BytesIO, **request: Any) -> dict[str, Any]:
    """Return what the agent answers."""
    answers.seek(0)
    answers.truncate()
    agent.obey(json.dumps({"id": 5, **request}).encode())
    answer: dict[str, Any] = json.loads(answers.getvalue())
    return answer


def test_agent_reads_what_the_log_holds(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(RECORD)
    answers = io.BytesIO()

    assert asked(Agent(answers, log), answers, verb="moment") == {
        "id": 5,
        "events": 0,
        "log": [RECORD],
    }


def test_agent_finds_events_by_what_they_must_have() -> None:
    answers = io.BytesIO()
    agent = Agent(answers)
    for name in ("sda", "sdb", "sdc"):
        agent.events.add(f"add@/devices/x\0ACTION=add\0DEVNAME={name}\0EMPTY=\0".encode())
    wanted = {"verb": "event", "timeout_s": 0}
    first = asked(agent, answers, since=0, match={"ACTION": "add"}, **wanted)
    later = asked(agent, answers, since=1, match={"ACTION": "add"}, **wanted)
    none = asked(agent, answers, since=1, match={"DEVNAME": "sda"}, **wanted)

    assert first["event"] == {"ACTION": "add", "DEVNAME": "sda", "EMPTY": ""}
    assert later["event"]["DEVNAME"] == "sdb"
    assert none["event"] is None


def test_agent_waits_for_an_event() -> None:
    agent = Agent(io.BytesIO())
    adding = threading.Timer(0.05, agent.events.add, (b"ACTION=remove",))
    adding.start()
    found = agent.events.first(0, {"ACTION": "remove"}, 60)
    adding.join()

    assert found == {"ACTION": "remove"}


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\xff", b"[]", b"1", b"{}", b"[" * 100_000, b'{"id": 5}'),
        *(b'{"id": 5, "verb": "dance"}', b'{"id": 5, "verb": "event"}'),
        b'{"id": 5, "verb": "run", "command": 7, "timeout_s": "x"}',
    ],
)
def test_agent_answers_what_is_no_request_with_an_error(line: bytes) -> None:
    answers = io.BytesIO()
    Agent(answers).obey(line)

    assert set(json.loads(answers.getvalue())) == {"id", "error"}


@given(st.binary(max_size=200))
def test_any_event_of_the_kernel_is_taken(message: bytes) -> None:
    agent = Agent(io.BytesIO())
    agent.events.add(message)

    assert agent.events.count() == 1


def test_port_is_found_by_its_name(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"vport3p{number}").mkdir()
    (tmp_path / "vport3p2" / "name").write_text("other\n")
    (tmp_path / "vport3p3" / "name").write_text("ours\n")

    assert port_path("ours", tmp_path) == Path("/dev/vport3p3")
    with pytest.raises(FileNotFoundError):
        port_path("nobody's", tmp_path)


def test_values_come_one_after_another_however_they_are_cut() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        lines = JsonLines(ours)
        theirs.sendall(b'{"a": 1}\n{"b"')
        first = lines.receive(60)
        theirs.sendall(b": 2}\n")
        second = lines.receive(60)
        lines.close()

    assert (first, second) == ({"a": 1}, {"b": 2})


def test_value_that_does_not_come_in_time_may_come_later() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        lines = JsonLines(ours)
        theirs.sendall(b'{"a":')
        with pytest.raises(TimeoutError):
            lines.receive(0.01)
        theirs.sendall(b" 1}\n")

        assert lines.receive(60) == {"a": 1}
        lines.close()


@given(st.binary(max_size=300))
def test_any_bytes_are_values_or_refused_until_the_end(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    lines = JsonLines(ours)
    theirs.sendall(data)
    theirs.close()
    received = 0
    with pytest.raises(EOFError):
        while received <= len(data):
            received += 1
            with suppress(ValueError):
                lines.receive(60)
    lines.close()

    assert received == data.count(b"\n") + 1


def test_kernel_that_resets_a_device_or_stumbles_is_told() -> None:
    texts = (
        "usb 2-1: new SuperSpeed USB device number 2 using xhci_hcd",
        "usb 2-1: reset SuperSpeed USB device number 2 using xhci_hcd",
        "sd 0:0:0:0: [sda] tag#3 uas_eh_abort_handler 0 uas-tag 4 inflight: CMD",
        "WARNING: CPU: 0 PID: 61 at block/blk-mq.c:1",
        "sda: sda1",
    )
    records = [LogRecord(number, Level.INFO, 0, text) for number, text in enumerate(texts)]

    assert [each.number for each in troubles(records)] == [1, 2, 3]


def test_commands_are_run_one_after_the_other_without_new_imports(tmp_path: Path) -> None:
    requests, answers = tmp_path / warm.REQUESTS, tmp_path / warm.ANSWERS
    for fifo in (requests, answers):
        os.mkfifo(fifo)

    def said(arguments: list[str], variables: dict[str, str], output: str = "") -> str:
        requests.write_text(json.dumps([arguments, variables, output]))
        return answers.read_text()

    with subprocess.Popen([sys.executable, "-m", warm.__name__, tmp_path]) as process:
        shown = said(["--version"], {})
        refused = said(["unlock", "model:none-such"], {"SEDLAB_PIN_USER": "135790"})
        number, status = said(["serve", "model:none-such"], {}, f"{tmp_path}/beside").split()
        with suppress(ProcessLookupError):
            select.select([os.pidfd_open(int(number))], [], [], PATIENCE_S)
        process.send_signal(signal.SIGTERM)

    assert shown.startswith("sedlab, version ") and shown.endswith("\n0")
    assert refused.startswith("sedlab: ") and refused.endswith("\n3")
    assert status == "0"
    assert (tmp_path / "beside.err").read_text().startswith("sedlab: ")


def test_verdicts_of_libiscsi_are_read() -> None:
    found = judged(LIBISCSI)

    assert found == [
        Judged("Read10.Simple", True, ()),
        Judged("Read10.Residuals", True, ("[SKIPPED] This residual test is only for iSCSI.",)),
        Judged("Unmap.Simple", False, ("[FAILED] UNMAP ended GOOD",)),
    ]
    assert [each.is_skipped for each in found] == [False, True, False]
    assert summary(found).splitlines() == [
        "1 passed, 1 skipped, 1 failed",
        "This residual test is only for iSCSI.: Read10.Residuals",
    ]


@given(st.text())
def test_any_text_has_verdicts_or_none(text: str) -> None:
    assert all(f"Suite: {each.name.partition('.')[0]}" in text for each in judged(text))


def test_programs_are_looked_for_and_named_by_package() -> None:
    programs = {"sh": "dash", "no-such-program": "its-package", "nor-this-one": "its-package"}

    assert lacking(programs) == ["its-package"]
    assert "its-package" in missing(programs) or "apt-get" in missing(programs)


@pytest.mark.parametrize("verdict", Verdict)
def test_outcome_passes_from_one_process_of_pytest_to_another(verdict: Verdict) -> None:
    outcome = Outcome("is found", "first", verdict, "why")

    assert Outcome.recorded(execnet.loads(execnet.dumps(outcome.record()))) == outcome


def test_table_has_a_line_for_each_check_and_says_why_below() -> None:
    outcomes = [
        Outcome("is found", "first", Verdict.PASSED),
        Outcome("is kept", "first", Verdict.DIFFERS, "it has no such thing"),
        Outcome("is found", "a longer way in", Verdict.FAILED, "it is not"),
    ]

    assert table(outcomes) == (
        "          first          a longer way in\n"
        "is found  passed         FAILED\n"
        "is kept   differs        not run\n"
        "\n"
        "is kept, first: differs: it has no such thing\n"
        "is found, a longer way in: FAILED: it is not"
    )


def test_what_a_way_in_departs_from_is_a_check() -> None:
    titles = {title(check) for check in BATTERY}

    assert all(titles >= set(way_in.departures) for way_in in WAYS_IN)
    assert len(titles) == len(BATTERY)
