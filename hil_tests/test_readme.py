"""The examples of the README do what they show."""

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
SESSIONS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)


def test_python_example_prints_what_the_readme_shows() -> None:
    found = re.search(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", README, re.DOTALL)
    assert found is not None
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        exec(compile(found[1], "README.md", "exec"), {})

    assert printed.getvalue() == re.sub(r"(?m)^    ", "", found[2])


@pytest.mark.skipif(sys.platform == "win32", reason="the sessions are of a POSIX shell")
@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_session_prints_what_the_readme_shows(number: int, tmp_path: Path) -> None:
    folders = (str(Path(sys.executable).parent), os.environ["PATH"])
    environment = os.environ | {
        "PATH": os.pathsep.join(folders),
        "XDG_CONFIG_HOME": str(tmp_path),
        "HOME": str(tmp_path),
        "COLUMNS": "200",
    }
    steps = re.findall(r"\$ (.*)\n((?:(?!\$ ).*\n)*)", SESSIONS[number])
    assert steps
    for command, shown in steps:
        ran = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL if "|" not in command else None,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = ran.stdout + ran.stderr
        matches = doctest.OutputChecker().check_output(
            shown, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
        assert matches, f"$ {command}\n{printed}"
