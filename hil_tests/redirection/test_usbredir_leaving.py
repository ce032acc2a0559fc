"""The USB redirection server over real sockets: what is cancelled, and devices that come and go."""

from pathlib import Path

import pytest

from firmware_model.wire.bot import Cbw
from firmware_model.wire.function import BusEvent
from firmware_model.wire.usb import SetupPacket
from firmware_model.wire.usbredir import (
    Body,
    Capability,
    Header,
    PacketType,
    Status,
)
from firmware_model.wire.usbredir_device import (
    ConfigurationStatus,
    SetAltSetting,
    SetConfiguration,
)
from firmware_model.wire.usbredir_transfers import (
    BulkPacket,
    ControlPacket,
)
from hil_tests.ram_disk import TEST_UNIT_READY, RamDrive, write10
from hil_tests.redirection.guest import (
    IN,
    OUT,
    QEMU,
    Guest,
    Redirecting,
    Told,
    is_free,
    redirecting,
    works,
)

CONFIGURE = SetupPacket(0x00, 9, 1, 0, 0)
GET_STATUS = SetupPacket(0x80, 0, 0, 0, 2)
GET_DEVICE = SetupPacket(0x80, 6, 0x0100, 0, 18)


# --- what is cancelled, and what is dropped ------------------------------------------------------


def test_cancelled_packet_is_answered_once(guest: Guest) -> None:
    waiting = guest.read(13)
    guest.signal(PacketType.CANCEL_DATA_PACKET, waiting)
    answer = guest.moved()

    assert answer == (waiting, Status.CANCELLED, b"")
    assert works(guest)


def test_packet_that_has_ended_is_not_answered_again(guest: Guest) -> None:
    sent = guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    first = guest.moved()
    guest.signal(PacketType.CANCEL_DATA_PACKET, sent)
    status = guest.read(13)

    assert (first[0], guest.moved()[0]) == (sent, status)


def test_packet_behind_a_cancelled_one_takes_its_place(guest: Guest) -> None:
    first, second = guest.read(13), guest.read(13)
    guest.signal(PacketType.CANCEL_DATA_PACKET, first)
    cancelled = guest.moved()
    guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    ended = {guest.moved()[0] for _ in range(2)}

    assert (cancelled[0], cancelled[1]) == (first, Status.CANCELLED)
    assert second in ended


def test_id_of_a_cancelled_packet_may_be_used_again(guest: Guest) -> None:
    first = guest.read(13)
    guest.signal(PacketType.CANCEL_DATA_PACKET, first)
    guest.send(BulkPacket(IN, 0, 13), number=first)
    guest.write(Cbw(1, 0, False, 0, TEST_UNIT_READY).encode())
    ended = [guest.moved() for _ in range(3)]

    assert [status for number, status, _ in ended if number == first] == [
        Status.CANCELLED,
        Status.SUCCESS,
    ]


@pytest.mark.parametrize("body", [SetConfiguration(1), SetAltSetting(0, 0), None])
def test_what_waits_is_answered_when_a_selection_or_a_reset_drops_it(
    guest: Guest, body: Body | None
) -> None:
    waiting = guest.read(13)
    if body is None:
        guest.signal(PacketType.RESET)
    else:
        guest.send(body)

    assert guest.moved() == (waiting, Status.CANCELLED, b"")


# --- the device comes and goes -----------------------------------------------------------------


def test_unplugged_device_ends_what_waits_and_disconnects(
    served: Redirecting, guest: Guest
) -> None:
    waiting = guest.read(13)
    guest.control(GET_STATUS)
    served.unplug()

    assert guest.moved() == (waiting, Status.IOERROR, b"")
    assert guest.receive() == Told(PacketType.DEVICE_DISCONNECT, 0, None, b"")


def test_device_that_is_back_is_told_of_when_the_one_before_was_let_go(
    served: Redirecting, guest: Guest
) -> None:
    served.unplug()
    served.plug()
    gone = guest.receive()
    late = guest.read(13)  # meant for the device that has left
    refused = guest.moved()
    guest.signal(PacketType.DEVICE_DISCONNECT_ACK)
    device = guest.device()
    guest.configure()

    assert gone.type is PacketType.DEVICE_DISCONNECT
    assert refused == (late, Status.IOERROR, b"")
    assert device.vendor_id == 0x1209
    assert works(guest)


def test_device_that_comes_back_later_is_told_of_then(served: Redirecting, guest: Guest) -> None:
    served.unplug()
    guest.receive()
    guest.signal(PacketType.DEVICE_DISCONNECT_ACK)
    guest.ask(GET_STATUS)
    meanwhile = guest.receive().body
    served.plug()
    guest.device()
    guest.configure()

    assert isinstance(meanwhile, ControlPacket) and meanwhile.status == Status.IOERROR
    assert works(guest)


def test_guest_that_does_not_acknowledge_gets_the_device_at_once(served: Redirecting) -> None:
    with served.using(QEMU & ~Capability.DEVICE_DISCONNECT_ACK) as guest:
        served.unplug()
        served.plug()
        gone = guest.receive()
        guest.device()
        guest.configure()

        assert gone.type is PacketType.DEVICE_DISCONNECT
        assert works(guest)


def test_device_that_is_away_is_told_of_when_it_comes(served: Redirecting, drive: RamDrive) -> None:
    drive.bus(BusEvent.DETACH)
    with served.guest() as guest:
        guest.greet()
        guest.signal(PacketType.GET_CONFIGURATION, 1)
        nothing = guest.hear(ConfigurationStatus)
        served.plug()
        guest.device()
        guest.configure()

        assert nothing == ConfigurationStatus(Status.IOERROR, 0)
        assert works(guest)


def test_device_that_leaves_and_comes_back_by_itself_is_another(
    served: Redirecting, drive: RamDrive
) -> None:
    """As a drive does that begins with new firmware: nobody outside sees it go."""

    with served.using() as guest:
        drive._ready, ready = (), drive._ready
        drive.bus(BusEvent.DETACH)
        drive.bus(BusEvent.ATTACH)
        drive._ready = ready
        guest.read(13)
        stalled = guest.moved()
        gone = guest.receive()
        guest.signal(PacketType.DEVICE_DISCONNECT_ACK)
        guest.device()

    assert stalled[1] is Status.STALL
    assert gone.type is PacketType.DEVICE_DISCONNECT


def test_guest_that_goes_is_a_cable_that_was_pulled(served: Redirecting, drive: RamDrive) -> None:
    with served.using() as guest:
        guest.read(13)
        guest.control(GET_STATUS)
    assert is_free(served)
    assert (BusEvent.DETACH, True) in drive.heard
    with served.using() as other:
        assert works(other)


def test_guest_that_goes_in_the_middle_of_a_write_writes_nothing(
    served: Redirecting, drive: RamDrive
) -> None:
    with served.using() as guest:
        guest.write(Cbw(1, 8192, False, 0, write10(0, 16)).encode())
        guest.moved()
        head = Header(PacketType.BULK_PACKET, 10 + 8192, 9).encode(guest.agreed)
        body = BulkPacket(OUT, 0, 8192).encode(guest.agreed)
        guest.stream.sendall(head + body + b"x" * 4096)

    assert is_free(served)
    assert not any(drive.disk.blocks)


def test_guest_whose_filter_refuses_the_drive_gives_it_back(
    served: Redirecting, guest: Guest
) -> None:
    guest.signal(PacketType.FILTER_REJECT)

    assert guest.is_sent_away()
    assert is_free(served)
    assert "detached from local: its filter refuses the device" in served.told


def test_closing_the_server_takes_the_drive_from_the_guest(drive: RamDrive, tmp_path: Path) -> None:
    with redirecting(drive, tmp_path / "socket") as served:
        guest = served.using()
    with guest:
        assert guest.is_sent_away()
    assert (BusEvent.DETACH, True) in drive.heard
