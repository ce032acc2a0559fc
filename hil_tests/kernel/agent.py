"""Runs inside the machine: obeys the requests that come from outside, each in a thread of its own.

It is started as a script with nothing but the standard library. Requests and answers are JSON, one
a line, on a port of virtio-serial; an answer carries the `id` of its request. When the other end
has gone, it ends, and the machine with it.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

PORT: Final = "sedlab.agent"
OUTPUT_BYTES_MAX: Final = 8 << 20
LOG_RECORD_BYTES_MAX: Final = 8192
DYING_S: Final = 10  # what a killed process gets to go, where the kernel lets it
SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h: past rmem_max, or events get lost
EVENTS_OF_KERNEL: Final = 1  # the multicast group of NETLINK_KOBJECT_UEVENT


class Events:
    """The kernel's uevents since the start, numbered from 0."""

    def __init__(self) -> None:
        self._events: list[dict[str, str]] = []
        self._has_more = threading.Condition()

    def listen(self) -> None:
        """Take in events, for ever."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15) as uevents:
            uevents.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
            uevents.bind((0, EVENTS_OF_KERNEL))
            while True:
                self.add(uevents.recv(1 << 16))

    def add(self, message: bytes) -> None:
        """Add an event as the kernel sends it: a headline, then KEY=VALUE, with NULs between."""
        pairs = (each.partition("=") for each in message.decode("utf-8", "replace").split("\0"))
        with self._has_more:
            self._events.append({key: value for key, is_pair, value in pairs if is_pair})
            self._has_more.notify_all()

    def count(self) -> int:
        """Return how many there were."""
        with self._has_more:
            return len(self._events)

    def first(self, since: int, match: dict[str, str], timeout_s: float) -> dict[str, str] | None:
        """Return the first from number `since` on that has all of `match`, or None in time."""

        def found() -> dict[str, str] | None:
            later = self._events[since:]
            return next((event for event in later if match.items() <= event.items()), None)

        with self._has_more:
            return self._has_more.wait_for(found, timeout_s)


class Agent:
    """Who obeys."""

    def __init__(self, answers: BinaryIO, log: Path = Path("/dev/kmsg")) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._log = log
        self.events = Events()

    def obey(self, line: bytes) -> None:
        """Do what a line asks for, and answer; what is no request is answered so."""
        number: Any = None
        try:
            request = json.loads(line)
            number = request.pop("id")
            answer = self._done(**request)
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            OSError,
            RecursionError,
        ) as refused:
            answer = {"error": f"{type(refused).__name__}: {refused}"}
        with self._lock:
            self._answers.write(json.dumps({"id": number, **answer}).encode() + b"\n")
            self._answers.flush()

    def _done(self, verb: str, **arguments: Any) -> dict[str, Any]:
        match verb:
            case "run":
                return _run(**arguments)
            case "moment":
                return {"events": self.events.count(), "log": self._records()}
            case "event":
                return {"event": self.events.first(**arguments)}
        raise ValueError(f"no such verb: {verb}")

    def _records(self) -> list[str]:
        """Return what the kernel's log still holds: records as /dev/kmsg gives them."""
        records: list[str] = []
        log = os.open(self._log, os.O_RDONLY | os.O_NONBLOCK)
        try:
            while True:
                try:
                    record = os.read(log, LOG_RECORD_BYTES_MAX)
                except BlockingIOError:
                    return records
                except BrokenPipeError:  # written over meanwhile; reading goes on behind that
                    continue
                if not record:  # a file that is no log in tests ends
                    return records
                records.append(record.decode("utf-8", "replace"))
        finally:
            os.close(log)


def _run(command: str, timeout_s: float, stdin: str = "") -> dict[str, Any]:
    """Run a command by the shell; all that it started is killed with it at the end of its time.

    Output goes to a file, so that a process left in the background keeps nobody waiting.
    """
    with tempfile.TemporaryFile() as fed, tempfile.TemporaryFile() as output:
        fed.write(base64.b64decode(stdin))
        fed.seek(0)
        process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            stdin=fed,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # the kernel may not let go of it
                process.wait(DYING_S)
        output.seek(0)
        said = output.read(OUTPUT_BYTES_MAX)
    return {"status": status, "output": base64.b64encode(said).decode()}


def port_path(name: str, ports: Path = Path("/sys/class/virtio-ports")) -> Path:
    """Return the device of a port of virtio-serial by its name; raise FileNotFoundError."""
    for named in ports.glob("*/name"):
        if named.read_text().strip() == name:
            return Path("/dev", named.parent.name)
    raise FileNotFoundError(f"no port {name}")


def serve(requests: BinaryIO, agent: Agent) -> None:
    """Obey until the other end goes."""
    for line in requests:
        threading.Thread(target=agent.obey, args=(line,), daemon=True).start()


def main() -> None:
    """Serve the port of this machine."""
    with port_path(PORT).open("r+b", buffering=0) as port:
        agent = Agent(io.BufferedWriter(port))
        threading.Thread(target=agent.events.listen, daemon=True).start()
        agent.obey(b'{"id": 0, "verb": "moment"}')  # ready
        serve(io.BufferedReader(port), agent)


if __name__ == "__main__":
    main()
