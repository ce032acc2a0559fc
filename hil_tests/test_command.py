"""The command as a person uses it: files of drives, PINs, exits and messages."""

import json
import os
from pathlib import Path

import pytest

from hil_tests.actions import PINS
from hil_tests.command_line import FAST, Run

PIN, WRONG = PINS[0], PINS[1]
DATA = bytes(i * 7 & 0xFF for i in range(1_000_000))


@pytest.fixture(params=["native", "keypad"])
def drive(request: pytest.FixtureRequest, run: Run) -> str:
    """Make a drive with a PIN."""
    profile = str(request.param)
    assert run("new", "a.sed", "--profile", profile, *FAST).status == 0
    assert run("set-pin", "a.sed", NEW_PIN=PIN).status == 0
    return "a.sed"


def test_what_was_written_is_read_with_the_pin_alone(run: Run, drive: str) -> None:
    Path("data").write_bytes(DATA)
    written = run("write", drive, "data", PIN_USER=PIN)
    assert (written.status, "filled with 448 zeros" in written.out) == (0, True)

    without = run("read", drive, "-o", "back")
    wrong = run("read", drive, "-o", "back", PIN_USER=WRONG)
    right = run("read", drive, "-o", "back", "--count", "1954", PIN_USER=PIN)

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
        last = "" if left else "; the drive is now erased"
        said = f"sedlab: wrong PIN, {left} {unit} left{last}\n"
        assert run("unlock", drive, PIN_USER=WRONG).err == said

    info = json.loads(run("info", drive, "--json").out)
    log = run("log", drive, "--verify", "--json")
    told = json.loads(log.out)
    run("set-pin", drive, NEW_PIN=PIN)
    read = run("read", drive, "-o", "back", "--count", "1954", PIN_USER=PIN)

    assert info["state"] == "erased"
    assert (log.status, told["verified"], told["counts"]["ERASE_LIMIT"]) == (0, True, 1)
    assert told["attempts"] == 11
    assert read.status == 0 and Path("back").read_bytes() == bytes(1954 * 512)


def test_reset_code_erases_without_a_pin(run: Run) -> None:
    made = json.loads(run("new", "b.sed", *FAST, "--json").out)
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
    run("new", "n.sed", *FAST)
    run("set-pin", "n.sed", NEW_PIN=PIN)

    shown = run("log", "n.sed", "--verify", PIN_USER=PIN)

    assert shown.status == 0
    assert "PIN_SET" in shown.out and "with none left out" in shown.out


def test_identity_must_be_known_or_given(run: Run) -> None:
    made = json.loads(run("new", "n.sed", *FAST, "--json").out)
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
    run("new", "n.sed", *FAST)
    run("set-pin", "n.sed", NEW_PIN=PIN)

    told = run("unlock", "n.sed", "-v", "--trace", "t.pcap", PIN_USER=PIN)

    pcap = Path("t.pcap").read_bytes()
    assert told.status == 0
    assert "SECURITY_PROTOCOL_OUT" in told.err and PIN not in told.err
    assert pcap[20:24] == (220).to_bytes(4, "little") and PIN.encode() not in pcap


def test_commands_reach_the_drive_by_the_transport_that_was_asked_for(run: Run) -> None:
    run("new", "n.sed", *FAST)
    run("set-pin", "n.sed", "--transport", "uas", NEW_PIN=PIN)
    Path("data").write_bytes(DATA)

    written = run("write", "n.sed", "data", "-v", "--transport", "uas", PIN_USER=PIN)
    read = run("read", "n.sed", "-o", "back", "-v", "--count", "1954", PIN_USER=PIN)

    assert (written.status, read.status) == (0, 0)
    assert "SET_INTERFACE 010b010000000000" in written.err
    assert "SET_INTERFACE 010b000000000000" in read.err
    assert Path("back").read_bytes() == DATA + bytes(448)


def test_unlock_tells_a_program_that_it_does_not_last(run: Run, drive: str) -> None:
    told = json.loads(run("unlock", drive, "--json", PIN_USER=PIN).out)

    assert told == {"unlocked": True, "role": "user", "stays_unlocked": False}


def test_blank_drive_says_that_it_has_no_pin_and_not_that_it_is_locked(run: Run) -> None:
    run("new", "n.sed", *FAST)

    refused = run("read", "n.sed", "-o", "back", "--json")

    assert (refused.status, json.loads(refused.out)["error"]) == (1, "NoPin")
    assert not Path("back").exists()


def test_log_is_not_proved_for_another_identity(run: Run, drive: str) -> None:
    other = run("log", drive, "--verify", "SHA256:another")
    unknown = run("log", drive, "--verify", "--known-drives", "none")

    assert (other.status, "sedlab: not proved: the drive is SHA256:" in other.err) == (1, True)
    assert (unknown.status, unknown.err.startswith("sedlab: not proved: drive ")) == (1, True)


def test_log_is_proved_by_a_fingerprint_alone(run: Run) -> None:
    made = json.loads(run("new", "n.sed", *FAST, "--json").out)

    shown = run("log", "n.sed", "--verify", made["identity"], "--known-drives", "none")

    assert shown.status == 0
    assert "proved: that drive has the fingerprint that was given" in shown.out


def test_verify_before_the_target_is_not_taken_for_its_key(run: Run, drive: str) -> None:
    shown = run("log", "--verify", drive)

    assert shown.status == 0
    assert "proved: that drive has the identity that is pinned" in shown.out


def test_records_tell_a_program_event_and_role(run: Run) -> None:
    run("new", "n.sed", *FAST)
    run("set-pin", "n.sed", NEW_PIN=PIN)

    records = json.loads(run("log", "n.sed", "--json", PIN_USER=PIN).out)["records"]

    assert [each["number"] for each in records] == list(range(len(records)))
    assert [each["role"] for each in records if each["event"] == "PIN_SET"] == ["user"]
    assert records[-1]["event"] == "UNLOCK"


def test_file_that_does_not_fit_is_refused_before_anything_is_written(run: Run) -> None:
    run("new", "p.sed", "--profile", "plain", "--capacity", "1MiB")
    Path("data").write_bytes(b"x" * ((1 << 20) + 1))

    too_long = run("write", "p.sed", "data")
    too_far = run("write", "p.sed", "data", "--lba", "2047")
    run("read", "p.sed", "-o", "back")

    assert (too_long.status, too_far.status) == (2, 2)
    assert "do not fit 2048 blocks" in too_long.err
    assert Path("back").read_bytes() == bytes(1 << 20)


def test_blocks_are_written_and_read_where_they_were_asked_for(run: Run) -> None:
    run("new", "p.sed", "--profile", "plain", "--capacity", "1MiB")
    Path("data").write_bytes(b"x" * 600)
    written = run("write", "p.sed", "data", "--lba", "2046", "--json")

    read = run("read", "p.sed", "--lba", "2045", "-o", "back", "--json")

    assert json.loads(written.out) == {"written_blocks": 2, "lba": 2046, "padding_bytes": 424}
    assert json.loads(read.out) == {"read_blocks": 3, "lba": 2045}
    assert Path("back").read_bytes() == bytes(512) + b"x" * 600 + bytes(424)


def test_progress_is_a_line_a_step_without_a_terminal(run: Run) -> None:
    run("new", "p.sed", "--profile", "plain", "--capacity", "4MiB")

    read = run("read", "p.sed", "-o", "back")

    assert read.err.splitlines() == [f"read: {n * 2048} of 8192 blocks" for n in range(1, 5)]


def test_list_shows_profiles_and_files_and_where_defects_are(run: Run, drive: str) -> None:
    shown = run("list")

    assert shown.status == 0
    assert {"model:keypad", "model:native", "model:plain", drive} <= set(shown.out.split())
    assert "sedlab defects list" in shown.err
    assert json.loads(run("list", "--json").out)["files"] == [drive]


def test_profile_may_be_a_file_of_ones_own(run: Run) -> None:
    Path("mine.toml").write_text(
        'name = "mine"\ntitle = "Größte 💾"\ndialect = "native"\ncapacity = "2 MiB"\n'
    )

    made = run("new", "n.sed", "--profile", "mine.toml", "--set", 'usb.product="Own"')

    assert (made.status, made.out.splitlines()[0]) == (
        0,
        "n.sed: Größte 💾, 4096 blocks of 512 bytes",
    )
    assert json.loads(run("info", "n.sed", "--json").out)["product"] == "Own"


def test_reset_code_is_told_although_the_identity_could_not_be_noted(run: Run) -> None:
    Path("file").write_bytes(b"")

    made = run("new", "n.sed", "--known-drives", "file/known")

    assert (made.status, "reset code" in made.out) == (0, True)
    assert "not noted among the known drives" in made.err


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
        (("serve", "model:native"), 2, "say which drives and how"),
        (("serve", "--usbip"), 2, "say which drives and how"),
        (("serve", "model:native", "--usbip", "host:port"), 2, "is not HOST[:PORT]"),
        (("serve", "model:native", "--usbip", "0.0.0.0:0"), 2, "--allow-remote says it is meant"),
        (("serve", "usb:1209:5ED0", "--usbip", ":0"), 2, "is not HOST[:PORT]"),
        (("serve", "usb:1209:5ED0", "--usbip", "127.0.0.1:0"), 2, "served is model:PROFILE or"),
        (("serve", "none.sed", "--usbip", "127.0.0.1:0"), 3, "none.sed: no such drive"),
        (("serve", "model:none", "--usbip", "127.0.0.1:0"), 3, "no profile 'none'"),
        (("press", "none.sed", "LOCK"), 3, "nobody serves none.sed: `sedlab serve none.sed"),
        (("leds", "none.sed"), 3, "nobody serves none.sed"),
        (("leds", "usbip://127.0.0.1/1-1"), 3, "its operator is at its FILE.sed"),
        (("leds", "model:plain"), 3, "`sedlab serve model:plain --usbip` prints its operator"),
        (("info", "usbip://127.0.0.1"), 2, "is not usbip://HOST[:PORT]/BUSID"),
        (("info", "usbip:1-1"), 2, "is not usbip://HOST[:PORT]/BUSID"),
        (("new", "x"), 2, "ends in .sed"),
        (("new", "none/x.sed"), 3, "none/x.sed: No such file or directory"),
        (("new", "x.sed", "--profile", "none.toml"), 2, "none.toml: No such file or directory"),
        (("new", "x.sed", "--set", "pin=5"), 2, "pin is a table"),
        (("new", "x.sed", "--set", "nothing=5"), 2, "unknown key nothing"),
        (("new", "x.sed", "--set", "features=[1979-01-01]"), 2, "is no value of a profile"),
        (("new", "x.sed", "--set", "title=\udcff"), 2, "not TOML"),
        (("read", "model:plain", "--lba", "131072"), 2, "block 131072: the drive has 131072"),
        (("read", "model:plain", "--count", "131073"), 2, "block 0 to 131072: the drive has"),
        (("read", "model:plain", "--json"), 2, "--json needs -o FILE"),
        (("read", "model:plain", "-o", "none/x"), 2, "none/x: No such file or directory"),
        (("read", "model:plain", "--trace", "none/x"), 2, "cannot write none/x"),
        (("write", "model:plain", "none"), 2, "'none': No such file or directory"),
        (("erase", "model:native", "--yes"), 1, "no keys to destroy"),
        (("set-pin", "model:plain"), 1, "offers no PIN"),
        (("log", "model:plain"), 1, "keeps no log"),
        (("frobnicate",), 2, "No such command 'frobnicate'"),
        (("info",), 2, "Missing argument 'TARGET' (see `sedlab info --help`)"),
        (("info", "model:native", "--pin", "1"), 2, "No such option"),
        (("unlock", "model:native"), 2, "no PIN"),
        (("unlock", "model:native", "--pin-fd", "9" * 20), 2, "no number of one"),
        (("evaluate", "model:native", "--content", os.devnull), 2, "not a file"),
    ],
)
def test_mistake_gets_one_line_that_says_what_is_wrong(
    run: Run, arguments: tuple[str, ...], status: int, said: str
) -> None:
    refused = run(*arguments)

    assert refused.status == status
    assert refused.err.startswith("sedlab: ") and refused.err.count("\n") == 1
    assert said in refused.err


def test_error_is_json_where_that_was_asked_for(run: Run, drive: str) -> None:
    absent = run("info", "none.sed", "--json")
    misused = run("info", "--json")
    wrong = run("unlock", drive, "--json", PIN_USER=WRONG)

    assert json.loads(absent.out)["error"] == "NotFound"
    assert json.loads(misused.out)["error"] == "MissingParameter"
    assert json.loads(wrong.out) == {
        "error": "WrongPin",
        "message": "wrong PIN, 9 tries left",
        "tries_left": 9,
    }


def test_plus_in_a_path_begins_no_defect(run: Run) -> None:
    Path("c++").mkdir()
    run("new", "c++/n.sed", *FAST)

    plain, weak = run("info", "c++/n.sed"), run("info", "model:c++/n.sed+ecb-mode")

    assert (plain.status, weak.status) == (0, 0)


def test_new_takes_the_name_that_other_verbs_take(run: Run) -> None:
    made = run("new", "model:n.sed", *FAST)

    assert (made.status, Path("n.sed").exists()) == (0, True)
    assert run("info", "model:n.sed").status == 0


def test_existing_file_is_not_replaced(run: Run, drive: str) -> None:
    before = Path(drive).read_bytes()

    refused = run("new", drive)

    assert (refused.status, "exists already" in refused.err) == (3, True)
    assert Path(drive).read_bytes() == before
