"""A drive of `usb:` as a target: on a bus of this process, that has another drive too."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from hil_tests.actions import parse_steps
from hil_tests.content import Content
from hil_tests.facts import reset_code_of
from hil_tests.ram_disk import RamDrive
from hil_tests.runs import UnsteadyDrive
from hil_tests.steps import Outcome
from hil_tests.targets import ModelName, fresh_profile, powered
from hil_tests.usb_target import open_target
from host_driver.backends.in_process import InProcess
from host_driver.errors import AccessDenied, CommandRefused, NotFound

CONTENT = Content("some", b"0123456789abcde\n" * 4096)
NO_SYSTEM = Path("/nonexistent")


class KernelsBus(InProcess):
    """A bus whose devices a kernel has, until they are taken."""

    def __init__(self, functions: list[Any]) -> None:
        super().__init__(functions)
        self.kernels = {(port.number, 0) for port in super().enumerate_devices()}

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return (dev_handle.port.number, intf) in self.kernels

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernels.remove((dev_handle.port.number, intf))

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernels.add((dev_handle.port.number, intf))


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatedDrive]:
    """A drive, whose reset code its owner has at hand."""
    name, noise = ModelName.parse("native+pin.kdf_iterations=1"), SeededNoise(b"usb target")
    monkeypatch.setenv("SEDLAB_RESET_CODE", reset_code_of(fresh_profile(name), noise))
    with ExitStack() as stack:
        yield powered(name, stack, noise)


def test_drive_is_judged_on_its_own_bus_and_given_back_to_the_kernel(drive: EmulatedDrive) -> None:
    bus = KernelsBus([RamDrive(), drive])
    had = set(bus.kernels)
    target = open_target(f"usb:1209:5ed0:{drive.serial}", "native", True, CONTENT, bus, NO_SYSTEM)
    for _ in range(2):
        steps = target.bench().run_all(parse_steps("set_pin-user-0,unlock-user-0,write-0-0-8"))

        assert [step.outcome for step in steps] == [Outcome.OK] * 3
        assert not any(step.mismatches for step in steps)
    taken = had - bus.kernels
    del target
    gc.collect()

    assert len(taken) == 1
    assert bus.kernels == had


def test_drive_that_has_gone_is_no_verdict(drive: EmulatedDrive) -> None:
    url = f"usb:1209:5ed0:{drive.serial}"
    target = open_target(url, "native", True, CONTENT, KernelsBus([drive]), NO_SYSTEM)
    drive.unplug()

    with pytest.raises(UnsteadyDrive, match="does not answer any more"):
        target.bench()


@pytest.mark.parametrize(
    ("serial", "destroys_data", "said"),
    [("", True, "serial number as well"), (":{}", False, "--destroys-data")],
    ids=["no serial number", "no leave"],
)
def test_drive_is_left_alone_without_leave(
    drive: EmulatedDrive, serial: str, destroys_data: bool, said: str
) -> None:
    url = f"usb:1209:5ed0{serial.format(drive.serial)}"

    with pytest.raises(AccessDenied, match=said):
        open_target(url, "native", destroys_data, CONTENT, KernelsBus([drive]), NO_SYSTEM)


def test_drive_that_holds_a_file_system_is_left_alone() -> None:
    stick = RamDrive()
    stick.disk.blocks[510:512] = b"\x55\xaa"
    url = "usb:1209:5ed0:0123456789AB"

    with pytest.raises(CommandRefused, match="the drive holds"):
        open_target(url, "plain", True, CONTENT, KernelsBus([stick]), NO_SYSTEM)


def test_drive_that_is_not_there_is_told(drive: EmulatedDrive) -> None:
    with pytest.raises(NotFound, match="no drive 1209:5ed0:00 is attached"):
        open_target("usb:1209:5ed0:00", "native", True, CONTENT, KernelsBus([drive]), NO_SYSTEM)


def test_what_the_drive_is_must_be_said(drive: EmulatedDrive) -> None:
    with pytest.raises(ValueError, match="--profile NAME"):
        open_target("usb:1209:5ed0", None, True, CONTENT, KernelsBus([drive]), NO_SYSTEM)
