"""The scheme `model:`: emulated drives in this process, and the one place where both sides meet.

model:native                          a fresh drive of a profile
model:native+counter-after-check      with seeded weaknesses
model:native+./my_part.py:MyCounter   with a part of the user's own
model:native+capacity=1MiB            with a key of the profile changed
model:FILE.sed                        one that outlives the process
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import usb.core

from firmware_model import profiles
from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.parts import ERRORS_OF_CODE, PartClass, PartError, check_fit, part_for
from firmware_model.hardware.board import Board
from firmware_model.hardware.element_state import ElementState
from firmware_model.hardware.entropy import NoiseSource, SeededNoise
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.sedfile import SedFile, SedFileError, SedFileInUse
from firmware_model.hardware.tpm.element import TpmElement
from firmware_model.hardware.tpm.provisioning import connect, provision
from firmware_model.manufacture import Manufactured
from hil_tests.file_drive import FileDrive, told
from host_driver.attachment import Attachment, OpenOptions, TransportKind
from host_driver.backends.in_process import InProcess
from host_driver.errors import Disconnected, DriveInUse, NotFound, TransportError
from host_driver.trace import traced
from host_driver.transport import CommandTransport
from host_driver.usb_transport import UsbTransport, open_transport
from host_driver.verbose import Told, Verbose

if TYPE_CHECKING:
    from usb.backend import IBackend

    from firmware_model.defects import Defect


@dataclass(frozen=True, slots=True)
class ModelName:
    """What follows `model:`: a profile or a file, and what is replaced in the drive."""

    base: str
    changes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, rest: str) -> ModelName:
        """Return the name in `rest`; raise ValueError when there is none."""
        # A folder's name may hold a plus, as c++ does: a file's path ends where .sed does.
        path = re.fullmatch(r"(.+?\.sed)(\+.*)?", rest, re.DOTALL)
        base, *changes = [path[1], *(path[2] or "").split("+")[1:]] if path else rest.split("+")
        if not base or not all(changes):
            raise ValueError(f"model:{rest} is not model:PROFILE[+DEFECT...] or model:FILE.sed")
        return cls(base, tuple(changes))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keys of the profile that are changed, and their values."""
        return dict(profiles.setting(each) for each in self.changes if _is_setting(each))

    @property
    def is_file(self) -> bool:
        return self.base.endswith(".sed") or "/" in self.base or os.sep in self.base

    def parts(
        self,
        defects: Mapping[str, Defect] | None = None,
        module: Callable[[Path], ModuleType] | None = None,
    ) -> Mapping[str, PartClass]:
        """Return the parts that are replaced; raise NotFound or PartError where one can't be.

        `defects` and `module`, which loads a file of the user's, are those of another copy of the
        drive's code.
        """
        from firmware_model.defects import DEFECTS

        known = DEFECTS if defects is None else defects
        replaced: dict[str, PartClass] = {}
        for change in self.changes:
            if _is_setting(change):
                continue
            if change.partition(":")[0].endswith(".py"):
                own = load_class(change, module or _module)
                changed: Mapping[str, PartClass] = {part_for(own): own}
            elif change in known:
                changed = known[change].parts
            else:
                raise NotFound(f"no defect {change!r}; see `sedlab defects list`")
            for part, replacement in changed.items():
                check_fit(part, replacement)
                if part in replaced:
                    raise PartError(f"the {part} is replaced twice")
                replaced[part] = replacement
        return replaced


def _is_setting(change: str) -> bool:
    return "=" in change and not change.partition(":")[0].endswith(".py")


def load_class(text: str, load: Callable[[Path], ModuleType]) -> PartClass:
    """Return the class that `path.py:Class` names; raise PartError where there is none."""
    path_text, _, name = text.partition(":")
    path = Path(path_text)
    if not path.is_file():
        raise PartError(f"{path}: no such file")
    try:
        module = load(path)
    except ERRORS_OF_CODE as wrong:
        raise PartError(f"{path}: {type(wrong).__name__}: {wrong}") from wrong
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise PartError(f"{path}: no class {name!r}; write it as {path}:CLASS")
    return found


def _module(path: Path) -> ModuleType:
    name = f"sedlab_user_part_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PartError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def fresh_drive(
    name: ModelName, noise: NoiseSource, kdf_iterations: int | None = None
) -> EmulatedDrive:
    """Return a new drive of a profile with its replaced parts, without power."""
    return EmulatedDrive.new(fresh_profile(name), noise, name.parts(), kdf_iterations)


def fresh_profile(name: ModelName) -> profiles.Profile:
    """Return the profile a fresh drive is to be made of; raise DriveError where none can be."""
    profile = profile_of(name)
    if profile.tcti is not None:
        raise NotFound(f"{name.base}: its element is a TPM, and a fresh one is not to be had")
    return profile


def profile_of(name: ModelName) -> profiles.Profile:
    """Return the profile a name stands for; raise DriveError where there is none.

    Raises ProfileError for a key that can't be changed to that.
    """
    return profiles.parse(profile_text(name))


def profile_text(name: ModelName) -> str:
    """Return the profile a name stands for, as TOML; raise as `profile_of` does."""
    if name.is_file:
        with open_file(Path(name.base)) as file:
            _parsed(file, Path(name.base))
            text = file.profile_text
    else:
        try:
            text = profiles.text_of(name.base)
        except profiles.ProfileError as unknown:
            raise NotFound(str(unknown)) from None
    return profiles.changed(text, name.settings) if name.settings else text


def open_file(path: Path) -> SedFile:
    """Open a drive's file; raise DriveInUse, NotFound or TransportError where that can't be."""
    try:
        return SedFile.open(path)
    except SedFileInUse as refused:
        raise DriveInUse(str(refused)) from None
    except SedFileError as refused:
        if not path.exists():
            hint = f"sedlab new {path} --profile native"
            raise NotFound(f"{path}: no such drive; `{hint}` makes one") from None
        raise TransportError(str(refused)) from None


def _parsed(file: SedFile, path: Path) -> profiles.Profile:
    try:
        profile = profiles.parse(file.profile_text)
    except profiles.ProfileError as wrong:
        raise TransportError(f"{path}: its profile is none: {wrong}") from None
    if Layout.of(profile.policy).geometry != file.geometry:
        raise TransportError(f"{path}: its flash is not that of its profile")
    return profile


@contextmanager
def unpowered(name: ModelName) -> Iterator[EmulatedDrive]:
    """Give a drive without power, as it lies on a bench: nothing of it changes."""
    if not name.is_file:
        yield fresh_drive(name, SeededNoise(os.urandom(32)))
        return
    path, parts = Path(name.base), name.parts()
    file = open_file(path)
    try:
        profile = _parsed(file, path)
        noise = SeededNoise(os.urandom(32))
        board = file.board(noise, profile.timing, profile.policy.flash.endurance)
        with told():
            yield FileDrive(board, profile, parts)
    finally:
        _close(file)


def create_file(path: Path, text: str, profile: profiles.Profile, made: Manufactured) -> None:
    """Make the file of a new drive, and its element; raise TransportError where that can't be."""
    geometry = Layout.of(profile.policy).geometry
    if profile.tcti is None:
        with told():
            SedFile.create(path, text, geometry, made.element, made.bad_blocks)
        return
    nothing = ElementState.fresh(profile.policy.limits, bytes(32), bytes(32))
    with told():
        SedFile.create(path, text, geometry, nothing, made.bad_blocks)
        try:
            with SedFile.open(path) as file, closing(connect(profile.tcti)) as chip:
                endurance = profile.policy.flash.endurance
                board = file.board(SeededNoise(b""), profile.timing, endurance)
                provision(chip, made.element, board.element.external)
        except ElementError:
            path.unlink()
            raise


def _with_tpm(board: Board, tcti: str, stack: ExitStack) -> None:
    """Solder a TPM to a board in place of the embedded element, beside the same serial flash."""
    with told():
        chip = stack.enter_context(closing(connect(tcti)))
        board.element = TpmElement(
            chip, board.supply, board.clock, board.timing, board.element.external, board.sync
        )


def powered(
    name: ModelName,
    stack: ExitStack,
    noise: NoiseSource | None = None,
    *,
    has_uas: bool = True,
) -> EmulatedDrive:
    """Return the drive of that name, with power, until `stack` ends; raise DriveError.

    `noise` decides what a fresh drive is.
    """
    if name.is_file:
        if name.settings:
            raise ValueError(f"{name.base}: its profile is the one it was made with")
        path, parts = Path(name.base), name.parts()
        file = open_file(path)
        stack.callback(_close, file)
        profile = _parsed(file, path)
        board = file.board(
            SeededNoise(os.urandom(32)), profile.timing, profile.policy.flash.endurance
        )
        if profile.tcti is not None:
            _with_tpm(board, profile.tcti, stack)
        drive: EmulatedDrive = FileDrive(board, profile, parts)
    else:
        drive = fresh_drive(name, noise or SeededNoise(os.urandom(32)))
    drive.has_uas = has_uas
    drive.power_on()
    stack.callback(drive.power_off)
    return drive


def attach(rest: str, options: OpenOptions) -> Attachment:
    """Reach the drive that `model:REST` names: giving it power is a power-up."""
    name = ModelName.parse(rest)
    with ExitStack() as stack:
        drive = powered(name, stack)
        backend: IBackend = InProcess([drive])
        if options.trace is not None:
            backend = traced(backend, options.trace, stack)
        if options.on_exchange is not None:
            backend = Told(backend, options.on_exchange)
        opened = transport_to(drive, backend, options.transport)
        stack.callback(opened.close)
        transport: CommandTransport = opened
        if options.on_exchange is not None:
            transport = Verbose(transport, options.on_exchange)
        return Attachment(
            transport=transport,
            operator=drive,
            is_trusted=not name.is_file,
            serial=drive.serial,
            destroys_data=True,
            close=stack.pop_all().close,
            device=opened.device,
        )


def _close(file: SedFile) -> None:
    with told():
        file.close()


def transport_to(drive: EmulatedDrive, backend: IBackend, kind: TransportKind) -> UsbTransport:
    """Return the way to a drive through pyusb, as to any other device on a bus."""
    usb_id = drive.profile.usb
    device = usb.core.find(backend=backend, idVendor=usb_id.vendor_id, idProduct=usb_id.product_id)
    if device is None:
        crashed = "".join(f", and its firmware crashed: {each}" for each in drive.crashes[-1:])
        raise Disconnected(f"the drive does not answer: it lost power while it started{crashed}")
    return open_transport(device, kind)
