"""Firmware images as bytes: laid out as written down, total, and signed as a whole."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model import profiles
from firmware_model.firmware import built_in, crypto
from firmware_model.firmware.image_check import UpdateRules, image_fault
from firmware_model.firmware.parts import PART_NAMES, check_fit
from firmware_model.firmware.policy import Policy
from firmware_model.image_signing import TEST_KEY, signed_image
from firmware_model.wire.codec import DecodeError
from firmware_model.wire.firmware_image import (
    IMAGE_BYTES_MAX,
    IMAGE_FAULTS,
    LABEL,
    SECURITY_VERSION_MAX,
    FirmwareImage,
    ImageFault,
    ImageHeader,
    Manifest,
    Version,
)

POLICY = Policy(2048, product="native", auto_lock_s=600, lock_on_reset=False)
NAMES = Manifest(parts=(("caching", "write-through"),), parameters=(("auto_lock_s", 60),))
IMAGE = signed_image("native", Version(1, 2, 3), 7, manifest=NAMES, filler=b"filler")


def rules(floor: int = 7, product: str = "native", key: bytes | None = None) -> UpdateRules:
    return UpdateRules(
        key or profiles.TEST_UPDATE_KEY,
        product,
        floor,
        lambda manifest: built_in.configured(POLICY, manifest) is not None,
    )


def test_image_has_its_fields_where_the_layout_says() -> None:
    manifest = b"part caching=write-through\nparameter auto_lock_s=60\n"
    header = b"SEDLABFW" + bytes.fromhex("0001 000000000000") + b"native".ljust(32, b"\0")
    header += bytes.fromhex("01020003 00000007 00000034 00000006")
    body = header + manifest + b"filler"

    assert len(header) == 64 and len(manifest) == 0x34
    assert IMAGE[:-64] == body
    assert IMAGE[-64:] == TEST_KEY.sign(LABEL + body)


def test_good_image_is_found_good() -> None:
    assert image_fault(IMAGE, rules()) is None


@pytest.mark.parametrize(
    ("image", "measured_by", "fault"),
    [
        (b"", rules(), ImageFault.MALFORMED),
        (IMAGE[:-1], rules(), ImageFault.MALFORMED),
        (IMAGE + b"\0", rules(), ImageFault.MALFORMED),
        (IMAGE[:-64] + bytes(64), rules(), ImageFault.SIGNATURE),
        (IMAGE, rules(key=bytes(32)), ImageFault.SIGNATURE),
        (IMAGE, rules(product="keypad"), ImageFault.PRODUCT),
        (IMAGE, rules(floor=8), ImageFault.DOWNGRADE),
        (IMAGE, rules(floor=10), ImageFault.DOWNGRADE),  # which as text comes before 7
    ],
)
def test_image_is_refused_for_what_is_wrong_with_it(
    image: bytes, measured_by: UpdateRules, fault: ImageFault
) -> None:
    assert image_fault(image, measured_by) is fault


def test_image_with_any_bit_flipped_is_refused() -> None:
    for bit in range(len(IMAGE) * 8):
        flipped = bytearray(IMAGE)
        flipped[bit // 8] ^= 1 << bit % 8
        assert image_fault(bytes(flipped), rules(floor=0)) is not None, bit


def test_each_fault_has_sense_data_of_its_own() -> None:
    assert len(set(IMAGE_FAULTS.values())) == len(IMAGE_FAULTS) == len(ImageFault)


# --- what a manifest may name -------------------------------------------------------------------


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest(parts=(("caching", "plain-first"),)),
        Manifest(parts=(("cache", "write-through"),)),
        Manifest(parts=(("caching", "digits"),)),
        Manifest(parameters=(("auto_lock_s", 601),)),
        Manifest(parameters=(("auto_lock_s", 0),)),
        Manifest(parameters=(("lock_on_suspend", 0),)),
        Manifest(parameters=(("lock_on_reset", 0),)),
        Manifest(parameters=(("lock_on_reset", 2),)),
        Manifest(parameters=(("kdf_iterations", 600_000),)),
        Manifest(parameters=(("kdf_iterations", 1),)),
        Manifest(parameters=(("digits_min", 8),)),
        Manifest(parameters=(("log_records", 128),)),
    ],
    ids=str,
)
def test_manifest_that_names_what_there_is_not_or_weakens_is_refused(manifest: Manifest) -> None:
    image = signed_image("native", Version(1, 2, 3), 7, manifest=manifest)

    assert image_fault(image, rules()) is ImageFault.MANIFEST


def test_manifest_may_make_a_drive_stricter() -> None:
    manifest = Manifest(
        parameters=(("auto_lock_s", 60), ("lock_on_reset", 1), ("lock_on_suspend", 1))
    )
    configured = built_in.configured(POLICY, manifest)

    assert configured is not None
    assert configured.policy.auto_lock_s == 60
    assert configured.policy.lock_on_reset and configured.policy.lock_on_suspend
    assert configured.policy.kdf_iterations == POLICY.kdf_iterations


def test_drive_that_never_locks_by_itself_is_given_no_timer() -> None:
    policy = Policy(2048)

    assert built_in.configured(policy, Manifest(parameters=(("auto_lock_s", 60),))) is None


def test_every_built_in_part_has_a_name_and_fits_its_seam() -> None:
    assert set(built_in.PARTS) == set(PART_NAMES)
    assert all(built_in.PARTS[seam] for seam in PART_NAMES)
    for seam, parts in built_in.PARTS.items():
        for name, part in parts.items():
            Manifest.decode(Manifest(parts=((seam, name),)).encode())
            check_fit(seam, part)
    assert "write-through" in built_in.PARTS["caching"]
    assert "pbkdf2" in built_in.PARTS["stretching"]


def test_signed_manifest_that_is_none_is_refused() -> None:
    header = ImageHeader("native", Version(1, 0, 0), 7, 4, 0)
    unsigned = FirmwareImage(header, b"code", b"", b"")
    image = unsigned.encode() + TEST_KEY.sign(unsigned.signed_bytes)

    assert image_fault(image, rules()) is ImageFault.MANIFEST


# --- any bytes ----------------------------------------------------------------------------------

WORD = st.integers(0, 0xFFFF_FFFF)
NAME = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,31}\Z")
VERSIONS = WORD.map(Version.numbered)
MANIFESTS = st.builds(
    Manifest,
    st.dictionaries(st.from_regex(r"\A[a-z_]{1,32}\Z"), NAME, max_size=4).map(
        lambda found: tuple(sorted(found.items()))
    ),
    st.dictionaries(st.from_regex(r"\A[a-z_]{1,32}\Z"), st.integers(0, 999_999_999)).map(
        lambda found: tuple(sorted(found.items()))
    ),
)
IMAGES = st.builds(
    signed_image,
    NAME,
    VERSIONS,
    st.integers(0, SECURITY_VERSION_MAX),
    manifest=MANIFESTS,
    filler=st.binary(max_size=200),
)


@given(VERSIONS)
def test_version_reads_back_and_keeps_its_order(version: Version) -> None:
    assert Version.parse(str(version)) == version
    assert Version.numbered(version.number) == version
    assert (version > Version(1, 9, 0)) == (version.number > Version(1, 9, 0).number)


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "1.2.x", "256.0.0", "0.0.65536", "१.0.0"]
)
def test_text_that_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="version"):
        Version.parse(text)


@given(MANIFESTS)
def test_manifest_reads_back(manifest: Manifest) -> None:
    assert Manifest.decode(manifest.encode()) == manifest


@given(IMAGES)
def test_image_reads_back(data: bytes) -> None:
    assert FirmwareImage.decode(data).encode() == data
    with pytest.raises(DecodeError):
        FirmwareImage.decode(data[:-1])


def nearly(data: bytes, place: int, value: int, cut: int) -> bytes:
    changed = bytearray(data)
    changed[place % len(changed)] = value
    return bytes(changed[: len(changed) - cut])


ANY_BYTES = (
    st.binary(max_size=300)
    | st.binary(max_size=200).map(lambda tail: ImageHeader.MAGIC + b"\0\1" + tail)
    | st.builds(nearly, IMAGES, st.integers(0, 400), st.integers(0, 255), st.integers(0, 2))
)
LINES = st.sampled_from(
    ("part a=b", "parameter a=1", "part a=B", "parameter a=01", "part a=b ", "", "part a", "\xff")
)


@given(st.sampled_from((ImageHeader.decode, FirmwareImage.decode)), ANY_BYTES)
def test_any_bytes_are_an_image_that_encodes_back_or_a_refusal(
    decode: Callable[[bytes], ImageHeader | FirmwareImage], data: bytes
) -> None:
    try:
        value = decode(data)
    except DecodeError as refused:
        assert str(refused)
        return

    assert data.startswith(value.encode())


@given(
    st.binary(max_size=200)
    | st.lists(LINES, max_size=5).map(lambda lines: "\n".join(lines).encode("latin-1"))
    | MANIFESTS.map(lambda manifest: manifest.encode() * 2)
)
def test_any_bytes_are_a_manifest_that_encodes_back_or_a_refusal(data: bytes) -> None:
    try:
        manifest = Manifest.decode(data)
    except DecodeError as refused:
        assert str(refused)
        return

    assert manifest.encode() == data


@given(ANY_BYTES)
def test_any_bytes_are_judged(data: bytes) -> None:
    assert image_fault(data, rules(floor=0)) in (None, *ImageFault)


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=20))
def test_any_key_and_signature_are_judged(key: bytes, signature: bytes, message: bytes) -> None:
    assert crypto.is_signed(key, signature, message) is False


@pytest.mark.parametrize("y", sorted(crypto._SMALL_ORDER))
@pytest.mark.parametrize("sign", [0, 1 << 255])
def test_key_under_which_anybody_can_sign_is_none(y: int, sign: int) -> None:
    assert not crypto.is_signing_key((y | sign).to_bytes(32, "little"))


# --- the maker's desk ---------------------------------------------------------------------------


def test_test_key_is_the_key_of_the_profiles() -> None:
    assert TEST_KEY.public_key().public_bytes_raw() == profiles.TEST_UPDATE_KEY


@pytest.mark.parametrize(
    ("product", "security_version", "filler", "said"),
    [
        ("Big Drive", 1, 0, "the name of no product"),
        ("native", -1, 0, "a security version is a number"),
        ("native", SECURITY_VERSION_MAX + 1, 0, "a security version is a number"),
        ("native", 1, IMAGE_BYTES_MAX, "an image has at most 131072 bytes"),
    ],
)
def test_image_that_could_be_none_is_not_signed(
    product: str, security_version: int, filler: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        signed_image(product, Version(1, 0, 0), security_version, filler=bytes(filler))


def test_manifest_too_long_for_an_image_is_not_signed() -> None:
    parameters = tuple((f"name_{'x' * number}", 1) for number in range(27))
    many = Manifest(
        tuple((f"{'a' * (1 + n // 26)}{chr(97 + n % 26)}", "b" * 32) for n in range(90))
    )

    with pytest.raises(ValueError, match="a manifest has at most 4096 bytes"):
        signed_image("native", Version(1, 0, 0), 1, manifest=Manifest(many.parts, parameters))
