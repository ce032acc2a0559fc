"""A whole drive: board, firmware and USB function, and the hands of an operator beside it.

The firmware lives from power-up to the loss of power. When supply fails in the middle of anything,
or a part of somebody else's crashes, the firmware object is thrown away and the board stays; nobody
outside sees more than a drive that no longer answers.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import Final

from firmware_model.firmware import boot
from firmware_model.firmware.absent_unit import AbsentUnit
from firmware_model.firmware.commands.unit import Identity
from firmware_model.firmware.controller import DriveController
from firmware_model.firmware.firmware import Firmware
from firmware_model.firmware.keypad_entry import KeypadEntry
from firmware_model.firmware.layout import Layout
from firmware_model.firmware.logical_unit import LogicalUnit
from firmware_model.firmware.native import NativeChannels
from firmware_model.firmware.parts import (
    ERRORS_OF_CODE,
    PartClass,
    Parts,
    check_fit,
    make_parts,
)
from firmware_model.firmware.plain import PlainController
from firmware_model.firmware.reference import REFERENCE
from firmware_model.hardware.board import Board
from firmware_model.hardware.entropy import NoiseSource
from firmware_model.hardware.keypad import Leds, keys
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.sedfile import SedFileError
from firmware_model.hardware.supply import PowerCut, Torn
from firmware_model.manufacture import manufacture, serial_number
from firmware_model.profiles import Profile
from firmware_model.usb.bulk_only import BulkOnly
from firmware_model.usb.descriptors import Descriptors
from firmware_model.usb.device import MassStorageDevice, Transport
from firmware_model.usb.uas import UsbAttachedScsi
from firmware_model.wire.function import BusEvent, Handshake
from firmware_model.wire.native import Entry
from firmware_model.wire.sense import LOCKED, MEDIUM_CHANGED
from firmware_model.wire.usb import SetupPacket, Speed

ENDS: Final = (PowerCut, *ERRORS_OF_CODE)  # of a firmware's life


class EmulatedDrive:
    """A drive in this process: the UsbFunction of the model, and its operator."""

    def __init__(
        self,
        board: Board,
        profile: Profile,
        parts: Mapping[str, PartClass] | None = None,
        kdf_iterations: int | None = None,
    ) -> None:
        for part, replacement in (parts or {}).items():
            check_fit(part, replacement)
        self.board = board
        self.profile = profile
        self.parts = dict(parts or {})
        self.policy = profile.policy
        if kdf_iterations is not None:
            self.policy = replace(profile.policy, kdf_iterations=kdf_iterations)
        self.has_uas = True  # beside Bulk-Only, from the next time that it gets power on
        self.crashes: list[str] = []  # of parts that aren't the reference's, in copies too
        self.is_disturbed = False  # something in it was made to go wrong, so that it may crash
        self.firmware: Firmware | None = None  # None without power, and on a plain drive
        self._device: MassStorageDevice | None = None
        self._entry: KeypadEntry | None = None
        self._ready: tuple[Callable[[], None], ...] = ()
        self._is_plugged = True
        self._speed = Speed.HIGH  # of the port that it was last attached to

    @classmethod
    def new(
        cls,
        profile: Profile,
        noise: NoiseSource,
        parts: Mapping[str, PartClass] | None = None,
        kdf_iterations: int | None = None,
    ) -> "EmulatedDrive":
        """Make a fresh drive in memory, without power; its reset code is that of `manufacture`.

        It goes on with the noise behind that which its identity was drawn from.
        """
        made = manufacture(profile, noise)
        geometry = Layout.of(profile.policy).geometry
        endurance = profile.policy.flash.endurance
        board = Board.in_memory(
            geometry, made.element, noise, profile.timing, endurance, made.bad_blocks
        )
        return cls(board, profile, parts, kdf_iterations)

    def fork(self) -> "EmulatedDrive":
        """Return the same drive once more, without power: what happens to it spares this one."""
        return self.with_board(self.board.copy())

    def with_board(self, board: Board) -> "EmulatedDrive":
        """Return a drive of this profile and these parts on another board, without power."""
        other = EmulatedDrive(board, self.profile, self.parts)
        other.policy = self.policy
        other.crashes, other.is_disturbed = self.crashes, self.is_disturbed
        return other

    @property
    def serial(self) -> str:
        """The USB serial number."""
        return serial_number(self.board.element.identity)

    @property
    def is_on(self) -> bool:
        """Whether the firmware runs."""
        return self._device is not None

    @property
    def is_plugged(self) -> bool:
        """Whether the data lines are connected to a host."""
        return self._is_plugged

    # --- the operator ---------------------------------------------------------------------------

    def power_on(self) -> None:
        """Give supply, which boots the firmware; a cut during boot leaves the drive off."""
        if self._device is not None:
            return
        self.board.supply.power_on()
        try:
            self._boot()
        except ENDS as end:
            self._end(end)

    def power_off(self) -> None:
        """Take supply away."""
        self.board.supply.power_off()
        self._lose_power()

    def plug(self) -> None:
        """Connect the data lines to a host."""
        self._is_plugged = True
        self._bus(BusEvent.ATTACH)

    def unplug(self) -> None:
        """Disconnect the data lines; supply stays, as on a powered hub or a spliced cable."""
        self._bus(BusEvent.DETACH)
        self._is_plugged = False

    def cut_at(self, step: int | None, torn: Torn | None = None) -> None:
        """Have supply fail at the `step`-th durable effect from now, or not at all.

        With `torn`, it fails inside that effect, where it is one of the flash.
        """
        self.board.supply.cut_at(step, torn)

    def suspend(self) -> None:
        """Have the bus fall silent, as a computer that sleeps has it."""
        self.bus(BusEvent.SUSPEND)

    def resume(self) -> None:
        """Wake the bus."""
        self.bus(BusEvent.RESUME)

    @property
    def now_us(self) -> int:
        """What the drive's clock says."""
        return self.board.clock.now_us

    def begin_steps(self) -> None:
        """Count and name durable steps from here."""
        self.board.supply.begin()

    @property
    def step_names(self) -> tuple[str, ...]:
        """The durable steps since then; raises ValueError where they are too many."""
        return tuple(self.board.supply.names)

    @property
    def cut_name(self) -> str | None:
        """The step that a cut since then prevented."""
        return self.board.supply.cut_name

    def advance(self, us: int) -> None:
        """Let time pass, and timers run out."""
        self.board.clock.charge(us)
        if self.firmware is None:
            return
        try:
            self.firmware.poll()
        except ENDS as end:
            self._end(end)

    def press(self, text: str) -> None:
        """Press keys, in the keypad's notation; raise ValueError for one that there is not."""
        pressed = keys(text)
        try:
            for key in pressed:
                self.board.keypad.press(key)
        except ENDS as end:
            self._end(end)

    def leds(self) -> dict[str, str]:
        """Return what each light does: off, on or blink."""
        try:
            if self._entry is not None:
                self._entry.refresh()
        except ENDS as end:
            self._end(end)
        lights = self.board.keypad.leds if self._device is not None else Leds()
        return {
            "red": lights.red.value,
            "green": lights.green.value,
            "blue": lights.blue.value,
        }

    # --- the USB function -----------------------------------------------------------------------

    def control(self, setup: SetupPacket, data: bytes = b"") -> bytes | int | Handshake:
        """Run a control transfer."""
        if self._device is None:
            return Handshake.DETACHED
        try:
            return self._device.control(setup, data)
        except ENDS as end:
            return self._end(end)

    def transfer_out(self, endpoint: int, data: bytes, stream: int = 0) -> int | Handshake:
        """Take a transfer from the host."""
        if self._device is None:
            return Handshake.DETACHED
        try:
            return self._device.transfer_out(endpoint, data, stream)
        except ENDS as end:
            return self._end(end)

    def transfer_in(self, endpoint: int, length: int, stream: int = 0) -> bytes | Handshake:
        """Give a transfer to the host."""
        if self._device is None:
            return Handshake.DETACHED
        try:
            result = self._device.transfer_in(endpoint, length, stream)
            is_due = self.firmware is not None and self.firmware.restart_is_due
        except ENDS as end:
            return self._end(end)
        if is_due and not self._device.owes_status:
            self._restart()
        return result

    def cancel(self, endpoint: int, stream: int = 0) -> None:
        """Forget a transfer that was answered NAK."""
        if self._device is not None:
            self._device.cancel(endpoint, stream)

    def bus(self, event: BusEvent, speed: Speed = Speed.HIGH) -> None:
        """Take notice of what happens on the bus, while it is plugged in.

        With ATTACH, `speed` is what the port offers; the drive is there at that speed until the
        next, also where it comes back by itself.
        """
        if event is BusEvent.ATTACH:
            self._speed = speed
        if self._is_plugged:
            self._bus(event)

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever a transfer answered NAK may now end differently."""
        self._ready += (callback,)
        if self._device is not None:
            self._device.on_ready(callback)

    def ready(self) -> Set[tuple[int, int]] | None:
        """Return which those are, by endpoint and stream; None stands for any."""
        if self._device is None:
            return None
        try:
            return self._device.ready()
        except ENDS as end:
            self._end(end)
            return None

    # --- inside ---------------------------------------------------------------------------------

    def _bus(self, event: BusEvent) -> None:
        if self._device is None:
            return
        try:
            self._device.bus(event, self._speed)
        except ENDS as end:
            self._end(end)

    def _restart(self) -> None:
        """Begin with new firmware: the host sees the drive leave the bus and come back."""
        self._lose_power()
        try:
            self._boot()
        except ENDS as end:
            self._end(end)

    def _boot(self) -> None:
        classes = {**REFERENCE, **self.parts}
        controller: DriveController | PlainController
        if self.profile.dialect == "none":
            parts = make_parts(classes)
            controller = PlainController(self.board, self.policy, parts)
            unit = LogicalUnit(self._identity(), controller)
        else:
            running = boot.begin(self.board, self.policy, classes["update_check"]())
            # What a drive was made with in the place of a reference part, no manifest changes.
            parts = make_parts({**REFERENCE, **running.parts, **self.parts})
            self.firmware = firmware = Firmware(self.board, self.policy, parts, running)
            controller = DriveController(firmware, NativeChannels(firmware))
            unit = LogicalUnit(self._identity(), controller)
            firmware.on_open = lambda: unit.attention(MEDIUM_CHANGED)
            firmware.access.on_close = self._close_unit
            if self.policy.entry is Entry.KEYPAD:
                self._entry = KeypadEntry(firmware, self.board.keypad)

        def bus_event(event: BusEvent, was_configured: bool) -> None:
            if event in (BusEvent.ATTACH, BusEvent.RESET):
                unit.reset()
            controller.bus_event(event, was_configured)

        self._device = self._usb(unit, bus_event, parts)
        for callback in self._ready:
            self._device.on_ready(callback)
        if self._is_plugged:
            self._device.bus(BusEvent.ATTACH, self._speed)

    def _identity(self) -> Identity:
        usb = self.profile.usb
        return Identity(usb.vendor, usb.product, usb.revision, self.serial)

    def _usb(
        self, unit: LogicalUnit, events: Callable[[BusEvent, bool], None], parts: Parts
    ) -> MassStorageDevice:
        usb = self.profile.usb
        descriptors = Descriptors(
            usb.vendor_id, usb.product_id, usb.vendor, usb.product, self.serial, self.has_uas
        )
        transports: list[Transport] = [BulkOnly(unit, parts.transport)]
        if self.has_uas:
            transports.append(UsbAttachedScsi(unit, AbsentUnit()))
        return MassStorageDevice(descriptors, transports, events, parts.replies.clip)

    def _close_unit(self) -> None:
        """Have nothing of a medium that closes wait for the host."""
        if self._device is not None:
            self._device.drop_data(LOCKED)

    def _end(self, end: BaseException) -> Handshake:
        """Power was cut, or a part crashed; model, file and element are nobody's part."""
        if not isinstance(end, PowerCut):
            is_nobodys = isinstance(end, SedFileError | ElementError)
            if not self.is_disturbed and (is_nobodys or not self.parts):
                raise end
            self.crashes.append(f"{type(end).__name__}: {end}")
            self.board.supply.power_off()
        return self._lose_power()

    def _lose_power(self) -> Handshake:
        """Throw the firmware away: nothing of it survives."""
        self.firmware = None
        self._device = None
        self._entry = None
        self.board.keypad.listen(None)
        for callback in self._ready:
            callback()
        return Handshake.DETACHED
