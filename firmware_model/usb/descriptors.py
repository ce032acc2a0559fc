"""What the drive says of itself when it is enumerated, at each speed it may be attached at.

One interface has two alternate settings: Bulk-Only, and UAS with a stream for each command at
SuperSpeed; or the first alone. Source: USB 2.0 section 9.6; USB 3.2 section 9.6; BOT 1.0 section 4;
UAS.
"""

from dataclasses import dataclass
from typing import Final

from firmware_model.wire.superspeed import EndpointCompanion, SuperSpeedCapability, Usb2Extension
from firmware_model.wire.uas import PipeId, PipeUsage
from firmware_model.wire.usb import (
    PACKET_BYTES,
    BosDescriptor,
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    DeviceQualifier,
    EndpointDescriptor,
    InterfaceDescriptor,
    LangIds,
    Speed,
    StringDescriptor,
)

INTERFACE: Final = 0
CONFIGURATION: Final = 1
US_ENGLISH: Final = 0x0409
ENDPOINT_IN: Final = 0x81  # of Bulk-Only
ENDPOINT_OUT: Final = 0x02
PIPES: Final = {  # of UAS: the data goes by the same endpoints as that of Bulk-Only
    PipeId.COMMAND: 0x04,
    PipeId.STATUS: 0x83,
    PipeId.DATA_IN: ENDPOINT_IN,
    PipeId.DATA_OUT: ENDPOINT_OUT,
}
STREAMS_EXPONENT: Final = 5  # 32 streams, and so as many commands at once
STREAM_COUNT: Final = 1 << STREAMS_EXPONENT
MILLIAMPERES: Final = 200


def signalled(speed: Speed) -> Speed:
    """Return the speed at which the drive works in a port of that speed."""
    if speed in (Speed.SUPER, Speed.SUPER_PLUS):
        return Speed.SUPER
    return Speed.FULL if speed is Speed.FULL else Speed.HIGH


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Everything GET DESCRIPTOR can ask a bus-powered drive for.

    BOT 4.1.1 wants a serial of 12 characters or more, the last 12 unique to the drive and all of
    them 0-9 and A-F; this is not checked, since drives are sold that do otherwise.
    """

    vendor_id: int
    product_id: int
    manufacturer: str
    product: str
    serial: str
    has_uas: bool = True

    def find(self, kind: int, index: int, speed: Speed) -> bytes | None:
        """Return the descriptor of that type and index, or None where there is none."""
        if kind == DescriptorType.STRING:
            return self._string(index)
        if index != 0:
            return None
        if kind == DescriptorType.DEVICE:
            return self.device(speed).encode()
        if kind == DescriptorType.CONFIGURATION:
            return self.configuration(speed).encode()
        if kind == DescriptorType.BOS:
            return _bos().encode()
        if speed is Speed.SUPER:  # there, no other speed can be asked about (USB 3.2 9.6.1)
            return None
        other = Speed.HIGH if speed is Speed.FULL else Speed.FULL
        if kind == DescriptorType.DEVICE_QUALIFIER:
            return self._qualifier(other).encode()
        if kind == DescriptorType.OTHER_SPEED_CONFIGURATION:
            return self.configuration(other, DescriptorType.OTHER_SPEED_CONFIGURATION).encode()
        return None

    def device(self, speed: Speed) -> DeviceDescriptor:
        """Return the device descriptor; a USB 3 drive is one of version 2.1 at lower speeds."""
        is_super = speed is Speed.SUPER
        return DeviceDescriptor(
            usb_version=0x0320 if is_super else 0x0210,
            device_class=0,
            device_subclass=0,
            device_protocol=0,
            max_packet_size_0=9 if is_super else 64,
            vendor_id=self.vendor_id,
            product_id=self.product_id,
            device_version=0x0100,
            manufacturer_index=1,
            product_index=2,
            serial_index=3,
            configuration_count=1,
        )

    def configuration(
        self, speed: Speed, kind: DescriptorType = DescriptorType.CONFIGURATION
    ) -> ConfigurationDescriptor:
        """Return the one configuration, with its interface in each alternate setting."""
        burst = EndpointCompanion(15)
        bulk_only = tuple(_endpoint(each, speed, burst) for each in (ENDPOINT_IN, ENDPOINT_OUT))
        interfaces = [InterfaceDescriptor(INTERFACE, 0, 0x08, 0x06, 0x50, bulk_only)]
        if self.has_uas:
            uas = tuple(_pipe(pipe, speed) for pipe in PipeId)
            interfaces.append(InterfaceDescriptor(INTERFACE, 1, 0x08, 0x06, 0x62, uas))
        unit_milliamperes = 8 if speed is Speed.SUPER else 2
        return ConfigurationDescriptor(
            CONFIGURATION, tuple(interfaces), max_power=MILLIAMPERES // unit_milliamperes, kind=kind
        )

    def _string(self, index: int) -> bytes | None:
        texts = (self.manufacturer, self.product, self.serial)
        if index == 0:
            return LangIds((US_ENGLISH,)).encode()
        return StringDescriptor(texts[index - 1]).encode() if index <= len(texts) else None

    def _qualifier(self, speed: Speed) -> DeviceQualifier:
        device = self.device(speed)
        return DeviceQualifier(
            device.usb_version,
            device.device_class,
            device.device_subclass,
            device.device_protocol,
            device.max_packet_size_0,
            device.configuration_count,
        )


def _endpoint(
    address: int, speed: Speed, companion: EndpointCompanion, usage: bytes = b""
) -> EndpointDescriptor:
    first = companion.encode() if speed is Speed.SUPER else b""
    return EndpointDescriptor(address, 0x02, PACKET_BYTES[speed], extra=first + usage)


def _pipe(pipe: PipeId, speed: Speed) -> EndpointDescriptor:
    is_command = pipe is PipeId.COMMAND
    companion = EndpointCompanion(0) if is_command else EndpointCompanion(15, STREAMS_EXPONENT)
    return _endpoint(PIPES[pipe], speed, companion, PipeUsage(pipe).encode())


def _bos() -> BosDescriptor:
    every_speed = 0b1110  # but low speed
    full_speed = 1  # the lowest at which all of the drive works
    capability = SuperSpeedCapability(every_speed, full_speed, u1_exit_us=10, u2_exit_us=32)
    return BosDescriptor((Usb2Extension(has_lpm=True).encode(), capability.encode()))
