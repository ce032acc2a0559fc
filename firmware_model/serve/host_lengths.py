"""How long the transfers are that a host makes, as far as a device can know.

On a bus nobody says it. A device must ask its port for as much as the host will send, and end what
is shorter than the host wants. Bulk-Only says it in the CBW. Source: BOT 1.0 sections 5.1, 6.7.
"""

from firmware_model.wire.bot import Cbw, Csw
from firmware_model.wire.codec import DecodeError


class HostLengths:
    """The host's next transfer each way, of `piece` bytes at most and in whole packets."""

    def __init__(self, piece: int) -> None:
        self._piece = piece
        self.packet = 512  # bytes of the largest packet
        self.reset()

    def reset(self) -> None:
        """Begin anew: the host sends a CBW."""
        self._left = 0  # of the data phase
        self._is_in = False
        self.is_over = True  # the command: a device has nothing to give before the next CBW

    @property
    def out(self) -> int:
        """How much to ask the port for."""
        left = 0 if self._is_in else self._left
        return min(self._piece, -(-left // self.packet) * self.packet) or self.packet

    @property
    def into(self) -> int:
        """How much to ask the function for."""
        return min(self._piece, self._left if self._is_in else 0) or self.packet

    @property
    def is_data_out(self) -> bool:
        """Whether the host sends data next, not a CBW."""
        return self._left > 0 and not self._is_in

    def sent(self, data: bytes, asked: int) -> None:
        """Note what the host sent when it was asked for so much: a short packet ends its data."""
        self.is_over = False
        if self.is_data_out:
            self._left = max(0, self._left - len(data)) if len(data) == asked else 0
            return
        try:
            cbw = Cbw.decode(data)
        except DecodeError:
            self._left, self._is_in = 0, False
        else:
            self._left, self._is_in = cbw.data_length, cbw.is_in

    def given(self, count: int) -> bool:
        """Note what the function gave when it was asked for `into`.

        True if the host can't tell that this was all, unless an empty packet or a halt follows.
        """
        is_data = self._is_in and self._left > 0
        is_short = count < self.into
        self.is_over = not is_data and count == Csw.LAYOUT.size
        if is_data:
            self._left = 0 if is_short else self._left - count
        return is_data and is_short and count > 0 and count % self.packet == 0

    def halted(self) -> None:
        """Note that the data phase ended by a halt."""
        self._left = 0
