"""A drive beside which nobody stands, `usbip:` or `usb:`: itself, as hosts see it.

Between runs it is erased by its reset code: an erased drive behaves as one from the factory. What
takes an operator is not exercised; nor are updates, which no erase undoes. Time is the world's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, NoReturn, Protocol

import usb.core
from usb.backend import IBackend

from firmware_model import profiles
from firmware_model.hardware.supply import Torn
from firmware_model.wire.native import Entry, State
from firmware_model.wire.usbip import MODEL_PATH
from hil_tests.actions import Action
from hil_tests.bench.bench import Bench, find_device
from hil_tests.bench.memory import Attempts
from hil_tests.bench.unit import RemoteUnit
from hil_tests.content import Content
from hil_tests.facts import facts_of
from hil_tests.runs import Target, UnsteadyDrive
from hil_tests.served_unit import ReimportedBus
from hil_tests.steps import Capability, Facts
from host_driver.attempt_log import attempts
from host_driver.backends.serial_number import serial_of
from host_driver.errors import AccessDenied, CommandRefused, Disconnected, DriveError
from host_driver.mass_storage import failure
from host_driver.usbip_link import UsbIpName, import_device

REACHED: Final = frozenset({Capability.SEE_BUS})


class DriveBus(Protocol):
    """A backend of pyusb whose bus has one drive and nothing else."""

    def enumerate_devices(self) -> Iterator[Any]:
        """Yield the drive, if it answers."""

    def leave(self) -> None:
        """Give the drive back to whom it was taken from."""


class WireUnit(RemoteUnit):
    """A unit that nobody has hands on: it is on, and what it did is not to be seen."""

    is_on = True
    now_us = 0
    crashes: Sequence[str] = ()
    step_names: tuple[str, ...] = ()
    cut_name = None

    def __init__(self, bus: DriveBus, serial: str) -> None:
        self._bus = bus
        self.serial = serial

    def backend(self) -> IBackend:
        """Return pyusb's way to a bus with this drive and nothing else."""
        return self._bus

    def begin_steps(self) -> None:
        """Begin nothing."""

    def cut_at(self, step: int | None, torn: Torn | None = None) -> None:
        """Call off what was never planned."""
        if step is not None:
            self._nobody()

    def _nobody(self, *args: Any, **options: Any) -> NoReturn:
        raise ValueError("nobody stands beside the drive: --operator SOCKET says who does")

    power_on = power_off = plug = unplug = suspend = resume = leds = _nobody
    advance = press = fail = patch = measure = fork = _nobody


def bus_over_usbip(url: str) -> ReimportedBus:
    """Return a bus with the drive of a USB/IP server; raise AccessDenied if it may be real."""
    name = UsbIpName.parse(url.removeprefix("usbip:"))
    link = import_device(name)
    link.close()
    if not link.device.path.startswith(MODEL_PATH):
        raise AccessDenied(f"{url} may be real, and would lose all it holds: serve a model:")
    return ReimportedBus(name)


class WireTarget(Target):
    """The one drive of a bus; by its documents, one of that profile."""

    def __init__(
        self,
        url: str,
        bus: DriveBus,
        profile: str,
        reset_code: str | None,
        content: Content | None = None,
    ) -> None:
        self.url = url
        self._bus = bus
        self._content = content
        self.profile = profiles.parse(profiles.text_of(profile))
        self._reset_code = reset_code
        if reset_code is None and self.profile.dialect != "none":
            raise ValueError(
                f"{url} is erased between runs by its reset code: give SEDLAB_RESET_CODE"
            )
        self._last: Bench | None = None

    @property
    def judged(self) -> str:
        """What is judged, and what was done to it."""
        return "the drive itself, erased between runs"

    @cached_property
    def facts(self) -> Facts:
        """What its documents say of it, and what can be done without an operator."""
        return replace(facts_of(self.profile, self._reset_code), capabilities=REACHED)

    def changed(self, settings: Sequence[str]) -> Target:
        """Return the same target; its profile is what it is."""
        if settings:
            raise ValueError(f"{self.url} is of the profile that it was made with")
        return self

    def close(self) -> None:
        """Give the drive back to whom it was taken from."""
        self._let_go()
        self._bus.leave()

    def reach(self) -> None:
        """Raise DriveError where the drive has gone, or is somebody else's by now."""
        with self._answering():
            self._attached()

    def bench(self, actions: Sequence[Action] = ()) -> Bench:
        """Return a bench over the drive, erased.

        Raises UnsteadyDrive where it can't be erased, DriveError where it is not to be had.
        """
        with self._answering():
            bench = self._attached()
            if "PIN" in self.facts.features:
                self._erase(bench)
        return bench

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say of a drive that goes meanwhile which it is, and what comes of it."""
        try:
            yield
        except Disconnected:
            raise Disconnected(f"{self.url} has gone: there is no verdict") from None

    def _attached(self) -> Bench:
        """Return a bench that has claimed the interface: a run takes what it can't have for broken.

        Raises DriveError where the drive is not to be had.
        """
        self._let_go()
        self._last = bench = Bench(self._unit, self.facts, self.content)
        bench.attachment()
        return bench

    def _let_go(self) -> None:
        """Release the interface that the last run has claimed."""
        if self._last is not None:
            self._last.reconnect()

    @cached_property
    def _unit(self) -> WireUnit:
        try:
            return WireUnit(self._bus, serial_of(find_device(self._bus)))
        except usb.core.USBError as error:
            raise failure(error, f"opening {self.url}") from error

    def _erase(self, bench: Bench) -> None:
        """Erase by the code, whatever state it is in: a wrong one is to leave no PIN behind.

        A drive with keys has nobody who presses them, and must be as good as new already.
        """
        status = bench.status()
        if status is not None and self.profile.policy.entry is Entry.HOST:
            try:
                bench.host().erase(self._reset_code)
                status = bench.status()
            except CommandRefused as refused:
                code = "the code in SEDLAB_RESET_CODE"
                raise UnsteadyDrive(f"{self.url} can't be erased by {code}: {refused}") from None
            if status is None or status.state is not State.ERASED:
                raise UnsteadyDrive(f"{self.url} was told to erase, and is not erased")
        elif status is not None and status.state not in (State.FACTORY, State.ERASED):
            raise UnsteadyDrive(
                f"{self.url} holds keys, and nobody is there to erase it by its keys"
            )
        if status is not None and status.state is State.ERASED:
            bench.begin_erased()
        with suppress(DriveError):  # where it keeps no log
            counted = attempts(bench.host().evidence())
            bench.memory.attempts = Attempts(counted, counted)
