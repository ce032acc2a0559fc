"""The port between a function and whoever carries it: waiting, order, withdrawal, leaving."""

from collections import Counter, deque

import pytest

from firmware_model.serve.port import WAITING_BYTES_MAX, WAITING_MAX, Answer, Port, Transfer
from firmware_model.usb.descriptors import PIPES
from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.uas import CommandIu, PipeId
from firmware_model.wire.usb import SetupPacket, Speed
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA, TEST_UNIT_READY, RamDrive

IN, OUT = 0x81, 0x02
COMMAND, STATUS = PIPES[PipeId.COMMAND], PIPES[PipeId.STATUS]
CONFIGURE = SetupPacket(0x00, 9, 1, 0, 0)
STATUS_QUERY = SetupPacket(0x80, 0, 0, 0, 2)


class Told(Transfer):
    """A transfer that remembers how it ended."""

    def __init__(self, endpoint: int, length: int = 0, data: bytes = b"", stream: int = 0) -> None:
        super().__init__(endpoint, length, data, stream=stream)
        self.answers: list[Answer] = []

    def done(self, answer: Answer) -> None:
        self.answers.append(answer)


class Control(Told):
    """A control transfer."""

    def __init__(self, setup: SetupPacket) -> None:
        super().__init__(0, setup.length)
        self.setup = setup


class Host:
    """Somebody who uses a port."""

    def __init__(self) -> None:
        self.detachments = self.returns = 0

    def detached(self) -> None:
        self.detachments += 1

    def returned(self) -> None:
        self.returns += 1


class Plugged:
    """A drive on a port, in use by a host that has configured it."""

    def __init__(self, drive: RamDrive | None = None, speed: Speed = Speed.HIGH) -> None:
        self.drive = drive or RamDrive()
        self.port = Port(self.drive, speed)
        self.host = Host()
        assert self.port.connect(self.host)
        self.submit(Control(CONFIGURE))

    def submit(self, transfer: Told) -> Told:
        assert self.port.submit(transfer)
        return transfer

    def read(self, length: int = 13) -> Told:
        return self.submit(Told(IN, length))

    def command(self, cdb: bytes, length: int = 0, tag: int = 1) -> Told:
        return self.submit(Told(OUT, data=Cbw(tag, length, True, 0, cdb).encode()))


@pytest.fixture
def plugged() -> Plugged:
    return Plugged()


def test_transfer_that_can_end_ends_at_once(plugged: Plugged) -> None:
    sent = plugged.command(INQUIRY, 36)
    data = plugged.read(36)

    assert (sent.answers, data.answers) == ([31], [INQUIRY_DATA])


def test_read_waits_until_there_is_something_to_read(plugged: Plugged) -> None:
    status = plugged.read()
    before = list(status.answers)
    plugged.command(TEST_UNIT_READY)

    assert before == []
    assert [len(each) for each in status.answers if isinstance(each, bytes)] == [13]


def test_reads_of_one_endpoint_end_in_the_order_they_began(plugged: Plugged) -> None:
    ended: deque[str] = deque()

    class Named(Told):
        def done(self, answer: Answer) -> None:
            super().done(answer)
            ended.append("data" if answer == INQUIRY_DATA else "status")

    reads = [plugged.submit(Named(IN, length)) for length in (36, 13)]
    plugged.command(INQUIRY, 36)

    assert list(ended) == ["data", "status"]
    assert all(len(each.answers) == 1 for each in reads)


def test_second_read_does_not_overtake_the_first(plugged: Plugged) -> None:
    first = plugged.read(36)
    plugged.command(INQUIRY, 36)
    second = plugged.read(13)

    assert first.answers == [INQUIRY_DATA]
    assert len(second.answers) == 1


def test_listing_a_device_does_not_keep_what_waits_from_ending(plugged: Plugged) -> None:
    status = plugged.read()
    plugged.port.describe()
    plugged.command(TEST_UNIT_READY)

    assert len(status.answers) == 1


def test_withdrawn_transfer_is_not_heard_of_again(plugged: Plugged) -> None:
    status, after = plugged.read(), plugged.read()
    was_withdrawn = plugged.port.withdraw(status)
    plugged.command(TEST_UNIT_READY)

    assert was_withdrawn and status.answers == []
    assert len(after.answers) == 1


class Counting(RamDrive):
    """A drive that counts how often each pipe was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[tuple[int, int]] = Counter()

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        self.asked[endpoint, stream] += 1
        return super().transfer_in(endpoint, length, stream)


def plugged_for_uas(drive: RamDrive) -> Plugged:
    plugged = Plugged(drive, Speed.SUPER)
    plugged.submit(Control(SetupPacket(0x01, 11, 1, 0, 0)))
    return plugged


def test_one_behind_a_withdrawn_transfer_is_heard_of_where_pipes_are_named() -> None:
    plugged = plugged_for_uas(RamDrive())
    first, second = (plugged.submit(Told(STATUS, 112, stream=4)) for _ in range(2))
    plugged.port.withdraw(first)
    plugged.submit(Told(COMMAND, data=CommandIu(4, bytes(6)).encode()))

    assert first.answers == []
    assert [len(each) for each in second.answers if isinstance(each, bytes)] == [16]


def test_streams_that_nothing_has_happened_on_are_not_asked_again() -> None:
    drive = Counting()
    plugged = plugged_for_uas(drive)
    waiting = [plugged.submit(Told(STATUS, 112, stream=tag)) for tag in range(1, 33)]
    plugged.submit(Told(COMMAND, data=CommandIu(7, bytes(6)).encode()))

    assert [bool(each.answers) for each in waiting] == [tag == 7 for tag in range(1, 33)]
    assert drive.asked == {(STATUS, tag): 1 + (tag == 7) for tag in range(1, 33)}


def test_device_is_attached_at_the_speed_of_its_port_each_time() -> None:
    plugged = Plugged(speed=Speed.SUPER)
    speeds = []
    for _ in range(2):
        description = plugged.port.describe()
        assert description is not None
        speeds.append(description.speed)
        plugged.port.disconnect(plugged.host)

    assert speeds == [Speed.SUPER] * 2


def test_transfer_that_has_ended_can_not_be_withdrawn(plugged: Plugged) -> None:
    sent = plugged.command(TEST_UNIT_READY)

    assert not plugged.port.withdraw(sent)


def test_too_many_waiting_transfers_are_not_taken(plugged: Plugged) -> None:
    taken = [plugged.port.submit(Told(IN, 13)) for _ in range(WAITING_MAX + 1)]

    assert taken.count(False) == 1 and not taken[-1]


def test_data_that_waits_is_bounded(plugged: Plugged) -> None:
    plugged.command(TEST_UNIT_READY)  # whose status nobody fetches: OUT answers NAK
    half = bytes(WAITING_BYTES_MAX // 2)
    taken = [plugged.port.submit(Told(OUT, data=half)) for _ in range(3)]

    assert taken == [True, True, False]


def test_room_of_a_withdrawn_transfer_is_free_again(plugged: Plugged) -> None:
    plugged.command(TEST_UNIT_READY)
    whole = Told(OUT, data=bytes(WAITING_BYTES_MAX))
    plugged.submit(whole)
    plugged.port.withdraw(whole)

    assert plugged.port.submit(Told(OUT, data=bytes(WAITING_BYTES_MAX)))


def test_next_host_has_all_the_room_that_the_last_one_filled(plugged: Plugged) -> None:
    for _ in range(WAITING_MAX):
        plugged.read()
    plugged.port.disconnect(plugged.host)
    plugged.port.connect(plugged.host)
    plugged.submit(Control(CONFIGURE))

    assert all(plugged.port.submit(Told(IN, 13)) for _ in range(WAITING_MAX))


def test_device_has_one_host_at_a_time(plugged: Plugged) -> None:
    other = Host()
    while_used = plugged.port.connect(other)
    plugged.port.disconnect(plugged.host)

    assert (while_used, plugged.port.connect(other)) == (False, True)


def test_host_whose_device_has_left_keeps_nobody_from_having_it(plugged: Plugged) -> None:
    other = Host()
    plugged.drive.bus(BusEvent.DETACH)
    plugged.drive.bus(BusEvent.ATTACH)
    is_given = plugged.port.connect(other)
    plugged.port.disconnect(plugged.host)

    assert (is_given, plugged.port.is_taken) == (True, True)


def test_host_that_leaves_is_a_cable_that_was_pulled(plugged: Plugged) -> None:
    heard = len(plugged.drive.heard)
    status = plugged.read()
    plugged.port.disconnect(plugged.host)

    assert plugged.drive.heard[heard:][::2] == [(BusEvent.DETACH, True), (BusEvent.ATTACH, False)]
    assert status.answers == []


def test_whoever_is_not_the_host_disconnects_nobody(plugged: Plugged) -> None:
    plugged.port.disconnect(Host())

    assert plugged.port.is_taken


def test_device_that_is_unplugged_ends_all_and_tells_its_host_once(plugged: Plugged) -> None:
    status = plugged.read()
    plugged.drive.bus(BusEvent.DETACH)
    late = plugged.read()

    assert status.answers == late.answers == [Handshake.DETACHED]
    assert plugged.host.detachments == 1
    assert plugged.port.describe() is None


def test_device_that_is_unplugged_while_nothing_waits_tells_its_host(plugged: Plugged) -> None:
    plugged.drive.bus(BusEvent.DETACH)

    assert plugged.host.detachments == 1


def test_device_that_came_back_meanwhile_is_not_the_one_its_host_knew(plugged: Plugged) -> None:
    plugged.drive.bus(BusEvent.DETACH)
    plugged.drive.bus(BusEvent.ATTACH)
    late = plugged.read()
    heard = len(plugged.drive.heard)
    plugged.port.disconnect(plugged.host)

    assert (late.answers, plugged.host.detachments) == ([Handshake.DETACHED], 1)
    assert plugged.drive.heard[heard:] == []  # it has left by itself, and is attached anew
    assert plugged.port.connect(Host())


def test_device_that_came_back_within_a_transfer_is_not_the_one_its_host_knew() -> None:
    class Restarting(RamDrive):
        def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
            answer = super().transfer_in(endpoint, length, stream)
            if isinstance(answer, bytes) and len(answer) == 13:
                self.bus(BusEvent.DETACH)
                self.bus(BusEvent.ATTACH)
            return answer

    plugged = Plugged(Restarting())
    plugged.command(TEST_UNIT_READY)
    status = plugged.read()
    late = plugged.command(TEST_UNIT_READY)

    assert len(status.answers) == 1 and isinstance(status.answers[0], bytes)
    assert late.answers == [Handshake.STALL]
    assert plugged.host.detachments == 1


def test_stall_of_a_device_that_knows_its_host_is_a_stall(plugged: Plugged) -> None:
    plugged.command(TEST_UNIT_READY, 512)
    data = plugged.read(512)

    assert data.answers == [Handshake.STALL]
    assert plugged.host.detachments == 0


def test_device_without_configuration_answers_its_control_endpoint(plugged: Plugged) -> None:
    plugged.submit(Control(SetupPacket(0x00, 9, 0, 0, 0)))
    asked = plugged.submit(Control(STATUS_QUERY))

    assert asked.answers == [b"\x00\x00"]
    assert plugged.host.detachments == 0


def test_port_reset_reaches_the_device_and_keeps_its_configuration(plugged: Plugged) -> None:
    heard = len(plugged.drive.heard)
    plugged.port.reset(selects_again=True)

    assert plugged.drive.heard[heard:][::2] == [(BusEvent.RESET, True)]
    assert plugged.command(TEST_UNIT_READY).answers == [31]


def test_port_reset_leaves_selecting_to_a_host_that_does_it(plugged: Plugged) -> None:
    plugged.port.reset(selects_again=False)
    before = plugged.command(TEST_UNIT_READY)
    plugged.submit(Control(CONFIGURE))

    assert before.answers == [Handshake.STALL]
    assert plugged.command(TEST_UNIT_READY).answers == [31]
    assert plugged.host.detachments == 0


def test_host_hears_that_the_device_is_back_and_may_begin_anew(plugged: Plugged) -> None:
    plugged.drive.bus(BusEvent.DETACH)
    while_away = plugged.host.returns
    plugged.drive.bus(BusEvent.ATTACH)
    is_given = plugged.port.connect(plugged.host)
    plugged.submit(Control(CONFIGURE))

    assert (while_away, plugged.host.returns, is_given) == (0, 1, True)
    assert plugged.command(TEST_UNIT_READY).answers == [31]
    assert plugged.host.detachments == 1


def test_host_that_comes_while_the_device_is_away_hears_so_at_once(plugged: Plugged) -> None:
    plugged.port.disconnect(plugged.host)
    plugged.drive.bus(BusEvent.DETACH)
    other = Host()
    is_given = plugged.port.connect(other)
    plugged.drive.bus(BusEvent.ATTACH)

    assert (is_given, other.detachments, other.returns) == (True, 1, 1)


def test_end_of_one_transfer_may_begin_the_next(plugged: Plugged) -> None:
    status = Told(IN, 13)

    class Chain(Told):
        def done(self, answer: Answer) -> None:
            super().done(answer)
            plugged.submit(status)

    plugged.submit(Chain(OUT, data=Cbw(1, 0, False, 0, TEST_UNIT_READY).encode()))

    assert len(status.answers) == 1


def test_device_says_what_it_is_whether_or_not_it_is_in_use(plugged: Plugged) -> None:
    used = plugged.port.describe()
    plugged.port.disconnect(plugged.host)

    assert used is not None and used == plugged.port.describe()
    assert (used.device.vendor_id, used.speed) == (0x1209, Speed.HIGH)


def test_device_that_talks_nonsense_is_not_described() -> None:
    class Nonsense(RamDrive):
        def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
            answer = super().control(setup, data)
            return answer[:-1] if isinstance(answer, bytes) else answer

    drive = Nonsense()
    drive.bus(BusEvent.ATTACH)

    assert Port(drive).describe() is None
