"""How PINs, codes and trust reach the command: a terminal, a file descriptor; never argv."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil_tests.actions import PINS
from hil_tests.command_line import FAST, Run, Terminal

PIN, WRONG = PINS[0], PINS[1]
terminal = pytest.mark.skipif(
    not hasattr(os, "login_tty"), reason="needs a POSIX terminal and os.login_tty"
)


@pytest.fixture
def made(run: Run) -> dict[str, str]:
    """Make a drive n.sed with a PIN; what `new` printed of it."""
    told: dict[str, str] = json.loads(run("new", "n.sed", *FAST, "--json").out)
    assert run("set-pin", "n.sed", NEW_PIN=PIN).status == 0
    return told


@contextmanager
def typed(text: str) -> Iterator[int]:
    """Give a file descriptor from which `text` can be read once."""
    ours, theirs = os.pipe()
    try:
        os.write(theirs, text.encode())
        os.close(theirs)
        yield ours
    finally:
        os.close(ours)


def state(run: Run, *arguments: str) -> str:
    return str(json.loads(run("info", "n.sed", *arguments, "--json").out)["state"])


@terminal
def test_new_pin_is_typed_twice_and_never_shown(run: Run, tmp_path: Path) -> None:
    run("new", "n.sed", *FAST)
    person = Terminal(tmp_path, "set-pin", "n.sed")

    person.answers("New PIN of user:", PIN)
    person.answers("Repeat for confirmation:", WRONG)
    person.answers("New PIN of user:", PIN)
    person.answers("Repeat for confirmation:", PIN)

    assert person.ends() == 0
    assert "PIN of user set" in person.shown
    assert PIN not in person.shown and WRONG not in person.shown
    assert run("unlock", "n.sed", PIN_USER=PIN).status == 0


@terminal
def test_pin_is_asked_for_where_none_was_given(made: dict[str, str], tmp_path: Path) -> None:
    person = Terminal(tmp_path, "unlock", "n.sed")
    person.answers("PIN of user:", WRONG)

    assert person.ends() == 1
    assert "sedlab: wrong PIN, 9 tries left" in person.shown


@terminal
def test_unknown_drive_is_trusted_when_a_person_says_so_and_then_known(
    run: Run, made: dict[str, str], tmp_path: Path
) -> None:
    elsewhere = ("unlock", "n.sed", "--known-drives", "mine")
    first = Terminal(tmp_path, *elsewhere)
    first.answers("PIN of user:", PIN)
    first.answers("Trust it from now on?", "y")

    assert first.ends() == 0
    assert made["identity"] in first.shown
    assert run(*elsewhere, PIN_USER=PIN).status == 0


@terminal
def test_unknown_drive_gets_no_pin_from_a_person_who_says_no(
    run: Run, made: dict[str, str], tmp_path: Path
) -> None:
    person = Terminal(tmp_path, "unlock", "n.sed", "--known-drives", "mine")
    person.answers("PIN of user:", WRONG)
    person.answers("Trust it from now on?", "n")

    assert person.ends() == 3
    assert json.loads(run("info", "n.sed", "--json").out)["tries"]["user"] == 10


@terminal
def test_erase_asks_whether_it_is_meant(run: Run, made: dict[str, str], tmp_path: Path) -> None:
    doubtful = Terminal(tmp_path, "erase", "n.sed")
    doubtful.answers(f"Destroy everything on model:n.sed ({made['serial']})?", "n")
    assert (doubtful.ends(), state(run)) == (1, "locked")

    certain = Terminal(tmp_path, "erase", "n.sed")
    certain.answers("Destroy everything", "y")
    certain.answers("PIN of user:", PIN)

    assert (certain.ends(), state(run)) == (0, "erased")


@terminal
def test_reset_code_is_asked_for(run: Run, made: dict[str, str], tmp_path: Path) -> None:
    person = Terminal(tmp_path, "erase", "n.sed", "--reset-code", "--yes")
    person.answers("Reset code:", made["reset_code"])

    assert (person.ends(), state(run)) == (0, "erased")
    assert made["reset_code"] not in person.shown


@terminal
def test_log_shows_counts_to_who_enters_no_pin(made: dict[str, str], tmp_path: Path) -> None:
    person = Terminal(tmp_path, "log", "--verify", "n.sed")
    person.answers("PIN of user (Enter for none):", "")

    assert person.ends() == 0
    assert "signed head and counts" in person.shown and "PIN_SET" in person.shown


@terminal
def test_interrupted_command_says_so_and_nothing_else(
    run: Run, made: dict[str, str], tmp_path: Path
) -> None:
    person = Terminal(tmp_path, "unlock", "n.sed")
    person.answers("PIN of user:", "\x03", end="")

    assert person.ends() == 130
    assert person.shown.split() == ["PIN", "of", "user:", "sedlab:", "interrupted"]


@terminal
def test_progress_is_a_bar_at_a_terminal(run: Run, tmp_path: Path) -> None:
    run("new", "p.sed", "--profile", "plain")
    Path("data").write_bytes(bytes(4096))

    person = Terminal(tmp_path, "write", "p.sed", "data")

    assert person.ends() == 0
    assert "8 blocks written" in person.shown and "8 of 8" not in person.shown


def test_pin_and_what_follows_it_come_by_one_descriptor(run: Run, made: dict[str, str]) -> None:
    with typed(f"{PIN}\r\n{WRONG}\n") as fd:
        changed = run("set-pin", "n.sed", "--pin-fd", str(fd), "--new-pin-fd", str(fd))

    assert changed.status == 0
    assert run("unlock", "n.sed", PIN_USER=WRONG).status == 0


def test_reset_code_comes_by_file_descriptor(run: Run, made: dict[str, str]) -> None:
    with typed(made["reset_code"]) as fd:
        erased = run("erase", "n.sed", "--yes", "--reset-code-fd", str(fd))

    assert (erased.status, state(run)) == (0, "erased")


@pytest.mark.parametrize("text", ["", "1" * 5000])
def test_descriptor_without_a_pin_is_wrong_usage(run: Run, made: dict[str, str], text: str) -> None:
    with typed(text) as fd:
        refused = run("unlock", "n.sed", "--pin-fd", str(fd))

    assert (refused.status, f"file descriptor {fd}" in refused.err) == (2, True)


@pytest.mark.parametrize("fd", ["-1", "987"])
def test_descriptor_that_is_not_open_is_wrong_usage(
    run: Run, made: dict[str, str], fd: str
) -> None:
    refused = run("unlock", "n.sed", "--pin-fd", fd)

    assert refused.status == 2
    assert refused.err.startswith(f"sedlab: file descriptor {fd}: ")


@pytest.mark.skipif(sys.platform == "win32", reason="its environment holds no such bytes")
@pytest.mark.parametrize("pin", ["", "\udcff", "é" * 40, "1234", "9" * 200])
def test_impossible_pin_is_refused_and_costs_no_try(
    run: Run, made: dict[str, str], pin: str
) -> None:
    refused = run("unlock", "n.sed", PIN_USER=pin)

    assert (refused.status, "no PIN of this drive" in refused.err) == (1, True)
    assert json.loads(run("info", "n.sed", "--json").out)["tries"]["user"] == 10


def test_unattended_command_without_a_new_pin_changes_nothing(run: Run) -> None:
    run("new", "n.sed", *FAST)

    refused = run("set-pin", "n.sed")

    assert (refused.status, "SEDLAB_NEW_PIN" in refused.err) == (2, True)
    assert state(run) == "factory"


def test_recovery_pins_are_drawn_shown_and_each_opens_once(run: Run, made: dict[str, str]) -> None:
    drawn = run("set-pin", "n.sed", "--role", "recovery", "--json", PIN_USER=PIN)
    pins = json.loads(drawn.out)["pins"]
    by = ("set-pin", "n.sed", "--as", "recovery")

    first = run(*by, PIN_RECOVERY=pins[0], NEW_PIN=WRONG)
    again = run(*by, PIN_RECOVERY=pins[0], NEW_PIN=PIN)

    assert len(set(pins)) == 3
    assert (first.status, first.out) == (0, "PIN of user set\n")
    assert again.status == 1 and "wrong PIN" in again.err
    assert run("unlock", "n.sed", PIN_USER=WRONG).status == 0
    assert json.loads(run("info", "n.sed", "--json").out)["recovery_left"] == 2


def test_recovery_serves_a_user_of_a_drive_that_has_a_pin(run: Run) -> None:
    run("new", "n.sed", *FAST)
    blank = run("set-pin", "n.sed", "--role", "recovery")
    for_admin = run("set-pin", "n.sed", "--role", "admin", "--as", "recovery")
    assert run("set-pin", "n.sed", NEW_PIN=PIN).status == 0
    without = run("set-pin", "n.sed", "--as", "recovery", NEW_PIN=WRONG)

    assert (blank.status, "nothing to recover" in blank.err) == (1, True)
    assert (for_admin.status, "to no other role" in for_admin.err) == (2, True)
    assert (without.status, "give SEDLAB_PIN_RECOVERY" in without.err) == (2, True)
