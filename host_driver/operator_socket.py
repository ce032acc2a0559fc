"""The hands beside a drive that another process serves."""

import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.local_socket import connect_to
from firmware_model.wire.operator import (
    LINE_BYTES_MAX,
    OperatorReply,
    OperatorRequest,
    Result,
    Verb,
    socket_beside,
)
from host_driver.errors import AccessDenied, Disconnected, NotFound, ProtocolError, Timeout

_OF_HOSTS: Final = re.compile("usb:|usbip:|sg:")
ANSWER_TIMEOUT_S: Final = 60  # pressing a key may stretch a PIN, and waits for a running command


@dataclass(frozen=True, slots=True)
class Unit:
    """A drive that was made beside the one that is served."""

    number: int
    busid: str
    serial: str
    reset_code: str | None  # None of a copy: it is the original's


class Line:
    """The connection to an operator's socket."""

    def __init__(self, target: str) -> None:
        if _OF_HOSTS.match(target):
            raise NotFound(
                f"{target} is how hosts reach a drive; its operator is at its FILE.sed, or at the "
                "socket that `sedlab serve` prints"
            )
        file = Path(target.removeprefix("model:"))
        path = file if _is_socket(file) else socket_beside(file)
        try:
            self._stream = connect_to(path, ANSWER_TIMEOUT_S)
        except PermissionError:
            raise AccessDenied(f"{path}: only who serves the drive may operate it") from None
        except OSError:
            is_profile = target.startswith("model:") and file.suffix != ".sed"
            named = target if is_profile else file
            does = (
                "prints its operator's socket, which is then what to name" if is_profile else "does"
            )
            serving = f"`sedlab serve {named} --usbip`"
            raise NotFound(f"nobody serves {named}: {serving} {does}") from None
        self._lines = self._stream.makefile("rb")

    def close(self) -> None:
        """Let go of the socket."""
        self._lines.close()
        self._stream.close()

    def ask(self, request: OperatorRequest) -> Result:
        """Return what became of a request; raise ValueError where it was refused."""
        try:
            self._stream.sendall(request.encode())
            line = self._lines.readline(LINE_BYTES_MAX + 1)
        except TimeoutError:
            raise Timeout("the operator does not answer") from None
        except OSError:
            line = b""
        if not line:
            raise Disconnected("the drive is no longer served")
        try:
            reply = OperatorReply.decode(line)
        except DecodeError as wrong:
            raise ProtocolError(f"the operator's answer is none: {wrong}") from None
        if reply.error is not None:
            raise ValueError(reply.error)
        return reply.result


class OperatorSocket:
    """An Operator: each call is done when it returns.

    `target` is the drive's file, or the socket itself. Raises NotFound where nobody serves it and
    AccessDenied where another user does. Calls raise ValueError for what can't be done.
    """

    def __init__(self, target: str | Line, unit: int = 0) -> None:
        self._line = Line(target) if isinstance(target, str) else target
        self._unit = unit

    def close(self) -> None:
        """Let go of the socket: the units that were made over it are gone."""
        self._line.close()

    def press(self, keys: str) -> None:
        """Press keys, one after the other, in the keypad's notation."""
        self._ask(OperatorRequest(Verb.PRESS, keys=keys))

    def leds(self) -> dict[str, str]:
        """Return what each light does, by its colour: off, on or blink."""
        return {name: str(value) for name, value in self._ask(OperatorRequest(Verb.LEDS)).items()}

    def plug(self) -> None:
        """Connect the drive to the host."""
        self._ask(OperatorRequest(Verb.PLUG))

    def unplug(self) -> None:
        """Disconnect the drive from the host."""
        self._ask(OperatorRequest(Verb.UNPLUG))

    def power_on(self) -> None:
        """Give the drive its supply."""
        self._ask(OperatorRequest(Verb.POWER_ON))

    def power_off(self) -> None:
        """Take the drive's supply away."""
        self._ask(OperatorRequest(Verb.POWER_OFF))

    def cut_at(self, step: int | None, torn: str | None = None) -> None:
        """Have the supply fail at the next but `step` - 1 durable step; None: not at all.

        With `torn`, half or weak, it fails inside that step.
        """
        self._ask(OperatorRequest(Verb.CUT_AT, step=step, torn=torn))

    def advance(self, us: int) -> None:
        """Move the drive's clock on by `us` microseconds."""
        self._ask(OperatorRequest(Verb.ADVANCE, us=us))

    def status(self) -> Result:
        """Return whether it is on and plugged, what its clock says, and how many durable steps."""
        return self._ask(OperatorRequest(Verb.STATUS))

    # --- for the harness ------------------------------------------------------------------------

    def suspend(self) -> None:
        """Have the bus fall silent, as a computer that sleeps has it."""
        self._ask(OperatorRequest(Verb.SUSPEND))

    def resume(self) -> None:
        """Wake the bus."""
        self._ask(OperatorRequest(Verb.RESUME))

    def begin_steps(self) -> None:
        """Have durable steps counted and named from here."""
        self._ask(OperatorRequest(Verb.BEGIN))

    def steps(self) -> tuple[tuple[str, ...], str | None]:
        """Return the names of the durable steps since then, and of the one that a cut prevented."""
        names: list[str] = []
        while True:
            told = self._ask(OperatorRequest(Verb.STEPS, step=len(names) + 1))
            more = str(told.get("names", ""))
            if not more:
                return tuple(names), str(told.get("cut", "")) or None
            names += more.split("\n")

    def about(self) -> Result:
        """Return what the drive is: target, busid, serial, profile."""
        return self._ask(OperatorRequest(Verb.ABOUT))

    def new(self, seed: str, settings: str = "", iterations: int = 0) -> Unit:
        """Have a drive of the same make as it leaves the factory, without power."""
        request = OperatorRequest(Verb.NEW, seed=seed, settings=settings, iterations=iterations)
        return _unit(self._ask(request))

    def copy(self) -> Unit:
        """Have a copy of this unit as it is, without power."""
        return _unit(self._ask(OperatorRequest(Verb.COPY)))

    def fail(self, fault: str, number: int) -> None:
        """Have a part of this unit fail from now on: `counter_sticks`, `flip_data` and others."""
        self._ask(OperatorRequest(Verb.FAIL, fault=fault, number=number))

    def patch(self) -> None:
        """Have this unit, without power, call every PIN right from its next start on."""
        self._ask(OperatorRequest(Verb.PATCH))

    def measure(self, iterations: int) -> tuple[int, tuple[str, ...]]:
        """Measure the stretching of a PIN, run by itself.

        Return what it costs in thousandths of what PBKDF2 does with so many iterations, and what
        it does not depend on.
        """
        told = self._ask(OperatorRequest(Verb.MEASURE, iterations=iterations))
        ignored = str(told.get("ignored", ""))
        return int(told.get("per_mille", 0)), tuple(ignored.split("\n")) if ignored else ()

    def discard(self) -> None:
        """Throw this unit away."""
        self._ask(OperatorRequest(Verb.DISCARD))

    def beside(self, number: int) -> "OperatorSocket":
        """Return the hands beside another unit, over the same line."""
        return OperatorSocket(self._line, number)

    def _ask(self, request: OperatorRequest) -> Result:
        return self._line.ask(replace(request, unit=self._unit))


def _unit(told: Result) -> Unit:
    code = told.get("reset_code")
    return Unit(
        int(told.get("unit", 0)),
        str(told.get("busid", "")),
        str(told.get("serial", "")),
        None if code is None else str(code),
    )


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
