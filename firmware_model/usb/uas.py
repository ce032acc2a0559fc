"""The device's side of USB Attached SCSI. Source: UAS; SAM-5 chapters 5, 7, 8.

Commands wait in one queue and are obeyed one after the other, in order but for those that go to its
head. Each is told apart by its tag: at SuperSpeed, its data and status go by the stream of that
number; below, READ READY and WRITE READY say whose data the data pipes carry next.

    command pipe      COMMAND, TASK MANAGEMENT
    status pipe       READ READY or WRITE READY (without streams), then SENSE; RESPONSE
    data pipes        the data of the command that is being obeyed

A data-in phase ends when all data was fetched, a data-out phase when all that the command takes
came, or with a short packet. Nothing here says how much a host expects, so a command takes and
gives what its CDB says; a vendor's command, of which nothing is known, takes nothing.
"""

from collections import deque
from collections.abc import Set
from enum import Enum, auto
from typing import Final, NamedTuple

from firmware_model.usb.bulk_only import MAX_DATA_BYTES
from firmware_model.usb.descriptors import PACKET_BYTES, PIPES, STREAM_COUNT
from firmware_model.usb.unit import Answer, FirstUnit, Unit
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.function import Handshake
from firmware_model.wire.scsi import Direction, ScsiStatus
from firmware_model.wire.sense import (
    DATA_PHASE_ERROR,
    INVALID_FIELD_IN_CDB,
    INVALID_MESSAGE,
    NEXUS_LOSS,
    UNIT_RESET,
    Sense,
)
from firmware_model.wire.uas import (
    CommandIu,
    PipeId,
    ReadyIu,
    ResponseCode,
    ResponseIu,
    SenseIu,
    TaskAttribute,
    TaskFunction,
    TaskManagementIu,
    decode_to_drive,
    tag_of,
)
from firmware_model.wire.usb import SetupPacket, Speed

COMMAND: Final = PIPES[PipeId.COMMAND]
STATUS: Final = PIPES[PipeId.STATUS]
DATA_IN: Final = PIPES[PipeId.DATA_IN]
DATA_OUT: Final = PIPES[PipeId.DATA_OUT]
TASKS_MAX: Final = STREAM_COUNT
UNITS_MAX: Final = 2 * TASKS_MAX  # that wait on the status pipe before the command pipe does


class _Phase(Enum):
    WAITING = auto()
    DATA_OUT = auto()
    DATA_IN = auto()
    ENDED = auto()  # its status is not fetched yet


class _Task:
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
        self.phase = _Phase.WAITING
        self.status = ScsiStatus.GOOD  # how it is to end, as far as that is known
        self.sense = b""
        self.data = b""  # for the host
        self.moved = 0  # bytes of the data phase that have passed
        self.wanted = 0  # bytes of data-out that it uses
        self.received: list[bytes] = []

    def refuse(self, sense: Sense) -> None:
        """Have it end in CHECK CONDITION."""
        self.status = ScsiStatus.CHECK_CONDITION
        self.sense = self.unit.autosense(sense)


class _Waiting(NamedTuple):
    """A unit that the host is to fetch from the status pipe."""

    tag: int
    data: bytes
    ends_command: bool


class UsbAttachedScsi:
    """Information units in and out of four bulk endpoints, for one logical unit."""

    endpoints = tuple(PIPES.values())

    def __init__(self, unit: FirstUnit, absent: Unit) -> None:
        self._unit = unit
        self._absent = absent  # answers for every other LUN
        self.restart(Speed.HIGH)

    def restart(self, speed: Speed) -> None:
        """Begin anew, as after a bus reset or SET_INTERFACE: no halt, no command pending."""
        self._packet_bytes = PACKET_BYTES[speed]
        self._has_streams = speed is Speed.SUPER
        self._halted: set[int] = set()
        self._awaited: set[tuple[int, int]] = set()  # data transfers answered NAK, on streams
        self._tasks: dict[int, _Task] = {}  # by tag; all of the above phases
        self._queue: deque[_Task] = deque()  # of those that wait
        self._current: _Task | None = None  # the one in a data phase
        self._units: list[_Waiting] = []

    def drop_data(self, sense: Sense) -> None:
        """Give the host nothing more of an answer: a command whose data it fetches is refused.

        For a medium that closes: what was read from it must not wait here for the next host. A
        transfer of it that the host has begun ends short.
        """
        task = self._current
        if task is None:
            return
        task.received = []
        if task.phase is _Phase.DATA_IN:
            task.data, task.moved = b"", 0
        task.refuse(sense)

    @property
    def owes_status(self) -> bool:
        """Whether a command was executed and the host has not been told how it ended."""
        return any(task.phase in (_Phase.DATA_IN, _Phase.ENDED) for task in self._tasks.values())

    def is_halted(self, endpoint: int) -> bool:
        """Whether that endpoint answers STALL."""
        return endpoint in self._halted

    def set_halt(self, endpoint: int, is_halted: bool) -> None:
        """Halt an endpoint, or clear its halt."""
        (self._halted.add if is_halted else self._halted.discard)(endpoint)

    def request(self, setup: SetupPacket) -> bytes | int | Handshake:
        """Answer a class request: there is none."""
        return Handshake.STALL

    def cancel(self, endpoint: int, stream: int) -> None:
        """Forget a transfer that was answered NAK."""
        self._awaited.discard((endpoint, stream))

    def ready(self, waiting: Set[tuple[int, int]]) -> Set[tuple[int, int]]:
        """Return which transfers may end otherwise than in NAK, obeying what waits to be obeyed."""
        self._advance()
        found = {(STATUS, unit.tag if self._has_streams else 0) for unit in self._units}
        if len(self._units) < UNITS_MAX:
            found.add((COMMAND, 0))
        task = self._current
        if task is not None:
            pipe = DATA_IN if task.phase is _Phase.DATA_IN else DATA_OUT
            found.add((pipe, task.command.tag if self._has_streams else 0))
        return {each for each in waiting if each in found or each[0] in self._halted}

    def transfer_out(self, endpoint: int, data: bytes, stream: int) -> int | Handshake:
        """Take a unit by the command pipe, or data; on a stream where the speed has them."""
        if endpoint in self._halted:
            return Handshake.STALL
        if endpoint == COMMAND and not stream:
            return self._receive(data)
        if endpoint == DATA_OUT and self._is_known(stream):
            return self._data_out(data, stream)
        return Handshake.STALL

    def transfer_in(self, endpoint: int, length: int, stream: int) -> bytes | Handshake:
        """Give a unit by the status pipe, or data; on a stream where the speed has them."""
        if endpoint in self._halted or not self._is_known(stream):
            return Handshake.STALL
        if endpoint == STATUS:
            return self._status(length, stream)
        if endpoint == DATA_IN:
            return self._data_in(length, stream)
        return Handshake.STALL

    def _is_known(self, stream: int) -> bool:
        return 1 <= stream <= STREAM_COUNT if self._has_streams else stream == 0

    # --- the command pipe -----------------------------------------------------------------------

    def _receive(self, data: bytes) -> int | Handshake:
        if len(self._units) >= UNITS_MAX:
            return Handshake.NAK
        tag = tag_of(data)
        if tag is None or (self._has_streams and not 1 <= tag <= STREAM_COUNT):
            self._halted.add(COMMAND)  # there is no tag, or no stream, to answer by
            return Handshake.STALL
        try:
            unit = decode_to_drive(data)
        except DecodeError:
            self._respond(tag, ResponseCode.INVALID_INFORMATION_UNIT)
            return len(data)
        if unit.tag == 0:
            self._respond(tag, ResponseCode.INVALID_INFORMATION_UNIT)
        elif isinstance(unit, TaskManagementIu):
            in_use = tag in self._tasks
            self._respond(tag, ResponseCode.OVERLAPPED_TAG if in_use else self._manage(unit))
        else:
            self._accept(unit)
            self._advance()
        return len(data)

    def _respond(self, tag: int, code: ResponseCode) -> None:
        self._units.append(_Waiting(tag, ResponseIu(tag, code).encode(), False))

    def _accept(self, command: CommandIu) -> None:
        tag = command.tag
        if tag in self._tasks:
            self._abort_all()  # which of the two the host means, nobody knows (SAM-5 5.11)
            self._respond(tag, ResponseCode.OVERLAPPED_TAG)
            return
        if len(self._tasks) >= TASKS_MAX:
            full = SenseIu(tag, ScsiStatus.TASK_SET_FULL)
            self._units.append(_Waiting(tag, full.encode(), False))
            return
        task = _Task(command, self._unit if command.lun == 0 else self._absent)
        self._tasks[tag] = task
        if command.attribute is TaskAttribute.HEAD_OF_QUEUE:
            self._queue.appendleft(task)
        else:  # one that is simple need not be obeyed earlier than one that is ordered
            self._queue.append(task)

    # --- task management ------------------------------------------------------------------------

    def _manage(self, unit: TaskManagementIu) -> ResponseCode:
        """Do a task management function (SAM-5 chapter 7); there is one nexus and no ACA."""
        function = unit.function
        if function == TaskFunction.I_T_NEXUS_RESET:
            self._abort_all()
            self._unit.reset(NEXUS_LOSS)
            return ResponseCode.FUNCTION_COMPLETE
        if function not in _MANAGED:
            return ResponseCode.FUNCTION_NOT_SUPPORTED
        if unit.lun != 0:
            return ResponseCode.INCORRECT_LOGICAL_UNIT_NUMBER
        has_task = bool(self._tasks)
        match function:
            case TaskFunction.ABORT_TASK:
                self._abort(unit.managed_tag)
            case TaskFunction.ABORT_TASK_SET | TaskFunction.CLEAR_TASK_SET:
                self._abort_all()
            case TaskFunction.LOGICAL_UNIT_RESET:
                self._abort_all()
                self._unit.reset(UNIT_RESET)
            case TaskFunction.QUERY_TASK if unit.managed_tag in self._tasks:
                return ResponseCode.FUNCTION_SUCCEEDED
            case TaskFunction.QUERY_TASK_SET if has_task:
                return ResponseCode.FUNCTION_SUCCEEDED
        return ResponseCode.FUNCTION_COMPLETE

    def _abort(self, tag: int) -> None:
        task = self._tasks.pop(tag, None)
        if task is None:
            return
        if task is self._current:
            self._current = None
        elif task.phase is _Phase.WAITING:
            self._queue.remove(task)
        self._units = [each for each in self._units if each.tag != tag]

    def _abort_all(self) -> None:
        for tag in tuple(self._tasks):
            self._abort(tag)

    # --- obeying --------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Obey what waits, up to a command that has data to move."""
        while self._current is None and self._queue:
            task = self._queue.popleft()
            self._current = task
            transfer = task.unit.transfer(task.command.cdb)
            is_out = transfer.direction is Direction.OUT
            task.wanted = (transfer.length or 0) if is_out else 0
            if task.command.attribute is TaskAttribute.ACA:  # there is no such condition here
                task.refuse(INVALID_MESSAGE)
                self._close(task)
            elif task.wanted > MAX_DATA_BYTES:
                task.refuse(INVALID_FIELD_IN_CDB)
                self._close(task)
            elif task.wanted:
                self._open(task, _Phase.DATA_OUT)
            else:
                self._execute(task, b"")

    def _open(self, task: _Task, phase: _Phase) -> None:
        """Begin a data phase."""
        task.phase, task.moved = phase, 0
        if not self._has_streams:
            tag = task.command.tag
            ready = ReadyIu(tag, is_write=phase is _Phase.DATA_OUT)
            self._units.append(_Waiting(tag, ready.encode(), False))

    def _execute(self, task: _Task, data_out: bytes) -> None:
        answer = task.unit.execute(task.command.cdb, data_out)
        task.status, task.sense = _status_of(answer), b""
        if task.status is ScsiStatus.CHECK_CONDITION and answer.sense is not None:
            task.refuse(answer.sense)
        task.data = answer.data
        if task.data:
            self._open(task, _Phase.DATA_IN)
        else:
            self._close(task)

    def _close(self, task: _Task) -> None:
        """End a command without more data: but first what the host's transfers wait for.

        Hosts that use streams have them wait before they send the command, and learn from a short
        one that there is no data; without this they would wait for good.
        """
        tag = task.command.tag
        task.wanted = task.moved = 0
        task.data = b""
        if (DATA_IN, tag) in self._awaited:
            task.phase = _Phase.DATA_IN
        elif (DATA_OUT, tag) in self._awaited:
            task.phase = _Phase.DATA_OUT
        else:
            self._end(task)

    def _end(self, task: _Task) -> None:
        """Have the host told how a command ended."""
        if task is self._current:
            self._current = None
        task.phase, task.data = _Phase.ENDED, b""
        tag = task.command.tag
        self._units.append(_Waiting(tag, SenseIu(tag, task.status, task.sense).encode(), True))

    # --- data and status ------------------------------------------------------------------------

    def _task_in(self, phase: _Phase, stream: int) -> _Task | None:
        """Return the command whose data goes by a data pipe, on that stream where it has one."""
        if self._current is None:
            self._advance()
        task = self._current
        if task is None or task.phase is not phase:
            return None
        return task if stream in (0, task.command.tag) else None

    def _data_in(self, length: int, stream: int) -> bytes | Handshake:
        task = self._task_in(_Phase.DATA_IN, stream)
        if task is None:
            return self._wait(DATA_IN, stream)
        self._awaited.discard((DATA_IN, stream))
        chunk = task.data[task.moved : task.moved + length]
        task.moved += len(chunk)
        if task.moved == len(task.data):
            self._end(task)
        return chunk

    def _data_out(self, data: bytes, stream: int) -> int | Handshake:
        task = self._task_in(_Phase.DATA_OUT, stream)
        if task is None:
            return self._wait(DATA_OUT, stream)
        self._awaited.discard((DATA_OUT, stream))
        if not task.wanted:  # nobody waits for it but the host
            self._end(task)
            return len(data)
        task.received.append(data[: task.wanted - task.moved])
        task.moved += len(data)
        if task.moved < task.wanted and data and not len(data) % self._packet_bytes:
            return len(data)
        received = b"".join(task.received)
        task.received = []
        if task.status is not ScsiStatus.GOOD:  # refused meanwhile
            self._end(task)
        elif len(received) < task.wanted:
            task.refuse(DATA_PHASE_ERROR)
            self._end(task)
        else:
            self._execute(task, received)
        return len(data)

    def _wait(self, endpoint: int, stream: int) -> Handshake:
        if self._has_streams:
            self._awaited.add((endpoint, stream))
        return Handshake.NAK

    def _status(self, length: int, stream: int) -> bytes | Handshake:
        unit = self._unit_for(stream)
        if unit is None:
            self._advance()
            unit = self._unit_for(stream)
        if unit is None:
            return Handshake.NAK
        if length == 0:
            return b""
        self._units.remove(unit)
        if unit.ends_command:
            del self._tasks[unit.tag]
        return unit.data[:length]

    def _unit_for(self, stream: int) -> _Waiting | None:
        """Return the first unit for a stream; without streams, the first of all."""
        for unit in self._units:
            if stream in (0, unit.tag):
                return unit
        return None


_MANAGED: Final = (
    TaskFunction.ABORT_TASK,
    TaskFunction.ABORT_TASK_SET,
    TaskFunction.CLEAR_TASK_SET,
    TaskFunction.LOGICAL_UNIT_RESET,
    TaskFunction.QUERY_TASK,
    TaskFunction.QUERY_TASK_SET,
)


def _status_of(answer: Answer) -> ScsiStatus:
    """Return how a command ended: asked twice, so that no one verdict turns a refusal."""
    status = answer.status
    if status is ScsiStatus.GOOD and answer.sense is not None:
        return ScsiStatus.CHECK_CONDITION
    return status
