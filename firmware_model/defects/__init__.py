"""Published weaknesses, each as a few replaced parts; nothing of the drive knows of them."""

from typing import Final

from firmware_model.defects import (
    access,
    attempts,
    faults,
    forensics,
    keys,
    media,
    transport,
    update,
)
from firmware_model.defects.defect import Defect

DEFECTS: Final[dict[str, Defect]] = {
    defect.name: defect
    for room in (attempts, keys, forensics, media, access, transport, update, faults)
    for defect in room.DEFECTS
}

__all__ = ["DEFECTS", "Defect"]
