"""Profiles: named drives, read from TOML into what the firmware and its descriptors need."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Any, Final, Literal, cast

from firmware_model.firmware.policy import Flash, Policy
from firmware_model.hardware.cells import RECORD_BYTES
from firmware_model.hardware.clock import Timing
from firmware_model.hardware.ecc import PageCode
from firmware_model.hardware.endurance import Endurance
from firmware_model.wire.native import Entry, Feature

# RFC 8032, section 7.1, test 1: the private key is printed there, so anybody can sign for a drive
# that was made with this one. A drive that is to be trusted is made with a key of its own.
TEST_UPDATE_KEY: Final = bytes.fromhex(
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)
Dialect = Literal["native", "keypad", "none"]
TEXT_BYTES_MAX: Final = 64 << 10
CAPACITY_BYTES: Final = (1 << 20, 1 << 40)
UNITS: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
BLOCK_COUNT_MAX: Final = 1 << 19  # of flash: bigger drives have bigger blocks
FEATURES: Final = {
    "recovery": Feature.RECOVERY,
    "duress": Feature.DURESS,
    "log": Feature.LOG,
    "read-only": Feature.READ_ONLY,
    "auto-lock": Feature.AUTO_LOCK,
}
# By TCTI string, but none that names a library or a program: a profile runs nothing of its own.
ELEMENT: Final = (
    r"embedded"
    r"|tpm:(?:swtpm|mssim):host=[0-9A-Za-z.-]{1,255},port=[0-9]{1,5}"
    r"|tpm:device:/dev/tpmrm[0-9]"
)


class ProfileError(ValueError):
    """A profile that describes no drive: says which key, and what it must be."""


@dataclass(frozen=True, slots=True)
class Usb:
    """What the drive says of itself on the bus."""

    vendor_id: int = 0x1209  # pid.codes, whose 5ED0h is for tests
    product_id: int = 0x5ED0
    vendor: str = "sedlab"  # at most 8 characters: INQUIRY
    product: str = "Reference"  # at most 16 characters
    revision: str = "0001"


@dataclass(frozen=True, slots=True)
class Profile:
    """One drive as its maker describes it."""

    name: str
    title: str
    dialect: Dialect
    policy: Policy
    element: str = "embedded"  # or `tpm:TCTI`
    usb: Usb = field(default_factory=Usb)
    timing: Timing = field(default_factory=Timing)
    update_key: bytes = TEST_UPDATE_KEY  # Ed25519, public: whose signature firmware must bear
    # Properties that this drive must fail, with the reason: it is a control.
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def tcti(self) -> str | None:
        """How to reach the TPM that is the drive's element, if one is."""
        return self.element.removeprefix("tpm:") if self.element.startswith("tpm:") else None


def names() -> tuple[str, ...]:
    """Return the names of the profiles that come with sedlab."""
    drives = files("fixtures").joinpath("drives").iterdir()
    return tuple(sorted(each.name[:-5] for each in drives if each.name.endswith(".toml")))


def text_of(name: str) -> str:
    """Return the TOML of a profile that comes with sedlab; raise ProfileError if there is none."""
    if name not in names():
        raise ProfileError(f"no profile {name!r}; there are {', '.join(names())}")
    return files("fixtures").joinpath("drives", f"{name}.toml").read_text("utf-8")


def load(name: str) -> Profile:
    """Return a profile that comes with sedlab."""
    return parse(text_of(name))


def changed(text: str, changes: Mapping[str, Any]) -> str:
    """Return a profile's TOML with some keys set, named with dots: `pin.kdf_iterations`.

    Raises ProfileError for a key that leads through something that is no table.
    """
    table = _loaded(text)
    for key, value in changes.items():
        *tables, last = key.split(".")
        inner: Any = table
        for name in tables:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ProfileError(f"{key}: {name} is no table")
        inner[last] = value
    return _spelled(table)


def setting(text: str) -> tuple[str, Any]:
    """Return key and value of `KEY=VALUE`, the value read as TOML, or else as text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ProfileError(f"{text!r} is not KEY=VALUE")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _loaded(text: str) -> dict[str, Any]:
    try:
        if len(text.encode()) > TEXT_BYTES_MAX:
            raise ProfileError(f"a profile has at most {TEXT_BYTES_MAX} bytes")
        return tomllib.loads(text)
    except UnicodeEncodeError:
        raise ProfileError("not TOML: it has characters that are none") from None
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise ProfileError(f"not TOML: {wrong}") from None


def _spelled(table: Mapping[str, Any]) -> str:
    """Return TOML of a table of values and of one level of tables, which is all a profile has."""
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if not _is_table(value)]
    for name, inner in table.items():
        if _is_table(inner):
            lines += ["", f"[{name}]", *(f"{key} = {_value(v)}" for key, v in inner.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _value(value: object) -> str:
    """Return a value as TOML writes it; JSON writes these the same way, all but one character."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str | bool | int):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise ProfileError(f"{value!r} is no value of a profile")


def parse(text: str) -> Profile:
    """Return the profile in `text`; raise ProfileError with what is wrong in it."""
    table = _loaded(text)
    reader = _Table(table, "")
    dialect = reader.word("dialect", ("native", "keypad", "none"))
    name = reader.text("name", r"[a-z0-9][a-z0-9-]{0,31}")
    profile = Profile(
        name=name,
        title=reader.text("title", r"[^\x00-\x1f]{1,80}"),
        dialect=cast(Dialect, dialect),
        policy=_policy(reader, name, dialect),
        element=reader.text("element", ELEMENT, "embedded"),
        usb=_usb(reader.table("usb")),
        timing=_timing(reader.table("timing")),
        update_key=_update_key(reader.table("update")),
        expected_failures=reader.texts("expected_failures"),
    )
    reader.refuse_others()
    return profile


def _policy(reader: "_Table", product: str, dialect: str) -> Policy:
    pin, tries = reader.table("pin"), reader.table("tries")
    fewest, most = pin.number("digits_min", 4, 20, 7), pin.number("digits_max", 4, 20, 16)
    if fewest > most:
        raise ProfileError(f"pin.digits_min is {fewest}, above pin.digits_max {most}")
    features = Feature(0)
    for name in reader.words("features", tuple(FEATURES)):
        features |= FEATURES[name]
    auto_lock_s = reader.number("auto_lock_s", 0, 86_400, 0)
    if bool(auto_lock_s) != bool(features & Feature.AUTO_LOCK):
        raise ProfileError("auto_lock_s and the feature auto-lock go together")
    capacity = reader.capacity("capacity")
    policy = Policy(
        block_count=capacity // 512,
        product=product,
        entry=Entry.KEYPAD if dialect == "keypad" else Entry.HOST,
        features=features,
        limits=(
            tries.number("user", 1, 255, 10),
            tries.number("admin", 1, 255, 10),
            tries.number("recovery", 1, 255, 10),
        ),
        at_limit=cast(
            Literal["erase", "block"], reader.word("at_limit", ("erase", "block"), "erase")
        ),
        pin_digits=(fewest, most),
        kdf_iterations=pin.number("kdf_iterations", 1, 100_000_000, 600_000),
        auto_lock_s=auto_lock_s or None,
        lock_on_suspend=reader.truth("lock_on_suspend", True),
        lock_on_reset=reader.truth("lock_on_reset", True),
        start_after_stop=reader.truth("start_after_stop", False),
        reservations_persist=reader.truth("reservations_persist", False),
        log_records=reader.number("log_records", 128, 1 << 20, 4096),
        flash=_flash(reader.table("flash"), capacity),
    )
    pin.refuse_others()
    tries.refuse_others()
    return policy


def _flash(reader: "_Table", capacity: int) -> Flash:
    default, lasting = Flash(), Endurance()
    page_bytes = reader.number("page_bytes", 512, 16384, default.page_bytes)
    if page_bytes & (page_bytes - 1):
        raise ProfileError(f"flash.page_bytes: {page_bytes} is no power of two")
    needed = PageCode(page_bytes, RECORD_BYTES).spare_bytes
    fitting = -(-needed // 32) * 32
    spare_bytes = reader.number("spare_bytes", needed, 4096, fitting)
    planes = reader.number("planes", 1, 4, default.planes)
    pages_per_block = default.pages_per_block
    while capacity > BLOCK_COUNT_MAX * planes * pages_per_block * page_bytes:
        pages_per_block *= 2
    flash = Flash(
        page_bytes,
        spare_bytes,
        reader.number("pages_per_block", 16, 4096, pages_per_block),
        planes,
        reader.number("over_provisioning_percent", 2, 100, default.over_provisioning_percent),
        Endurance(
            reader.number("cycles", 1, 10_000_000, lasting.cycles),
            reader.number("reads", 8, 1 << 40, lasting.reads),
            reader.number("retention_days", 1, 100_000, lasting.retention_days),
            reader.number("factory_bad_per_mille", 0, 20, lasting.factory_bad_per_mille),
        ),
    )
    reader.refuse_others()
    if capacity > BLOCK_COUNT_MAX * planes * flash.pages_per_block * page_bytes:
        raise ProfileError(f"flash.pages_per_block: {flash.pages_per_block} is too few for it")
    return flash


def _usb(reader: "_Table") -> Usb:
    default = Usb()
    usb = Usb(
        reader.number("vendor_id", 0, 0xFFFF, default.vendor_id),
        reader.number("product_id", 0, 0xFFFF, default.product_id),
        reader.text("vendor", r"[ -~]{1,8}", default.vendor),
        reader.text("product", r"[ -~]{1,16}", default.product),
        reader.text("revision", r"[ -~]{1,4}", default.revision),
    )
    reader.refuse_others()
    return usb


def _timing(reader: "_Table") -> Timing:
    default = Timing()
    given = {
        each.name: reader.number(each.name, 0, 60_000_000, getattr(default, each.name))
        for each in fields(Timing)
    }
    reader.refuse_others()
    timing = Timing(**given)
    if timing.attempt_us < timing.longest_attempt_us:
        raise ProfileError(
            f"timing.attempt_us is {timing.attempt_us}, and the duress PIN takes"
            f" {timing.longest_attempt_us}: it could be told from a wrong one"
        )
    return timing


def _update_key(reader: "_Table") -> bytes:
    key = bytes.fromhex(reader.text("key", r"[0-9a-fA-F]{64}", TEST_UPDATE_KEY.hex()))
    reader.refuse_others()
    if key == TEST_UPDATE_KEY:
        return key
    from firmware_model.firmware import crypto  # late: most profiles name no key

    if not crypto.is_signing_key(key):
        raise ProfileError("update.key: under that one anybody can sign")
    return key


def capacity_bytes(text: str) -> int:
    """Return the bytes that `64 MiB` or `67108864` stands for; raise ProfileError otherwise."""
    match = re.fullmatch(r"([0-9]{1,15}) ?(|KiB|MiB|GiB|TiB)", text)
    least, most = CAPACITY_BYTES
    size = int(match[1]) * UNITS[match[2]] if match else 0
    if not match or not least <= size <= most or size % 512:
        raise ProfileError(
            f"capacity {text!r}: a number of KiB, MiB, GiB or TiB, in whole blocks,"
            " from 1 MiB to 1 TiB"
        )
    return size


class _Table:
    """A table of TOML whose keys are taken one by one, so that none is left unread."""

    def __init__(self, values: dict[str, Any], prefix: str) -> None:
        self._left = dict(values)
        self._prefix = prefix

    def table(self, key: str) -> "_Table":
        value = self._left.pop(key, {})
        if not isinstance(value, dict):
            raise ProfileError(f"{self._prefix}{key} is a table")
        return _Table(value, f"{self._prefix}{key}.")

    def text(self, key: str, pattern: str, default: str | None = None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ProfileError(f"{self._prefix}{key}: {value!r} does not match {pattern}")
        return value

    def word(self, key: str, words: tuple[str, ...], default: str | None = None) -> str:
        value = self._take(key, default)
        if value not in words:
            raise ProfileError(f"{self._prefix}{key}: {value!r} is not one of {', '.join(words)}")
        return str(value)

    def words(self, key: str, known: tuple[str, ...]) -> list[str]:
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(word in known for word in value):
            raise ProfileError(f"{self._prefix}{key} is a list of {', '.join(known)}")
        return value

    def texts(self, key: str) -> dict[str, str]:
        value = self._left.pop(key, {})
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ProfileError(f"{self._prefix}{key} is a table of texts")
        return value

    def number(self, key: str, least: int, most: int, default: int) -> int:
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ProfileError(
                f"{self._prefix}{key}: {value!r} is no number from {least} to {most}"
            )
        return value

    def truth(self, key: str, default: bool) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise ProfileError(f"{self._prefix}{key}: {value!r} is not true or false")
        return value

    def capacity(self, key: str) -> int:
        return capacity_bytes(str(self._take(key, None)))

    def refuse_others(self) -> None:
        if self._left:
            raise ProfileError(f"unknown key {self._prefix}{next(iter(self._left))}")

    def _take(self, key: str, default: object) -> object:
        value = self._left.pop(key, default)
        if value is None:
            raise ProfileError(f"{self._prefix}{key} is missing")
        return value
