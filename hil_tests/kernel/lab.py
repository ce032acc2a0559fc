"""A machine that many tests share, and the drive that is in it."""

from __future__ import annotations

from collections.abc import Callable

from hil_tests.kernel.checks import PULLED, Check, title
from hil_tests.kernel.drive import NotFound, PluggedDrive
from hil_tests.kernel.kernel_log import troubles
from hil_tests.kernel.machine import CommandFailed, KernelMachine, MachineFault
from hil_tests.kernel.outcome import NotExercised, Outcome, Verdict
from hil_tests.kernel.qemu import QemuError
from hil_tests.kernel.way_in import WayIn

ABOUT_THE_CHECK = (AssertionError, CommandFailed, ValueError)
FAILURES = (*ABOUT_THE_CHECK, MachineFault, NotFound, QemuError)
# Another process has the host's other one: two that wait for each other spin, under TCG.
PROCESSORS = 1
REASON_CHARACTERS = 160


class Lab:
    """The machine, booted when somebody needs one; what failed in it is not trusted again."""

    def __init__(self, say: Callable[[str], None] = lambda line: None) -> None:
        self._say = say
        self._machine: KernelMachine | None = None
        self._drive: PluggedDrive | None = None
        self._not_found: dict[str, str] = {}  # ways in that have failed, and how

    def machine(self) -> KernelMachine:
        """Return a machine that runs, and that the battery has nothing in.

        Raises NoImage or MachineFault if there can be none.
        """
        machine = self._running()
        self._take_out()
        return machine

    def _running(self) -> KernelMachine:
        if self._machine is not None and not self._machine.is_usable:
            self.close()
        if self._machine is None:
            self._machine = KernelMachine.boot(self._say, processors=PROCESSORS)
        return self._machine

    def drive(self, way_in: WayIn) -> PluggedDrive:
        """Return the drive of a way in, plugged in; raise NotFound if the kernel finds none."""
        if way_in.name in self._not_found:
            raise NotFound(self._not_found[way_in.name])
        machine = self._running()
        if self._drive is not None and self._drive.way_in is not way_in:
            self._take_out()
        if self._drive is None:
            drive = PluggedDrive(machine, way_in)
            try:
                drive.plug()
            except FAILURES as failed:
                self._not_found[way_in.name] = str(failed)
                raise
            self._drive = drive
        return self._drive

    def _take_out(self) -> None:
        if self._drive is not None:
            self._drive.unplug()
            self._drive = None

    def outcome(self, check: Check, way_in: WayIn) -> Outcome:
        """Have a check done, and return what came of it."""
        name = title(check)
        departure = way_in.departures.get(name, "")
        try:
            self._do(check, self.drive(way_in))
        except NotExercised as lacking:
            return Outcome(name, way_in.name, Verdict.NOT_EXERCISED, _line(lacking))
        except FAILURES as failed:
            # What is known of a check excuses neither a kernel that crashed nor a drive not found.
            if departure and isinstance(failed, ABOUT_THE_CHECK):
                return Outcome(name, way_in.name, Verdict.DIFFERS, departure)
            self.close()
            return Outcome(name, way_in.name, Verdict.FAILED, _line(failed))
        if departure:
            why = f"holds, although it is known not to: {departure}"
            return Outcome(name, way_in.name, Verdict.FAILED, why)
        return Outcome(name, way_in.name, Verdict.PASSED)

    def _do(self, check: Check, drive: PluggedDrive) -> None:
        """Have it done, and raise AssertionError if the kernel had to help along."""
        before = drive.machine.moment()
        check(drive)
        if check not in PULLED and drive.machine.is_usable:
            said = troubles(drive.machine.log_since(before))
            assert not said, f"the kernel logged: {said[0].text}"

    def close(self) -> None:
        """End the machine."""
        if self._machine is not None:
            self._machine.close()
        self._machine = self._drive = None


def _line(reason: Exception) -> str:
    """Return a reason as one line."""
    text = " ".join(str(reason).split())
    return text if len(text) <= REASON_CHARACTERS else f"{text[:REASON_CHARACTERS]}…"
