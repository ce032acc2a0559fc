"""QEMU as a process of ours: an x86 machine without KVM, and what is plugged into it meanwhile."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from hil_tests.children import ends_with_us
from hil_tests.kernel.agent import PORT
from hil_tests.kernel.json_lines import JsonLines

PROGRAM: Final = "qemu-system-x86_64"
COMMAND_LINE: Final = (  # of the kernel: an oops ends the machine, and a slow host is no fault
    "console=ttyS0 panic=-1 oops=panic mitigations=off nowatchdog tsc=reliable audit=0"
    " net.ifnames=0 random.trust_cpu=on norandmaps init_on_alloc=0"
)
# TCG moves bytes one by one where these two promise that `rep movsb` is fast.
PROCESSOR: Final = "max,erms=off,fsrm=off"
PATIENCE_S: Final = 30
ENDING_S: Final = 10


class Bus(StrEnum):
    """Where USB devices can be plugged in."""

    XHCI = "xhci.0"  # SuperSpeed, and all below
    EHCI = "ehci.0"  # high speed


class QemuError(Exception):
    """QEMU refused a command, or is gone."""


@dataclass(slots=True)
class Qmp:
    """QEMU's own control connection (docs/interop/qmp-spec)."""

    lines: JsonLines
    _events: list[dict[str, Any]] = field(default_factory=list)

    def begin(self) -> None:
        """Wait for the greeting, and leave negotiation."""
        self._receive(PATIENCE_S)
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Return what a command returns; raise QemuError if it is refused or QEMU is gone."""
        try:
            self.lines.send({"execute": command, "arguments": arguments}, PATIENCE_S)
        except (EOFError, TimeoutError) as gone:
            raise QemuError(f"QEMU takes no {command}") from gone
        while True:
            answer = self._receive(PATIENCE_S)
            if "error" in answer:
                raise QemuError(f"{command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]
            self._events.append(answer)

    def event(self, is_it: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """Return the next event that is the wanted one; raise QemuError if it does not come."""
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self._events:
                if is_it(event):
                    self._events.remove(event)
                    return event
            self._events.append(self._receive(deadline - time.monotonic()))

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        try:
            return self.lines.receive(timeout_s)
        except (EOFError, TimeoutError, ValueError) as gone:
            raise QemuError(f"QEMU says nothing more: {type(gone).__name__} {gone}") from gone


class Qemu:
    """A running machine, as seen from outside."""

    def __init__(
        self, kernel: Path, initramfs: Path, shared: Path, memory_mib: int, processors: int
    ) -> None:
        """Start it; `shared` is the folder that it may write to, and that its logs go to."""
        self.console_log = shared / "console.log"
        self._output = shared / "qemu.log"
        self._names = (f"sedlab{number}" for number in itertools.count())
        pairs = [socket.socketpair() for _ in range(3)]
        ours, theirs = zip(*pairs, strict=True)
        arguments = [
            *("-kernel", str(kernel), "-initrd", str(initramfs), "-append", COMMAND_LINE),
            *_machine(memory_mib, processors),
            *_files(shared),
            *_connections(self.console_log, *(each.fileno() for each in theirs)),
        ]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*ends_with_us(signal.SIGKILL), PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[each.fileno() for each in theirs],
            )
        for each in theirs:
            each.close()
        self.qmp, self.agent, self.console = Qmp(JsonLines(ours[0])), JsonLines(ours[1]), ours[2]
        try:
            self.qmp.begin()
        except QemuError as gone:
            self.close()
            raise QemuError(f"{gone}\n{self.last_words()}") from gone
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def last_words(self, lines: int = 12) -> str:
        """Return the end of what QEMU and kernel printed; up to its panic, if there was one."""
        logs = (log for log in (self._output, self.console_log) if log.exists())
        said = [
            line.rstrip() for log in logs for line in log.read_text(errors="replace").split("\n")
        ]
        panics = [number for number, line in enumerate(said) if "Kernel panic" in line]
        end = panics[0] + 1 if panics else len(said)
        return "\n".join([line for line in said[:end] if line][-lines:])

    def plug(self, driver: str, bus: str | Bus | None = None, **properties: Any) -> str:
        """Add a device while the machine runs; return its name."""
        name = next(self._names)
        where = {} if bus is None else {"bus": str(bus)}
        self.qmp.execute("device_add", driver=driver, id=name, **where, **properties)
        return name

    def unplug(self, name: str) -> None:
        """Take a device out, and wait until it is gone."""
        self.qmp.execute("device_del", id=name)
        self.qmp.event(
            lambda each: (
                each.get("event") == "DEVICE_DELETED" and each.get("data", {}).get("device") == name
            ),
            PATIENCE_S,
        )

    def add_disk_image(self, path: Path) -> str:
        """Have a file as content of a disk that is plugged in later; return its name."""
        name = next(self._names)
        file = {"driver": "file", "filename": str(path)}
        self.qmp.execute("blockdev-add", **{"driver": "raw", "node-name": name, "file": file})
        return name

    def remove_disk_image(self, name: str) -> None:
        """Let go of a file that no device uses any more."""
        self.qmp.execute("blockdev-del", **{"node-name": name})

    def attach(self, name: str) -> None:
        """Let the machine see a device that waits for its disks: usb-uas and usb-bot do."""
        self.qmp.execute(
            "qom-set", path=f"/machine/peripheral/{name}", property="attached", value=True
        )

    def add_socket(self, path: Path) -> str:
        """Connect to a Unix socket that somebody listens on; return the connection's name."""
        name = next(self._names)
        address = {"type": "unix", "data": {"path": str(path)}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        self.qmp.execute("chardev-add", id=name, backend=backend)
        return name

    def remove_socket(self, name: str) -> None:
        """End a connection."""
        self.qmp.execute("chardev-remove", id=name)

    def close(self) -> None:
        """End the machine; nothing of it stays."""
        if self.is_running:
            with suppress(QemuError):
                self.qmp.execute("quit")
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.qmp.lines.close()
        self.agent.close()
        self.console.close()


def _machine(memory_mib: int, processors: int) -> list[str]:
    return [
        *(
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            PROCESSOR,
            "-smp",
            str(processors),
        ),
        *("-m", str(memory_mib), "-nodefaults", "-no-reboot", "-display", "none"),
        *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "qemu-xhci,id=xhci,p2=8,p3=8", "-device", "usb-ehci,id=ehci"),
    ]


def _files(shared: Path) -> list[str]:
    """The host's files, read-only, and the folder for both."""
    host = "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"
    both = f"local,id=shared,path={shared},security_model=none,multidevs=remap"
    return [
        *("-fsdev", host, "-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
        *("-fsdev", both, "-device", "virtio-9p-pci,fsdev=shared,mount_tag=shared"),
    ]


def _connections(log: Path, qmp: int, agent: int, console: int) -> list[str]:
    """The log of the kernel, and three sockets: control, agent, terminal."""
    return [
        *("-chardev", f"file,id=log,path={log}", "-serial", "chardev:log"),
        *("-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control"),
        *("-device", "virtio-serial-pci,max_ports=3"),
        *("-chardev", f"socket,id=agent,fd={agent}"),
        *("-device", f"virtserialport,chardev=agent,name={PORT}"),
        *("-chardev", f"socket,id=console,fd={console}"),
        *("-device", "virtconsole,chardev=console"),
    ]
