"""The drive's own time. It moves only by charges: what each operation of the hardware takes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """What operations take, in microseconds: figures of an SLC NAND and a small secure element."""

    page_read_us: int = 60
    page_program_us: int = 300
    block_erase_us: int = 2_500
    element_us: int = 4_000
    kdf_us: int = 250_000  # one stretching of a PIN
    sector_us: int = 3  # one sector through the cipher
    boot_us: int = 40_000
    verify_us: int = 60_000  # the signature of a firmware image
    attempt_us: int = 400_000  # a failed attempt, whatever failed and whatever it led to

    @property
    def longest_attempt_us(self) -> int:
        """What an attempt takes that ends in an erase: guess, verdict, end of all secrets."""
        flash_us = 2 * self.page_program_us + 2 * self.block_erase_us  # two records, two key blocks
        return self.kdf_us + 3 * self.element_us + flash_us


class Clock:
    """A counter of microseconds that goes on while the drive is without power."""

    def __init__(self, now_us: int = 0) -> None:
        self.now_us = now_us

    def charge(self, us: int) -> None:
        """Move time on by what an operation took."""
        self.now_us += us

    def charge_until(self, us: int) -> None:
        """Wait for a moment; one that has passed takes no time."""
        self.now_us = max(self.now_us, us)
