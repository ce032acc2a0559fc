"""What a served drive's operator asks for, done to the drive."""

from typing import assert_never

from firmware_model.emulated_drive import EmulatedDrive
from firmware_model.hardware.supply import Torn
from firmware_model.wire.native import Entry
from firmware_model.wire.operator import OperatorRequest, Result, Verb


def operate(drive: EmulatedDrive, request: OperatorRequest) -> Result:
    """Do one thing, and return what there is to see then; raise ValueError where it can't be."""
    match request.verb:
        case Verb.PRESS:
            if drive.profile.policy.entry is not Entry.KEYPAD:
                raise ValueError("the drive has no keys")
            drive.press(request.keys)
        case Verb.LEDS:
            return {**drive.leds()}
        case Verb.PLUG:
            drive.plug()
        case Verb.UNPLUG:
            drive.unplug()
        case Verb.POWER_ON:
            drive.power_on()
        case Verb.POWER_OFF:
            drive.power_off()
        case Verb.CUT_AT:
            drive.cut_at(request.step, None if request.torn is None else Torn(request.torn))
        case Verb.ADVANCE:
            drive.advance(request.us)
        case Verb.STATUS:
            pass
        case verb:
            assert_never(verb)
    return {
        "is_on": drive.is_on,
        "is_plugged": drive.is_plugged,
        "now_us": drive.board.clock.now_us,
        "steps": drive.board.supply.count,
    }
