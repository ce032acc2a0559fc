"""What a served drive's operator asks for, done to the drive, or to units made beside it."""

from contextlib import ExitStack
from typing import Final, Protocol

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.supply import Torn
from firmware_model.serve.port import Port
from firmware_model.wire.native import Entry
from firmware_model.wire.operator import OperatorRequest, Result, Verb

UNITS_MAX: Final = 64
NAMES_MAX: Final = 1024  # of durable steps, in one line
CRASH_CHARACTERS_MAX: Final = 500


def operate(drive: EmulatedDrive, request: OperatorRequest) -> Result:
    """Do one thing, and return what there is to see then; raise ValueError where it can't be."""
    match request.verb:
        case Verb.PRESS:
            if drive.profile.policy.entry is not Entry.KEYPAD:
                raise ValueError("the drive has no keys")
            drive.press(request.keys)
        case Verb.LEDS:
            return {**drive.leds()}
        case Verb.PLUG:
            drive.plug()
        case Verb.UNPLUG:
            drive.unplug()
        case Verb.POWER_ON:
            drive.power_on()
        case Verb.POWER_OFF:
            drive.power_off()
        case Verb.SUSPEND:
            drive.suspend()
        case Verb.RESUME:
            drive.resume()
        case Verb.CUT_AT:
            drive.cut_at(request.step, None if request.torn is None else Torn(request.torn))
        case Verb.ADVANCE:
            drive.advance(request.us)
        case Verb.BEGIN:
            drive.begin_steps()
        case Verb.STEPS:
            return _named(drive, request.step or 1)
        case Verb.STATUS:
            pass
        case _:
            raise ValueError(f"{request.verb} is for units that were made for an operator")
    return {
        "is_on": drive.is_on,
        "is_plugged": drive.is_plugged,
        "now_us": drive.now_us,
        "steps": drive.board.supply.count,
        "crashes": len(drive.crashes),
        "crash": drive.crashes[-1][:CRASH_CHARACTERS_MAX] if drive.crashes else "",
    }


def _named(drive: EmulatedDrive, first: int) -> Result:
    """Return the names of durable steps from that number on, as many as a line has room for."""
    names = drive.step_names[first - 1 :][:NAMES_MAX]
    return {"names": "\n".join(names), "cut": drive.cut_name or ""}


class Plugged(Protocol):
    """A unit that a host can reach."""

    @property
    def number(self) -> int: ...

    @property
    def busid(self) -> str: ...

    @property
    def port(self) -> Port: ...


class Bench(Protocol):
    """Where units are made, and given to hosts."""

    def new(self, seed: str, settings: str, iterations: int) -> tuple[EmulatedDrive, str]:
        """Return a new drive of the same make, and its reset code; raise ValueError."""
        ...

    def take(self, drive: EmulatedDrive, request: OperatorRequest) -> Result:
        """Do to a unit what nobody does to a drive: fail, patch, measure; raise ValueError."""
        ...

    def plug_in(self, drive: EmulatedDrive) -> Plugged:
        """Give a drive to hosts; raise ValueError where there is no place for it."""
        ...

    def take_away(self, plugged: Plugged) -> None:
        """Give it to nobody any more."""
        ...


class OperatedDrive:
    """What one operator has before him: the drive that is served, and the units he asked for.

    `about` is what he is told of the drive. Without a bench there are no other units.
    """

    def __init__(
        self, drive: EmulatedDrive, port: Port, about: Result, bench: Bench | None = None
    ) -> None:
        self._drive = drive
        self._port = port
        self._about = about
        self._bench = bench
        self._units: dict[int, tuple[EmulatedDrive, Plugged]] = {}

    def operate(self, request: OperatorRequest) -> Result:
        """Do one thing, under the lock of the drive concerned; raise ValueError where it can't."""
        match request.verb:
            case Verb.ABOUT:
                return self._about
            case Verb.NEW:
                made, code = self._where().new(request.seed, request.settings, request.iterations)
                return self._place(made) | {"reset_code": code}
            case Verb.COPY:
                original, plugged = self._unit(request.unit)
                with plugged.port.lock:
                    copied = original.fork()
                return self._place(copied)
            case Verb.FAIL | Verb.PATCH | Verb.MEASURE:
                taken, plugged = self._unit(request.unit)
                with plugged.port.lock:
                    return self._where().take(taken, request)
            case Verb.DISCARD:
                self._discard(request.unit)
                return {}
        drive, port = self._drive, self._port
        if request.unit:
            drive, plugged = self._unit(request.unit)
            port = plugged.port
        with port.lock:
            result = operate(drive, request)
            if request.verb is Verb.STATUS:
                result["waiting"] = port.waiting_count
        return result

    def close(self) -> None:
        """Throw the units away."""
        with ExitStack() as stack:  # one that can't be taken away keeps none of the others
            for number in tuple(self._units):
                stack.callback(self._discard, number)

    def _where(self) -> Bench:
        if self._bench is None:
            raise ValueError("other units can be had only where drives are served by USB/IP")
        return self._bench

    def _unit(self, number: int) -> tuple[EmulatedDrive, Plugged]:
        if number not in self._units:
            raise ValueError(f"unit {number} is none of those that were made for this operator")
        return self._units[number]

    def _place(self, drive: EmulatedDrive) -> Result:
        if len(self._units) >= UNITS_MAX:
            raise ValueError(f"an operator has at most {UNITS_MAX} units")
        plugged = self._where().plug_in(drive)
        self._units[plugged.number] = drive, plugged
        return {"unit": plugged.number, "busid": plugged.busid, "serial": drive.serial}

    def _discard(self, number: int) -> None:
        drive, plugged = self._unit(number)
        del self._units[number]
        with plugged.port.lock:
            drive.power_off()
        self._where().take_away(plugged)
