"""Reservations of the unit, for the one nexus there is. Source: SPC-4 5.12, SPC-2 5.5.

There is no other initiator to keep out, so no command is ever refused for a reservation. What is
left is what a host relies on: keys, types, generations, and which of its requests are a conflict.
"""

from dataclasses import dataclass, replace
from struct import Struct
from typing import ClassVar, Final, Self

from firmware_model.firmware.commands.reply import CONFLICT, DONE, Reply, Runs, refused
from firmware_model.firmware.controllers import Controller
from firmware_model.wire import scsi
from firmware_model.wire.native import State
from firmware_model.wire.scsi import ReservationType, ReserveIn, ReserveOut
from firmware_model.wire.scsi import reservations as wire
from firmware_model.wire.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_RELEASE,
    LOCKED,
    PARAMETER_LIST_LENGTH_ERROR,
    Sense,
    invalid_parameter,
)

_UAS: Final = 0x09  # protocol identifier (SPC-4 table 477)
_TRANSPORT_ID: Final = bytes((_UAS, *bytes(23)))
_REGISTERS: Final = (ReserveOut.REGISTER, ReserveOut.REGISTER_AND_IGNORE_EXISTING_KEY)
_GENERATIONS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Registration:
    """The key of the nexus, and what it reserved."""

    generation: int = 0
    key: int | None = None  # None: not registered
    held: ReservationType | None = None
    persists: bool = False  # through loss of power

    LAYOUT: ClassVar[Struct] = Struct(">QB")

    def encode(self) -> bytes:
        """Return what is to be remembered, nothing where there is nothing."""
        if self.key is None or not self.persists:
            return b""
        return self.LAYOUT.pack(self.key, self.held or 0)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what was remembered; a generation begins anew with power (5.12.6)."""
        if len(data) != cls.LAYOUT.size:
            return cls()
        key, held = cls.LAYOUT.unpack(data)
        kind = ReservationType(held) if held in list(ReservationType) else None
        return cls(key=key or None, held=kind if key else None, persists=bool(key))


class Reservations:
    """Who reserved the unit."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._now = Registration.decode(controller.settings.value.registration)
        self._is_reserved = False  # as SPC-2 has it, by RESERVE
        self.runs: Runs = {
            scsi.Reserve: self._reserve,
            scsi.Release: self._release,
            scsi.PersistentReserveIn: self._persistent_in,
            scsi.PersistentReserveOut: self._persistent_out,
        }

    def reset(self) -> None:
        """End what RESERVE began; the persistent ones stay (SPC-4 5.12.1)."""
        self._is_reserved = False

    def _reserve(self, command: scsi.Reserve, data_out: bytes) -> Reply:
        if self._now.key is not None:
            return CONFLICT
        self._is_reserved = True
        return DONE

    def _release(self, command: scsi.Release, data_out: bytes) -> Reply:
        if self._now.key is not None:
            return CONFLICT
        self._is_reserved = False
        return DONE

    def _persistent_in(self, command: scsi.PersistentReserveIn, data_out: bytes) -> Reply:
        now = self._now
        if self._is_reserved:
            return CONFLICT
        match command.action:
            case ReserveIn.READ_KEYS:
                keys = () if now.key is None else (now.key,)
                data = wire.encode_keys(now.generation, keys)
            case ReserveIn.READ_RESERVATION:
                is_nobodys = now.held is None or now.held.is_of_all_registrants
                key = 0 if is_nobodys else now.key or 0
                data = wire.encode_reservation(now.generation, key, now.held)
            case ReserveIn.REPORT_CAPABILITIES:
                can_persist = self._controller.policy.reservations_persist
                data = wire.encode_capabilities(can_persist, now.persists)
            case ReserveIn.READ_FULL_STATUS:
                data = wire.encode_full_status(now.generation, now.key, now.held, _TRANSPORT_ID)
        return Reply(data[: command.allocation_length])

    def _persistent_out(self, command: scsi.PersistentReserveOut, data_out: bytes) -> Reply:
        if len(data_out) < command.list_length:
            return refused(INVALID_FIELD_IN_CDB)
        if command.list_length != wire.ReserveParameters.LAYOUT.size:
            return refused(PARAMETER_LIST_LENGTH_ERROR)
        if self._is_reserved:
            return CONFLICT
        parameters = wire.ReserveParameters.decode(data_out[: command.list_length])
        is_kept = self._now.persists or (parameters.persists and command.action in _REGISTERS)
        if is_kept and self._controller.state is not State.UNLOCKED:
            return refused(LOCKED)  # a stranger changes nothing that stays
        if command.action in _REGISTERS:
            after = self._registered(command.action, parameters)
        elif self._now.key is None or self._now.key != parameters.key:
            return CONFLICT
        else:
            after = self._changed(command, parameters)
        if isinstance(after, Registration):
            self._become(after)
            return DONE
        return refused(after) if isinstance(after, Sense) else CONFLICT

    def _registered(
        self, action: ReserveOut, parameters: wire.ReserveParameters
    ) -> Registration | Sense | None:
        """Return what a REGISTER leads to; None stands for a conflict (5.12.7)."""
        now = self._now
        if parameters.specifies_initiators:
            return invalid_parameter(20, 3)
        if parameters.is_for_all_ports:
            return invalid_parameter(20, 2)
        if parameters.persists and not self._controller.policy.reservations_persist:
            return invalid_parameter(20, 0)
        if action is ReserveOut.REGISTER and parameters.key != (now.key or 0):
            return None
        if not parameters.action_key:
            if now.key is None:
                return now
            return Registration(self._next_generation())
        return Registration(
            self._next_generation(), parameters.action_key, now.held, parameters.persists
        )

    def _changed(
        self, command: scsi.PersistentReserveOut, parameters: wire.ReserveParameters
    ) -> Registration | Sense | None:
        """Return what the registered nexus turns its registration into (5.12.9 to 5.12.11)."""
        now = self._now
        match command.action:
            case ReserveOut.RESERVE:
                if now.held is not None and now.held is not command.kind:
                    return None
                return replace(now, held=command.kind)
            case ReserveOut.RELEASE:
                if now.held is not None and now.held is not command.kind:
                    return INVALID_RELEASE
                return replace(now, held=None)
            case ReserveOut.CLEAR:
                return Registration(self._next_generation())
        return self._preempted(command, parameters.action_key)

    def _preempted(
        self, command: scsi.PersistentReserveOut, victim: int
    ) -> Registration | Sense | None:
        """Return what is left when the nexus preempts: itself is the only one it can find."""
        now = self._now
        is_for_all = now.held is not None and now.held.is_of_all_registrants
        if not victim and not is_for_all:
            return invalid_parameter(8)
        if victim not in (0, now.key):
            return None
        generation = self._next_generation()
        if now.held is not None and (not victim or not is_for_all):
            return replace(now, generation=generation, held=command.kind)
        return Registration(generation)  # its own registration goes, and what it held

    def _next_generation(self) -> int:
        return (self._now.generation + 1) % _GENERATIONS

    def _become(self, after: Registration) -> None:
        if after.encode() != self._now.encode():
            settings = self._controller.settings
            settings.save(replace(settings.value, registration=after.encode()))
        self._now = after
