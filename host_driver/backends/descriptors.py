"""Descriptors under the names by which pyusb reads them off whatever a backend returns."""

from types import SimpleNamespace

import usb.util

from firmware_model.wire.usb import (
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    EndpointDescriptor,
    InterfaceDescriptor,
)


def device(found: DeviceDescriptor, *, bus: int, address: int, port: int) -> SimpleNamespace:
    """Return the 14 fields of the descriptor, and the five by which pyusb places a device."""
    return SimpleNamespace(
        bLength=found.LAYOUT.size,
        bDescriptorType=int(DescriptorType.DEVICE),
        bcdUSB=found.usb_version,
        bDeviceClass=found.device_class,
        bDeviceSubClass=found.device_subclass,
        bDeviceProtocol=found.device_protocol,
        bMaxPacketSize0=found.max_packet_size_0,
        idVendor=found.vendor_id,
        idProduct=found.product_id,
        bcdDevice=found.device_version,
        iManufacturer=found.manufacturer_index,
        iProduct=found.product_index,
        iSerialNumber=found.serial_index,
        bNumConfigurations=found.configuration_count,
        bus=bus,
        address=address,
        port_number=port,
        port_numbers=(port,),
        speed=usb.util.SPEED_SUPER if found.usb_version >= 0x0300 else usb.util.SPEED_HIGH,
    )


def configuration(found: ConfigurationDescriptor) -> SimpleNamespace:
    """Return the fields of the configuration, which pyusb reads without its interfaces."""
    return SimpleNamespace(
        bLength=found.LAYOUT.size,
        bDescriptorType=int(DescriptorType.CONFIGURATION),
        wTotalLength=len(found.encode()),
        bNumInterfaces=len(found.interface_numbers),
        bConfigurationValue=found.value,
        iConfiguration=found.name_index,
        bmAttributes=found.attributes,
        bMaxPower=found.max_power,
        extra_descriptors=list(found.extra),
    )


def interface(found: InterfaceDescriptor) -> SimpleNamespace:
    """Return the fields of one alternate setting."""
    return SimpleNamespace(
        bLength=found.LAYOUT.size,
        bDescriptorType=int(DescriptorType.INTERFACE),
        bInterfaceNumber=found.number,
        bAlternateSetting=found.alternate_setting,
        bNumEndpoints=len(found.endpoints),
        bInterfaceClass=found.interface_class,
        bInterfaceSubClass=found.interface_subclass,
        bInterfaceProtocol=found.interface_protocol,
        iInterface=found.name_index,
        extra_descriptors=list(found.extra),
    )


def endpoint(found: EndpointDescriptor) -> SimpleNamespace:
    """Return the fields of one endpoint; the last two exist for audio only."""
    return SimpleNamespace(
        bLength=found.LAYOUT.size,
        bDescriptorType=int(DescriptorType.ENDPOINT),
        bEndpointAddress=found.address,
        bmAttributes=found.attributes,
        wMaxPacketSize=found.max_packet_size,
        bInterval=found.interval,
        bRefresh=0,
        bSynchAddress=0,
        extra_descriptors=list(found.extra),
    )
