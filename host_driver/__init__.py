"""The driver: `open_drive(url)`, and what it raises.

Names are loaded when they are first used, so that the command starts quickly.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from host_driver.attachment import OpenOptions
    from host_driver.drive import Drive, open_drive
    from host_driver.errors import (
        Blocked,
        CommandRefused,
        DriveError,
        Erased,
        Locked,
        NoPin,
        NotSupported,
        ProtocolError,
        SelfTestFailed,
        TransportError,
        WrongPin,
    )

_HOMES = {"OpenOptions": "attachment", "Drive": "drive", "open_drive": "drive"}

__all__ = [
    "Blocked",
    "CommandRefused",
    "Drive",
    "DriveError",
    "Erased",
    "Locked",
    "NoPin",
    "NotSupported",
    "OpenOptions",
    "ProtocolError",
    "SelfTestFailed",
    "TransportError",
    "WrongPin",
    "open_drive",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"host_driver.{_HOMES.get(name, 'errors')}"), name)
