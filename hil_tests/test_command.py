"""The command as a person uses it: files of drives, PINs, exits and messages."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hil_tests.actions import PINS
from host_driver.__main__ import VERBS, cli, main

PIN, WRONG = PINS[0], PINS[1]
DATA = bytes(i * 7 & 0xFF for i in range(40_000))


@dataclass(frozen=True, slots=True)
class Ran:
    """How a call of the command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command in an empty folder, with an environment of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*arguments: str, **environment: str) -> Ran:
        for name in ("SEDLAB_PIN_USER", "SEDLAB_PIN_ADMIN", "SEDLAB_NEW_PIN", "SEDLAB_RESET_CODE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(f"SEDLAB_{name}", value)
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(params=["native", "keypad"])
def drive(request: pytest.FixtureRequest, run: Run) -> str:
    """Make a drive with a PIN."""
    profile = str(request.param)
    assert run("new", "a.sed", "--profile", profile, "--set", "pin.kdf_iterations=1").status == 0
    assert run("set-pin", "a.sed", NEW_PIN=PIN).status == 0
    return "a.sed"


def test_what_was_written_is_read_with_the_pin_alone(run: Run, drive: str) -> None:
    Path("data").write_bytes(DATA)
    written = run("write", drive, "data", PIN_USER=PIN)
    assert (written.status, "filled with 448 zeros" in written.out) == (0, True)

    without = run("read", drive, "-o", "back")
    wrong = run("read", drive, "-o", "back", PIN_USER=WRONG)
    right = run("read", drive, "-o", "back", "--count", "79", PIN_USER=PIN)

    assert (without.status, without.err) == (
        1,
        "sedlab: the drive is locked: give SEDLAB_PIN_USER\n",
    )
    assert (wrong.status, wrong.err) == (1, "sedlab: wrong PIN, 9 tries left\n")
    assert right.status == 0
    assert Path("back").read_bytes() == DATA + bytes(448)


def test_unlock_says_that_no_unlocked_state_is_stored(run: Run, drive: str) -> None:
    unlocked = run("unlock", drive, PIN_USER=PIN)

    assert unlocked.status == 0
    assert "locks again on exit: no unlocked state is ever stored" in unlocked.out
    assert json.loads(run("info", drive, "--json").out)["state"] == "locked"


def test_wrong_pins_to_the_limit_leave_noise_and_signed_evidence(run: Run, drive: str) -> None:
    Path("data").write_bytes(DATA)
    run("write", drive, "data", PIN_USER=PIN)
    for left in range(9, -1, -1):
        unit = "try" if left == 1 else "tries"
        assert (
            run("unlock", drive, PIN_USER=WRONG).err == f"sedlab: wrong PIN, {left} {unit} left\n"
        )

    info = json.loads(run("info", drive, "--json").out)
    log = run("log", drive, "--verify", "--json")
    told = json.loads(log.out)
    run("set-pin", drive, NEW_PIN=PIN)
    read = run("read", drive, "-o", "back", "--count", "79", PIN_USER=PIN)

    assert info["state"] == "erased"
    assert (log.status, told["verified"], told["counts"]["ERASE_LIMIT"]) == (0, True, 1)
    assert told["attempts"] == 11
    assert read.status == 0 and Path("back").read_bytes() == bytes(79 * 512)


def test_reset_code_erases_without_a_pin(run: Run) -> None:
    made = json.loads(run("new", "b.sed", "--set", "pin.kdf_iterations=1", "--json").out)
    run("set-pin", "b.sed", NEW_PIN=PIN)
    wrong = run("erase", "b.sed", "--yes", RESET_CODE="1" * 32)

    right = run("erase", "b.sed", "--yes", RESET_CODE=made["reset_code"])

    assert (wrong.status, right.status) == (1, 0)
    assert json.loads(run("info", "b.sed", "--json").out)["state"] == "erased"


def test_erase_without_a_terminal_needs_yes(run: Run, drive: str) -> None:
    refused = run("erase", drive, PIN_USER=PIN)

    assert (refused.status, "add --yes" in refused.err) == (2, True)


def test_admin_pin_is_set_by_the_user_and_then_decides(run: Run, drive: str) -> None:
    assert run("set-pin", drive, "--role", "admin", PIN_USER=PIN, NEW_PIN=PINS[2]).status == 0

    by_user = run("set-pin", drive, "--role", "duress", "--as", "user", PIN_USER=PIN, NEW_PIN=WRONG)
    by_admin = run("set-pin", drive, "--role", "duress", PIN_ADMIN=PINS[2], NEW_PIN=WRONG)

    assert (by_user.status, by_admin.status) == (1, 0)
    assert run("unlock", drive, PIN_USER=WRONG).err.startswith("sedlab: wrong PIN")
    assert json.loads(run("info", drive, "--json").out)["state"] == "erased"


def test_records_of_the_log_are_shown_to_the_owner(run: Run) -> None:
    run("new", "n.sed", "--set", "pin.kdf_iterations=1")
    run("set-pin", "n.sed", NEW_PIN=PIN)

    shown = run("log", "n.sed", "--verify", PIN_USER=PIN)

    assert shown.status == 0
    assert "PIN_SET" in shown.out and "with none left out" in shown.out


def test_identity_must_be_known_or_given(run: Run) -> None:
    made = json.loads(run("new", "n.sed", "--set", "pin.kdf_iterations=1", "--json").out)
    run("set-pin", "n.sed", NEW_PIN=PIN)
    elsewhere = ("--known-drives", "none")

    unknown = run("unlock", "n.sed", *elsewhere, PIN_USER=PIN)
    given = run("unlock", "n.sed", *elsewhere, "--identity", made["identity"], PIN_USER=PIN)
    other = run("unlock", "n.sed", "--identity", "SHA256:another", PIN_USER=PIN)

    assert (unknown.status, "--identity" in unknown.err) == (3, True)
    assert given.status == 0
    assert (other.status, "no PIN was sent" in other.err) == (3, True)


def test_pin_comes_by_file_descriptor(run: Run, drive: str) -> None:
    with Path("pin").open("w+", encoding="ascii") as file:
        file.write(f"{PIN}\n")
        file.flush()
        file.seek(0)

        unlocked = run("unlock", drive, "--pin-fd", str(file.fileno()))

    assert unlocked.status == 0


def test_trace_and_verbose_show_the_bus_and_no_pin(run: Run) -> None:
    run("new", "n.sed", "--set", "pin.kdf_iterations=1")
    run("set-pin", "n.sed", NEW_PIN=PIN)

    told = run("unlock", "n.sed", "-v", "--trace", "t.pcap", PIN_USER=PIN)

    pcap = Path("t.pcap").read_bytes()
    assert told.status == 0
    assert "SECURITY_PROTOCOL_OUT" in told.err and PIN not in told.err
    assert pcap[20:24] == (220).to_bytes(4, "little") and PIN.encode() not in pcap


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("info", "none.sed"), 3, "none.sed: no such drive; `sedlab new none.sed"),
        (("info", "model:none"), 3, "no profile 'none'"),
        (("info", "model:native+none"), 3, "no defect 'none'"),
        (("info", "nowhere:1"), 3, "names no drive"),
        (("info", "model:"), 2, "is not model:PROFILE"),
        (("info", "usb:nonsense"), 2, "is not usb:VID:PID"),
        (("info", "model:native+none.py:Part"), 2, "none.py: no such file"),
        (("new", "x.sed", "--profile", "none"), 2, "no profile 'none'"),
        (("new", "x.sed", "--capacity", "3"), 2, "capacity '3'"),
        (("new", "x.sed", "--set", "pin"), 2, "is not KEY=VALUE"),
        (("new", "x.sed", "--set", "tries.user=0"), 2, "tries.user: 0 is no number from 1"),
        (("replay", "nonsense"), 2, "is not a replay id"),
        (("replay", "nothing:model:native:lock"), 2, "no property 'nothing'"),
        (("defects", "show", "none"), 2, "no defect 'none'"),
        (("serve", "model:native"), 2, "can't be served yet"),
        (("unlock", "model:native"), 2, "no PIN"),
    ],
)
def test_mistake_gets_one_line_that_says_what_is_wrong(
    run: Run, arguments: tuple[str, ...], status: int, said: str
) -> None:
    refused = run(*arguments)

    assert refused.status == status
    assert said in refused.err
    assert "Traceback" not in refused.err


def test_error_is_json_where_that_was_asked_for(run: Run) -> None:
    refused = run("info", "none.sed", "--json")

    assert json.loads(refused.out)["error"] == "NotFound"


def test_existing_file_is_not_replaced(run: Run, drive: str) -> None:
    before = Path(drive).read_bytes()

    refused = run("new", drive)

    assert (refused.status, "exists already" in refused.err) == (3, True)
    assert Path(drive).read_bytes() == before


def test_help_names_every_verb_as_the_verb_itself_does(run: Run) -> None:
    shown = run("--help")

    assert shown.status == 0
    context = cli.make_context("sedlab", ["--help"], resilient_parsing=True)
    for name in VERBS:
        assert name in shown.out
        assert cli.get_command(context, name) is not None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_their_completion(run: Run, shell: str) -> None:
    script = run("completion", shell)

    assert (script.status, "_SEDLAB_COMPLETE" in script.out) == (0, True)


def test_targets_complete_to_profiles_defects_and_files(run: Run, drive: str) -> None:
    from click.shell_completion import ShellComplete

    completion = ShellComplete(cli, {}, "sedlab", "_SEDLAB_COMPLETE")

    def words(typed: str) -> list[str]:
        return [item.value for item in completion.get_completions(["info"], typed)]

    assert words("model:k") == ["model:keypad"]
    assert "model:native+ecb-mode" in words("model:native+e")
    assert words("a") == [drive]
