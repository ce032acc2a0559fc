"""Two drives at full load in the kernel lab: `python -m hil_tests.soak [--minutes 30] [--json]`.

Each is served by a process of its own, one to QEMU's usb-redir and UAS, one to Linux's vhci_hcd and
Bulk-Only. Workers in the machine write, read back and keep account, while plugs are pulled at the
host's end and at the drive's, and power is cut. The seed decides what is done; when it happens is
up to the machine.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import click

from hil_tests.kernel import packages
from hil_tests.kernel.image import NoImage
from hil_tests.kernel.machine import MachineFault
from hil_tests.kernel.qemu import QemuError
from hil_tests.progress import shown
from hil_tests.soak.run import DriveOutcome, Failed, Outcome, Run

LINES_S = 60  # between two lines where there is no terminal


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="How long.")
@click.option("--seed", type=int, help="What is written, and how plugs are pulled; else drawn.")
@click.option("--defect", default="", metavar="NAME", help="Seed it into the keypad drive.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def soak(minutes: float, seed: int | None, defect: str, as_json: bool) -> None:
    """Have two served drives work at full load, and pull their plugs; exit with 1 on any loss."""
    if lacking := packages.missing(packages.MACHINE | {"usbip": packages.BATTERY["usbip"]}):
        raise click.ClickException(lacking)
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # the servers end with us
    said_s = -LINES_S
    with shown(["soak"]) as show:

        def tell(doing: str, passed: int, of: int) -> None:
            nonlocal said_s
            if sys.stderr.isatty() or not passed or passed >= min(said_s + LINES_S, of):
                said_s = passed
                show("soak", doing, passed, of)

        try:
            outcome = Run(minutes, seed, defect, tell).outcome()
        except (Failed, NoImage, MachineFault, QemuError) as fault:
            raise click.ClickException(str(fault)) from fault
    click.echo(json.dumps(outcome.document, indent=2) if as_json else _told(outcome))
    sys.exit(0 if outcome.is_good else 1)


def _told(outcome: Outcome) -> str:
    """Return the result for a person."""
    lines = [line for each in outcome.drives for line in _of_drive(each)]
    lines += [f"kernel: {line}" for line in outcome.kernel]
    verdict = "nothing was lost" if outcome.is_good else "FAILED"
    return "\n".join([*lines, f"{verdict}; {outcome.minutes:g} minutes, --seed {outcome.seed}"])


def _of_drive(drive: DriveOutcome) -> list[str]:
    replugs = ", ".join(f"{count} {how}" for how, count in sorted(drive.replugs.items()))
    lines = [
        f"{drive.name}",
        f"  {drive.written_bytes / 1e6:.1f} MB written, {drive.read_bytes / 1e6:.1f} MB verified",
        f"  {sum(drive.replugs.values())} re-plugs: {replugs}",
        f"  {drive.lost} blocks lost, {drive.other} hold something else",
    ]
    for when, usage in (("half-way", drive.before), ("at the end", drive.after)):
        if usage is not None:
            lines.append(
                f"  server {when}: {usage.heap_kib} KiB of heap and {usage.blocks} blocks in use, "
                f"{usage.anonymous_kib} KiB of memory, {usage.files} files, {usage.threads} threads"
            )
    return lines + [f"  {each}" for each in (*drive.faults, *drive.errors)]


if __name__ == "__main__":
    soak()
