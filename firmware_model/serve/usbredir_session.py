"""A guest of USB redirection and the device it has. We are the usb-host, it is the usb-guest.

Every data packet is answered once, whatever becomes of it: cancelled, dropped by a selection or a
reset, or sent after the device has left. A guest keeps the id of what it cancelled until then, and
would take the answer to a later packet of that id for it.

When the device leaves, the guest keeps its connection, and gets the device again when it is back.
"""

import socket
from typing import Final

from firmware_model.serve.port import Answer, Port, Transfer
from firmware_model.serve.usbredir_link import GuestLink, Received
from firmware_model.serve.usbredir_selection import (
    NO_ALT_SETTING,
    SELECTS_ALT_SETTING,
    SELECTS_CONFIGURATION,
    Selection,
)
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.function import Handshake
from firmware_model.wire.setup import DIRECTION_IN, Request, SetupPacket
from firmware_model.wire.usbredir import Body, PacketType, Status
from firmware_model.wire.usbredir_device import (
    AltSettingStatus,
    ConfigurationStatus,
    GetAltSetting,
    SetAltSetting,
    SetConfiguration,
)
from firmware_model.wire.usbredir_packets import decode_filter
from firmware_model.wire.usbredir_transfers import (
    AllocBulkStreams,
    BulkPacket,
    BulkStreamsStatus,
    ControlPacket,
    FreeBulkStreams,
    InterruptPacket,
    InterruptReceivingStatus,
    IsoPacket,
    IsoStreamStatus,
    StartBulkReceiving,
    StartInterruptReceiving,
    StartIsoStream,
    StopBulkReceiving,
    StopInterruptReceiving,
    StopIsoStream,
)

NAME: Final = "sedlab"
DataPacket = ControlPacket | BulkPacket | InterruptPacket


class _Moving(Transfer):
    """A data packet on its way."""

    __slots__ = ("number", "packet", "session")

    def __init__(self, session: "Session", number: int, packet: DataPacket, data: bytes) -> None:
        if isinstance(packet, ControlPacket):
            super().__init__(0, packet.length, data, packet.setup)
        else:
            stream = packet.stream_id if isinstance(packet, BulkPacket) else 0
            super().__init__(packet.endpoint, packet.length, data, None, stream)
        self.session = session
        self.number = number
        self.packet = packet

    def done(self, answer: Answer) -> None:
        """Tell the guest."""
        if isinstance(answer, Handshake):
            self.session.moved(self, _status_of(answer), 0)
        elif isinstance(answer, int):
            self.session.moved(self, Status.SUCCESS, answer)
        elif len(answer) > self.length:
            self.session.moved(self, Status.BABBLE, 0)
        else:
            self.session.moved(self, Status.SUCCESS, len(answer), answer)


class _Selecting(Transfer):
    """A request about what is selected."""

    __slots__ = ("number", "session")

    def __init__(self, session: "Session", number: int, setup: SetupPacket) -> None:
        super().__init__(0, setup.length, setup=setup)
        self.session = session
        self.number = number

    def done(self, answer: Answer) -> None:
        """Tell the guest."""
        self.session.selected(self, answer)


class Session:
    """A guest: the Host of a port. The port's lock guards all that is in here."""

    def __init__(self, stream: socket.socket, port: Port) -> None:
        self._link = GuestLink(stream)
        self._port = port
        self._pending: dict[int, _Moving] = {}  # by id
        self._selection: Selection | None = None  # None: the guest has no device
        self._awaits_ack = False  # what comes until then is for a device that has left
        self._is_refused = False  # the guest wants no such device

    def greet(self) -> str:
        """Exchange hellos, and return who is there; raise DecodeError or OSError."""
        self._link.greet(NAME)
        self._link.flush()
        return self._link.meet()

    def run(self) -> str:
        """Serve until the guest goes, which is greeted and has the port; return why it went."""
        try:
            with self._port.lock:
                self._admit()
            while not self._is_refused:
                self._link.flush()
                packet = self._link.receive()
                with self._port.lock:
                    self._obey(packet)
        except DecodeError as wrong:
            return f"it sent what is no USB redirection: {wrong}"
        except OSError as gone:
            return f"{gone}"
        return "its filter refuses the device"

    # --- the device comes and goes ---------------------------------------------------------------

    def _admit(self) -> None:
        """Give the guest the device, if it is there and the one before was let go of."""
        if self._selection is not None or self._awaits_ack:
            return
        description = self._port.describe()
        if description is None or not self._port.connect(self):
            return
        self._selection = Selection(description)
        self._tell_selection(self._selection)
        self._link.put(self._selection.device_connect)

    def _tell_selection(self, selection: Selection) -> None:
        self._link.put(selection.ep_info)
        self._link.put(selection.interface_info)

    def detached(self) -> None:
        """Tell the guest that the device has left."""
        if self._selection is None:
            return
        self._selection = None
        self._link.put_bare(PacketType.DEVICE_DISCONNECT)
        self._awaits_ack = self._link.agreed.device_disconnect_ack
        self._admit()

    def returned(self) -> None:
        """Give the guest the device again."""
        self._admit()

    # --- packets ---------------------------------------------------------------------------------

    def _obey(self, packet: Received) -> None:
        body = packet.body
        if isinstance(body, BulkPacket | ControlPacket | InterruptPacket):
            self._move(packet.id, body, packet.data)
        elif body is not None:
            self._control(packet.id, body)
        else:
            self._signal(packet)

    def _signal(self, packet: Received) -> None:
        """Obey a packet that has no body."""
        match packet.type:
            case PacketType.RESET:
                self._drop_all()
                if self._selection is not None:
                    self._selection.reset()
                    self._port.reset(selects_again=False)
            case PacketType.GET_CONFIGURATION:
                setup = SetupPacket(DIRECTION_IN, Request.GET_CONFIGURATION, 0, 0, 1)
                self._select(packet.id, setup)
            case PacketType.CANCEL_DATA_PACKET:
                self._drop(self._pending.get(packet.id))
            case PacketType.DEVICE_DISCONNECT_ACK:
                self._awaits_ack = False
                self._admit()
            case PacketType.FILTER_REJECT:
                self._is_refused = True
            case PacketType.FILTER_FILTER:
                decode_filter(packet.data)  # it is the guest that obeys it

    def _control(self, number: int, body: Body) -> None:
        """Obey a packet that moves no data."""
        match body:
            case SetConfiguration(value):
                self._drop_all()
                self._select(number, SetupPacket(*SELECTS_CONFIGURATION, value, 0, 0))
            case SetAltSetting(interface, alt):
                self._drop_all()
                self._select(number, SetupPacket(*SELECTS_ALT_SETTING, alt, interface, 0))
            case GetAltSetting(interface):
                self._select(number, SetupPacket(0x81, Request.GET_INTERFACE, 0, interface, 1))
            case AllocBulkStreams(mask, count):
                selection = self._selection
                is_done = selection is not None and selection.alloc_streams(mask, count)
                status = Status.SUCCESS if is_done else Status.INVAL
                self._link.put(BulkStreamsStatus(mask, count, status), number)
            case FreeBulkStreams(mask):
                freed = () if self._selection is None else self._selection.free_streams(mask)
                for each in tuple(self._pending.values()):
                    if each.setup is None and each.endpoint in freed:
                        self._drop(each)
                self._link.put(BulkStreamsStatus(mask, 0, Status.SUCCESS), number)
            case _:
                self._refuse(number, body)

    def _refuse(self, number: int, body: Body) -> None:
        """Answer what no drive has endpoints for."""
        match body:
            case StartInterruptReceiving(endpoint):
                self._link.put(InterruptReceivingStatus(Status.STALL, endpoint), number)
            case StopInterruptReceiving(endpoint):
                self._link.put(InterruptReceivingStatus(Status.SUCCESS, endpoint), number)
            case StartIsoStream(endpoint):
                self._link.put(IsoStreamStatus(Status.STALL, endpoint), number)
            case StopIsoStream(endpoint):
                self._link.put(IsoStreamStatus(Status.SUCCESS, endpoint), number)
            case IsoPacket(endpoint):
                self._link.put(IsoStreamStatus(Status.INVAL, endpoint), number)
            case StartBulkReceiving() | StopBulkReceiving():
                raise DecodeError(f"{body.TYPE.name} without that capability")

    # --- selections ------------------------------------------------------------------------------

    def _select(self, number: int, setup: SetupPacket) -> None:
        asking = _Selecting(self, number, setup)
        if self._selection is None or not self._port.submit(asking):
            asking.done(Handshake.DETACHED)

    def selected(self, asking: _Selecting, answer: Answer) -> None:
        """Answer a request about what is selected; what has changed is told first."""
        setup, selection = asking.setup, self._selection
        assert setup is not None
        status = Status.SUCCESS
        if isinstance(answer, Handshake) or selection is None:
            status = _status_of(answer)
        else:
            self._note(selection, setup)
        value = 0 if selection is None else selection.configuration
        alt = NO_ALT_SETTING if selection is None else selection.alt_setting(setup.index)
        if isinstance(answer, bytes) and answer:
            value = alt = answer[0]
        if setup.request in (Request.SET_CONFIGURATION, Request.GET_CONFIGURATION):
            self._link.put(ConfigurationStatus(status, value), asking.number)
        else:
            self._link.put(AltSettingStatus(status, setup.index, alt), asking.number)

    def _note(self, selection: Selection, setup: SetupPacket) -> None:
        if selection.note(setup):
            self._tell_selection(selection)

    # --- data ------------------------------------------------------------------------------------

    def _move(self, number: int, packet: DataPacket, data: bytes) -> None:
        if number in self._pending:
            raise DecodeError(f"id {number} is in use")
        moving = _Moving(self, number, packet, data)
        if self._selection is None:
            self.moved(moving, Status.IOERROR, 0)
        elif not _is_meaningful(packet, self._selection):
            self.moved(moving, Status.INVAL, 0)
        else:
            self._pending[number] = moving
            if not self._port.submit(moving):
                self.moved(moving, Status.IOERROR, 0)

    def moved(self, moving: _Moving, status: Status, count: int, data: bytes = b"") -> None:
        """Answer a data packet."""
        self._pending.pop(moving.number, None)
        packet, selection = moving.packet, self._selection
        if not packet.endpoint & DIRECTION_IN:
            data = b""
        elif count != len(data):
            count = 0
        if moving.setup is not None and selection is not None and status is Status.SUCCESS:
            self._note(selection, moving.setup)
        self._link.put(packet.ended(status, count), moving.number, data)

    def _drop(self, moving: _Moving | None) -> None:
        """Withdraw a packet, if it has not ended: then it was answered before."""
        if moving is not None and self._port.withdraw(moving):
            self.moved(moving, Status.CANCELLED, 0)

    def _drop_all(self) -> None:
        for each in tuple(self._pending.values()):
            self._drop(each)


def _status_of(answer: Answer) -> Status:
    return Status.STALL if answer is Handshake.STALL else Status.IOERROR


def _is_meaningful(packet: DataPacket, selection: Selection) -> bool:
    """Whether a packet can be carried to a device; what it does there is the device's matter."""
    if isinstance(packet, ControlPacket):
        return packet.endpoint == packet.request_type & DIRECTION_IN
    if packet.endpoint & 0x70 or not packet.endpoint & 0x0F:
        return False
    stream = packet.stream_id if isinstance(packet, BulkPacket) else 0
    return selection.has_stream(packet.endpoint, stream)
