"""A unit that another process serves: its bus by USB/IP, the hands beside it by a socket."""

from __future__ import annotations

import gc
import socket
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from firmware_model.hardware.supply import Torn
from firmware_model.wire.stream import NOTHING_CAME, Bytes
from firmware_model.wire.usbip import ExportedDevice
from firmware_model.wire.usbip_urb import NO_SETUP, RetSubmit
from hil_tests.bench.unit import RemoteUnit
from hil_tests.opened_firmware import Stretching
from hil_tests.runs import UnsteadyDrive
from host_driver.backends.usbip import LinkPort, UsbIp
from host_driver.errors import DriveInUse, NotFound
from host_driver.operator_socket import OperatorSocket
from host_driver.operator_socket import Unit as Made
from host_driver.usbip_link import UsbIpLink, UsbIpName, import_device

LOOK_MS: Final = 20  # until the operator is asked whether a transfer that does not end will
LOOKS_MAX: Final = 3000  # that find it neither ended nor waiting
KEPT: Final = 32  # units, before those that nobody has any more are looked for


class Rack:
    """Where units are made: the operator's side of the drive of that name."""

    def __init__(self, name: UsbIpName, operator: OperatorSocket, socket_path: str) -> None:
        self.name = name
        self.operator = operator
        self.socket = socket_path
        self._kept = 0
        self._dropped: deque[int] = deque()  # to be discarded: whoever lets go may be in a request

    def new(self, seed: str, settings: str, iterations: int) -> tuple[ServedUnit, str | None]:
        """Return a unit as it leaves the factory, without power, and its reset code."""
        self._make_room()
        made = self.operator.new(seed, settings, iterations)
        return self._unit(made), made.reset_code

    def copy(self, operator: OperatorSocket) -> ServedUnit:
        """Return a copy of a unit, without power."""
        self._make_room()
        return self._unit(operator.copy())

    def _unit(self, made: Made) -> ServedUnit:
        self._kept += 1
        unit = ServedUnit(self, made)
        weakref.finalize(unit, self._dropped.append, made.number)
        return unit

    def _make_room(self) -> None:
        if self._kept - len(self._dropped) >= KEPT:
            gc.collect()
        while self._dropped:
            self._kept -= 1
            self.operator.beside(self._dropped.popleft()).discard()


class ServedUnit(RemoteUnit):
    """A unit that an operator made beside a drive that is served."""

    def __init__(self, rack: Rack, made: Made) -> None:
        self.serial = made.serial
        self._rack = rack
        self._hands = rack.operator.beside(made.number)
        self.name = UsbIpName(rack.name.host, rack.name.port, made.busid)

    def backend(self) -> ReimportedBus:
        """Return pyusb's way to a bus with this drive and nothing else."""
        hands = self._hands
        return ReimportedBus(self.name, partial(_Watched, lambda: bool(hands.status()["waiting"])))

    @property
    def is_on(self) -> bool:
        return bool(self._hands.status()["is_on"])

    @property
    def now_us(self) -> int:
        return int(self._hands.status()["now_us"])

    @property
    def crashes(self) -> list[str]:
        """One for each crash; only of the last is told how it happened."""
        status = self._hands.status()
        return [str(status["crash"])] * int(status["crashes"])

    @property
    def step_names(self) -> tuple[str, ...]:
        return self._hands.steps()[0]

    @property
    def cut_name(self) -> str | None:
        return self._hands.steps()[1]

    def begin_steps(self) -> None:
        self._hands.begin_steps()

    def cut_at(self, step: int | None, torn: Torn | None = None) -> None:
        self._hands.cut_at(step, torn)

    def power_on(self) -> None:
        self._hands.power_on()

    def power_off(self) -> None:
        self._hands.power_off()

    def plug(self) -> None:
        self._hands.plug()

    def unplug(self) -> None:
        self._hands.unplug()

    def suspend(self) -> None:
        self._hands.suspend()

    def resume(self) -> None:
        self._hands.resume()

    def advance(self, us: int) -> None:
        self._hands.advance(us)

    def press(self, keys: str) -> None:
        self._hands.press(keys)

    def leds(self) -> dict[str, str]:
        return self._hands.leds()

    def fail(self, fault: str, number: int) -> None:
        self._hands.fail(fault, number)

    def patch(self) -> None:
        self._hands.patch()

    def measure(self, iterations: int) -> Stretching:
        return Stretching(*self._hands.measure(iterations))

    def fork(self) -> ServedUnit:
        """Return the same drive once more, without power: what happens to it spares this one."""
        return self._rack.copy(self._hands)


class ReimportedBus(UsbIp):
    """A bus with one drive, which is imported anew each time it has left and come back."""

    def __init__(
        self,
        name: UsbIpName,
        link: Callable[[socket.socket, ExportedDevice], UsbIpLink] = UsbIpLink,
    ) -> None:
        self._name = name
        self._make = link
        super().__init__()

    def enumerate_devices(self) -> Iterator[LinkPort]:
        """Yield the port, if its device answers; raise UnsteadyDrive where somebody else has it."""
        port = self._port
        if port is None or not self.read_descriptors(port):
            if port is not None:
                port.link.close()
            self._port = None
            try:
                self._port = LinkPort(import_device(self._name, self._make))
            except NotFound:
                pass  # it is without power
            except DriveInUse as taken:  # and may do anything with it: there is no verdict
                raise UnsteadyDrive(str(taken)) from None
        yield from super().enumerate_devices()

    def leave(self) -> None:
        """Give the drive back to its server."""
        if self._port is not None:
            self._port.link.close()
        self._port = None


class _Watched(UsbIpLink):
    """A link on which nobody waits for what can't come.

    `is_waiting` tells whether a transfer was answered NAK. Then nothing but another request would
    change that, as with a drive in this process; so it is withdrawn at once, and what runs into
    timeouts there does here, and as soon.
    """

    def __init__(
        self, is_waiting: Callable[[], bool], stream: socket.socket, device: ExportedDevice
    ) -> None:
        super().__init__(stream, device)
        self._is_waiting = is_waiting

    def transfer_out(
        self, endpoint: int, data: Bytes, timeout_ms: int, setup: bytes = NO_SETUP
    ) -> int:
        return super().transfer_out(endpoint, data, LOOK_MS, setup)

    def transfer_in(
        self, endpoint: int, buffer: memoryview, timeout_ms: int, setup: bytes = NO_SETUP
    ) -> int:
        return super().transfer_in(endpoint, buffer, LOOK_MS, setup)

    def await_end(self, seqnum: int, buffer: memoryview) -> RetSubmit:
        for _ in range(LOOKS_MAX):
            try:
                return super().await_end(seqnum, buffer)
            except NOTHING_CAME:
                if self._is_waiting():
                    raise
        raise TimeoutError
