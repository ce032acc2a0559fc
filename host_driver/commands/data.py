"""The verbs about data: read, write."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click

from host_driver.commands.options import Session, opens_drive
from host_driver.errors import DriveError

BLOCK_BYTES: Final = 512
CHUNK_BLOCKS: Final = 2048  # 1 MiB between two signs of life
PLAIN_STEPS: Final = 10  # lines of progress where there is no terminal


@click.command()
@opens_drive
@click.option("--lba", type=click.IntRange(0), default=0, show_default=True, help="First block.")
@click.option(
    "--count", type=click.IntRange(1), help="Blocks of 512 bytes; to the end if left out."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
    help="File to write; standard output if left out.",
)
def read(session: Session, lba: int, count: int | None, output: Path) -> None:
    """Read blocks of a drive into a file.

    Nothing is written to the file before the drive is open.
    """
    if session.as_json and str(output) == "-":
        raise click.UsageError("--json needs -o FILE: standard output can't hold data as well")
    with session.open() as drive:
        session.unlock(drive)
        capacity = drive.block_count
        count = capacity - lba if count is None else count
        if count < 1 or lba + count > capacity:
            last = f" to {lba + count - 1}" if count > 1 else ""
            raise click.UsageError(f"block {lba}{last}: the drive has {capacity}, from 0 on")
        with _output(output) as stream, progress("read", count) as done:
            for first in range(lba, lba + count, CHUNK_BLOCKS):
                chunk = min(CHUNK_BLOCKS, lba + count - first)
                stream.write(drive.read(first, chunk))
                done(chunk)
        if str(output) != "-":
            session.show({"read_blocks": count, "lba": lba}, [f"{count} blocks read"])


@click.command()
@opens_drive
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--lba", type=click.IntRange(0), default=0, show_default=True, help="First block.")
def write(session: Session, file: BinaryIO, lba: int) -> None:
    """Write a file to the blocks of a drive.

    Without FILE, standard input. The last block is filled with zeros. A file that does not fit is
    refused before anything is written; a pipe, whose length nobody knows, where it no longer fits.
    """
    with session.open() as drive:
        session.unlock(drive)
        capacity = drive.block_count
        size = _size(file)
        if size is not None and lba + _blocks(size) > capacity:
            raise click.UsageError(
                f"{size} bytes from block {lba} on do not fit {capacity} blocks of {BLOCK_BYTES}"
            )
        written = padding = 0
        try:
            with progress("write", None if size is None else _blocks(size)) as done:
                while data := file.read(CHUNK_BLOCKS * BLOCK_BYTES):
                    blocks = _blocks(len(data))
                    padding = blocks * BLOCK_BYTES - len(data)
                    if lba + written + blocks > capacity:
                        raise click.UsageError(f"more than the drive's {capacity} blocks")
                    drive.write(lba + written, data + bytes(padding))
                    written += blocks
                    done(blocks)
            drive.flush()
        except (DriveError, click.UsageError, KeyboardInterrupt):
            click.echo(f"write: stopped after {written} blocks", err=True)
            raise
        lines = [f"{written} blocks written"]
        if padding:
            lines.append(f"the last block was filled with {padding} zeros")
        session.show({"written_blocks": written, "lba": lba, "padding_bytes": padding}, lines)


def _blocks(size: int) -> int:
    """Return how many blocks so many bytes take."""
    return -(-size // BLOCK_BYTES)


def _size(file: BinaryIO) -> int | None:
    """Return the bytes of a file; None for a pipe."""
    if not file.seekable():
        return None
    at = file.tell()
    end = file.seek(0, 2)
    file.seek(at)
    return end - at


@contextmanager
def _output(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with path.open("wb") as stream:
            yield stream


@contextmanager
def progress(what: str, count: int | None, unit: str = "blocks") -> Iterator[Callable[[int], None]]:
    """Show how far it is: a bar on a terminal, a few lines on standard error otherwise."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=count)
            yield lambda more: bar.update(task, advance=more)
        return
    done = said = 0

    def line(more: int) -> None:
        nonlocal done, said
        done += more
        if count is not None and done * PLAIN_STEPS // count > said:
            said = done * PLAIN_STEPS // count
            click.echo(f"{what}: {done} of {count} {unit}", err=True)

    yield line
