"""A mass-storage device on the bus: chapter 9 around the Bulk-Only endpoints.

Source: USB 2.0 chapter 9; BOT 1.0 sections 3 and 4.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from firmware_model.usb.bulk_only import BulkOnly
from firmware_model.wire.bot import BulkOnlyRequest
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.usb import (
    DIRECTION_IN,
    ConfigurationDescriptor,
    DescriptorType,
    DeviceDescriptor,
    DeviceQualifier,
    EndpointDescriptor,
    Feature,
    InterfaceDescriptor,
    LangIds,
    Recipient,
    Request,
    RequestKind,
    SetupPacket,
    StringDescriptor,
)

INTERFACE = 0
CONFIGURATION = 1
ENDPOINT_IN = 0x81
ENDPOINT_OUT = 0x02
US_ENGLISH = 0x0409
FULL_SPEED_PACKET_BYTES = 64
HIGH_SPEED_PACKET_BYTES = 512


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Everything GET DESCRIPTOR can ask a high-speed device for."""

    device: DeviceDescriptor
    configuration: ConfigurationDescriptor
    strings: tuple[str, ...]  # of index 1, 2, ...

    @classmethod
    def mass_storage(
        cls, vendor_id: int, product_id: int, manufacturer: str, product: str, serial: str
    ) -> "Descriptors":
        """Describe a bus-powered high-speed drive.

        BOT 4.1.1 wants a serial of 12 characters or more, the last 12 unique to the drive and all
        of them 0-9 and A-F; this is not checked, since drives are sold that do otherwise.
        """
        device = DeviceDescriptor(
            usb_version=0x0200,
            device_class=0,
            device_subclass=0,
            device_protocol=0,
            max_packet_size_0=64,
            vendor_id=vendor_id,
            product_id=product_id,
            device_version=0x0100,
            manufacturer_index=1,
            product_index=2,
            serial_index=3,
            configuration_count=1,
        )
        endpoints = (
            EndpointDescriptor(ENDPOINT_IN, 0x02, HIGH_SPEED_PACKET_BYTES),
            EndpointDescriptor(ENDPOINT_OUT, 0x02, HIGH_SPEED_PACKET_BYTES),
        )
        interface = InterfaceDescriptor(INTERFACE, 0, 0x08, 0x06, 0x50, endpoints)
        configuration = ConfigurationDescriptor(CONFIGURATION, (interface,), max_power=100)
        return cls(device, configuration, (manufacturer, product, serial))

    def find(self, kind: int, index: int) -> bytes | None:
        """Return the descriptor of that type and index, or None where there is none."""
        if kind == DescriptorType.STRING:
            if index == 0:
                return LangIds((US_ENGLISH,)).encode()
            known = 1 <= index <= len(self.strings)
            return StringDescriptor(self.strings[index - 1]).encode() if known else None
        if index != 0:
            return None
        if kind == DescriptorType.DEVICE:
            return self.device.encode()
        if kind == DescriptorType.CONFIGURATION:
            return self.configuration.encode()
        if kind == DescriptorType.DEVICE_QUALIFIER:
            return self._qualifier().encode()
        if kind == DescriptorType.OTHER_SPEED_CONFIGURATION:
            return self._at_full_speed().encode()
        return None

    def _qualifier(self) -> DeviceQualifier:
        device = self.device
        return DeviceQualifier(
            device.usb_version,
            device.device_class,
            device.device_subclass,
            device.device_protocol,
            device.max_packet_size_0,
            device.configuration_count,
        )

    def _at_full_speed(self) -> ConfigurationDescriptor:
        interfaces = tuple(
            replace(
                interface,
                endpoints=tuple(
                    replace(endpoint, max_packet_size=FULL_SPEED_PACKET_BYTES)
                    for endpoint in interface.endpoints
                ),
            )
            for interface in self.configuration.interfaces
        )
        kind = DescriptorType.OTHER_SPEED_CONFIGURATION
        return replace(self.configuration, interfaces=interfaces, kind=kind)


def _clip(answer: bytes, length: int) -> bytes:
    return answer[:length]


class MassStorageDevice:
    """The UsbFunction of one drive: one configuration, one interface, two bulk endpoints.

    `events` hears of every bus event, and whether a host had configured the device by then; one
    that was configured and is no longer (SET CONFIGURATION 0) was in use, and counts.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        bulk_only: BulkOnly,
        events: Callable[[BusEvent, bool], None],
        clip: Callable[[bytes, int], bytes] = _clip,
    ) -> None:
        self._descriptors = descriptors
        self._bulk_only = bulk_only
        self._events = events
        self._clip = clip
        self._is_attached = False
        self._is_configured = False
        self._was_configured = False  # since it was attached or reset
        self._is_awaited = False  # a transfer was answered NAK since the last call to `_ready`
        self._ready: tuple[Callable[[], None], ...] = ()

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever a transfer answered NAK may now end differently."""
        self._ready += (callback,)

    def cancel(self, endpoint: int, stream: int = 0) -> None:
        """Forget a transfer answered NAK: nothing of it was kept."""

    def bus(self, event: BusEvent) -> None:
        """Take notice of a bus event; ATTACH, RESET and DETACH leave it unconfigured."""
        was_configured = self._was_configured
        if event in (BusEvent.ATTACH, BusEvent.RESET, BusEvent.DETACH):
            self._is_configured = self._was_configured = False
            self._bulk_only.restart()
        if event is BusEvent.ATTACH:
            self._is_attached = True
        elif event is BusEvent.DETACH:
            self._is_attached = False
        for _ in range(2):  # what a glitch leaves out the first time is done the second
            self._events(event, was_configured)
        self._wake()

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        """Take a transfer to the OUT endpoint; any other stalls."""
        if not self._is_configured or endpoint != ENDPOINT_OUT:
            return Handshake.STALL if self._is_attached else Handshake.DETACHED
        result = self._bulk_only.receive(data)
        if result is Handshake.NAK:
            self._is_awaited = True
        elif self._is_awaited:
            self._wake()
        return result

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        """Give a transfer from the IN endpoint; any other stalls."""
        if not self._is_configured or endpoint != ENDPOINT_IN:
            return Handshake.STALL if self._is_attached else Handshake.DETACHED
        result = self._bulk_only.send(length)
        if result is Handshake.NAK:
            self._is_awaited = True
        elif self._is_awaited:
            self._wake()
        return result

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        """Run a control transfer; what is not supported stalls (USB 2.0 section 9.2.7)."""
        if not self._is_attached:
            return Handshake.DETACHED
        if setup.kind == RequestKind.STANDARD:
            result = self._get(setup) if setup.is_in else self._set(setup)
        elif setup.kind == RequestKind.CLASS:
            result = self._class(setup)
        else:
            result = Handshake.STALL
        if self._is_awaited:
            self._wake()
        return result

    def _wake(self) -> None:
        self._is_awaited = False
        for callback in self._ready:
            callback()

    def _get(self, setup: SetupPacket) -> bytes | Handshake:
        """Answer a standard request whose data stage goes to the host."""
        match setup.request:
            case Request.GET_DESCRIPTOR if setup.recipient == Recipient.DEVICE:
                found = self._descriptors.find(setup.value >> 8, setup.value & 0xFF)
                return Handshake.STALL if found is None else self._clip(found, setup.length)
            case Request.GET_CONFIGURATION if setup.recipient == Recipient.DEVICE:
                value = CONFIGURATION if self._is_configured else 0
                return bytes((value,))[: setup.length]
            case Request.GET_INTERFACE if self._names_interface(setup):
                return b"\x00"[: setup.length]
            case Request.GET_STATUS if setup.value == 0:
                return self._status(setup)
        return Handshake.STALL

    def _status(self, setup: SetupPacket) -> bytes | Handshake:
        if setup.recipient == Recipient.DEVICE:
            self_powered = bool(self._descriptors.configuration.attributes & 0x40)
            return bytes((self_powered, 0))[: setup.length]
        if self._names_interface(setup) or self._names_control_endpoint(setup):
            return bytes(2)[: setup.length]
        if self._names_bulk_endpoint(setup):
            halted = self._bulk_only.is_halted(setup.index == ENDPOINT_IN)
            return bytes((halted, 0))[: setup.length]
        return Handshake.STALL

    def _set(self, setup: SetupPacket) -> int | Handshake:
        """Obey a standard request without data; those with data (SET DESCRIPTOR) stall."""
        if setup.length:
            return Handshake.STALL
        match setup.request:
            case Request.SET_ADDRESS if setup.recipient == Recipient.DEVICE:
                return 0 if setup.value <= 127 else Handshake.STALL
            case Request.SET_CONFIGURATION if setup.recipient == Recipient.DEVICE:
                return self._configure(setup.value)
            case Request.SET_INTERFACE if self._names_interface(setup) and setup.value == 0:
                self._bulk_only.restart()
                return 0
            case Request.SET_FEATURE | Request.CLEAR_FEATURE:
                return self._feature(setup)
        return Handshake.STALL

    def _configure(self, value: int) -> int | Handshake:
        if value not in (0, CONFIGURATION):
            return Handshake.STALL
        self._is_configured = value == CONFIGURATION
        self._was_configured |= self._is_configured
        self._bulk_only.restart()
        return 0

    def _feature(self, setup: SetupPacket) -> int | Handshake:
        """Set or clear a halt; there is no remote wakeup and no test mode to select."""
        if setup.value != Feature.ENDPOINT_HALT:
            return Handshake.STALL
        if self._names_control_endpoint(setup):
            return 0 if setup.request == Request.CLEAR_FEATURE else Handshake.STALL
        if not self._names_bulk_endpoint(setup):
            return Handshake.STALL
        is_halted = setup.request == Request.SET_FEATURE
        self._bulk_only.set_halt(setup.index == ENDPOINT_IN, is_halted)
        return 0

    def _class(self, setup: SetupPacket) -> bytes | int | Handshake:
        if not self._names_interface(setup) or setup.value != 0:
            return Handshake.STALL
        if setup.request == BulkOnlyRequest.GET_MAX_LUN and setup.is_in and setup.length == 1:
            return b"\x00"
        if setup.request == BulkOnlyRequest.RESET and not setup.is_in and setup.length == 0:
            self._bulk_only.reset()
            return 0
        return Handshake.STALL

    def _names_interface(self, setup: SetupPacket) -> bool:
        """Whether a request addresses the one interface, which exists once configured."""
        to_interface = setup.recipient == Recipient.INTERFACE
        return to_interface and setup.index == INTERFACE and self._is_configured

    def _names_bulk_endpoint(self, setup: SetupPacket) -> bool:
        to_endpoint = setup.recipient == Recipient.ENDPOINT
        return to_endpoint and setup.index in (ENDPOINT_IN, ENDPOINT_OUT) and self._is_configured

    def _names_control_endpoint(self, setup: SetupPacket) -> bool:
        return setup.recipient == Recipient.ENDPOINT and setup.index & ~DIRECTION_IN == 0
