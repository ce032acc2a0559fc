"""A drive of `usb:` as a target: on a bus of this process, that has another drive too."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from usb.core import USBError

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.entropy import SeededNoise
from firmware_model.wire.native import State
from hil_tests.actions import parse_steps
from hil_tests.content import Content
from hil_tests.evaluate import evaluate
from hil_tests.facts import reset_code_of
from hil_tests.ram_disk import RamDrive
from hil_tests.runs import Target, UnsteadyDrive
from hil_tests.steps import Outcome
from hil_tests.targets import ModelName, fresh_profile, powered
from hil_tests.usb_target import open_target
from host_driver.backends.bus import LIBUSB_ERROR_BUSY
from host_driver.backends.in_process import InProcess
from host_driver.errors import (
    AccessDenied,
    CommandRefused,
    Disconnected,
    DriveInUse,
    NotFound,
)

SHARES = (0, 0.03, 0.31, 0.62, 0.93, 1)  # of an evaluation
CONTENT = Content("some", b"0123456789abcde\n" * 4096)
NO_SYSTEM = Path("/nonexistent")


class KernelsBus(InProcess):
    """A bus whose devices a kernel has, until they are taken."""

    def __init__(self, functions: list[Any]) -> None:
        super().__init__(functions)
        self.kernels = {(port.number, 0) for port in super().enumerate_devices()}
        self.is_busy = False  # another program claims every interface first

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        if self.is_busy:
            raise in_use()
        super().claim_interface(dev_handle, intf)

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return (dev_handle.port.number, intf) in self.kernels

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self.kernels.remove((dev_handle.port.number, intf))

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        if intf in dev_handle.port.owners:
            raise in_use()
        self.kernels.add((dev_handle.port.number, intf))


class EventfulBus(KernelsBus):
    """One on which something happens before the n-th thing that is asked of a device."""

    def __init__(self, drive: EmulatedDrive, happens: Callable[[], None]) -> None:
        self.asked, self.happens_at = 0, 0
        self._happens = happens
        super().__init__([drive])

    def _count(self) -> None:
        self.asked += 1
        if self.asked == self.happens_at:
            self._happens()

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        self._count()
        super().claim_interface(dev_handle, intf)

    def control(self, *arguments: Any, **options: Any) -> Any:
        self._count()
        return super().control(*arguments, **options)

    def bulk_write(self, *arguments: Any) -> int:
        self._count()
        return super().bulk_write(*arguments)

    def bulk_read(self, *arguments: Any) -> int:
        self._count()
        return super().bulk_read(*arguments)


def in_use() -> USBError:
    return USBError("Resource busy", LIBUSB_ERROR_BUSY, errno.EBUSY)


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
    target.close()

    assert len(taken) == 1
    assert bus.kernels == had


def test_wrong_reset_code_is_found_before_any_pin_is_set(
    drive: EmulatedDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEDLAB_RESET_CODE", "1" * 32)
    bus = KernelsBus([drive])
    target = open_target(f"usb:1209:5ed0:{drive.serial}", "native", True, CONTENT, bus, NO_SYSTEM)
    with closing(target), pytest.raises(UnsteadyDrive, match="SEDLAB_RESET_CODE: not allowed"):
        target.bench()
    assert drive.firmware is not None

    assert drive.firmware.state is State.FACTORY


def plain_target(drive: EmulatedDrive, bus: KernelsBus) -> Target:
    return open_target(f"usb:1209:5ed0:{drive.serial}", "plain", True, CONTENT, bus, NO_SYSTEM)


def judge(target: Target, traces: Path) -> None:
    evaluate(target, depth="survey", date="2026-11-29", traces=traces)


@pytest.fixture
def plain() -> Iterator[EmulatedDrive]:
    with ExitStack() as stack:
        yield powered(ModelName.parse("plain"), stack, SeededNoise(b"usb target"))


def asked_in_all(plain: EmulatedDrive, traces: Path) -> int:
    """Return how often something is asked of the drive in an evaluation."""
    bus = EventfulBus(plain, lambda: None)
    with closing(plain_target(plain, bus)) as target:
        bus.asked = 0
        judge(target, traces)
        return bus.asked


@pytest.mark.parametrize("share", SHARES)
def test_drive_that_is_unplugged_gets_no_verdict(
    plain: EmulatedDrive, tmp_path: Path, share: float
) -> None:
    bus = EventfulBus(plain, plain.unplug)
    happens_at = 1 + int(share * (asked_in_all(plain, tmp_path) - 1))
    with closing(plain_target(plain, bus)) as target:
        bus.asked, bus.happens_at = 0, happens_at

        with pytest.raises(Disconnected):
            judge(target, tmp_path)


def test_drive_that_another_program_takes_gets_no_verdict(
    plain: EmulatedDrive, tmp_path: Path
) -> None:
    bus = KernelsBus([plain])
    with closing(plain_target(plain, bus)) as target:
        target.bench()
        bus.is_busy = True

        with pytest.raises(DriveInUse):
            judge(target, tmp_path)


@pytest.mark.parametrize("share", SHARES)
def test_interrupted_evaluation_gives_the_drive_back(
    plain: EmulatedDrive, tmp_path: Path, share: float
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    bus = EventfulBus(plain, interrupted)
    had = set(bus.kernels)
    happens_at = 1 + int(share * (asked_in_all(plain, tmp_path) - 1))
    with pytest.raises(KeyboardInterrupt), closing(plain_target(plain, bus)) as target:
        bus.asked, bus.happens_at = 0, happens_at
        judge(target, tmp_path)

    assert bus.kernels == had


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
