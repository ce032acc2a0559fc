"""The command among other programs: help, completion in three shells, pipes that break."""

import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from hil_tests.command_line import ROOT, Ran, Run, environment
from host_driver.__main__ import VERBS, cli
from host_driver.commands.options import Session

LOADED = "import sys; {}; print(*sorted(sys.modules))"


def python(*arguments: str) -> str:
    """Return what another Python prints."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `sedlab` is on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "sedlab"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m host_driver "$@"\n')
    script.chmod(0o755)
    ours = environment(tmp_path)
    return ours | {"PATH": os.pathsep.join((str(folder), ours["PATH"]))}


def asked(program: str, name: str, folder: Path, env: dict[str, str]) -> list[str]:
    """Return the words that a program of the shell `name` prints."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [name, "-c", program], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_help_of_every_verb_begins_as_the_table_says() -> None:
    context = click.Context(cli)
    for name, said in VERBS.items():
        command = cli.get_command(context, name)

        assert command is not None and command.help is not None
        assert command.help.startswith(said.removesuffix(".")), name


def test_table_has_every_verb_that_is_installed() -> None:
    installed = {point.name for point in entry_points(group="sedlab.commands")}

    assert installed | {"completion"} == set(VERBS)


def test_help_loads_neither_verbs_nor_drives() -> None:
    call = "from host_driver.__main__ import cli; cli(['--help'], standalone_mode=False)"
    loaded = set(python("-c", LOADED.format(call)).split())

    assert "click" in loaded
    unwanted = {"rich", "usb", "numpy", "cryptography", "hil_tests", "tomllib"}
    unwanted |= {"host_driver.commands", "firmware_model.hardware", "firmware_model.firmware"}
    assert not unwanted & loaded


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_prints_what_click_prints_on_its_own_call(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    by_verb = run("completion", name)
    monkeypatch.setenv("_SEDLAB_COMPLETE", f"{name}_source")
    by_variable = run()

    assert (by_verb.status, by_variable.status) == (0, 0)
    assert "_SEDLAB_COMPLETE" in by_verb.out
    assert by_verb.out.strip() == by_variable.out.strip()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("sedlab inf", {"info"}),
        ("sedlab info model:k", {"model:keypad"}),
        ("sedlab info ", {"model:keypad", "model:native", "model:plain", "a.sed"}),
        ("sedlab info model:native+ecb", {"model:native+ecb-mode"}),
        ("sedlab info ./", {"./a.sed"}),
        ("sedlab info sub/", {"sub/b.sed"}),
        ("sedlab unlock a.sed --role ", {"user", "admin"}),
        ("sedlab set-pin a.sed --role ", {"user", "admin", "duress", "recovery"}),
        ("sedlab new x.sed --profile n", {"native"}),
        ("sedlab evaluate model:native model:k", {"model:keypad"}),
    ],
)
@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_shell_gets_the_words_that_fit(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, typed: str, words: set[str]
) -> None:
    Path("a.sed").touch()
    Path("sub").mkdir()
    Path("sub/b.sed").touch()
    *before, last = typed.split(" ")
    monkeypatch.setenv("_SEDLAB_COMPLETE", f"{name}_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", last if name == "fish" else str(len(before)))

    called = run()

    assert called.status == 0
    assert words_of(called, name) == words


def words_of(called: Ran, name: str) -> set[str]:
    """Return the words in what a shell's script gets."""
    lines = called.out.splitlines()
    if name == "zsh":
        return {line.replace("\\:", ":") for line in lines[1::3]}
    return {line.split(",", 1)[1].split("\t")[0] for line in lines if line}


def test_name_that_steers_a_terminal_is_shown_without_effect(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "a\x1b]0;title\x07\r\bz"
    session = Session(
        target="",
        role="user",
        pin_fd=None,
        identity=None,
        known_drives=None,
        trace=None,
        is_verbose=False,
        destroys_data=False,
        serial=None,
        operator=None,
        transport="bulk-only",
        as_json=False,
    )
    session.show({}, [hostile, "next"])
    shown = capsys.readouterr().out
    refused = run("info", f"usb:{hostile}").err

    assert shown == "a?]0;title???z\nnext\n"
    assert "a?]0;title? ?z" in refused


def test_folders_are_left_to_the_shell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SEDLAB_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "sedlab info su")

    assert run().out.splitlines() == ["file,su"]


def test_bash_replaces_only_what_stands_behind_a_colon(
    shell: dict[str, str], tmp_path: Path
) -> None:
    line = "sedlab info model:n"
    program = f"""
        eval "$(sedlab completion bash)"
        COMP_LINE="{line}" COMP_POINT={len(line)}
        _sedlab_completion sedlab
        echo "${{COMPREPLY[@]}}"
    """

    assert asked(program, "bash", tmp_path, shell) == ["native"]


def test_zsh_takes_the_script(shell: dict[str, str], tmp_path: Path) -> None:
    program = """
        autoload -U compinit; compinit -u
        eval "$(sedlab completion zsh)"
        echo $_comps[sedlab]
    """

    assert asked(program, "zsh", tmp_path, shell) == ["_sedlab_completion"]


def test_fish_completes_targets(shell: dict[str, str], tmp_path: Path) -> None:
    program = "sedlab completion fish | source; complete -C 'sedlab info model:n'"

    assert asked(program, "fish", tmp_path, shell) == ["model:native"]


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's pipe")
@pytest.mark.parametrize(
    "command", ["read model:plain", "list", "info model:native --json", "info none --json"]
)
def test_reader_that_leaves_early_is_no_error(
    shell: dict[str, str], tmp_path: Path, command: str
) -> None:
    # The reader is gone before the first byte: the pipe's other end is closed.
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            ["sedlab", *command.split()],
            env=shell,
            cwd=tmp_path,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(theirs)

    assert "Traceback" not in done.stderr and "Broken" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX processes")
def test_full_disk_is_a_transport_error_and_the_drive_survives(
    run: Run, shell: dict[str, str], tmp_path: Path
) -> None:
    run("new", "p.sed", "--profile", "plain", "--capacity", "2MiB")
    Path("data").write_bytes(b"x" * (2 << 20))

    full = subprocess.run(
        ["sh", "-c", "ulimit -f 1000; exec sedlab write p.sed data --json"],
        env=shell,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert full.returncode == 3
    assert '"message": "p.sed: File too large"' in full.stdout
    assert "Traceback" not in full.stderr
    assert run("info", "p.sed").status == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["info model:plain", "info model:plain --json", "--help"])
def test_output_that_cannot_be_written_is_one_line(
    shell: dict[str, str], tmp_path: Path, command: str
) -> None:
    line = f"exec sedlab {command} > /dev/full"
    done = subprocess.run(
        ["sh", "-c", line], env=shell, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (2, "sedlab: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_trace_that_cannot_be_written_is_one_line(shell: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["sedlab", "info", "model:plain", "--trace", "/dev/full"],
        env=shell,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (2, "sedlab: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")
@pytest.mark.parametrize("command", ["info", "read --count 1", "write"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(
    shell: dict[str, str], tmp_path: Path, command: str, closed: str
) -> None:
    verb, *options = command.split()
    line = " ".join(["exec sedlab", verb, "model:plain", *options, closed])
    done = subprocess.run(
        ["sh", "-c", line],
        env=shell,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX processes")
@pytest.mark.parametrize("targets", [1, 5])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_evaluation_that_is_broken_off_ends_at_once(
    shell: dict[str, str], tmp_path: Path, targets: int, name: str
) -> None:
    judges = subprocess.Popen(
        ["sedlab", "evaluate", *(["model:keypad"] * targets), "--jobs", "1"],
        env=shell,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert judges.stderr is not None and "scenarios" in judges.stderr.readline()
    if name == "SIGINT":  # as a terminal sends it: to all of them
        os.killpg(judges.pid, signal.SIGINT)
    else:
        judges.send_signal(signal.Signals[name])
    _, said = judges.communicate(timeout=20)

    assert judges.returncode == 130
    assert "Traceback" not in said
