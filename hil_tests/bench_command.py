"""How long `sedlab --help` takes, beside a Python that does nothing but import click.

python -m hil_tests.bench_command
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

ROUNDS: Final = 15
WANTED_S: Final = 0.2
CALLS: Final = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import click'": ("-c", "import click"),
    "sedlab --help": ("-m", "host_driver", "--help"),
}


def seconds(arguments: tuple[str, ...]) -> float:
    """Return the time of one call, in seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in CALLS}
    for _ in range(ROUNDS):
        for name, arguments in CALLS.items():
            times[name].append(seconds(arguments))
    middle = {name: sorted(each)[ROUNDS // 2] for name, each in times.items()}
    for name, value in middle.items():
        print(f"{name:<26} {value:.3f} s")
    ratio = middle["sedlab --help"] / middle["python -c 'import click'"]
    print(f"sedlab --help: {ratio:.2f} of importing click (wanted below {WANTED_S} s)")


if __name__ == "__main__":
    main()
