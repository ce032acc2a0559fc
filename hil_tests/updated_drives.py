"""Drives that take firmware, and what a test of that does to them."""

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.firmware_slots import FirmwareSlots
from firmware_model.firmware.layout import Layout
from firmware_model.hardware.element_state import FirmwareSlot
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.image_signing import TEST_KEY, signed_image
from firmware_model.wire.firmware_image import (
    Manifest,
    Version,
)
from firmware_model.wire.scsi.buffer import ActivateMicrocode, DownloadMicrocode
from firmware_model.wire.sense import (
    Sense,
)
from hil_tests.actions import PINS
from hil_tests.bench.bench import Bench
from hil_tests.content import Content
from hil_tests.facts import facts_of
from hil_tests.runs import Target

PIN, ADMIN_PIN = PINS[0], PINS[1]
FILLER = bytes(i * 31 & 0xFF for i in range(9000))  # three pages of 4 KiB, with header and all
BUILT_IN = ("1.0.0", 1)


def image(
    version: str = "1.1.0",
    security_version: int = 2,
    product: str = "native",
    key: Ed25519PrivateKey = TEST_KEY,
    manifest: Manifest | None = None,
    filler: bytes = FILLER,
) -> bytes:
    named = manifest or Manifest()
    number = Version.parse(version)
    return signed_image(product, number, security_version, key, manifest=named, filler=filler)


GOOD = image()


def opened(profile: str = "native") -> Bench:
    """Return a drive that its user has just opened."""
    bench = Target(f"model:{profile}").bench()
    bench.host().set_pin(PIN)
    bench.host().unlock(PIN)
    return bench


def bench_of(profile: profiles.Profile) -> Bench:
    """Return a bench over a new drive of a profile, opened by its user."""
    drive = EmulatedDrive.new(profile, SeededNoise(b"update"), kdf_iterations=1)
    drive.power_on()
    bench = Bench(drive, facts_of(profile), Content("anything", bytes(range(256)) * 8))
    bench.host().set_pin(PIN)
    bench.host().unlock(PIN)
    return bench


def updated(bench: Bench, data: bytes) -> None:
    """Give an open drive new firmware, and open it again."""
    bench.host().update(data)
    bench.reconnect()
    bench.host().unlock(PIN)


def running(bench: Bench) -> tuple[str, int]:
    status = bench.status()
    assert status is not None
    return str(status.version), status.security_version


def state_of(bench: Bench) -> str:
    status = bench.status()
    assert status is not None
    return status.state.name


def power_cycle(bench: Bench) -> None:
    bench.drive.power_off()
    bench.drive.power_on()
    bench.reconnect()


def send(bench: Bench, offset: int, piece: bytes) -> Sense | None:
    """Send a piece as it is, and return why it was refused."""
    bench.host().disk.test_unit_ready()  # hears what unit attentions wait
    return bench.link().execute(DownloadMicrocode(offset, len(piece)).encode(), piece).sense


def activate(bench: Bench) -> Sense | None:
    return bench.link().execute(ActivateMicrocode().encode()).sense


def damage(bench: Bench, *slots: FirmwareSlot) -> None:
    """Have so many bits of the images in some slots flip that no ECC corrects them; power up."""
    for slot in slots:
        flip(bench, slot, range(0, 4096 * 8, 64))
    power_cycle(bench)


def flip(bench: Bench, slot: FirmwareSlot, bits: Iterable[int]) -> None:
    """Have bits flip in the first page of the image in a slot."""
    nand = bench.drive.board.nand
    slots = FirmwareSlots(nand, Layout.of(bench.drive.policy).firmware_block)
    nand.flip(slots.good_blocks(slot)[0] * nand.geometry.block_pages, bits)
