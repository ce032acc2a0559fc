"""Security protocols. Source: SPC-4 7.7.1, table 212."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from firmware_model.wire.codec import DecodeError

NO_CERTIFICATE: Final = bytes(4)  # under protocol 00h, specific 0001h (SPC-4 7.7.1.4)
NO_COMPLIANCE: Final = bytes(4)  # specific 0002h: no descriptor of any standard (7.7.1.5)


class SecurityProtocol(IntEnum):
    """What SECURITY PROTOCOL IN and OUT carry."""

    INFORMATION = 0x00
    TCG_1 = 0x01
    TCG_2 = 0x02
    ATA_SECURITY = 0xEF
    VENDOR_F0 = 0xF0


@dataclass(frozen=True, slots=True)
class SupportedProtocols:
    """The list under protocol 00h, specific 0000h (SPC-4 7.7.1.3)."""

    protocols: tuple[int, ...]  # ascending, 00h first

    def encode(self) -> bytes:
        """Return the list behind its 8-byte header."""
        return bytes(6) + len(self.protocols).to_bytes(2, "big") + bytes(self.protocols)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the list in `data`; raise DecodeError when it ends early."""
        length = int.from_bytes(data[6:8], "big")
        if len(data) < 8 + length:
            raise DecodeError(f"a list of {length} protocols ends after {len(data)} bytes")
        return cls(tuple(data[8 : 8 + length]))
