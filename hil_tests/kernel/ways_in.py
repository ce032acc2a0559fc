"""All ways in, in the order of the table's columns: the references first."""

from __future__ import annotations

from typing import Final

from hil_tests.kernel.gadget import Gadget
from hil_tests.kernel.ours import OURS
from hil_tests.kernel.references import REFERENCES
from hil_tests.kernel.way_in import WayIn

WAYS_IN: Final[tuple[WayIn, ...]] = (*REFERENCES, *OURS, Gadget())
