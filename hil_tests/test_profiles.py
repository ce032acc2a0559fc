"""Profiles: what their TOML may say, and what is wrong in one that describes no drive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.profiles import ProfileError, capacity_bytes, changed, parse, text_of
from firmware_model.wire.native import Entry, Feature
from hil_tests.properties import BY_ID


@pytest.mark.parametrize("name", profiles.names())
def test_profile_that_comes_with_sedlab_is_one(name: str) -> None:
    profile = profiles.load(name)

    assert profile.name == name
    assert set(profile.expected_failures) <= set(BY_ID)


@pytest.mark.parametrize(
    "tcti",
    ["swtpm:host=127.0.0.1,port=2321", "mssim:host=tpm.local,port=2321", "device:/dev/tpmrm0"],
)
def test_element_may_be_a_tpm(tcti: str) -> None:
    profile = parse(changed(text_of("native"), {"element": f"tpm:{tcti}"}))

    assert profile.tcti == tcti
    assert profiles.load("native").tcti is None


def test_reference_profiles_are_what_the_documents_say() -> None:
    native, keypad, plain = (profiles.load(name) for name in ("native", "keypad", "plain"))

    assert (native.policy.limits, native.policy.at_limit) == ((10, 10, 10), "erase")
    assert native.policy.entry is Entry.HOST and keypad.policy.entry is Entry.KEYPAD
    assert native.policy.features & Feature.RECOVERY
    assert native.policy.log_records == 4096
    assert native.policy.block_count * 512 == 64 << 20
    assert plain.dialect == "none" and plain.expected_failures


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "Big Drive", "name:"),
        ("title", "", "title:"),
        ("dialect", "opal", "is not one of native, keypad, none"),
        ("capacity", "3 MB", "capacity '3 MB'"),
        ("capacity", "64 TiB", "capacity '64 TiB'"),
        ("features", ["lasers"], "features is a list of"),
        ("features", "log", "features is a list of"),
        ("at_limit", "explode", "is not one of erase, block"),
        ("tries.user", 0, "tries.user: 0 is no number from 1 to 255"),
        ("tries.user", True, "tries.user: True is no number"),
        ("tries.guest", 3, "unknown key tries.guest"),
        ("pin.digits_min", 17, "pin.digits_min is 17, above pin.digits_max 16"),
        ("pin.kdf_iterations", "many", "pin.kdf_iterations"),
        ("auto_lock_s", 0, "auto_lock_s and the feature auto-lock go together"),
        ("lock_on_reset", 1, "lock_on_reset: 1 is not true or false"),
        ("usb.vendor", "much too long", "usb.vendor"),
        ("timing.kdf_us", -1, "timing.kdf_us"),
        ("timing.kdf_us", 390_000, "timing.attempt_us is 400000, and the duress PIN takes 407600"),
        ("element", "chip", "element: 'chip' does not match"),
        ("element", "tpm:cmd:rm -r .", "element: 'tpm:cmd:rm -r .' does not match"),
        ("element", "tpm:/tmp/library.so", "does not match"),
        ("element", "tpm:device:/dev/sda", "does not match"),
        ("colour", "red", "unknown key colour"),
        ("usb", "fast", "usb is a table"),
    ],
)
def test_wrong_key_is_named_with_what_it_must_be(key: str, value: object, said: str) -> None:
    with pytest.raises(ProfileError, match=said.replace("[", r"\[")):
        parse(changed(text_of("native"), {key: value}))


def test_missing_key_is_named() -> None:
    with pytest.raises(ProfileError, match="name is missing"):
        parse('dialect = "native"')


def test_profile_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(ProfileError, match="there are keypad, native, plain"):
        profiles.load("none")


@given(st.text(max_size=400))
def test_any_text_is_a_profile_or_a_refusal(text: str) -> None:
    try:
        parse(text)
    except ProfileError as refused:
        assert str(refused)
    else:
        raise AssertionError(f"{text!r} describes a drive")


@given(
    st.dictionaries(
        st.sampled_from(
            ("name", "dialect", "capacity", "features", "tries", "pin", "usb", "auto_lock_s")
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=8), inner, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_any_values_give_a_profile_or_a_refusal(changes: dict[str, object]) -> None:
    try:
        profile = parse(changed(text_of("native"), changes))
    except ProfileError as refused:
        assert str(refused)
    else:
        assert profile.policy.block_count > 0


def test_changes_of_a_profile_read_back() -> None:
    text = changed(text_of("native"), {"capacity": "1 MiB", "tries.admin": 3, "usb.product": "X"})

    profile = parse(text)

    assert profile.policy.block_count == 2048
    assert profile.policy.limits == (10, 3, 10)
    assert profile.usb.product == "X"
    assert parse(changed(text, {})) == profile


def test_deeply_nested_and_endless_texts_are_refused() -> None:
    for text in ("a = " + "[" * 50_000, "a = 1\n" * 20_000, 'x = "' + "y" * 70_000 + '"'):
        with pytest.raises(ProfileError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1MiB", 1 << 20), ("64 MiB", 64 << 20), ("2 GiB", 2 << 30)]
)
def test_capacity_is_read_with_its_unit(text: str, size: int) -> None:
    assert capacity_bytes(text) == size
