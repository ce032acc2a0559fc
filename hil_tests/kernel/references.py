"""The references: disks of others, so that the table shows where ours differs from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hil_tests.kernel.gadget import load_port
from hil_tests.kernel.machine import KernelMachine
from hil_tests.kernel.qemu import Bus
from hil_tests.kernel.way_in import BULK_ONLY, HIGH_SPEED, SUPER_SPEED, UAS, Unplug, WayIn

DISK_BYTES: Final = 128 << 20
SERIAL: Final = "5ED1AB000001"  # as Bulk-Only asks for: twelve digits or A to F (BOT 4.1.1)

GADGET: Final = "/sys/kernel/config/usb_gadget/reference"
NO_SAVED_VALUES: Final = "it refuses to tell saved values of mode pages"
NO_SMART: Final = "it has neither mode page 1Ch nor LOG SENSE"
OF_QEMU: Final = {
    "smartctl can tell health": NO_SMART,
    "every mode page can be read": NO_SAVED_VALUES,
    "supported operation codes are told": "it has no REPORT SUPPORTED OPERATION CODES",
}
OF_LINUX: Final = {
    "smartctl can tell health": NO_SMART,
    "report luns tells lun 0": "it has no REPORT LUNS, which SPC-3 and later demand",
    "every vpd page it lists can be read": "it refuses every page of vital product data",
    "every mode page can be read": NO_SAVED_VALUES,
    "supported operation codes are told": "it has no REPORT SUPPORTED OPERATION CODES",
}


@dataclass(frozen=True, slots=True)
class QemuDisk:
    """QEMU's own SCSI disk: as its stick, or behind its UAS adapter with streams."""

    name: str
    driver: str
    speed_mbps: int = SUPER_SPEED
    disk_bytes: int = DISK_BYTES
    pin: str = ""
    departures: Mapping[str, str] = field(default_factory=lambda: OF_QEMU)

    def plug(self, machine: KernelMachine) -> Unplug:
        qemu = machine.qemu
        image = qemu.add_disk_image(_image(machine, self.name))
        if self.driver == UAS:
            device = qemu.plug("usb-uas", Bus.XHCI, serial=SERIAL)
            qemu.plug("scsi-hd", f"{device}.0", drive=image, serial=SERIAL)
            qemu.attach(device)
        else:
            device = qemu.plug("usb-storage", Bus.XHCI, drive=image, serial=SERIAL)

        def unplug() -> None:
            qemu.unplug(device)
            qemu.remove_disk_image(image)

        return unplug


@dataclass(frozen=True, slots=True)
class LinuxGadget:
    """Linux's own mass storage function, on a device port that the same kernel emulates."""

    name: str = "Linux f_mass_storage"
    driver: str = BULK_ONLY
    speed_mbps: int = HIGH_SPEED
    disk_bytes: int = DISK_BYTES
    pin: str = ""
    departures: Mapping[str, str] = field(default_factory=lambda: OF_LINUX)

    def plug(self, machine: KernelMachine) -> Unplug:
        load_port(machine, self.speed_mbps)
        machine.output_of(
            f"""set -e
            modprobe usb_f_mass_storage
            truncate --size {self.disk_bytes} /run/gadget.img
            mkdir -p {GADGET}/strings/0x409 {GADGET}/configs/c.1 {GADGET}/functions/mass_storage.0
            cd {GADGET}
            echo 0x1d6b >idVendor; echo 0x0104 >idProduct  # the Linux Foundation's own
            echo {SERIAL} >strings/0x409/serialnumber
            echo Linux >strings/0x409/manufacturer; echo "File storage" >strings/0x409/product
            echo /run/gadget.img >functions/mass_storage.0/lun.0/file
            ln -s functions/mass_storage.0 configs/c.1
            echo dummy_udc.0 >UDC"""
        )

        def unplug() -> None:
            machine.output_of(
                f"""set -e
                cd {GADGET}
                echo >UDC
                rm configs/c.1/mass_storage.0
                rmdir functions/mass_storage.0 configs/c.1 strings/0x409
                rmdir {GADGET}"""
            )

        return unplug


REFERENCES: Final[tuple[WayIn, ...]] = (
    QemuDisk("QEMU usb-storage", BULK_ONLY),
    QemuDisk("QEMU usb-uas", UAS),
    LinuxGadget(),
)


def _image(machine: KernelMachine, name: str) -> Path:
    """Return the file of a disk; it is made at the first time."""
    path = machine.folder / f"{name}.img"
    with path.open("ab") as image:
        image.truncate(DISK_BYTES)
    return path
