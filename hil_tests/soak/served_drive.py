"""A drive that is served to the machine, and all hands that can pull its plug."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from hil_tests.command_line import FAST
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.ours import UsbRedir, Vhci, attached_by_vhci, sedlab
from hil_tests.kernel.way_in import BULK_ONLY, Unplug
from hil_tests.soak.memory import Usage
from hil_tests.soak.server import AskedServer
from host_driver.operator_socket import OperatorSocket

STEPS_MAX: Final = 400  # durable steps until power is cut; a few writes
# A server comes to know each block of the flash as it is first used: of a small one, soon.
CAPACITY: Final = ("--capacity", "16 MiB")
SAID_LINES: Final = 10
KEYS: Final = "1357924"
AT_HOST: Final = "pulled at the host"


class ServedDrive:
    """One of them. The machine takes one command at a time, so `machine_lock` is all drives'."""

    def __init__(
        self, machine: KernelMachine, machine_lock: Lock, way_in: UsbRedir | Vhci, defect: str = ""
    ) -> None:
        """Serve it; with a defect, if one is named."""
        self.way_in = way_in
        self._lock = machine_lock
        self._file = _made(machine, way_in)
        target = f"model:{self._file.name}+{defect}" if defect else self._file.name
        socket = self._file.with_suffix(".redir")
        is_redir = isinstance(way_in, UsbRedir)
        how = ("--usbredir", str(socket)) if is_redir else ("--usbip", "127.0.0.1:0")
        transports = ("--no-uas",) if way_in.driver == BULK_ONLY else ()
        self.said: deque[str] = deque(maxlen=SAID_LINES)
        self._server = AskedServer(machine.folder, target, *how, *transports, "--json")
        machine.ends_with_it.callback(self._end)
        # It tells of each host that comes and goes: unread, that would block it one day.
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()
        document = self._server.drives()[0]
        self.serial = str(document["serial"])
        self._plug_in: Callable[[], Unplug] = (
            partial(machine.plug_usbredir, socket)
            if is_redir
            else partial(_attached, machine, document["attach"])
        )
        # QEMU's usb-redir stays when the drive goes, and has it again; vhci_hcd's port is free.
        self._stays_in = is_redir
        self._unplug: Unplug = lambda: None
        if not way_in.pin:
            self._press("SET", KEYS, "UNLOCK", KEYS, "UNLOCK")

    @property
    def usage(self) -> Usage | None:
        """What its server has; None if it has ended, or does not tell."""
        in_use = self._server.in_use()
        if in_use is None:
            return None
        try:
            return Usage.of(self._server.process.pid, in_use)
        except (OSError, KeyError):  # it ended meanwhile
            return None

    @property
    def pulls(self) -> dict[str, Callable[[random.Random], None]]:
        """The ways to pull the plug."""
        return {
            AT_HOST: self._pull_at_host,
            "unplugged": lambda chance: self._operate(OperatorSocket.unplug),
            "power cut": lambda chance: self._operate(OperatorSocket.power_off),
            "power cut at a step": self._cut_at_step,
        }

    def plug(self) -> None:
        """Put it in at the machine's end."""
        with self._lock:
            self._unplug = self._plug_in()

    def replug(self, was_pulled: str) -> None:
        """Put it in again."""
        if was_pulled != AT_HOST:
            self._operate(OperatorSocket.power_on)
            self._operate(OperatorSocket.plug)
        if was_pulled == AT_HOST or not self._stays_in:
            self.plug()

    def unlock(self) -> None:
        """Press its keys, if it has any."""
        if not self.way_in.pin:
            self._press(KEYS, "UNLOCK")

    def _listen(self) -> None:
        assert self._server.process.stderr is not None
        for line in self._server.process.stderr:
            self.said.append(line.rstrip())

    def _end(self) -> None:
        self._server.end()
        self._listener.join()
        self._server.close()

    def _pull_at_host(self, chance: random.Random) -> None:
        with self._lock:
            self._unplug()

    def _cut_at_step(self, chance: random.Random) -> None:
        step, torn = chance.randrange(1, STEPS_MAX), chance.choice((None, "half", "weak"))
        self._operate(lambda operator: operator.cut_at(step, torn))

    def _press(self, *keys: str) -> None:
        self._operate(lambda operator: operator.press(" ".join(keys)))

    def _operate(self, act: Callable[[OperatorSocket], None]) -> None:
        with closing(OperatorSocket(str(self._file))) as operator:
            act(operator)


def _made(machine: KernelMachine, way_in: UsbRedir | Vhci) -> Path:
    """Return the file of a new drive."""
    path = machine.folder / f"{way_in.name.replace(' ', '-')}.sed"
    sedlab(machine, "new", path.name, "--profile", way_in.profile, *FAST, *CAPACITY)
    if way_in.pin:
        sedlab(machine, "set-pin", path.name, SEDLAB_NEW_PIN=way_in.pin)
    return path


def _attached(machine: KernelMachine, attach: str) -> Unplug:
    # usbip's note of a port outlives an unplugging at the drive's end.
    machine.output_of("rm -rf /run/vhci_hcd")
    return attached_by_vhci(machine, attach)
