"""Runs inside the machine: `sedlab`, imported once. To import it anew takes 20 s there, each time.

A request is `[arguments, variables]` in JSON, written into a FIFO. What the command prints comes
out of another, with its exit status as the last line.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, NoReturn

from host_driver.__main__ import main as sedlab

REQUESTS, ANSWERS = "sedlab-requests", "sedlab-answers"
# What verbs import when they are called.
IMPORTED: Final = ("host_driver.drive", "host_driver.commands.keys", "host_driver.commands.data")


def serve(folder: Path) -> NoReturn:
    """Run commands one after the other, for ever; the two FIFOs are in `folder`."""
    for module in IMPORTED:
        import_module(module)
    for target in ("sg", "usb"):
        entry_points(group="sedlab.targets")[target].load()
    while True:
        arguments, variables = json.loads((folder / REQUESTS).read_text())
        with (folder / ANSWERS).open("wb", buffering=0) as answers:
            child = os.fork()
            if child == 0:
                os.dup2(answers.fileno(), sys.stdout.fileno())
                os.dup2(answers.fileno(), sys.stderr.fileno())
                os.environ.update(variables)
                sedlab(arguments)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answers.write(f"\n{status}".encode())


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
