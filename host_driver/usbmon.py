"""Writing USB traffic as Linux's usbmon gives it to libpcap: LINKTYPE_USB_LINUX_MMAPPED, 220.

Source: Documentation/usb/usbmon.rst (struct mon_bin_hdr), the tcpdump.org list of link types.
"""

import errno
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from struct import Struct
from typing import BinaryIO, Final

from firmware_model.wire.usb import SetupPacket

PCAP_HEADER: Final = Struct("<IHHiIII")  # magic, version 2.4, zone, accuracy, snap length, link
PCAP_RECORD: Final = Struct("<IIII")  # seconds, microseconds, captured, original
LINKTYPE_USB_LINUX_MMAPPED: Final = 220
SNAP_BYTES: Final = 0x0400_0000
# id, event, transfer, endpoint, device, bus, setup flag, data flag, seconds, microseconds, status,
# URB length, captured length, setup packet, interval, start frame, flags, isochronous descriptors
USBMON_HEADER: Final = Struct("<QcBBBHBBqiiII8siiII")
NO_SETUP: Final = ord("-")
URB_DIR_IN: Final = 0x0200


# Linux's numbers, whatever those of the system that writes the file (asm-generic/errno.h).
LINUX_ERRNO: Final = {
    "ENOENT": 2,
    "EIO": 5,
    "EACCES": 13,
    "EBUSY": 16,
    "ENODEV": 19,
    "EINVAL": 22,
    "EPIPE": 32,
    "EPROTO": 71,
    "EOVERFLOW": 75,
    "ETIMEDOUT": 110,
    "EINPROGRESS": 115,
}
SUBMITTED: Final = -LINUX_ERRNO["EINPROGRESS"]


def status_of(number: int | None, names: Mapping[int, str] = errno.errorcode) -> int:
    """Return the URB status of an error of this system, -EPROTO for one that USB has not."""
    name = "" if number is None else names.get(number, "").removeprefix("WSA")
    return -LINUX_ERRNO.get(name, LINUX_ERRNO["EPROTO"])


class TransferType(IntEnum):
    """Transfer types as usbmon numbers them (struct mon_bin_hdr)."""

    INTERRUPT = 1
    CONTROL = 2
    BULK = 3


def system_now_us() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1000


class UsbmonFile:
    """A pcap file of URBs, each a submission and a completion."""

    def __init__(self, stream: BinaryIO, now_us: Callable[[], int] = system_now_us) -> None:
        self._stream = stream
        self._now_us = now_us
        self._last_id = 0
        stream.write(
            PCAP_HEADER.pack(0xA1B2C3D4, 2, 4, 0, 0, SNAP_BYTES, LINKTYPE_USB_LINUX_MMAPPED)
        )

    def urb(
        self,
        place: tuple[int, int],
        transfer: TransferType,
        endpoint: int,
        length: int,
        sent: bytes = b"",
        setup: SetupPacket | None = None,
    ) -> Callable[[int, int, bytes], None]:
        """Write the submission; return what writes the completion: (status, length, received).

        `place` is bus and device number; `length` the bytes that the URB has room for.
        """
        self._last_id += 1
        urb_id = self._last_id
        is_in = bool(endpoint & 0x80)
        no_data = ord("<") if is_in else 0
        raw_setup = b"" if setup is None else setup.encode()
        head = (urb_id, transfer, endpoint, place)
        self._packet(head, b"S", (SUBMITTED, length), sent, no_data, raw_setup)

        def complete(status: int, actual: int, received: bytes) -> None:
            no_data = 0 if is_in else ord(">")
            self._packet(head, b"C", (status, actual), received, no_data, b"")

        return complete

    def _packet(
        self,
        head: tuple[int, TransferType, int, tuple[int, int]],
        event: bytes,
        outcome: tuple[int, int],
        data: bytes,
        no_data: int,
        setup: bytes,
    ) -> None:
        urb_id, transfer, endpoint, (bus, device) = head
        status, length = outcome
        seconds, microseconds = divmod(self._now_us(), 1_000_000)
        packet = USBMON_HEADER.pack(
            urb_id,
            event,
            transfer,
            endpoint,
            device & 0x7F,
            bus,
            0 if setup else NO_SETUP,
            0 if data else no_data,
            seconds,
            microseconds,
            status,
            length,
            len(data),
            setup,
            0,
            0,
            URB_DIR_IN if endpoint & 0x80 else 0,
            0,
        )
        size = len(packet) + len(data)
        record = PCAP_RECORD.pack(seconds, microseconds, size, size)
        self._stream.write(record + packet + data)
