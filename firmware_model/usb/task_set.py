"""The commands of one unit that have not ended, and what may be done about them. Source: SAM-5.

They wait in one queue and are obeyed one after the other, in order but for those that go to its
head: one that is simple need not be obeyed earlier than one that is ordered (SAM-5 8.6). There is
one nexus and no ACA.
"""

from collections import deque
from enum import Enum, auto
from typing import Final

from firmware_model.usb.unit import FirstUnit, Unit
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import UNIT_RESET, Sense
from firmware_model.wire.uas import (
    CommandIu,
    ResponseCode,
    TaskAttribute,
    TaskFunction,
    TaskManagementIu,
)


class Phase(Enum):
    """How far a command has come."""

    WAITING = auto()
    DATA_OUT = auto()
    DATA_IN = auto()
    ENDED = auto()  # its status is not fetched yet


class Task:
    """One command, from its arrival until its status was fetched."""

    __slots__ = (
        "command",
        "data",
        "moved",
        "phase",
        "received",
        "sense",
        "status",
        "unit",
        "wanted",
    )

    def __init__(self, command: CommandIu, unit: Unit) -> None:
        self.command = command
        self.unit = unit
        self.phase = Phase.WAITING
        self.status = ScsiStatus.GOOD  # how it is to end, as far as that is known
        self.sense = b""
        self.data = b""  # for the host
        self.moved = 0  # bytes of the data phase that have passed
        self.wanted = 0  # bytes of data-out that it uses
        self.received: list[bytes] = []

    def refuse(self, sense: Sense) -> None:
        """Have it end in CHECK CONDITION."""
        self.status = ScsiStatus.CHECK_CONDITION
        self.sense = self.unit.sense_data(sense)


class TaskSet:
    """Commands by tag, in all phases."""

    def __init__(self, unit: FirstUnit) -> None:
        self._unit = unit
        self._tasks: dict[int, Task] = {}
        self._queue: deque[Task] = deque()  # of those that wait
        self.current: Task | None = None  # the one that is obeyed

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, tag: int) -> bool:
        return tag in self._tasks

    def has(self, task: Task) -> bool:
        """Whether a command is still there, and not another under its tag."""
        return self._tasks.get(task.command.tag) is task

    @property
    def owes_status(self) -> bool:
        """Whether a command was executed and the host has not been told how it ended."""
        return any(each.phase in (Phase.DATA_IN, Phase.ENDED) for each in self._tasks.values())

    def add(self, task: Task) -> None:
        """Have a command wait, under a tag that is not in use."""
        self._tasks[task.command.tag] = task
        if task.command.attribute is TaskAttribute.HEAD_OF_QUEUE:
            self._queue.appendleft(task)
        else:
            self._queue.append(task)

    def begin(self) -> Task | None:
        """Make the next that waits the current one; None where one is, or none waits."""
        if self.current is not None or not self._queue:
            return None
        self.current = self._queue.popleft()
        return self.current

    def end(self, task: Task) -> None:
        """Have a command be obeyed no longer, while its status waits."""
        if task is self.current:
            self.current = None
        task.phase, task.data = Phase.ENDED, b""

    def remove(self, tag: int) -> None:
        """Forget a command that the host knows the end of."""
        del self._tasks[tag]

    # --- task management ------------------------------------------------------------------------

    def abort(self, tag: int) -> None:
        """Forget a command, whatever its phase, if it is there."""
        task = self._tasks.pop(tag, None)
        if task is None:
            return
        if task is self.current:
            self.current = None
        elif task.phase is Phase.WAITING:
            self._queue.remove(task)

    def abort_all(self) -> None:
        """Forget every command."""
        self._tasks.clear()
        self._queue.clear()
        self.current = None

    def manage(self, asked: TaskManagementIu) -> tuple[ResponseCode, int]:
        """Do a task management function (SAM-5 chapter 7); return what is to be answered."""
        if asked.function == TaskFunction.I_T_NEXUS_RESET:
            self.abort_all()
            self._unit.lose_nexus()
            return ResponseCode.FUNCTION_COMPLETE, 0
        if asked.function not in _OF_A_UNIT:
            return ResponseCode.FUNCTION_NOT_SUPPORTED, 0
        if asked.lun != 0:
            return ResponseCode.INCORRECT_LOGICAL_UNIT_NUMBER, 0
        match asked.function:
            case TaskFunction.ABORT_TASK:
                self.abort(asked.managed_tag)
            case TaskFunction.ABORT_TASK_SET | TaskFunction.CLEAR_TASK_SET:
                self.abort_all()
            case TaskFunction.LOGICAL_UNIT_RESET:
                self.abort_all()
                self._unit.reset(UNIT_RESET)
            case TaskFunction.QUERY_TASK if asked.managed_tag in self._tasks:
                return ResponseCode.FUNCTION_SUCCEEDED, 0
            case TaskFunction.QUERY_TASK_SET if self._tasks:
                return ResponseCode.FUNCTION_SUCCEEDED, 0
            case TaskFunction.QUERY_ASYNCHRONOUS_EVENT if self._unit.pending_attentions:
                return ResponseCode.FUNCTION_SUCCEEDED, self._event()
        return ResponseCode.FUNCTION_COMPLETE, 0

    def _event(self) -> int:
        """Return which unit attention is the next: its depth, key and code (SAM-5 7.9)."""
        waiting = self._unit.pending_attentions
        depth = 1 if len(waiting) == 1 else 2  # one, or more than one
        first = waiting[0]
        return (depth << 4 | first.key) << 16 | first.asc << 8 | first.ascq


_OF_A_UNIT: Final = (
    TaskFunction.ABORT_TASK,
    TaskFunction.ABORT_TASK_SET,
    TaskFunction.CLEAR_TASK_SET,
    TaskFunction.LOGICAL_UNIT_RESET,
    TaskFunction.QUERY_TASK,
    TaskFunction.QUERY_TASK_SET,
    TaskFunction.QUERY_ASYNCHRONOUS_EVENT,
)
