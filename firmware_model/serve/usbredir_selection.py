"""What a guest has selected of a device, and what it is told of that."""

from collections.abc import Iterator
from typing import Final

from firmware_model.serve.port import Description
from firmware_model.wire.usb import (
    EndpointDescriptor,
    InterfaceDescriptor,
    Request,
    SetupPacket,
    Speed,
)
from firmware_model.wire.usbredir import ENDPOINTS, endpoint_address, endpoint_index
from firmware_model.wire.usbredir_device import (
    NO_ENDPOINT,
    DeviceConnect,
    Endpoint,
    EndpointType,
    EpInfo,
    Interface,
    InterfaceInfo,
    RedirSpeed,
)

SELECTS_CONFIGURATION: Final = (0x00, Request.SET_CONFIGURATION)  # bmRequestType, bRequest
SELECTS_ALT_SETTING: Final = (0x01, Request.SET_INTERFACE)
NO_ALT_SETTING: Final = 255
_SPEEDS: Final = {Speed.HIGH: RedirSpeed.HIGH, Speed.SUPER: RedirSpeed.SUPER}
_CONTROL: Final = Endpoint(EndpointType.CONTROL)


class Selection:
    """Configuration, alternate settings and streams.

    Until a guest selects anything, it is told of the first configuration, as if that were selected
    already: so it is with hosts whose operating system does that, and so a filter has something to
    look at.
    """

    def __init__(self, description: Description) -> None:
        self.description: Final = description
        self.reset()

    def reset(self) -> None:
        """Be as a reset leaves a device."""
        self.configuration = 0  # value of the selected one
        self._is_told = True  # of the first configuration
        self._alts: dict[int, int] = {}  # by number of the interface, where it is not 0
        self._streams: dict[int, int] = {}  # how many, by address of the endpoint

    def note(self, setup: SetupPacket) -> bool:
        """Take notice of a request that succeeded, and tell whether it changed anything here."""
        match setup.request_type, setup.request:
            case (0x00, Request.SET_CONFIGURATION):
                self.reset()
                self.configuration = setup.value & 0xFF
                self._is_told = self.configuration == self.description.configuration.value
            case (0x01, Request.SET_INTERFACE):
                self._alts[setup.index & 0xFF] = setup.value & 0xFF
                self._streams = {}
            case _:
                return False
        return True

    # --- what is told ----------------------------------------------------------------------------

    @property
    def device_connect(self) -> DeviceConnect:
        """What the device is."""
        device = self.description.device
        return DeviceConnect(
            _SPEEDS.get(self.description.speed, RedirSpeed.UNKNOWN),
            device.device_class,
            device.device_subclass,
            device.device_protocol,
            device.vendor_id,
            device.product_id,
            device.device_version,
        )

    @property
    def interface_info(self) -> InterfaceInfo:
        """Which interfaces there are."""
        return InterfaceInfo(
            tuple(
                Interface(
                    each.number,
                    each.interface_class,
                    each.interface_subclass,
                    each.interface_protocol,
                )
                for each in self._interfaces()
            )
        )

    @property
    def ep_info(self) -> EpInfo:
        """Which endpoints there are: those of control always."""
        found = [NO_ENDPOINT] * ENDPOINTS
        found[0] = found[ENDPOINTS // 2] = _CONTROL
        for interface in self._interfaces():
            for each in interface.endpoints:
                found[endpoint_index(each.address)] = Endpoint(
                    EndpointType(each.attributes & 0x03),
                    each.interval,
                    interface.number,
                    each.max_packet_size & 0x7FF,
                    _streams_max(each),
                )
        return EpInfo(tuple(found))

    def alt_setting(self, interface: int) -> int:
        """Return which alternate setting is selected; 255 where there is no such interface."""
        numbers = (each.number for each in self._interfaces())
        return self._alts.get(interface, 0) if interface in numbers else NO_ALT_SETTING

    def _interfaces(self) -> Iterator[InterfaceDescriptor]:
        """Yield the selected setting of each interface."""
        if self._is_told:
            for each in self.description.configuration.interfaces:
                if each.alternate_setting == self._alts.get(each.number, 0):
                    yield each

    # --- streams ---------------------------------------------------------------------------------

    def alloc_streams(self, mask: int, count: int) -> bool:
        """Give endpoints streams 1 to `count`; False, and nothing, where one has fewer."""
        chosen = _chosen(mask)
        possible = {
            each.address: _streams_max(each)
            for interface in self._interfaces()
            for each in interface.endpoints
        }
        if not count or any(possible.get(address, 0) < count for address in chosen):
            return False
        self._streams |= dict.fromkeys(chosen, count)
        return True

    def free_streams(self, mask: int) -> tuple[int, ...]:
        """Take them away; return the endpoints that had some."""
        had = tuple(address for address in _chosen(mask) if address in self._streams)
        for address in had:
            del self._streams[address]
        return had

    def has_stream(self, endpoint: int, stream: int) -> bool:
        """Whether a transfer may go there: 1 to the count, and 0 where there are none."""
        count = self._streams.get(endpoint, 0)
        return 1 <= stream <= count if count else stream == 0


def _chosen(mask: int) -> list[int]:
    return [endpoint_address(index) for index in range(ENDPOINTS) if mask >> index & 1]


def _streams_max(endpoint: EndpointDescriptor) -> int:
    """Return how many streams an endpoint can have: 0, or a power of two (USB 3.2 9.6.7)."""
    companion = endpoint.extra
    if not endpoint.is_bulk or companion[:2] != b"\x06\x30" or len(companion) < 6:
        return 0
    exponent = companion[3] & 0x1F
    return 1 << exponent if 0 < exponent <= 16 else 0
