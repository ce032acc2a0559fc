"""Fixtures that several files of tests use."""

from pathlib import Path

import pytest
from hypothesis import settings

from hil_tests.command_line import VARIABLES, Ran, Run
from host_driver.__main__ import main

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("sedlab", deadline=None)
settings.load_profile("sedlab")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command in an empty folder, with an environment of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*arguments: str, **environment: str) -> Ran:
        for name in VARIABLES:
            monkeypatch.delenv(f"SEDLAB_{name}", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(f"SEDLAB_{name}", value)
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return call
