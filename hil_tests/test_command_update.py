"""Firmware by the command: a key, an image, a drive that takes it, and every way it is refused."""

import json
from pathlib import Path

import pytest

from firmware_model import profiles
from hil_tests.actions import PINS
from hil_tests.command_line import FAST, Run

PIN, ADMIN_PIN = PINS[0], PINS[1]


def sign(run: Run, file: str, version: str, security_version: int, *more: str) -> None:
    options = ("--version", version, "--security-version", str(security_version))
    signed = run("image", "sign", file, *options, *more)
    assert signed.status == 0, signed.err


def firmware(run: Run, drive: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(run("info", drive, "--json").out)["firmware"]
    return found


@pytest.fixture(params=["native", "keypad"])
def drive(request: pytest.FixtureRequest, run: Run) -> str:
    """Make a drive with a PIN, and an image for it."""
    profile = str(request.param)
    assert run("new", "a.sed", "--profile", profile, *FAST).status == 0
    assert run("set-pin", "a.sed", NEW_PIN=PIN).status == 0
    Path("filler").write_bytes(bytes(range(256)) * 400)
    sign(run, "fw.img", "1.1.0", 2, "--profile", profile, "--filler", "filler")
    return "a.sed"


def test_image_is_taken_and_runs_at_the_next_command(run: Run, drive: str) -> None:
    assert firmware(run, drive) == {"version": "1.0.0", "security_version": 1}

    taken = run("update", drive, "fw.img", PIN_USER=PIN)

    assert (taken.status, taken.out) == (
        0,
        "updated to 1.1.0, security version 2; the drive has restarted, and is locked\n",
    )
    assert taken.err.splitlines()[-1] == "update: 102528 of 102528 bytes"
    assert firmware(run, drive) == {"version": "1.1.0", "security_version": 2}
    shown = run("info", drive).out.splitlines()
    assert "firmware    1.1.0, security version 2" in shown


def test_update_is_in_the_log_with_its_version(run: Run) -> None:
    run("new", "a.sed", *FAST)
    run("set-pin", "a.sed", NEW_PIN=PIN)
    sign(run, "fw.img", "1.1.0", 2)
    run("update", "a.sed", "fw.img", PIN_USER=PIN)

    shown = run("log", "a.sed", "--verify", PIN_USER=PIN)
    told = json.loads(run("log", "a.sed", "--json", PIN_USER=PIN).out)

    assert shown.status == 0
    assert "UPDATED        1.1.0, security version 2" in shown.out
    records = [each for each in told["records"] if each["event"] == "UPDATED"]
    assert [(each["version"], each["security_version"]) for each in records] == [("1.1.0", 2)]
    assert told["counts"]["UPDATED"] == 1


def test_update_needs_a_pin(run: Run, drive: str) -> None:
    refused = run("update", drive, "fw.img")

    assert (refused.status, refused.err) == (
        1,
        "sedlab: the drive is locked: give SEDLAB_PIN_USER\n",
    )


def test_update_takes_the_admin_where_there_is_one(run: Run, drive: str) -> None:
    run("set-pin", drive, "--role", "admin", PIN_USER=PIN, NEW_PIN=ADMIN_PIN)

    by_user = run("update", drive, "fw.img", PIN_USER=PIN)
    by_admin = run("update", drive, "fw.img", "--role", "admin", PIN_ADMIN=ADMIN_PIN)

    assert by_user.status == 1 and "for whoever decides over the drive" in by_user.err
    assert by_admin.status == 0


def test_every_refusal_is_one_line_and_leaves_the_firmware(run: Run, drive: str) -> None:
    good = Path("fw.img").read_bytes()
    Path("cut.img").write_bytes(good[:-1])
    Path("long.img").write_bytes(good + b"\0")
    Path("flipped.img").write_bytes(good[:70_000] + b"\xff" + good[70_001:])
    Path("none.img").write_bytes(b"firmware, honestly")
    Path("empty.img").write_bytes(b"")
    Path("huge.img").write_bytes(bytes(200_000))
    product = json.loads(run("info", drive, "--json").out)["dialect"]
    other = "keypad" if product == "native" else "native"
    sign(run, "other.img", "1.1.0", 2, "--profile", other)
    sign(run, "old.img", "1.1.0", 0, "--profile", product)

    for file, said in {
        "cut.img": "no image, or not a whole one",
        "long.img": "no image, or not a whole one",
        "flipped.img": "not signed with the key that the drive was made for",
        "none.img": "no image, or not a whole one",
        "empty.img": "an image has 1 to 131072 bytes for this drive, not 0",
        "huge.img": "an image has 1 to 131072 bytes for this drive, not 131073",
        "other.img": "for another product",
        "old.img": "its security version is below the one that the drive has reached",
    }.items():
        refused = run("update", drive, file, PIN_USER=PIN)
        last = refused.err.splitlines()[-1]
        assert (refused.status, refused.out) == (1, ""), file
        assert last.startswith("sedlab: ") and said in last, (file, last)
    assert firmware(run, drive) == {"version": "1.0.0", "security_version": 1}
    assert run("unlock", drive, PIN_USER=PIN).status == 0


def test_drive_with_a_key_of_its_own_takes_only_what_that_key_signed(run: Run) -> None:
    key = json.loads(run("image", "keygen", "fw.pem", "--json").out)["update_key"]
    made = run("new", "a.sed", *FAST, "--set", f"update.key={key}")
    run("set-pin", "a.sed", NEW_PIN=PIN)
    sign(run, "test.img", "1.1.0", 2)
    sign(run, "own.img", "1.1.0", 2, "--key", "fw.pem")

    by_test_key = run("update", "a.sed", "test.img", PIN_USER=PIN)
    by_own_key = run("update", "a.sed", "own.img", PIN_USER=PIN)

    assert "published test key" not in made.out
    assert by_test_key.status == 1 and "not signed with the key" in by_test_key.err
    assert by_own_key.status == 0
    assert run("image", "show", "own.img", "--key", key).status == 0
    assert run("image", "show", "own.img").status == 1


def test_new_drive_says_when_anybody_can_sign_its_firmware(run: Run) -> None:
    assert "signed with a published test key" in run("new", "a.sed", *FAST).out
    assert "published" not in run("new", "b.sed", "--profile", "plain").out


def test_ordinary_stick_takes_no_firmware(run: Run) -> None:
    run("new", "a.sed", "--profile", "plain")
    sign(run, "fw.img", "1.1.0", 2, "--profile", "plain")

    refused = run("update", "a.sed", "fw.img")

    assert refused.status == 1 and "takes no firmware that sedlab knows" in refused.err


# --- the maker's desk ---------------------------------------------------------------------------


def test_image_shows_what_it_says_and_who_signed_it(run: Run) -> None:
    more = ("--part", "caching=write-through", "--parameter", "auto_lock_s=60")
    sign(run, "fw.img", "1.2.0", 3, *more)

    shown = run("image", "show", "fw.img")
    told = json.loads(run("image", "show", "fw.img", "--json").out)

    assert shown.status == 0
    assert "version     1.2.0, security version 3" in shown.out
    assert "manifest    parameter auto_lock_s=60" in shown.out
    assert told["manifest"] == ["part caching=write-through", "parameter auto_lock_s=60"]
    assert told["product"] == "native" and told["signed_with"]


def test_private_key_is_for_its_owner_and_never_overwritten(run: Run) -> None:
    run("image", "keygen", "fw.pem")
    before = Path("fw.pem").read_bytes()

    again = run("image", "keygen", "fw.pem")

    assert again.status == 2 and "File exists" in again.err
    assert Path("fw.pem").read_bytes() == before
    assert Path("fw.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--part", "caching=plain-first"), "what is built in as caching is write-through"),
        (("--part", "cache=write-through"), "no part cache; there are counter, limit,"),
        (("--parameter", "kdf_iterations=1000000"), "an update may change auto_lock_s, lock_on_r"),
        (("--parameter", "auto_lock_s=601"), "weaker than their profile, native"),
        (("--parameter", "auto_lock_s=many"), "no line of a manifest"),
        (("--parameter", "auto_lock_s"), "is not NAME=VALUE"),
        (("--part", "caching=write-through", "--part", "caching=write-through"), "a name twice"),
        (("--version", "1.2"), "is not MAJOR.MINOR.PATCH"),
        (("--version", "1.2.99999"), "at most 255.255.65535"),
        (("--security-version", "2147483648"), "a security version is a number from 0 to"),
        (("--profile", "none"), "no profile 'none'"),
        (("--key", "filler"), "no Ed25519 key as `sedlab image keygen` makes them"),
        (("--filler", "huge"), "an image has at most 131072 bytes"),
    ],
)
def test_what_no_drive_would_take_is_not_signed(
    run: Run, options: tuple[str, ...], said: str
) -> None:
    Path("filler").write_bytes(b"no key")
    Path("huge").write_bytes(bytes(200_000))

    refused = run(
        "image", "sign", "fw.img", "--version", "1.1.0", "--security-version", "2", *options
    )

    assert refused.status == 2 and said in refused.err, refused.err
    assert len(refused.err.splitlines()) == 1
    assert not Path("fw.img").exists()


def test_file_that_is_no_image_is_told_so_in_a_line(run: Run) -> None:
    Path("fw.img").write_bytes(b"firmware, honestly")

    shown = run("image", "show", "fw.img")

    assert (shown.status, len(shown.err.splitlines())) == (1, 1)
    assert "fw.img: an image's header has 64 bytes, not 18" in shown.err


@pytest.mark.parametrize("key", ["xyz", "00" * 32, profiles.TEST_UPDATE_KEY.hex()[:-2]])
def test_image_is_not_signed_with_what_is_no_key(run: Run, key: str) -> None:
    sign(run, "fw.img", "1.1.0", 2)

    assert run("image", "show", "fw.img", "--key", key).status in (1, 2)
