"""What tests have raw clients say to a server."""

from firmware_model.wire.bot import Cbw
from firmware_model.wire.stream import receive
from firmware_model.wire.usb import SetupPacket
from firmware_model.wire.usbip import (
    DeviceCount,
    ExportedDevice,
    ExportedInterface,
    OpCode,
    OpHeader,
    OpStatus,
)
from firmware_model.wire.usbip_urb import (
    RetSubmit,
)
from hil_tests.ram_disk import INQUIRY, INQUIRY_DATA
from hil_tests.served import RawClient, Serving

IN, OUT = 0x81, 0x02
SERIALS = "A" * 12, "B" * 12
GET_STATUS = SetupPacket(0x80, 0, 0, 0, 2)


def command(client: RawClient, cdb: bytes, length: int = 0, is_in: bool = True) -> RetSubmit:
    """Send a CBW; return how the transfer ended."""
    client.submit(OUT, 31, Cbw(1, length, is_in, 0, cdb).encode())
    return client.ended()[0]


def listed(served: Serving) -> list[str]:
    """Return the bus ids of a device list."""
    with RawClient(served.address) as client:
        client.say(OpHeader(OpCode.REQ_DEVLIST).encode())
        receive(client.stream, 8)
        devices = []
        for _ in range(DeviceCount.decode(receive(client.stream, 4)).count):
            device = ExportedDevice.decode(receive(client.stream, 312))
            for _ in range(device.interface_count):
                found = ExportedInterface.decode(receive(client.stream, 4))
                assert found == ExportedInterface(0x08, 0x06, 0x50)
            devices.append(device.busid)
        assert client.is_sent_away()
        return devices


def still_works(served: Serving, busid: str = "1-2") -> bool:
    """Whether somebody else can use a drive."""
    with RawClient(served.address) as other:
        if other.ask_for(busid) != OpStatus.OK:
            return False
        other.configure()
        command(other, INQUIRY, 36)
        other.submit(IN, 36)
        return other.ended(36)[1] == INQUIRY_DATA
