"""The device's end of a cable, as a gadget session needs it."""

from collections.abc import Sequence
from typing import Protocol

from firmware_model.serve.aio import Io
from firmware_model.wire.functionfs import Event
from firmware_model.wire.setup import SetupPacket, Speed


class Board(Protocol):
    """A device port, and the device that it shows: see `firmware_model.serve.gadget_tree`."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def speed(self) -> Speed:
        """The speed that it signals at."""

    @property
    def is_attached(self) -> bool:
        """Whether a host is there, as far as the port knows."""

    def connect(self) -> None:
        """Let the host see the device."""

    def disconnect(self) -> None:
        """Leave the host."""


class Files(Protocol):
    """The files of a function: see `firmware_model.serve.function_files`."""

    def wake(self) -> None: ...
    def wait(self, timeout_s: float | None) -> tuple[list[tuple[int, Io]], list[Event]]: ...
    def data_of(self, setup: SetupPacket) -> bytes: ...
    def answer(self, data: bytes) -> None: ...
    def stall(self, setup: SetupPacket) -> None: ...
    def count(self, endpoint: int) -> int: ...
    def receive(self, endpoint: int, buffer: bytearray, length: int) -> None: ...
    def send(self, endpoint: int, packets: Sequence[bytes], *, tells: bool) -> None: ...
    def withdraw(self) -> list[tuple[int, Io]]: ...
    def drain(self) -> None: ...
    def flush(self, endpoint: int) -> None: ...
    def halt(self, endpoint: int) -> bool: ...
