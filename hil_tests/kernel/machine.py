"""A machine that runs a stock kernel on the host's own files, and does what it is told.

What is written inside goes to its memory; only `folder` is one and the same on both sides. The
host's loopback is 10.0.2.2 there.
"""

from __future__ import annotations

import base64
import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, Final, Self

from hil_tests.kernel import agent
from hil_tests.kernel.image import Image, default_cache
from hil_tests.kernel.initramfs import initramfs
from hil_tests.kernel.kernel_log import LogRecord
from hil_tests.kernel.qemu import Bus, Qemu, QemuError

MEMORY_MIB: Final = 1024
PROCESSORS: Final = 2
BOOT_S: Final = 120
COMMAND_CHARACTERS: Final = 80  # of one that failed, as it is told
GRACE_S: Final = 30  # for the answer, beyond the time that a command may take
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_LOOPBACK: Final = "10.0.2.2"


class MachineFault(Exception):
    """The machine can't be used any more; the message ends in its last words."""


class CommandFailed(Exception):
    """A command in the machine ended otherwise than it should."""

    def __init__(self, command: str, ended: Ended) -> None:
        how = "took too long" if ended.status is None else f"exited {ended.status}"
        said = ended.text.strip().splitlines() or ["it said nothing"]
        super().__init__(f"`{shorten(command, COMMAND_CHARACTERS)}` {how}: {said[-1]}")
        self.ended = ended


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int | None  # of its exit; minus the signal that killed it; None if it took too long
    output: bytes  # both streams, the first 8 MiB

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in the machine's life."""

    log_number: int
    event_number: int


@dataclass(frozen=True, slots=True)
class Running:
    """A command that was started."""

    machine: KernelMachine
    command: str
    number: int
    timeout_s: float

    def wait(self) -> Ended:
        """Return how it ended, when it has."""
        answer = self.machine.answer(self.number, self.timeout_s + self.machine.grace_s)
        return Ended(answer["status"], base64.b64decode(answer["output"]))


class KernelMachine:
    """The machine. Close it, or use it as a context; a process that dies takes it along."""

    def __init__(
        self,
        image: Image,
        memory_mib: int = MEMORY_MIB,
        grace_s: float = GRACE_S,
        processors: int = PROCESSORS,
    ) -> None:
        """Boot it; raise MachineFault with its last words if it does not come up."""
        # Without symbolic links: while the machine boots, `/` is another than theirs.
        self.folder = Path(tempfile.mkdtemp(prefix="sedlab-")).resolve()
        self.kernel_release = image.release
        self.grace_s = grace_s
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._is_usable = True
        self.ends_with_it = ExitStack()  # what serves this machine from outside, and its folder
        self.ends_with_it.callback(shutil.rmtree, self.folder, ignore_errors=True)
        settings = {
            "AGENT": agent.__file__,
            "MODULES": str(image.modules.resolve()),
            "PYTHON": sys.executable,
            "SHARED": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}:{PATH}",
        }
        archive = self.folder / "initramfs"
        try:
            archive.write_bytes(initramfs(image, settings))
            self.qemu = Qemu(image.vmlinux, archive, self.folder, memory_mib, processors)
        except BaseException:
            self.ends_with_it.close()
            raise
        try:
            self.answer(0, BOOT_S)
        except BaseException:
            self.close()
            raise

    @classmethod
    def boot(
        cls,
        say: Callable[[str], None] = lambda line: None,
        memory_mib: int = MEMORY_MIB,
        processors: int = PROCESSORS,
    ) -> Self:
        """Boot Debian's kernel; raise NoImage if it can't be had, else as the constructor does."""
        image = Image.cached(default_cache(), say)
        return cls(image, memory_mib, processors=processors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; what was in its memory and in its folder is gone."""
        self._is_usable = False
        with self.ends_with_it:
            self.qemu.close()

    @property
    def is_usable(self) -> bool:
        """Whether it runs and has answered so far."""
        return self._is_usable and self.qemu.is_running

    def run(self, command: str, *, timeout_s: float = 60, stdin: bytes = b"") -> Ended:
        """Run a command of the shell, as root, and return how it ended."""
        return self.start(command, timeout_s=timeout_s, stdin=stdin).wait()

    def output_of(self, command: str, *, timeout_s: float = 60, stdin: bytes = b"") -> str:
        """Return what a command prints; raise CommandFailed unless it exits with 0 in time."""
        ended = self.run(command, timeout_s=timeout_s, stdin=stdin)
        if ended.status != 0:
            raise CommandFailed(command, ended)
        return ended.text

    def start(self, command: str, *, timeout_s: float = 60, stdin: bytes = b"") -> Running:
        """Start a command beside others."""
        fed = base64.b64encode(stdin).decode()
        number = self._ask(verb="run", command=command, timeout_s=timeout_s, stdin=fed)
        return Running(self, command, number, timeout_s)

    def moment(self) -> Moment:
        """Return the moment it is, for what comes after it."""
        answer = self.answer(self._ask(verb="moment"), self.grace_s)
        log = [LogRecord.decode(each) for each in answer["log"]]
        return Moment(log[-1].number + 1 if log else 0, answer["events"])

    def log_since(self, moment: Moment) -> list[LogRecord]:
        """Return what the kernel has logged since."""
        answer = self.answer(self._ask(verb="moment"), self.grace_s)
        log = [LogRecord.decode(each) for each in answer["log"]]
        return [record for record in log if record.number >= moment.log_number]

    def event_since(
        self, moment: Moment, match: Mapping[str, str], timeout_s: float = 60
    ) -> dict[str, str] | None:
        """Return the kernel's first uevent since that has all of `match`, None in time."""
        request = {"since": moment.event_number, "match": dict(match), "timeout_s": timeout_s}
        answer = self.answer(self._ask(verb="event", **request), timeout_s + self.grace_s)
        event: dict[str, str] | None = answer["event"]
        return event

    def plug_usbredir(self, path: Path, bus: Bus = Bus.XHCI) -> Callable[[], None]:
        """Plug in what a usbredir server at a Unix socket has; return what takes it out again.

        Raises QemuError if nobody listens there.
        """
        connection = self.qemu.add_socket(path)
        try:
            device = self.qemu.plug("usb-redir", bus, chardev=connection)
        except QemuError:
            self.qemu.remove_socket(connection)
            raise
        return partial(self.qemu.unplug, device)  # the connection goes with it

    def answer(self, number: int, timeout_s: float) -> dict[str, Any]:
        """Return the answer to a request; raise MachineFault if there will be none."""
        while number not in self._answers:
            try:
                answer = self.qemu.agent.receive(timeout_s)
                self._answers[answer["id"]] = answer
            except EOFError as gone:
                raise self._fault("the machine has ended") from gone
            except TimeoutError as late:
                raise self._fault(f"the machine does not answer for {timeout_s:.0f} s") from late
            except (KeyError, TypeError, ValueError) as garbage:
                raise self._fault(f"the machine answers {garbage}") from garbage
        answer = self._answers.pop(number)
        if "error" in answer:
            raise self._fault(f"the machine did not understand: {answer['error']}")
        return answer

    def _ask(self, **request: Any) -> int:
        number = next(self._numbers)
        try:
            self.qemu.agent.send({"id": number, **request}, self.grace_s)
        except (EOFError, TimeoutError) as gone:
            raise self._fault("the machine has ended") from gone
        return number

    def _fault(self, what: str) -> MachineFault:
        self._is_usable = False
        return MachineFault(f"{what}\n{self.qemu.last_words()}")
