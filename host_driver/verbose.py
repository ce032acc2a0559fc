"""What passed between host and drive, as lines to read: one for each exchange, without payloads."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import fields
from enum import IntEnum
from typing import Any, Final

from usb.backend import IBackend
from usb.core import USBError

from firmware_model.wire.bot import BulkOnlyRequest
from firmware_model.wire.cdb import decode_cdb
from firmware_model.wire.scsi import Opcode, ReadCapacity
from firmware_model.wire.sense import Sense
from firmware_model.wire.usb import (
    DescriptorType,
    Feature,
    Recipient,
    Request,
    RequestKind,
    SetupPacket,
)
from host_driver.errors import DriveError
from host_driver.trace import Forwarding
from host_driver.transport import DEFAULT_TIMEOUT_MS, CommandTransport, Completion

_REQUESTS: Final[dict[int, type[IntEnum]]] = {
    RequestKind.STANDARD: Request,
    RequestKind.CLASS: BulkOnlyRequest,
}
# As the standards write these fields.
IN_HEX: Final = ("page", "protocol", "specific", "opcode", "service_action")


class Told(Forwarding):
    """A backend that tells of each control transfer; bulk ones are told as commands."""

    def __init__(self, inner: IBackend, on_exchange: Callable[[str], None]) -> None:
        super().__init__(inner)
        self._tell = on_exchange

    def ctrl_transfer(
        self,
        dev_handle: Any,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: array[int],
        timeout: int,
    ) -> int:
        """Run a control transfer and tell how it went."""
        return self._told(
            SetupPacket(bmRequestType, int(bRequest), wValue, wIndex, len(data)),
            lambda: self.inner.ctrl_transfer(
                dev_handle, bmRequestType, bRequest, wValue, wIndex, data, timeout
            ),
        )

    def set_configuration(self, dev_handle: Any, config_value: int) -> None:
        """Select a configuration."""
        self._told(
            SetupPacket(0x00, Request.SET_CONFIGURATION, config_value, 0, 0),
            lambda: self.inner.set_configuration(dev_handle, config_value),
        )

    def set_interface_altsetting(self, dev_handle: Any, intf: int, altsetting: int) -> None:
        """Select an alternate setting."""
        self._told(
            SetupPacket(0x01, Request.SET_INTERFACE, altsetting, intf, 0),
            lambda: self.inner.set_interface_altsetting(dev_handle, intf, altsetting),
        )

    def clear_halt(self, dev_handle: Any, ep: int) -> None:
        """Clear a halt."""
        self._told(
            SetupPacket(0x02, Request.CLEAR_FEATURE, Feature.ENDPOINT_HALT, ep, 0),
            lambda: self.inner.clear_halt(dev_handle, ep),
        )

    def reset_device(self, dev_handle: Any) -> None:
        """Reset the port, which is no transfer and told all the same."""
        self._tell("port reset")
        self.inner.reset_device(dev_handle)

    def _told(self, setup: SetupPacket, run: Callable[[], int | None]) -> int:
        try:
            count = run() or 0
        except USBError as error:
            self._tell(f"{request_text(setup)}: {error.strerror or error}")
            raise
        way = "in" if setup.is_in else "out"
        moved = f"{way} {count} of {setup.length}" if setup.length else "no data"
        self._tell(f"{request_text(setup)}: {moved}, done")
        return count


class Verbose:
    """A command transport that tells of each command in one line, without what it carries."""

    def __init__(self, inner: CommandTransport, on_exchange: Callable[[str], None]) -> None:
        self._inner = inner
        self._tell = on_exchange

    def execute(
        self,
        cdb: bytes,
        data_out: bytes = b"",
        data_in_length: int = 0,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> Completion:
        """Run the command and tell how it went."""
        command = command_text(cdb)
        try:
            completion = self._inner.execute(cdb, data_out, data_in_length, timeout_ms)
        except DriveError as error:
            self._tell(f"{command}: {type(error).__name__}, {error}")
            raise
        if data_in_length:
            moved = f"in {len(completion.data)} of {data_in_length}"
        elif data_out:
            moved = f"out {len(data_out) - completion.residue} of {len(data_out)}"
        else:
            moved = "no data"
        sense = "" if completion.sense is None else f", {completion.sense}"
        self._tell(f"{command}: {moved}, {completion.status.name}{sense}")
        return completion

    def close(self) -> None:
        """Close the transport below."""
        self._inner.close()


def command_name(cdb: bytes) -> str:
    """Return the standard's name of the command, or its opcode in hexadecimal."""
    return _name_in(Opcode, cdb[0])


def command_text(cdb: bytes) -> str:
    """Return name and bytes of a command, and its fields where they are known."""
    command = decode_cdb(cdb)
    words = [command_name(cdb), cdb.hex()]
    if command != ReadCapacity() and not isinstance(command, Sense):  # its length is no field
        words += [_field(each.name, getattr(command, each.name)) for each in fields(command)]
    return " ".join(word for word in words if word)


def request_text(setup: SetupPacket) -> str:
    """Return name and bytes of a control request, and what it is about."""
    names = _REQUESTS.get(setup.kind)
    name = f"{setup.request:02X}h" if names is None else _name_in(names, setup.request)
    words = [name, setup.encode().hex()]
    if setup.kind == RequestKind.STANDARD and setup.request == Request.GET_DESCRIPTOR:
        words.append(f"{_name_in(DescriptorType, setup.value >> 8)} {setup.value & 0xFF}")
    elif setup.recipient == Recipient.ENDPOINT:
        words.append(f"endpoint {setup.index:02X}h")
    return " ".join(words)


def _name_in(names: type[IntEnum], number: int) -> str:
    try:
        return names(number).name
    except ValueError:
        return f"{number:02X}h"


def _field(name: str, value: Any) -> str:
    """Return one field of a command; nothing for what is off, or the size in its name."""
    if name == "size" or value is None or value is False:
        return ""
    if value is True:
        return name
    return f"{name}={value:02X}h" if name in IN_HEX else f"{name}={value}"
