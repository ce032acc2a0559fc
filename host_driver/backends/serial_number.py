"""The serial number of a device, read as carefully as something a stranger says."""

import usb.core
import usb.util
from usb.control import get_descriptor

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.usb import DescriptorType, StringDescriptor


def serial_of(device: usb.core.Device) -> str:
    """Return the USB serial number, empty where there is none; raise USBError where none came."""
    if not device.iSerialNumber:
        return ""
    try:
        # Not the property: it turns a device that may not be opened into one without languages.
        languages = usb.util.get_langids(device)
        if not languages:
            return ""
        kind, index = DescriptorType.STRING, device.iSerialNumber
        answer = get_descriptor(device, 254, kind, index, languages[0]).tobytes()
        return StringDescriptor.decode(answer[: answer[0]] if answer else b"").text
    except DecodeError:
        return ""  # what is no text is no serial number either
    except usb.core.USBError as error:
        if error.errno is None:  # of pyusb itself, which found no descriptor in the answer
            return ""
        raise
