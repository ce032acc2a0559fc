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

from collections.abc import Set
from typing import Final, NamedTuple

from firmware_model.usb.bulk_only import MAX_DATA_BYTES
from firmware_model.usb.descriptors import PIPES, STREAM_COUNT
from firmware_model.usb.task_set import Phase, Task, TaskSet
from firmware_model.usb.unit import Answer, FirstUnit, Unit
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.function import Handshake
from firmware_model.wire.scsi import Direction, ScsiStatus
from firmware_model.wire.sense import (
    DATA_PHASE_ERROR,
    INVALID_FIELD_IN_CDB,
    INVALID_MESSAGE,
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
    TaskManagementIu,
    decode_to_drive,
    tag_of,
)
from firmware_model.wire.usb import PACKET_BYTES, SetupPacket, Speed

COMMAND: Final = PIPES[PipeId.COMMAND]
STATUS: Final = PIPES[PipeId.STATUS]
DATA_IN: Final = PIPES[PipeId.DATA_IN]
DATA_OUT: Final = PIPES[PipeId.DATA_OUT]
TASKS_MAX: Final = STREAM_COUNT
UNITS_MAX: Final = 2 * TASKS_MAX  # that wait on the status pipe before the command pipe does


class _Waiting(NamedTuple):
    """A unit that the host is to fetch from the status pipe."""

    tag: int
    data: bytes
    task: Task | None = None  # the command it is about
    ends_task: bool = False


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
        self._tasks = TaskSet(self._unit)
        self._units: list[_Waiting] = []

    def select(self) -> None:
        """Become the transport in use, which carries every status."""
        self._unit.use_statuses(True)

    def drop_data(self, sense: Sense) -> None:
        """Give the host nothing more of an answer: a command whose data it fetches is refused.

        For a medium that closes: what was read from it must not wait here for the next host. A
        transfer of it that the host has begun ends short.
        """
        task = self._tasks.current
        if task is None:
            return
        task.received = []
        if task.phase is Phase.DATA_IN:
            task.data, task.moved = b"", 0
        task.refuse(sense)

    @property
    def owes_status(self) -> bool:
        """Whether a command was executed and the host has not been told how it ended."""
        return self._tasks.owes_status

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
        task = self._tasks.current
        if task is not None:
            pipe = DATA_IN if task.phase is Phase.DATA_IN else DATA_OUT
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
            if tag in self._tasks:
                self._respond(tag, ResponseCode.OVERLAPPED_TAG)
            else:
                self._respond(tag, *self._tasks.manage(unit))
                self._drop_units()
        else:
            self._accept(unit)
            self._advance()
        return len(data)

    def _respond(self, tag: int, code: ResponseCode, information: int = 0) -> None:
        self._units.append(_Waiting(tag, ResponseIu(tag, code, information).encode()))

    def _accept(self, command: CommandIu) -> None:
        tag = command.tag
        if tag in self._tasks:
            self._tasks.abort_all()  # which of the two the host means, nobody knows (SAM-5 5.11)
            self._drop_units()
            self._respond(tag, ResponseCode.OVERLAPPED_TAG)
            return
        if len(self._tasks) >= TASKS_MAX:
            full = SenseIu(tag, ScsiStatus.TASK_SET_FULL)
            self._units.append(_Waiting(tag, full.encode()))
            return
        self._tasks.add(Task(command, self._unit if command.lun == 0 else self._absent))

    def _drop_units(self) -> None:
        """Tell nothing more of commands that were aborted."""
        self._units = [
            each for each in self._units if each.task is None or self._tasks.has(each.task)
        ]

    # --- obeying --------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Obey what waits, up to a command that has data to move."""
        while task := self._tasks.begin():
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
                self._open(task, Phase.DATA_OUT)
            else:
                self._execute(task, b"")

    def _open(self, task: Task, phase: Phase) -> None:
        """Begin a data phase."""
        task.phase, task.moved = phase, 0
        if not self._has_streams:
            tag = task.command.tag
            ready = ReadyIu(tag, is_write=phase is Phase.DATA_OUT)
            self._units.append(_Waiting(tag, ready.encode(), task))

    def _execute(self, task: Task, data_out: bytes) -> None:
        answer = task.unit.execute(task.command.cdb, data_out)
        task.status, task.sense = _status_of(answer), b""
        if task.status is ScsiStatus.CHECK_CONDITION and answer.sense is not None:
            task.refuse(answer.sense)
        task.data = answer.data
        if task.data:
            self._open(task, Phase.DATA_IN)
        else:
            self._close(task)

    def _close(self, task: Task) -> None:
        """End a command without more data: but first what the host's transfers wait for.

        Hosts that use streams have them wait before they send the command, and learn from a short
        one that there is no data; without this they would wait for good.
        """
        tag = task.command.tag
        task.wanted = task.moved = 0
        task.data = b""
        if (DATA_IN, tag) in self._awaited:
            task.phase = Phase.DATA_IN
        elif (DATA_OUT, tag) in self._awaited:
            task.phase = Phase.DATA_OUT
        else:
            self._end(task)

    def _end(self, task: Task) -> None:
        """Have the host told how a command ended."""
        self._tasks.end(task)
        tag = task.command.tag
        ending = SenseIu(tag, task.status, task.sense)
        self._units.append(_Waiting(tag, ending.encode(), task, ends_task=True))

    # --- data and status ------------------------------------------------------------------------

    def _task_in(self, phase: Phase, stream: int) -> Task | None:
        """Return the command whose data goes by a data pipe, on that stream where it has one."""
        if self._tasks.current is None:
            self._advance()
        task = self._tasks.current
        if task is None or task.phase is not phase:
            return None
        return task if stream in (0, task.command.tag) else None

    def _data_in(self, length: int, stream: int) -> bytes | Handshake:
        task = self._task_in(Phase.DATA_IN, stream)
        if task is None:
            return self._wait(DATA_IN, stream)
        self._awaited.discard((DATA_IN, stream))
        chunk = task.data[task.moved : task.moved + length]
        task.moved += len(chunk)
        if task.moved == len(task.data):
            self._end(task)
        return chunk

    def _data_out(self, data: bytes, stream: int) -> int | Handshake:
        task = self._task_in(Phase.DATA_OUT, stream)
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
        if unit.ends_task:
            self._tasks.remove(unit.tag)
        return unit.data[:length]

    def _unit_for(self, stream: int) -> _Waiting | None:
        """Return the first unit for a stream; without streams, the first of all."""
        for unit in self._units:
            if stream in (0, unit.tag):
                return unit
        return None


def _status_of(answer: Answer) -> ScsiStatus:
    """Return how a command ended: asked twice, so that no one verdict turns a refusal."""
    status = answer.status
    if status is ScsiStatus.GOOD and answer.sense is not None:
        return ScsiStatus.CHECK_CONDITION
    return status
