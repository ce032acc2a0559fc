"""A target of the scheme `usbip:` with its operator: fresh units of the drive that is served.

The drive itself is left alone, as the file is of FILE.sed. What is judged is made beside it, of the
same profile and the same parts, and reached by USB/IP as it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

import usb.core

from firmware_model import profiles
from hil_tests.actions import Action
from hil_tests.bench.bench import Bench
from hil_tests.content import Content
from hil_tests.facts import facts_of
from hil_tests.runs import SEED, TEST_KDF_ITERATIONS, Target
from hil_tests.served_unit import Rack, ServedUnit
from hil_tests.steps import Capability, Facts
from hil_tests.wire_target import WireTarget, bus_over_usbip
from host_driver.backends.serial_number import serial_of
from host_driver.errors import NotFound
from host_driver.operator_socket import OperatorSocket
from host_driver.usbip_link import UsbIpName

# What an operator's line carries. Flash and element of a served drive are out of reach.
CARRIED: Final = frozenset(
    {
        Capability.CUT_POWER,
        Capability.FAIL_PARTS,
        Capability.FORK,
        Capability.MOVE_CLOCK,
        Capability.OPERATE,
        Capability.PATCH_FIRMWARE,
        Capability.SEE_BUS,
        Capability.SIGN_FIRMWARE,
    }
)


def rack_of(url: str, operator: str) -> Rack:
    """Return where units of a served drive are made; raise DriveError, or ValueError."""
    name = UsbIpName.parse(url.removeprefix("usbip:"))
    hands = OperatorSocket(operator)
    busid = hands.about()["busid"]
    if busid != name.busid:
        hands.close()
        raise NotFound(f"the operator at {operator} is at {busid}, not at {name.busid}")
    return Rack(name, hands, operator)


def open_target(
    url: str, operator: str | None, profile: str | None, content: Content | None = None
) -> Target:
    """Return what `usbip://HOST:PORT/BUSID[+KEY=VALUE...]` and its operator name, if it has one.

    Raises ValueError for a name that is none, DriveError for a drive that is not to be had.
    """
    base, *settings = url.split("+")
    if operator is None:
        if profile is None:
            raise ValueError(
                f"{base}: give --operator SOCKET, as `sedlab serve` prints it; or say what the "
                "drive is by --profile NAME, and most is not exercised"
            )
        code = os.environ.get("SEDLAB_RESET_CODE")
        return WireTarget(base, bus_over_usbip(base), profile, code, content)
    return ServedTarget(base, rack_of(base, operator), content, tuple(settings))


class ServedTarget(Target):
    """A drive that another process serves and an operator stands beside."""

    def __init__(
        self,
        url: str,
        rack: Rack,
        content: Content | None = None,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.url = "+".join((url, *settings))
        self._base = url
        self.rack = rack
        self._content = content
        self._settings = settings
        about = rack.operator.about()
        text = str(about["profile"])
        changes = dict(profiles.setting(each) for each in settings)
        self.profile = profiles.parse(profiles.changed(text, changes) if changes else text)
        self._target = str(about["target"])

    @property
    def judged(self) -> str:
        """What is judged: not the very drive that the URL names."""
        return f"fresh drives of the make of {self._target}, over USB/IP"

    @cached_property
    def facts(self) -> Facts:
        """What its documents say of it, and what its operator can do."""
        facts = facts_of(self.profile, self._factory_new_unit[1])
        return replace(facts, capabilities=facts.capabilities & CARRIED)

    @cached_property
    def _factory_new_unit(self) -> tuple[ServedUnit, str | None]:
        made = self.rack.new(SEED.decode(), "+".join(self._settings), TEST_KDF_ITERATIONS)
        self._meet(made[0].fork())
        return made

    def _meet(self, unit: ServedUnit) -> None:
        """Raise NotFound where a unit does not come to the server that the URL names."""
        unit.power_on()
        device = usb.core.find(backend=unit.backend())
        if device is None or serial_of(device) != unit.serial:
            raise NotFound(f"the operator at {self.rack.socket} is not that of {self._base}")

    def changed(self, settings: Sequence[str]) -> Target:
        """Return the same target with keys of its profile changed, each given as `KEY=VALUE`."""
        if not settings:
            return self
        every = (*self._settings, *settings)
        return ServedTarget(self._base, self.rack, self._content, every)

    def close(self) -> None:
        """Let go of the operator's socket: the units are gone."""
        self.rack.operator.close()

    def bench(self, actions: Sequence[Action] = ()) -> Bench:
        """Return a bench over a fresh unit under power."""
        unit = self._factory_new_unit[0].fork()
        unit.power_on()
        return Bench(unit, self.facts, self.content)
