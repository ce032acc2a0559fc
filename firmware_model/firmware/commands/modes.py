"""Mode pages: current, changeable, default and saved values. Source: SPC-4 5.10, 6.9 to 6.12."""

from collections.abc import Mapping
from dataclasses import replace

from firmware_model.firmware.commands.reply import DONE, Reply, Runs, refused
from firmware_model.firmware.controllers import Controller
from firmware_model.wire import mode, scsi
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.native import State
from firmware_model.wire.sense import INVALID_FIELD_IN_CDB, LOCKED, Sense, invalid_field


class ModePages:
    """The pages of a unit: what a host changes lasts till a reset, what it saves till an erase."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._adopt(self._saved)
        self.runs: Runs = {scsi.ModeSense: self._sense, scsi.ModeSelect: self._select}

    def reset(self) -> None:
        """Go back to what was saved."""
        self._adopt(self._saved)

    def _adopt(self, pages: Mapping[int, bytes]) -> None:
        self._current = pages
        self.is_write_protected = mode.is_set(pages, mode.SWP)  # by the host itself
        self.has_descriptor_sense = mode.is_set(pages, mode.D_SENSE)  # where sense has a status

    @property
    def _saved(self) -> Mapping[int, bytes]:
        try:
            return mode.decode_pages(self._controller.settings.value.mode_pages)
        except DecodeError:  # saved by a firmware whose other fields could be changed
            return mode.DEFAULTS

    def _sense(self, command: scsi.ModeSense, data_out: bytes) -> Reply:
        if command.subpage not in (0x00, 0xFF):
            return refused(invalid_field(3))
        values = (self._current, mode.CHANGEABLE, mode.DEFAULTS, self._saved)[command.control]
        pages = mode.encode_pages(command.page, values)
        if pages is None:
            return refused(invalid_field(2, 5))
        is_protected = self._controller.is_write_protected or self.is_write_protected
        parameters = mode.ModeParameters(pages, is_protected)
        return Reply(parameters.encode(command.size)[: command.allocation_length])

    def _select(self, command: scsi.ModeSelect, data_out: bytes) -> Reply:
        if not command.list_length:
            return DONE  # SPC-4 6.9: a length of zero is not an error
        if len(data_out) < command.list_length:
            return refused(INVALID_FIELD_IN_CDB)
        list_ = data_out[: command.list_length]
        pages = mode.selected(list_, command.size, self._current)
        if isinstance(pages, Sense):
            return refused(pages)
        if command.saves:
            if self._controller.state is not State.UNLOCKED:  # a stranger leaves nothing behind
                return refused(LOCKED)
            settings = self._controller.settings
            saved = b"".join(pages.values())
            settings.save(replace(settings.value, mode_pages=saved))
        self._adopt(pages)
        return DONE
