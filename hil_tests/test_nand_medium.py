"""What a flash part suffers: flipped bits, wear, bad blocks, torn programs and erases."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.cells import MemoryCells
from firmware_model.hardware.clock import Clock, Timing
from firmware_model.hardware.endurance import Endurance
from firmware_model.hardware.nand import Geometry, Nand, NandError
from firmware_model.hardware.supply import PowerCut, Supply, Torn
from hil_tests.flash_part import program

SHAPE = Geometry(block_count=4, pages_per_block=8, page_bytes=1024, spare_bytes=128)
DATA = bytes(range(256)) * 4
DAY_US = 86_400_000_000


class Part:
    """A part on its own, and what it is wired to."""

    def __init__(self, shape: Geometry = SHAPE, endurance: Endurance | None = None) -> None:
        self.supply, self.clock = Supply(), Clock()
        self.nand = Nand(
            shape, MemoryCells(shape.page_bytes), self.supply, self.clock, Timing(), endurance
        )

    def cut(self, torn: Torn, page: int | None = None, block: int = 0) -> None:
        """Cut supply inside a program of `page`, or inside the erase of `block`."""
        self.supply.cut_at(1, torn)
        with pytest.raises(PowerCut):
            if page is None:
                self.nand.erase(block, "block")
            else:
                program(self.nand, page, DATA, b"record")
        self.supply.power_on()


@given(st.sets(st.integers(0, 8 * 512 - 1), max_size=8))
def test_as_many_flipped_bits_as_the_code_corrects_are_corrected(bits: set[int]) -> None:
    part = Part()
    program(part.nand, 0, DATA, b"record")
    part.nand.flip(0, bits)

    assert part.nand.read(0) == DATA
    assert part.nand.corrected == len(bits)
    assert part.nand.records(0)[0].tobytes().startswith(b"record")


def test_more_flipped_bits_are_uncorrectable_and_no_wrong_data() -> None:
    part = Part()
    program(part.nand, 0, DATA)
    program(part.nand, 1, DATA)
    part.nand.flip(0, range(0, 27, 3))

    assert part.nand.read(0) is None
    assert part.nand.read(0, 2) is None
    assert part.nand.read(1) == DATA


def test_flipped_bits_of_the_spare_area_cost_the_record_and_not_the_data() -> None:
    part = Part()
    program(part.nand, 0, DATA, b"record")
    part.nand.flip(0, range(8 * 1024 + 8, 8 * 1024 + 8 + 30, 2))

    assert part.nand.read(0) == DATA
    assert not part.nand.records(0).any()


def test_bits_flip_with_age_and_sooner_in_a_worn_block() -> None:
    promised = Endurance(cycles=20, retention_days=800)
    fresh, worn = Part(endurance=promised), Part(endurance=promised)
    for _ in range(20):
        worn.nand.erase(0, "block")
    corrected = {}
    for part in (fresh, worn):
        program(part.nand, 0, DATA)
        part.clock.charge(100 * DAY_US)
        assert part.nand.read(0) == (DATA if part is fresh else None) or part is worn
        corrected[part] = part.nand.corrected

    assert corrected[fresh] == 1
    assert worn.nand.read(0) is None
    fresh.clock.charge(800 * DAY_US)
    assert fresh.nand.read(0) is None


def test_reads_disturb_a_block_until_it_is_erased() -> None:
    part = Part(endurance=Endurance(reads=80))
    for page in range(8):
        program(part.nand, page, DATA)
    for _ in range(8):
        part.nand.read(0, 8)

    assert part.nand.read(3) == DATA
    assert part.nand.corrected == 6
    for _ in range(4):
        part.nand.read(0, 8)
    assert part.nand.read(3) is None
    part.nand.erase(0, "block")
    program(part.nand, 0, DATA)
    assert part.nand.read(0) == DATA
    assert part.nand.corrected == 0


def test_reads_are_counted_across_a_copy_of_the_part() -> None:
    part = Part(endurance=Endurance(reads=16))
    program(part.nand, 0, DATA)
    for _ in range(10):
        part.nand.read(0)
    other = part.nand.on(Supply(), Clock())
    other.read(0)

    assert other.corrected == 5


def test_worn_block_fails_an_erase_between_the_promised_cycles_and_twice_as_many() -> None:
    part = Part(endurance=Endurance(cycles=30))
    lives = []
    for block in range(4):
        erases = 0
        while part.nand.erase(block, "block"):
            erases += 1
        lives.append(erases)

    assert all(30 <= life < 60 for life in lives)
    assert len(set(lives)) > 1


def test_failed_program_says_how_many_pages_were_done_and_leaves_noise() -> None:
    part = Part()
    assert part.nand.program(0, DATA * 2, bytes(64), "data") == 2
    part.nand.fail_next(0)

    assert part.nand.program(2, DATA * 3, bytes(96), "data") == 0
    assert part.nand.read(0, 2) == DATA * 2
    assert part.nand.read(2) is None


def test_marked_block_is_bad_for_good_and_what_it_held_can_be_read() -> None:
    part = Part()
    program(part.nand, 0, DATA)
    part.nand.mark_bad(0)

    other = part.nand.on(Supply(), Clock())
    assert other.is_bad(0)
    assert other.read(0) == DATA
    assert dict((page, spare) for page, _, spare in other.raw_pages())[0][0] == 0x00
    with pytest.raises(NandError):
        program(other, 1, DATA)
    with pytest.raises(NandError):
        other.erase(0, "block")


def test_mark_of_a_bad_block_without_pages_is_in_the_dump() -> None:
    part = Part()
    part.nand.mark_bad(2)

    assert [(page, spare[0]) for page, _, spare in part.nand.raw_pages()] == [(16, 0x00)]


def test_half_programmed_page_is_taken_and_unreadable() -> None:
    part = Part()
    part.cut(Torn.HALF, page=0)

    assert part.nand.programmed_in(0) == 1
    assert part.nand.read(0) is None
    assert not part.nand.records(0)[0].tobytes().startswith(b"record")
    assert program(part.nand, 1, DATA)


def test_weak_page_reads_right_once_and_a_margin_read_tells() -> None:
    part = Part()
    part.cut(Torn.WEAK, page=0)

    assert not part.nand.is_stable(0)
    assert part.nand.records(0)[0].tobytes().startswith(b"record")
    assert part.nand.read(0) == DATA
    assert part.nand.read(0) is None


def test_half_erased_block_keeps_some_of_its_pages() -> None:
    part = Part()
    for page in range(4):
        program(part.nand, page, DATA)
    part.cut(Torn.HALF)

    assert [part.nand.read(page) == DATA for page in range(4)] == [False, True, False, True]


def test_weakly_erased_block_looks_erased_and_keeps_nothing() -> None:
    part = Part()
    program(part.nand, 0, DATA)
    part.cut(Torn.WEAK)

    assert part.nand.programmed_in(0) == 0
    program(part.nand, 0, DATA)
    assert part.nand.read(0) == DATA
    assert part.nand.read(0) is None
    part.nand.erase(0, "block")
    program(part.nand, 0, DATA)
    assert [part.nand.read(0) for _ in range(3)] == [DATA] * 3


def test_cut_before_an_effect_tears_nothing() -> None:
    part = Part()
    part.supply.cut_at(1)
    with pytest.raises(PowerCut):
        program(part.nand, 0, DATA)
    part.supply.power_on()

    assert part.nand.programmed_in(0) == 0


def test_cut_in_a_run_of_pages_keeps_those_before_it() -> None:
    part = Part()
    part.supply.cut_at(3, Torn.HALF)
    with pytest.raises(PowerCut, match="step 3: program data"):
        part.nand.program(0, DATA * 5, bytes(160), "data")
    part.supply.power_on()

    assert part.nand.read(0, 2) == DATA * 2
    assert part.nand.read(2) is None
    assert part.nand.programmed_in(0) == 3


def test_planes_are_driven_together_and_share_the_time() -> None:
    times = []
    for planes in (1, 2):
        part = Part(replace(SHAPE, planes=planes))
        part.nand.program(0, DATA * 8, bytes(256), "data")
        part.nand.read(0, 8)
        times.append(part.clock.now_us)

    assert times[0] == 2 * times[1]
    assert Part(replace(SHAPE, planes=2)).nand.geometry.block_pages == 16


def test_raw_pages_hold_data_record_and_a_parity_that_corrects() -> None:
    part = Part()
    program(part.nand, 0, DATA, b"record")
    ((page, data, spare),) = part.nand.raw_pages()
    damaged = bytearray(data)
    damaged[100] ^= 0x10

    decoded = part.nand.code.decode_page(bytes(damaged), spare)

    assert (page, data, len(spare)) == (0, DATA, SHAPE.spare_bytes)
    assert decoded.data == DATA
    assert decoded.record.startswith(b"record")


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=1024)), max_size=20))
def test_runs_and_single_pages_read_alike(pages: list[tuple[int, bytes]]) -> None:
    part = Part()
    for block, data in pages:
        count = part.nand.programmed_in(block)
        if count < SHAPE.block_pages:
            program(part.nand, block * 8 + count, data)
    for block in range(4):
        count = part.nand.programmed_in(block)
        singly = [part.nand.read(block * 8 + index) for index in range(count)]
        if count:
            assert part.nand.read(block * 8, count) == b"".join(each or b"" for each in singly)
        assert np.shape(part.nand.records(block)) == (count, 32)
