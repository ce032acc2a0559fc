"""The claims that an evaluation judges, in the order of the scorecard."""

from hil_tests.properties import (
    attempts,
    confidentiality,
    conformance,
    durability,
    forensics,
    locking,
    updates,
)
from hil_tests.properties.base import Block, Property

_BLOCKS = list(Block)
PROPERTIES: tuple[Property, ...] = tuple(
    sorted(
        (
            *locking.PROPERTIES,
            *attempts.PROPERTIES,
            *confidentiality.PROPERTIES,
            *forensics.PROPERTIES,
            *durability.PROPERTIES,
            *conformance.PROPERTIES,
            *updates.PROPERTIES,
        ),
        key=lambda each: _BLOCKS.index(each.block),
    )
)
BY_ID: dict[str, Property] = {each.id: each for each in PROPERTIES}

__all__ = ["BY_ID", "PROPERTIES", "Block", "Property"]
