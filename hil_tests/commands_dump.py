"""The verb that reads a drive's flash out: dump."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_driver.commands.data import progress
from host_driver.commands.options import TargetType

if TYPE_CHECKING:
    from firmware_model.emulated_drive import EmulatedDrive
    from hil_tests.dump import Dump

RETIRED_SHOWN = 12


@click.command()
@click.argument("target", type=TargetType())
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the dump; FILE.json and FILE.serial come beside it.",
)
@click.option(
    "--map",
    "picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SVG that shows the entropy of every part of the flash.",
)
@click.option("--fill", is_flag=True, help="Write erased pages as FFh, not as holes.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print what FILE.json holds.")
def dump(
    target: str, out: Path | None, picture: Path | None, fill: bool, force: bool, as_json: bool
) -> None:
    """Read a drive's raw flash into a file, spare areas included.

    It is what a chip reader gets: nothing is powered, nothing changes, and no PIN is needed. The
    file holds data and spare area of page after page. Erased pages are holes in it where the file
    system has them; FILE.json tells how to read it, FILE.serial is the flash beside the element.
    """
    from hil_tests.dump import json_path, read_out, serial_path

    if out is None and picture is None:
        raise click.UsageError("nothing to write: give --out FILE, --map FILE.svg or both")
    written = [] if out is None else [out, json_path(out), serial_path(out)]
    written += [] if picture is None else [picture]
    _check(target, written, force)
    with _unpowered(target) as drive:
        pages = drive.board.nand.geometry.page_count
        with progress("dump", pages, "pages") as done:
            found = read_out(drive.board, drive.policy, out, is_filled=fill, progress=done)
    if picture is not None:
        picture.write_text(found.picture.svg(is_file=True) + "\n", "utf-8")
    if as_json:
        click.echo(json.dumps(found.document(), indent=2))
    else:
        click.echo("\n".join(_lines(found, written)))


def _check(target: str, written: list[Path], force: bool) -> None:
    """Refuse to write over the drive, over another of the files, and over anything unasked."""
    drive = Path(target.removeprefix("model:").partition("+")[0])
    places = [path.resolve() for path in written]
    if drive.resolve() in places or len(set(places)) < len(places):
        raise click.UsageError("each file needs a name of its own, which is not the drive's")
    for path in written:
        if path.exists() and not force:
            raise click.UsageError(f"{path} exists: --force replaces it")


@contextmanager
def _unpowered(target: str) -> Iterator[EmulatedDrive]:
    """Give the drive of a URL, without power."""
    from hil_tests.targets import ModelName, unpowered

    scheme, _, rest = target.partition(":")
    if scheme != "model":
        raise click.UsageError(f"{target}: only the flash of model: drives and files can be read")
    with unpowered(ModelName.parse(rest)) as drive:
        yield drive


def _lines(found: Dump, written: list[Path]) -> list[str]:
    """Return for people what was found, and how to read the file."""
    shape, document = found.geometry, found.document()
    lines = [
        f"{shape.block_count} blocks of {shape.block_pages} pages,"
        f" each {shape.page_bytes} + {shape.spare_bytes} bytes; erased pages are"
        f" {document['erased_pages']}"
    ]
    for name, area in document["areas"].items():
        bits = "" if area["entropy_bits"] is None else f", {area['entropy_bits']:.2f} bits a byte"
        last = area["first_block"] + area["block_count"] - 1
        where = f"blocks {area['first_block']} to {last}"
        lines.append(f"{name:<8} {where}: {area['programmed_pages']} pages programmed{bits}")
    retired = found.retired_blocks
    shown = " ".join(map(str, retired[:RETIRED_SHOWN]))
    more = f" and {len(retired) - RETIRED_SHOWN} more" if len(retired) > RETIRED_SHOWN else ""
    lines.append(f"retired  blocks: {shown or 'none'}{more}")
    kinds = dict.fromkeys(
        f"{each.slot} {each.generation} (epoch {each.epoch})" for each in found.wrapped_keys
    )
    lines.append(f"wrapped keys: {', '.join(kinds) or 'none'}")
    return [*lines, *(f"written: {path}" for path in written)]
