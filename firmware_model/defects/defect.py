"""What a defect is: a weakness seeded into the model by replacing a few of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass

from firmware_model.firmware.parts import PartClass


@dataclass(frozen=True, slots=True)
class Defect:
    """One weakness. Its parts fit the same seams as the reference parts do."""

    name: str
    sentence: str  # what the drive does wrong
    citation: str  # where it was published, or why it is here
    parts: Mapping[str, PartClass]
    killed_by: str  # id of the property that is there to find it
    profile: str = "native"
