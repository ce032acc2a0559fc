"""A process killed at any moment: the file opens, what was answered is there, a try stays spent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.actions import PINS
from hil_tests.targets import attach
from host_driver.attachment import OpenOptions
from host_driver.drive import Drive
from host_driver.known_drives import IdentityCheck, KnownDrives

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

PIN, WRONG = PINS[0], PINS[1]
CHUNK = 256  # blocks
PRELUDE = """
import sys
from pathlib import Path
from hil_tests.test_killed import open_file
drive = open_file(Path(sys.argv[1]))
"""
WRITER = f"""{PRELUDE}
drive.unlock("{PIN}")
number = 0
while True:
    number += 1
    drive.write((number * {CHUNK}) % 65536, number.to_bytes(4, "big") * {CHUNK * 128})
    print(number, flush=True)
"""
GUESSER = f"""{PRELUDE}
from host_driver.errors import WrongPin
while True:
    try:
        drive.unlock("{WRONG}")
    except WrongPin as wrong:
        print(wrong.tries_left, flush=True)
"""


def open_file(path: Path) -> Drive:
    """Open a drive's file as a trusted one."""
    attachment = attach(str(path), OpenOptions())
    check = IdentityCheck(attachment.serial, KnownDrives(path), is_trusted=True)
    return Drive(attachment, check, os.urandom)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from hil_tests.commands_new import new

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "a.sed"
    settings = ["--set", "pin.kdf_iterations=1", "--set", "tries.user=250"]
    new.main([str(file), *settings], standalone_mode=False)
    with open_file(file) as drive:
        drive.set_pin(PIN)
    return file


def killed(script: str, path: Path, answers: int) -> list[int]:
    """Run a script until it has answered a few times, kill it, and return all its answers."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(answers)]
    process.kill()
    said += [int(line) for line in process.stdout.read().splitlines() if line]
    process.wait()
    return said


@pytest.mark.parametrize("answers", [1, 3, 8, 21])
def test_answered_writes_survive_a_kill(path: Path, answers: int) -> None:
    written = killed(WRITER, path, answers)

    with open_file(path) as drive:
        drive.unlock(PIN)
        for number in written[-200:]:
            found = drive.read((number * CHUNK) % 65536, CHUNK)
            assert found == number.to_bytes(4, "big") * (CHUNK * 128)


@pytest.mark.parametrize("answers", [1, 2, 5])
def test_try_stays_spent_after_a_kill(path: Path, answers: int) -> None:
    told = killed(GUESSER, path, answers)

    with open_file(path) as drive:
        status = drive.status()
        assert status is not None
        assert status.tries[0] in (told[-1], told[-1] - 1)
        drive.unlock(PIN)
