"""The hands beside a drive that another process serves."""

import stat
from pathlib import Path
from typing import Final

from firmware_model.wire.codec import DecodeError
from firmware_model.wire.local_socket import connect_to
from firmware_model.wire.operator import (
    LINE_BYTES_MAX,
    OperatorReply,
    OperatorRequest,
    Result,
    Verb,
    socket_beside,
)
from host_driver.errors import AccessDenied, Disconnected, NotFound, ProtocolError, Timeout

ANSWER_TIMEOUT_S: Final = 60  # pressing a key may stretch a PIN, and waits for a running command


class OperatorSocket:
    """An Operator: each call is done when it returns.

    `target` is the drive's file, or the socket itself. Raises NotFound where nobody serves it and
    AccessDenied where another user does. Calls raise ValueError for what can't be done.
    """

    def __init__(self, target: str) -> None:
        file = Path(target.removeprefix("model:"))
        path = file if _is_socket(file) else socket_beside(file)
        try:
            self._stream = connect_to(path, ANSWER_TIMEOUT_S)
        except PermissionError:
            raise AccessDenied(f"{path}: only who serves the drive may operate it") from None
        except OSError:
            hint = f"`sedlab serve {file} --usbip`"
            raise NotFound(f"nobody serves {file}: {hint} does") from None
        self._lines = self._stream.makefile("rb")

    def close(self) -> None:
        """Let go of the socket."""
        self._lines.close()
        self._stream.close()

    def press(self, keys: str) -> None:
        """Press keys, one after the other, in the keypad's notation."""
        self._ask(OperatorRequest(Verb.PRESS, keys=keys))

    def leds(self) -> dict[str, str]:
        """Return what each light does, by its colour: off, on or blink."""
        return {name: str(value) for name, value in self._ask(OperatorRequest(Verb.LEDS)).items()}

    def plug(self) -> None:
        """Connect the drive to the host."""
        self._ask(OperatorRequest(Verb.PLUG))

    def unplug(self) -> None:
        """Disconnect the drive from the host."""
        self._ask(OperatorRequest(Verb.UNPLUG))

    def power_on(self) -> None:
        """Give the drive its supply."""
        self._ask(OperatorRequest(Verb.POWER_ON))

    def power_off(self) -> None:
        """Take the drive's supply away."""
        self._ask(OperatorRequest(Verb.POWER_OFF))

    def cut_at(self, step: int | None, torn: str | None = None) -> None:
        """Have the supply fail at the next but `step` - 1 durable step; None: not at all.

        With `torn`, half or weak, it fails inside that step.
        """
        self._ask(OperatorRequest(Verb.CUT_AT, step=step, torn=torn))

    def advance(self, us: int) -> None:
        """Move the drive's clock on by `us` microseconds."""
        self._ask(OperatorRequest(Verb.ADVANCE, us=us))

    def status(self) -> Result:
        """Return whether it is on and plugged, what its clock says, and how many durable steps."""
        return self._ask(OperatorRequest(Verb.STATUS))

    def _ask(self, request: OperatorRequest) -> Result:
        try:
            self._stream.sendall(request.encode())
            line = self._lines.readline(LINE_BYTES_MAX + 1)
        except TimeoutError:
            raise Timeout("the operator does not answer") from None
        except OSError:
            line = b""
        if not line:
            raise Disconnected("the drive is no longer served")
        try:
            reply = OperatorReply.decode(line)
        except DecodeError as wrong:
            raise ProtocolError(f"the operator's answer is none: {wrong}") from None
        if reply.error is not None:
            raise ValueError(reply.error)
        return reply.result


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
