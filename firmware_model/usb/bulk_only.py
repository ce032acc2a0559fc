"""The device's side of Bulk-Only Transport. Source: BOT 1.0 sections 5 and 6.

Which of the thirteen cases of section 6.7 a command is follows from what the host announced (H)
and what the command block means (D), before anything is executed:

    case            H and D            what happens
    1, 6, 12        agree              the data phase, then status 00 or 01
    4, 5            Hi > D             the data, then IN halts; status 00 or 01
    9               Ho > Dn            OUT halts; status 00 or 01
    11              Ho > Do            all is accepted, the surplus dropped; status 00 or 01
    2, 3            Hn < D             status 02
    7, 8            Hi < Di, Hi <> Do  IN halts; status 02
    10, 13          Ho <> Di, Ho < Do  OUT halts; status 02

A command that ends in status 02 is not executed. What is not a valid and meaningful CBW halts both
endpoints until Reset Recovery (6.6.1). Which case halts, refuses and so on is asked of the
firmware's part for it.
"""

from collections.abc import Set
from enum import Enum, auto
from typing import Final

from firmware_model.firmware.bulk_only_rules import BulkOnlyRules
from firmware_model.firmware.parts import Transport
from firmware_model.usb.descriptors import ENDPOINT_IN, ENDPOINT_OUT
from firmware_model.usb.unit import FirstUnit
from firmware_model.wire.bot import BulkOnlyRequest, Case, Cbw, CswStatus
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.function import Handshake
from firmware_model.wire.scsi import Direction, Transfer
from firmware_model.wire.sense import Sense
from firmware_model.wire.usb import PACKET_BYTES, SetupPacket, Speed

MAX_DATA_BYTES: Final = 16 << 20  # that a command may use of OUT: nothing here buffers without end


class _Phase(Enum):
    COMMAND = auto()
    DATA_OUT = auto()
    DATA_IN = auto()
    STATUS = auto()


class BulkOnly:
    """Wrappers in and out of two bulk endpoints, for one logical unit."""

    endpoints = (ENDPOINT_IN, ENDPOINT_OUT)

    def __init__(self, unit: FirstUnit, rules: Transport | None = None) -> None:
        self._unit = unit
        self._rules = rules or BulkOnlyRules()
        self.restart(Speed.HIGH)

    def restart(self, speed: Speed) -> None:
        """Begin anew, as after a bus reset or SET_CONFIGURATION: no halt, no command pending."""
        self._max_packet_bytes = PACKET_BYTES[speed]
        self._in_is_halted = self._out_is_halted = False
        self._await_command()

    def select(self) -> None:
        """Become the transport in use: no status of it is a RESERVATION CONFLICT."""
        self._unit.use_statuses(False)

    def reset(self) -> None:
        """Bulk-Only Mass Storage Reset: ready for a CBW, while halts stay (BOT 3.1)."""
        self._is_wedged = False
        if self._rules.reset_drops_command():
            self._await_command()
        if self._rules.reset_clears_halts():
            self._in_is_halted = self._out_is_halted = False

    def _await_command(self) -> None:
        self._phase = _Phase.COMMAND
        self._is_wedged = False
        self._cbw = Cbw(0, 0, False, 0, b"\x00")
        self._data = b""
        self._moved = 0  # bytes of the data phase that have passed
        self._ends_halted = False  # the data phase, where the data is short of what was announced
        self._wanted = 0  # bytes of data-out the command uses
        self._received: list[bytes] = []
        self._csw = b""

    def drop_data(self, sense: Sense) -> None:
        """Give the host nothing more of an answer: a command whose data it fetches is refused.

        For a medium that closes: what was read from it must not wait here for the next host.
        """
        self._received = []
        if self._phase is not _Phase.DATA_IN:
            return
        self._data = b""
        self._in_is_halted = True
        self._status(CswStatus.FAILED, self._cbw.data_length - self._moved)
        self._unit.refuse_late(sense)

    @property
    def owes_status(self) -> bool:
        """Whether a command was executed and the host has not been told how it ended."""
        return self._phase in (_Phase.DATA_IN, _Phase.STATUS)

    def is_halted(self, endpoint: int) -> bool:
        """Whether that endpoint answers STALL."""
        return self._in_is_halted if endpoint == ENDPOINT_IN else self._out_is_halted

    def set_halt(self, endpoint: int, is_halted: bool) -> None:
        """Halt an endpoint, or clear its halt; one halted by a bad CBW only Reset can clear."""
        is_halted = is_halted or self._rules.keeps_halt(self._is_wedged)
        if endpoint == ENDPOINT_IN:
            self._in_is_halted = is_halted
            if self._phase is _Phase.STATUS and not is_halted and self._rules.drops_status():
                self._await_command()
        else:
            self._out_is_halted = is_halted

    def request(self, setup: SetupPacket) -> bytes | int | Handshake:
        """Answer a class request to the interface (BOT 3.1, 3.2)."""
        if setup.request == BulkOnlyRequest.GET_MAX_LUN and setup.is_in and setup.length == 1:
            return b"\x00"
        if setup.request == BulkOnlyRequest.RESET and not setup.is_in and setup.length == 0:
            self.reset()
            return 0
        return Handshake.STALL

    def transfer_out(self, endpoint: int, data: bytes, stream: int) -> int | Handshake:
        """Take a transfer to the OUT endpoint; any other stalls."""
        return self.receive(data) if endpoint == ENDPOINT_OUT else Handshake.STALL

    def transfer_in(self, endpoint: int, length: int, stream: int) -> bytes | Handshake:
        """Give a transfer from the IN endpoint; any other stalls."""
        return self.send(length) if endpoint == ENDPOINT_IN else Handshake.STALL

    def cancel(self, endpoint: int, stream: int) -> None:
        """Forget a transfer answered NAK: nothing of it was kept."""

    def ready(self, waiting: Set[tuple[int, int]]) -> Set[tuple[int, int]]:
        """Return which transfers to try again: there is one each way at most."""
        return waiting

    def receive(self, data: bytes) -> int | Handshake:
        """Take one transfer to the OUT endpoint: a CBW, or data."""
        if self._out_is_halted:
            return Handshake.STALL
        if self._phase is _Phase.COMMAND:
            self._command(data)
            return len(data)
        if self._phase is _Phase.DATA_OUT:
            return self._data_out(data)
        return Handshake.NAK

    def send(self, length: int) -> bytes | Handshake:
        """Give one transfer of at most `length` bytes from the IN endpoint: data, or the CSW."""
        if self._in_is_halted:
            return Handshake.STALL
        if self._phase is _Phase.STATUS:
            if length == 0:
                return b""
            self._phase = _Phase.COMMAND
            return self._csw[:length]
        if self._phase is _Phase.DATA_IN:
            return self._data_in(length)
        return Handshake.NAK

    def _data_in(self, length: int) -> bytes:
        chunk = self._data[self._moved : self._moved + length]
        self._moved += len(chunk)
        is_short = self._moved == len(self._data) < self._cbw.data_length
        if is_short and self._ends_halted:
            self._in_is_halted = True
        # A transfer that was filled does not end the phase short of what the host announced: it
        # will ask again, and where nothing is halted an empty answer is what tells it so.
        if self._in_is_halted or self._moved == self._cbw.data_length or len(chunk) < length:
            self._phase = _Phase.STATUS
            self._data = b""
        return chunk

    def _data_out(self, data: bytes) -> int | Handshake:
        self._moved += len(data)
        if self._moved > self._cbw.data_length:
            self._wedge()
            return Handshake.STALL
        room = self._wanted - (self._moved - len(data))
        if room > 0:  # of a surplus, nothing is kept
            self._received.append(data[:room])
        if self._moved == self._cbw.data_length:
            received = self._received
            whole = received[0] if len(received) == 1 else b"".join(received)
            self._received = []
            answer = self._unit.execute(self._cbw.cdb, whole)
            self._end(answer.sense, min(self._wanted, len(whole)))
        elif len(data) % self._max_packet_bytes or not data:
            # A short packet: the host ends a data phase that it announced to be longer.
            self._received = []
            self._status(CswStatus.PHASE_ERROR, self._cbw.data_length)
        return len(data)

    def _wedge(self) -> None:
        self._is_wedged = True
        self._in_is_halted = self._out_is_halted = True

    def _status(self, status: CswStatus, residue: int) -> None:
        self._csw = self._rules.wrap(self._cbw.tag, residue, status).encode()
        self._phase = _Phase.STATUS

    def _end(self, sense: Sense | None, processed: int) -> None:
        """Queue the status of an executed command; a refused one has processed nothing of OUT."""
        done = 0 if sense else processed
        self._status(_status_of(sense), self._cbw.data_length - done)

    def _command(self, data: bytes) -> None:
        try:
            cbw = Cbw.decode(data)
        except DecodeError:
            self._wedge()
            return
        if cbw.lun != 0:  # not meaningful: GET MAX LUN said that there is one
            self._wedge()
            return
        self._cbw = cbw
        self._moved = 0
        transfer = self._unit.transfer(cbw.cdb)
        case = case_of(cbw, transfer)
        if case <= Case.HN_LT_DO:
            self._without_data(case)
        elif cbw.is_in:
            self._begin_in(case)
        else:
            wanted = cbw.data_length if transfer.length is None else transfer.length
            self._begin_out(case, wanted)

    def _refuse(self, case: Case) -> None:
        """End a command that is not executed."""
        is_halted = self._rules.halts(case)
        if self._cbw.is_in:
            self._in_is_halted |= is_halted
        else:
            self._out_is_halted |= is_halted
        self._status(CswStatus.PHASE_ERROR, self._cbw.data_length)

    def _without_data(self, case: Case) -> None:
        if self._rules.refuses(case):
            self._status(CswStatus.PHASE_ERROR, 0)
            return
        answer = self._unit.execute(self._cbw.cdb, b"")
        self._end(answer.sense, 0)

    def _begin_in(self, case: Case) -> None:
        if self._rules.refuses(case):
            self._refuse(case)
            return
        length = self._cbw.data_length
        answer = self._unit.execute(self._cbw.cdb, b"")
        data = answer.data[:length]
        if len(answer.data) > length and self._rules.refuses(Case.HI_LT_DI):
            self._status(CswStatus.PHASE_ERROR, 0)  # it said before that it would send less
        else:
            self._status(_status_of(answer.sense), length - len(data))
        self._ends_halted = self._rules.halts(Case.HI_GT_DI if data else Case.HI_GT_DN)
        if data:
            self._data = data
            self._phase = _Phase.DATA_IN
        else:
            self._in_is_halted |= self._ends_halted

    def _begin_out(self, case: Case, wanted: int) -> None:
        if self._rules.refuses(case):
            self._refuse(case)
        elif wanted == 0:
            self._out_is_halted |= self._rules.halts(case)
            answer = self._unit.execute(self._cbw.cdb, b"")
            self._end(answer.sense, 0)
        else:
            self._wanted = wanted
            self._received = []
            self._phase = _Phase.DATA_OUT


def case_of(cbw: Cbw, transfer: Transfer) -> Case:
    """Return which of the thirteen cases a command is.

    More than is ever buffered counts as more than the host sends.
    """
    host, device = cbw.data_length, transfer.length
    if device is None:  # a vendor's command moves what the host announces
        if not host:
            return Case.HN_EQ_DN
        if cbw.is_in:
            return Case.HI_EQ_DI
        return Case.HO_EQ_DO if host <= MAX_DATA_BYTES else Case.HO_LT_DO
    is_in = transfer.direction is Direction.IN
    if not device or transfer.direction is None:
        if not host:
            return Case.HN_EQ_DN
        return Case.HI_GT_DN if cbw.is_in else Case.HO_GT_DN
    if not host:
        return Case.HN_LT_DI if is_in else Case.HN_LT_DO
    if cbw.is_in:
        if not is_in:
            return Case.HI_NE_DO
        return _compared(host, device, Case.HI_GT_DI, Case.HI_EQ_DI, Case.HI_LT_DI)
    if is_in:
        return Case.HO_NE_DI
    if device > MAX_DATA_BYTES:
        return Case.HO_LT_DO
    return _compared(host, device, Case.HO_GT_DO, Case.HO_EQ_DO, Case.HO_LT_DO)


def _compared(host: int, device: int, more: Case, equal: Case, less: Case) -> Case:
    if host == device:
        return equal
    return more if host > device else less


def _status_of(sense: Sense | None) -> CswStatus:
    """Return how a command ended: asked twice, so that no one verdict turns a refusal."""
    if sense is not None:
        return CswStatus.FAILED
    return CswStatus.PASSED if sense is None else CswStatus.FAILED
