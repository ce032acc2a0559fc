"""Where things stand in flash: wrapped keys, attempt log, firmware, data."""

from dataclasses import dataclass

from firmware_model.firmware import attempt_log, firmware_slots, keystore, settings
from firmware_model.firmware.policy import Policy
from firmware_model.firmware.sector_cipher import SECTOR_BYTES
from firmware_model.firmware.translation import blocks_needed
from firmware_model.hardware.nand import Geometry


@dataclass(frozen=True, slots=True)
class Layout:
    """The blocks of a drive; the wrapped keys are in the first."""

    geometry: Geometry
    log_block: int
    firmware_block: int
    settings_block: int
    data_block: int
    data_blocks: int
    logical_pages: int

    @classmethod
    def of(cls, policy: Policy) -> "Layout":
        """Return the flash a drive of that policy needs."""
        flash = policy.flash
        block_pages = flash.pages_per_block * flash.planes
        logical_pages = -(-policy.block_count * SECTOR_BYTES // flash.page_bytes)
        log_blocks = attempt_log.blocks_needed(policy.log_records, block_pages)
        firmware_block = keystore.BLOCKS + log_blocks
        slot_blocks = firmware_slots.blocks_needed(block_pages * flash.page_bytes)
        settings_block = firmware_block + slot_blocks
        data_block = settings_block + settings.BLOCKS
        data_blocks = blocks_needed(logical_pages, block_pages, flash.over_provisioning_percent)
        geometry = Geometry(
            data_block + data_blocks,
            flash.pages_per_block,
            flash.page_bytes,
            flash.spare_bytes,
            flash.planes,
        )
        return cls(
            geometry,
            keystore.BLOCKS,
            firmware_block,
            settings_block,
            data_block,
            data_blocks,
            logical_pages,
        )

    @property
    def areas(self) -> dict[str, range]:
        """The blocks of each area, by the name of what it holds."""
        return {
            "keys": range(self.log_block),
            "log": range(self.log_block, self.firmware_block),
            "firmware": range(self.firmware_block, self.settings_block),
            "settings": range(self.settings_block, self.data_block),
            "data": range(self.data_block, self.geometry.block_count),
        }
