"""A flash part on its own, for tests."""

from firmware_model.hardware.cells import ERASED, RECORD_BYTES
from firmware_model.hardware.nand import Nand


def program(
    nand: Nand, page: int, data: bytes = b"", record: bytes = b"", purpose: str = "data"
) -> bool:
    """Program one page, its record filled up with FFh; tell whether that worked."""
    return nand.program(page, data, record.ljust(RECORD_BYTES, ERASED), purpose) == 1


def programmed(nand: Nand) -> list[int]:
    """Return the pages that are programmed."""
    return [page for page, _, _ in nand.raw_pages()]
