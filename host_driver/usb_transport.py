"""The transport that was asked for, to a device that pyusb found."""

from typing import assert_never

import usb.core

from host_driver.attachment import TransportKind
from host_driver.bulk_only import BulkOnlyTransport
from host_driver.uas import UasTransport

UsbTransport = BulkOnlyTransport | UasTransport


def open_transport(device: usb.core.Device, kind: TransportKind) -> UsbTransport:
    """Return the way to logical unit 0; raise NotFound when the device has no such interface."""
    match kind:
        case TransportKind.BULK_ONLY:
            return BulkOnlyTransport(device)
        case TransportKind.UAS:
            return UasTransport(device)
    assert_never(kind)
