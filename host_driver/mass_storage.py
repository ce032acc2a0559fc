"""What the transports over pyusb share: finding the interface, and what errors are called."""

import errno
from typing import Final

import usb.core
import usb.util

from host_driver.errors import (
    AccessDenied,
    Disconnected,
    DriveError,
    DriveInUse,
    NotFound,
    ProtocolError,
    Stalled,
    Timeout,
    TransportError,
)

MASS_STORAGE: Final = 0x08
SCSI_TRANSPARENT: Final = 0x06


def failure(error: usb.core.USBError, what: str) -> DriveError:
    """Return what a pyusb error that happened during `what` is called in the tree of errors."""
    reason = f"{what}: {error.strerror or error}"
    if isinstance(error, usb.core.USBTimeoutError):
        return Timeout(f"{what}: no answer in time")
    match error.errno:
        case errno.EPIPE:
            return Stalled(f"{what}: the drive stalled")
        case errno.ENODEV:
            return Disconnected(f"{what}: the drive is gone")
        case errno.EBUSY:
            return DriveInUse(f"{what}: the drive is in use by another process")
        case errno.EACCES | errno.EPERM:
            return AccessDenied(f"{what}: not allowed to open the drive")
        case errno.EOVERFLOW:
            return ProtocolError(f"{what}: the drive sent more than it was asked for")
    return TransportError(reason)


def claimed_interface(device: usb.core.Device, protocol: int, name: str) -> usb.core.Interface:
    """Return the mass-storage interface of that protocol, claimed and selected.

    Raises NotFound, with the protocol's name, when there is none.
    """
    try:
        configuration, interface = _find(device, protocol, name)
        number = interface.bInterfaceNumber
        usb.util.claim_interface(device, number)
        # What another program left selected is unknown; a device with one setting may stall this.
        if sum(each.bInterfaceNumber == number for each in configuration) > 1:
            device.set_interface_altsetting(number, interface.bAlternateSetting)
    except usb.core.USBError as error:
        raise failure(error, "opening the drive") from error
    return interface


def _find(
    device: usb.core.Device, protocol: int, name: str
) -> tuple[usb.core.Configuration, usb.core.Interface]:
    """Return the interface, in a configuration that is selected if none was."""
    for configuration in device:
        interface = usb.util.find_descriptor(
            configuration,
            bInterfaceClass=MASS_STORAGE,
            bInterfaceSubClass=SCSI_TRANSPARENT,
            bInterfaceProtocol=protocol,
        )
        if interface is not None:
            # Selecting the active configuration again would be a reset of its endpoints.
            if _active_configuration(device) != configuration.bConfigurationValue:
                device.set_configuration(configuration.bConfigurationValue)
            return configuration, interface
    raise NotFound(f"the device has no {name} mass-storage interface (08/06/{protocol:02X})")


def _active_configuration(device: usb.core.Device) -> int:
    try:
        return int(device.get_active_configuration().bConfigurationValue)
    except usb.core.USBError as error:
        if error.errno is not None:  # pyusb's own "Configuration not set" has none
            raise
        return 0
