"""Runs inside the machine: `sedlab`, imported once. To import it anew takes 20 s there, each time.

A request is `[arguments, variables, output]` in JSON, written into a FIFO. What the command prints
comes out of another, with its exit status as the last line. With an `output`, it goes to that file;
then the number of the process comes out at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, NoReturn

from host_driver.__main__ import main as sedlab

REQUESTS, ANSWERS = "sedlab-requests", "sedlab-answers"
# What verbs import when they are called.
IMPORTED: Final = ("host_driver.drive", "host_driver.commands.keys", "host_driver.commands.data")
SERVING: Final = ("hil_tests.commands_serve", "firmware_model.serve.gadget", "hil_tests.targets")


def serve(folder: Path) -> NoReturn:
    """Run commands one after the other, for ever; the two FIFOs are in `folder`."""
    for module in IMPORTED:
        import_module(module)
    for target in ("sg", "usb"):
        entry_points(group="sedlab.targets")[target].load()
    beside: set[int] = set()

    def reap(*_: Any) -> None:
        beside.difference_update({each for each in beside if os.waitpid(each, os.WNOHANG)[0]})

    signal.signal(signal.SIGCHLD, reap)
    while True:
        arguments, variables, output = json.loads((folder / REQUESTS).read_text())
        if output:
            for module in SERVING:
                import_module(module)
            with Path(output).open("wb") as out, Path(f"{output}.err").open("wb") as err:
                child = _begun(arguments, variables, out.fileno(), err.fileno())
            beside.add(child)
            reap()
            (folder / ANSWERS).write_text(f"{child}\n0")
            continue
        with (folder / ANSWERS).open("wb", buffering=0) as answers:
            child = _begun(arguments, variables, answers.fileno(), answers.fileno())
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answers.write(f"\n{status}".encode())


def _begun(arguments: list[str], variables: dict[str, str], out: int, err: int) -> int:
    """Begin a command in a process of its own, and return that one's number."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(out, sys.stdout.fileno())
        os.dup2(err, sys.stderr.fileno())
        os.environ.update(variables)
        sedlab(arguments)
    return child


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
