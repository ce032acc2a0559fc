"""What the flash costs a drive: `python -m hil_tests.bench_medium`.

Transfers of 128 KiB through pyusb to NAND, as a part of what the sector cipher alone reaches on the
same bytes; write amplification of random writes beside what theory expects of the room kept back;
and the time to mount a full drive of 1 GiB whose supply failed in the middle of a write.
"""

import contextlib
import math
import random
from time import perf_counter

from firmware_model.firmware.policy import Policy
from firmware_model.firmware.sector_cipher import XtsSectors
from firmware_model.firmware.translation import FREE_BLOCKS, Translation, blocks_needed
from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.nand import Geometry, Nand
from firmware_model.hardware.supply import PowerCut, Supply, Torn
from hil_tests.actions import PINS
from hil_tests.bench_sector_cipher import BUFFER_BYTES, MEK, medians_us
from host_driver import open_drive

REPETITIONS = 400
BUFFER_BLOCKS = BUFFER_BYTES // 512
FULL_VALID = 0xFF


def transfer_ratios(repetitions: int = REPETITIONS) -> tuple[float, float, float]:
    """Return the speed of write and read as parts of the cipher's, and the cipher's in MB/s."""
    data = random.Random(0).randbytes(BUFFER_BYTES)
    cipher = XtsSectors(MEK)
    with open_drive("model:native") as drive:
        drive.set_pin(PINS[0])
        drive.unlock(PINS[0])
        places = [i % 400 * BUFFER_BLOCKS for i in range(repetitions)]
        for place in places * 2:  # from here on blocks are written that were used before
            drive.write(place, data)
        to_write, to_read = iter(places), iter(places)
        times_us = medians_us(
            (
                lambda: cipher.encrypt(0, data),
                lambda: drive.write(next(to_write), data),
                lambda: cipher.decrypt(0, data),
                lambda: drive.read(next(to_read), BUFFER_BLOCKS),
            ),
            repetitions,
        )
    return times_us[0] / times_us[1], times_us[2] / times_us[3], BUFFER_BYTES / times_us[0]


class Medium:
    """Flash and translation layer of a drive of that size, without anything around them."""

    def __init__(self, capacity_bytes: int, over_provisioning_percent: int) -> None:
        self.supply, self.clock = Supply(), Clock()
        self.pages = capacity_bytes // 4096
        self.block_count = blocks_needed(self.pages, 64, over_provisioning_percent)
        shape = Geometry(self.block_count)
        self.nand = Nand(shape, MemoryCells(shape.page_bytes), self.supply, self.clock, Timing())

    def mounted(self) -> Translation:
        return Translation(self.nand, 0, self.block_count, self.pages, 0)


def write_amplification(over_provisioning_percent: int) -> tuple[float, float]:
    """Return measured and expected pages programmed for each page written at random."""
    medium, chance, data = (
        Medium(16 << 20, over_provisioning_percent),
        random.Random(1),
        bytes(4096),
    )
    translation = medium.mounted()
    for page in range(medium.pages):
        translation.write(page, data, FULL_VALID)
    for _ in range(3 * medium.pages):
        translation.write(chance.randrange(medium.pages), data, FULL_VALID)
    translation.host_pages = translation.moved_pages = 0
    for _ in range(3 * medium.pages):
        translation.write(chance.randrange(medium.pages), data, FULL_VALID)
    measured = 1 + translation.moved_pages / translation.host_pages
    usable = (medium.block_count - FREE_BLOCKS) * 64 / medium.pages
    return measured, expected_amplification(usable)


def expected_amplification(usable: float) -> float:
    """Return a / (a + W(-a exp(-a))), `a` usable pages for each logical one, W Lambert's function.

    For uniform random writes and blocks collected in turn (Desnoyers, SYSTOR 2012); to collect the
    block with the fewest valid pages, as here, costs a little less.
    """
    x, w = -usable * math.exp(-usable), 0.0  # the branch above -1, found by Newton's method
    for _ in range(60):
        w -= (w * math.exp(w) - x) / (math.exp(w) * (w + 1))
    return usable / (usable + w)


def mount_time_s() -> tuple[float, float]:
    """Return the time to mount a full drive of 1 GiB after a cut, and to fill it."""
    medium = Medium(1 << 30, Policy(1).flash.over_provisioning_percent)
    translation, data = medium.mounted(), bytes(BUFFER_BYTES)
    begun = perf_counter()
    for page in range(0, medium.pages, 32):
        translation.write(page, data, FULL_VALID)
    filled_s = perf_counter() - begun
    medium.supply.cut_at(17, Torn.HALF)
    with contextlib.suppress(PowerCut):
        translation.write(0, data, FULL_VALID)
    medium.supply.power_on()
    begun = perf_counter()
    again = medium.mounted()
    mounted_s = perf_counter() - begun
    assert len(again.read(0, 32).data) == BUFFER_BYTES
    return mounted_s, filled_s


def main() -> None:
    write, read, cipher_mb_s = transfer_ratios()
    print(f"write 128 KiB through pyusb to NAND: {write:.3f} of the sector cipher", end="")
    print(f" ({write * cipher_mb_s:.0f} of {cipher_mb_s:.0f} MB/s)")
    print(f"read 128 KiB through pyusb from NAND: {read:.3f} of the sector cipher")
    for percent in (7, 15, 28):
        measured, expected = write_amplification(percent)
        print(
            f"write amplification, {percent} % kept back: {measured:.2f}, expected {expected:.2f}"
        )
    mounted_s, filled_s = mount_time_s()
    print(
        f"mount of a full 1 GiB drive after a cut: {mounted_s:.2f} s (filled in {filled_s:.2f} s)"
    )


if __name__ == "__main__":
    main()
