"""`sedlab dump`: what a chip reader gets of a drive, beside a drive that does not notice."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from firmware_model.hardware.sedfile import SedFile
from hil_tests.actions import PINS
from hil_tests.command_line import FAST, Run
from hil_tests.sed_files import board_of
from hil_tests.targets import ModelName, unpowered

PIN = PINS[0]
DATA = bytes(i * 7 & 0xFF for i in range(300_000))


@pytest.fixture
def drive(run: Run) -> str:
    """Make a drive with a PIN and data on it."""
    assert run("new", "a.sed", "--capacity", "4MiB", *FAST).status == 0
    assert run("set-pin", "a.sed", NEW_PIN=PIN).status == 0
    Path("data").write_bytes(DATA)
    assert run("write", "a.sed", "data", PIN_USER=PIN).status == 0
    return "a.sed"


def raw_pages(path: str) -> dict[int, bytes]:
    """Return data and spare area of what is not erased in the flash of a file."""
    with SedFile.open(path) as file:
        return {page: data + spare for page, data, spare in board_of(file).nand.raw_pages()}


def test_file_holds_every_page_where_the_description_says(run: Run, drive: str) -> None:
    assert run("dump", drive, "--out", "d").status == 0

    told = json.loads(Path("d.json").read_text())
    stride = told["page_bytes"] + told["spare_bytes"]
    dump = Path("d").read_bytes()
    assert len(dump) == told["file_bytes"] == told["block_count"] * told["pages_per_block"] * stride
    listed = {
        page for first, count in told["programmed_pages"] for page in range(first, first + count)
    }
    pages = raw_pages(drive)
    assert listed == set(pages)
    for page, content in pages.items():
        assert dump[page * stride : (page + 1) * stride] == content
    erased = next(page for page in range(10**6) if page not in pages)
    assert not any(dump[erased * stride : (erased + 1) * stride])


def test_filled_dump_reads_as_a_chip_does(run: Run, drive: str) -> None:
    run("dump", drive, "--out", "holes")
    run("dump", drive, "--out", "filled", "--fill")

    holes, filled = Path("holes").read_bytes(), Path("filled").read_bytes()
    told = json.loads(Path("holes.json").read_text())
    stride = told["page_bytes"] + told["spare_bytes"]
    pages = raw_pages(drive)
    assert len(holes) == len(filled)
    for page in range(0, len(holes) // stride, 7):
        place = slice(page * stride, (page + 1) * stride)
        assert filled[place] == (holes[place] if page in pages else b"\xff" * stride)


@pytest.mark.skipif(not hasattr(os.stat_result, "st_blocks"), reason="no blocks are told here")
def test_erased_pages_take_no_room(run: Run, drive: str) -> None:
    run("dump", drive, "--out", "d")

    told = Path("d").stat()
    assert told.st_blocks * 512 < told.st_size / 2


def test_reading_the_chip_changes_nothing_and_needs_no_pin(run: Run, drive: str) -> None:
    before, stamp = Path(drive).read_bytes(), Path(drive).stat().st_mtime_ns

    dumped = run("dump", drive, "--out", "d", "--map", "m.svg")

    assert dumped.status == 0
    assert Path(drive).read_bytes() == before
    assert Path(drive).stat().st_mtime_ns == stamp


def test_areas_keys_and_retired_blocks_are_told(run: Run, drive: str) -> None:
    dumped = run("dump", drive, "--out", "d", "--json")

    told = json.loads(dumped.out)
    assert told == json.loads(Path("d.json").read_text())
    assert [(key["slot"], key["generation"], key["page"]) for key in told["wrapped_keys"]] == [
        ("user", 1, 0),
        ("user", 1, 1),
    ]
    assert told["areas"]["data"]["entropy_bits"] > 7.8
    assert told["areas"]["log"]["entropy_bits"] < 1
    shown = run("dump", drive, "--out", "e").out
    assert "wrapped keys: user 1 (epoch 0)" in shown
    assert f"4096 + {told['spare_bytes']} bytes" in shown


def test_serial_flash_comes_beside_it(run: Run, drive: str) -> None:
    with SedFile.open(drive) as file:
        board_of(file).element.external.write(b"what stands beside the element")

    run("dump", drive, "--out", "d")

    assert Path("d.serial").read_bytes() == b"what stands beside the element"


@pytest.mark.parametrize("there", ["d", "d.json", "d.serial", "m.svg"])
def test_no_file_is_replaced_unasked(run: Run, drive: str, there: str) -> None:
    Path(there).write_text("mine")

    refused = run("dump", drive, "--out", "d", "--map", "m.svg")

    assert (refused.status, Path(there).read_text()) == (2, "mine")
    assert f"{there} exists: --force replaces it" in refused.err
    assert sorted(path.name for path in Path().glob("d*")) == sorted({there, "data"} - {"m.svg"})
    assert run("dump", drive, "--out", "d", "--map", "m.svg", "--force").status == 0
    assert Path(there).read_bytes() != b"mine"


@pytest.mark.parametrize(
    "arguments",
    [("--out", "a.sed"), ("--out", "x", "--map", "a.sed"), ("--out", "x", "--map", "x.json")],
)
def test_drive_and_dump_are_never_written_over(
    run: Run, drive: str, arguments: tuple[str, ...]
) -> None:
    before = Path(drive).read_bytes()

    refused = run("dump", drive, *arguments, "--force")

    assert refused.status == 2
    assert Path(drive).read_bytes() == before


def test_map_alone_leaves_a_picture_and_nothing_else(run: Run, drive: str) -> None:
    before = set(Path().iterdir())

    assert run("dump", drive, "--map", "m.svg").status == 0

    assert set(Path().iterdir()) - before == {Path("m.svg")}
    ElementTree.fromstring(Path("m.svg").read_text())


def test_fresh_model_has_nothing_but_marks_of_bad_blocks(run: Run) -> None:
    told = json.loads(run("dump", "model:native", "--out", "d", "--json").out)

    assert [first for first, _ in told["programmed_pages"]] == [
        block * told["pages_per_block"] for block in told["retired_blocks"]
    ]
    assert {area["programmed_pages"] for area in told["areas"].values()} == {0}


def test_what_has_no_flash_to_read_is_told_in_a_line(run: Run, drive: str) -> None:
    nothing = run("dump", drive)
    usb = run("dump", "usb:1209:5ed0", "--out", "d")
    missing = run("dump", "b.sed", "--out", "d")
    Path("c.sed").write_bytes(Path(drive).read_bytes()[:100_000])
    cut = run("dump", "c.sed", "--out", "d")

    assert (nothing.status, usb.status, missing.status, cut.status) == (2, 2, 3, 3)
    for each in (nothing, usb, missing, cut):
        assert each.err.count("\n") == 1 and each.err.startswith("sedlab: ")
    assert not list(Path().glob("d*"))[1:]  # data alone


def test_drive_in_use_is_not_read(run: Run, drive: str) -> None:
    with SedFile.open(drive):
        busy = run("dump", drive, "--out", "d")

    assert (busy.status, "in use by another process" in busy.err) == (3, True)


def test_unpowered_drive_has_run_no_firmware(run: Run, drive: str) -> None:
    with unpowered(ModelName.parse(drive)) as given:
        assert not given.is_on and given.firmware is None
