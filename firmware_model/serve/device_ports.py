"""The device ports (UDCs) of this machine, as sysfs shows them.

Source: Documentation/ABI/stable/sysfs-class-udc.
"""

from pathlib import Path
from typing import Final

from firmware_model.wire.setup import Speed

PORTS: Final = Path("/sys/class/udc")
SPEEDS: Final = {
    "full-speed": Speed.FULL,
    "high-speed": Speed.HIGH,
    "super-speed": Speed.SUPER,
    "super-speed-plus": Speed.SUPER_PLUS,
}
NOT_ATTACHED: Final = "not attached"
NO_PORT: Final = (
    "this machine has no device port: a Raspberry Pi needs dtoverlay=dwc2 in config.txt; "
    "to try it on any machine, modprobe dummy_hcd"
)


class NoPort(OSError):
    """The drive can't be given to a port; the message says what would help."""


class DevicePort:
    """One of them; raises NoPort where there is none of that name."""

    def __init__(self, name: str, ports: Path = PORTS) -> None:
        self.name = name
        self._folder = ports / name
        names = port_names(ports)
        if name not in names:
            raise NoPort(f"{name} is no device port; there is {', '.join(names)}")

    @property
    def speed(self) -> Speed:
        """The speed that it signals at; UNKNOWN while no host has found it."""
        return SPEEDS.get(self._read("current_speed"), Speed.UNKNOWN)

    @property
    def is_attached(self) -> bool:
        """Whether a host is there, as far as the port knows."""
        return self._read("state") != NOT_ATTACHED

    @property
    def user(self) -> str:
        """What drives it: a gadget of configfs or a module; empty if nothing does."""
        return self._read("function")

    def _read(self, attribute: str) -> str:
        try:
            return (self._folder / attribute).read_text().strip()
        except OSError:  # the port itself may be gone
            return ""


def port_names(ports: Path = PORTS) -> list[str]:
    """Return the names of all; raise NoPort where there are none."""
    names = sorted(each.name for each in ports.iterdir()) if ports.is_dir() else []
    if not names:
        raise NoPort(NO_PORT)
    return names


def only_port(ports: Path = PORTS) -> str:
    """Return the name of the one port that there is; raise NoPort where there are more."""
    names = port_names(ports)
    if len(names) > 1:
        raise NoPort(f"say which device port: --gadget {' or '.join(names)}")
    return names[0]
