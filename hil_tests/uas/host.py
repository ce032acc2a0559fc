"""A host that queues commands by UAS as Linux does: many at once, at either kind of speed.

It posts a read of the status pipe and, where there are streams, the data's transfer before it sends
a command; without streams, the data's transfer once the drive says that it is ready. A transfer
that is answered NAK is tried again only when the drive says so, and names it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_model.usb.descriptors import PIPES
from firmware_model.wire.function import BusEvent, Handshake, UsbFunction
from firmware_model.wire.scsi import ScsiStatus
from firmware_model.wire.sense import Sense
from firmware_model.wire.uas import (
    CommandIu,
    FromDrive,
    PipeId,
    ReadyIu,
    ResponseCode,
    ResponseIu,
    SenseIu,
    TaskAttribute,
    TaskFunction,
    TaskManagementIu,
    decode_from_drive,
)
from firmware_model.wire.usb import SetupPacket, Speed

COMMAND, STATUS = PIPES[PipeId.COMMAND], PIPES[PipeId.STATUS]
DATA_IN, DATA_OUT = PIPES[PipeId.DATA_IN], PIPES[PipeId.DATA_OUT]
SET_CONFIGURATION = SetupPacket(0x00, 9, 1, 0, 0)
SELECT_UAS = SetupPacket(0x01, 11, 1, 0, 0)
STATUS_BYTES = 112  # what Linux reads: 16 and 96 of sense data

Answer = bytes | int | Handshake


@dataclass(slots=True)
class Ended:
    """How a command ended, as far as the host has heard."""

    status: ScsiStatus | None = None
    sense: Sense | None = None
    data: bytes = b""
    response: ResponseCode | None = None


@dataclass(slots=True)
class _Transfer:
    endpoint: int
    stream: int
    run: Callable[[], Answer]
    done: Callable[[Answer], None]
    tag: int


@dataclass(slots=True)
class _Command:
    data_out: bytes
    in_length: int
    keeps_data: bool = False  # until `give_data`
    ended: Ended = field(default_factory=Ended)


class UasHost:
    """Attach a function at some speed, select UAS, and run commands by tag."""

    def __init__(self, function: UsbFunction, speed: Speed = Speed.HIGH) -> None:
        self.function = function
        self.has_streams = speed is Speed.SUPER
        self.units: list[FromDrive] = []  # all that came by the status pipe
        self.failed: list[tuple[int, Handshake]] = []  # endpoint and what it said
        self._commands: dict[int, _Command] = {}
        self._posted: list[_Transfer] = []
        self._is_due = False
        function.bus(BusEvent.ATTACH, speed)
        function.bus(BusEvent.RESET)
        function.on_ready(self._wake)
        assert function.control(SET_CONFIGURATION) == 0
        assert function.control(SELECT_UAS) == 0

    def execute(self, cdb: bytes, data_out: bytes = b"", in_length: int = 0) -> Ended:
        """Run one command to its end."""
        tag = next(tag for tag in range(1, 33) if tag not in self._commands)
        self.queue(tag, cdb, data_out, in_length)
        return self.take(tag)

    def queue(
        self,
        tag: int,
        cdb: bytes,
        data_out: bytes = b"",
        in_length: int = 0,
        attribute: TaskAttribute = TaskAttribute.SIMPLE,
        lun: int = 0,
        keeps_data: bool = False,
    ) -> None:
        """Send one command and let everything run as far as it goes.

        One that keeps its data holds up all that come after it.
        """
        self._commands[tag] = _Command(data_out, in_length, keeps_data)
        self._post_status(tag)
        if self.has_streams:
            self._post_data(tag, bool(data_out), bool(in_length))
        self.send(CommandIu(tag, cdb, lun, attribute).encode(), tag)

    def give_data(self, tag: int) -> None:
        """Send the data-out that a command kept."""
        self._commands[tag].keeps_data = False
        self._post_data(tag, is_out=True, is_in=False)

    def manage(
        self, function: TaskFunction | int, managed_tag: int = 0, lun: int = 0, tag: int = 32
    ) -> ResponseCode | None:
        """Run a task management function; None when nothing came back."""
        self._commands.setdefault(tag, _Command(b"", 0))
        self._post_status(tag)
        self.send(TaskManagementIu(tag, function, managed_tag, lun).encode(), tag)
        return self.take(tag).response

    def send(self, unit: bytes, tag: int = 0) -> None:
        """Send bytes by the command pipe."""
        self._post(COMMAND, 0, tag, lambda: self.function.transfer_out(COMMAND, unit))

    def ended(self, tag: int) -> Ended:
        """Return what is known of a command."""
        return self._commands[tag].ended

    def take(self, tag: int) -> Ended:
        """Return what is known of a command, and give up what is still posted for it."""
        ended = self._commands.pop(tag).ended
        self._withdraw(tag, DATA_IN, DATA_OUT)
        if ended.status is None and ended.response is None:
            # Without streams any read of the status pipe is as good as any other.
            self._withdraw(tag if self.has_streams else None, STATUS, most=1)
        return ended

    @property
    def posted(self) -> int:
        """How many transfers the drive has not answered."""
        return len(self._posted)

    # --- inside ---------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._is_due = True

    def _post(
        self,
        endpoint: int,
        stream: int,
        tag: int,
        run: Callable[[], Answer],
        done: Callable[[Answer], None] = lambda answer: None,
    ) -> None:
        transfer = _Transfer(endpoint, stream, run, done, tag)
        self._posted.append(transfer)
        self._try(transfer)
        while self._is_due:
            self._is_due = False
            which = self.function.ready()
            for each in tuple(self._posted):
                is_named = which is None or (each.endpoint, each.stream) in which
                if is_named and each in self._posted:
                    self._try(each)

    def _try(self, transfer: _Transfer) -> None:
        answer = transfer.run()
        if answer is Handshake.NAK:
            return
        self._posted.remove(transfer)
        if isinstance(answer, Handshake):
            self.failed.append((transfer.endpoint, answer))
        else:
            transfer.done(answer)

    def _withdraw(self, tag: int | None, *endpoints: int, most: int = 2) -> None:
        found = [each for each in self._posted if each.endpoint in endpoints]
        for each in [one for one in found if tag in (None, one.tag)][:most]:
            self._posted.remove(each)
            self.function.cancel(each.endpoint, each.stream)

    def _post_status(self, tag: int) -> None:
        stream = tag if self.has_streams else 0
        self._post(
            STATUS,
            stream,
            tag,
            lambda: self.function.transfer_in(STATUS, STATUS_BYTES, stream),
            self._heard,
        )

    def _post_data(self, tag: int, is_out: bool, is_in: bool) -> None:
        command, stream = self._commands[tag], tag if self.has_streams else 0
        if is_out and not command.keeps_data:
            self._post(
                DATA_OUT,
                stream,
                tag,
                lambda: self.function.transfer_out(DATA_OUT, command.data_out, stream),
            )
        if is_in:
            self._post(
                DATA_IN,
                stream,
                tag,
                lambda: self.function.transfer_in(DATA_IN, command.in_length, stream),
                lambda answer: self._got(command, answer),
            )

    @staticmethod
    def _got(command: _Command, answer: Answer) -> None:
        assert isinstance(answer, bytes)
        command.ended.data += answer

    def _heard(self, answer: Answer) -> None:
        assert isinstance(answer, bytes)
        unit = decode_from_drive(answer)
        self.units.append(unit)
        command = self._commands.get(unit.tag)
        if command is None:
            return
        match unit:
            case ReadyIu():
                self._post_status(unit.tag)
                self._post_data(unit.tag, unit.is_write, not unit.is_write)
            case SenseIu():
                command.ended.status = unit.status
                command.ended.sense = Sense.decode(unit.sense) if unit.sense else None
                if unit.status is not ScsiStatus.GOOD:
                    self._withdraw(unit.tag, DATA_IN, DATA_OUT)
            case ResponseIu():
                command.ended.response = unit.code
                self._withdraw(unit.tag, DATA_IN, DATA_OUT)
