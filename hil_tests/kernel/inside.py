"""`sedlab` inside the machine, by the process there that has it imported (`warm.py`)."""

from __future__ import annotations

import json
from typing import Final

from hil_tests.kernel import warm
from hil_tests.kernel.machine import CommandFailed, Ended, KernelMachine

SEDLAB_S: Final = 180
REQUESTS, ANSWERS = f"/run/{warm.REQUESTS}", f"/run/{warm.ANSWERS}"
PID, LOG = "/run/sedlab-warm.pid", "/run/sedlab-warm.log"
WARM: Final = f"""kill -0 $(cat {PID} 2>/dev/null) 2>/dev/null || {{
    rm -f {REQUESTS} {ANSWERS}
    mkfifo {REQUESTS} {ANSWERS}
    python3 -m {warm.__name__} /run >{LOG} 2>&1 &
    echo $! >{PID}
}}"""


def warm_up(machine: KernelMachine) -> None:
    """Have it imported, meanwhile."""
    machine.output_of(WARM)


def sedlab(machine: KernelMachine, *arguments: str, **variables: str) -> str:
    """Return what a command of ours says in the machine; raise CommandFailed if it fails."""
    return _asked(machine, "", arguments, variables)


def begin_sedlab(machine: KernelMachine, output: str, *arguments: str) -> int:
    """Begin a command beside others, and return its number as a process.

    What it prints goes to the file `output`, and its errors to `output`.err.
    """
    return int(_asked(machine, output, arguments, {}))


def _asked(
    machine: KernelMachine, output: str, arguments: tuple[str, ...], variables: dict[str, str]
) -> str:
    # Its owner's list of drives is in the folder that both sides share.
    home = {"XDG_CONFIG_HOME": str(machine.folder)}
    request = json.dumps([arguments, home | variables, output]).encode()
    exchange = f"{WARM}; cat >{REQUESTS} && cat {ANSWERS}"
    answer = machine.output_of(exchange, timeout_s=SEDLAB_S, stdin=request)
    said, _, status = answer.rpartition("\n")
    if status != "0":
        raise CommandFailed(f"sedlab {arguments[0]}", Ended(int(status), said.encode()))
    return said
