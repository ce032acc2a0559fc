"""The USB/IP server at the other end of real sockets: who gets which drive, and until when."""

import shutil
import socket
import subprocess

import pytest

from firmware_model.serve.usbip import listen
from firmware_model.serve.usbip_session import OUT_BYTES_MAX
from firmware_model.wire.function import BusEvent
from firmware_model.wire.usb import SetupPacket, Speed
from firmware_model.wire.usbip import (
    OpStatus,
)
from firmware_model.wire.usbip_urb import (
    CmdSubmit,
)
from hil_tests.ram_disk import TEST_UNIT_READY, RamDrive, write10
from hil_tests.served import CONFIGURE, RawClient, Serving, serving
from hil_tests.test_port import Control, Host
from hil_tests.usbip.said import IN, OUT, command, listed, still_works

# --- listing and importing -----------------------------------------------------------------------


def test_list_has_every_drive_that_is_there(
    served: Serving, drives: tuple[RamDrive, RamDrive]
) -> None:
    both = listed(served)
    drives[0].bus(BusEvent.DETACH)

    assert (both, listed(served)) == (["1-1", "1-2"], ["1-2"])


def test_drive_in_use_is_still_listed(served: Serving, client: RawClient) -> None:
    assert listed(served) == ["1-1", "1-2"]


def test_imported_device_is_described(served: Serving) -> None:
    with RawClient(served.address) as client:
        status = client.ask_for("1-2")

    assert status == OpStatus.OK and client.device is not None
    numbers = (client.device.vendor_id, client.device.product_id, client.device.speed)
    assert numbers == (0x1209, 0x5ED0, 3)


def test_speed_of_the_port_is_that_of_the_device() -> None:
    with (
        serving([RamDrive()], speed=Speed.SUPER) as served,
        RawClient(served.address) as client,
    ):
        client.ask_for("1-1")

        assert client.device is not None and client.device.speed == Speed.SUPER


def test_drive_attached_already_is_busy_and_says_so(served: Serving, client: RawClient) -> None:
    with RawClient(served.address) as other:
        status = other.ask_for("1-1")
        assert other.is_sent_away()

    assert status == OpStatus.DEVICE_BUSY
    assert any("another host has it" in line for line in served.log.lines)
    assert command(client, TEST_UNIT_READY).status == 0


@pytest.mark.parametrize("busid", ["1-3", "", "x" * 31])
def test_drive_that_there_is_not_is_not_found(served: Serving, busid: str) -> None:
    with RawClient(served.address) as client:
        assert client.ask_for(busid) == OpStatus.NO_DEVICE


def test_unplugged_drive_is_not_found(served: Serving, drives: tuple[RamDrive, RamDrive]) -> None:
    drives[0].bus(BusEvent.DETACH)
    with RawClient(served.address) as client:
        assert client.ask_for("1-1") == OpStatus.NO_DEVICE


def test_linuxs_own_tool_lists_and_is_refused_in_its_words(
    served: Serving, client: RawClient
) -> None:
    tool = shutil.which("usbip") or shutil.which("usbip", path="/usr/sbin")
    if tool is None:
        pytest.skip("Linux's usbip tool is not installed")
    program = [tool, "--tcp-port", str(served.address[1])]
    where = ["-r", "127.0.0.1"]
    shown = subprocess.run([*program, "list", *where], capture_output=True, text=True, check=True)
    taken, unknown = (
        subprocess.run(
            [*program, "attach", *where, "-b", busid], capture_output=True, text=True, check=False
        )
        for busid in ("1-1", "1-9")
    )

    for line in ("1-1:", "1-2:", "(1209:5ed0)", "Mass Storage / SCSI / Bulk-Only (08/06/50)"):
        assert line in shown.stdout
    assert "1-1 failed - Device busy" in taken.stderr
    assert "1-9 failed - Device not found" in unknown.stderr


# --- coming and going ----------------------------------------------------------------------------


def test_client_that_closes_lets_go_of_the_drive_and_may_come_again(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    client.submit(IN, 13)  # and does not wait for it
    client.stream.close()

    assert served.is_free()
    assert drives[0].heard[-4::2] == [(BusEvent.DETACH, True), (BusEvent.ATTACH, False)]
    assert still_works(served, "1-1")


def test_client_that_dies_in_the_middle_of_data_leaves_the_drive_to_others(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    assert client.device is not None
    command(client, write10(0, 8), 4096, is_in=False)
    client.say(CmdSubmit(9, client.device.devid, 0, 2, 0, 4096).encode(), bytes(range(100)))
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
    client.stream.close()  # as a reset: what was on its way is lost

    assert served.is_free()
    assert not any(drives[0].disk.blocks)
    assert still_works(served, "1-1")


def test_drive_that_is_unplugged_ends_the_session_of_its_host_alone(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    with RawClient(served.address) as other:
        other.ask_for("1-2")
        other.configure()
        with served.ports[0].lock:
            drives[0].bus(BusEvent.DETACH)

        assert client.is_sent_away()
        assert command(other, TEST_UNIT_READY).status == 0
    assert served.is_free()
    assert served.log.waits_for(lambda: "the device has left" in "".join(served.log.lines))


def test_drive_that_is_plugged_in_again_can_be_had_again(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    with served.ports[0].lock:
        drives[0].bus(BusEvent.DETACH)
        drives[0].bus(BusEvent.ATTACH)

    assert client.is_sent_away()
    assert served.is_free() and still_works(served, "1-1")


def test_message_that_comes_late_does_not_reach_who_has_the_drive_by_then(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    port = served.ports[0]
    is_halted = Control(SetupPacket(0x82, 0, 0, OUT, 2))
    with port.lock:
        # So long that it is sent only when the server has begun to read it; and it is no CBW.
        client.submit(OUT, OUT_BYTES_MAX, bytes(OUT_BYTES_MAX))
        drives[0].bus(BusEvent.DETACH)
        drives[0].bus(BusEvent.ATTACH)
        assert port.connect(Host())
        port.submit(Control(CONFIGURE))
    assert served.log.waits_for(lambda: "1-1: detached" in "".join(served.log.lines))
    port.submit(is_halted)

    assert is_halted.answers == [bytes(2)]


def test_two_clients_use_two_drives_at_once(
    served: Serving, client: RawClient, drives: tuple[RamDrive, RamDrive]
) -> None:
    with RawClient(served.address) as other:
        other.ask_for("1-2")
        other.configure()
        for number, each in enumerate((client, other)):
            command(each, write10(0, 1), 512, is_in=False)
            each.submit(OUT, 512, bytes((number + 1,)) * 512)
        for each in (other, client):
            assert each.ended()[0].status == 0

    assert [drive.disk.blocks[0] for drive in drives] == [1, 2]


def test_closing_the_server_detaches_every_drive(drives: tuple[RamDrive, RamDrive]) -> None:
    with serving(drives) as served:
        client = RawClient(served.address)
        client.ask_for("1-1")
        client.configure()
    with client:
        assert client.is_sent_away()
    assert (BusEvent.DETACH, True) in drives[0].heard
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(served.address)


# --- where it listens ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_only_this_machine_reaches_it_unless_more_is_said(host: str) -> None:
    with pytest.raises(ValueError, match="can be reached from elsewhere: --allow-remote"):
        listen(host, 0)


def test_remote_machines_reach_it_where_that_is_said() -> None:
    with listen("0.0.0.0", 0, allow_remote=True) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_name_of_no_machine_is_refused() -> None:
    with pytest.raises(OSError, match=r"'nobody\.invalid'"):
        listen("nobody.invalid", 0)


def test_address_in_use_is_refused() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"in use: '127.0.0.1 port {port}'"):
            listen("127.0.0.1", port)
