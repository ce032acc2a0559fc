"""Every case of the published vectors through the firmware's primitives.

`python -m hil_tests.vectors` prints how many cases of each algorithm ran and passed. The files
and their sources are listed in `fixtures/vectors/MANIFEST.tsv`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from firmware_model.firmware import crypto
from firmware_model.firmware.sector_cipher import SECTOR_BYTES, XtsSectors

# What a case says: it passed, it failed, or (None) it is no input of ours and was left out.
Verdict = bool | None
Fields = dict[str, str]
ROOT = files("fixtures") / "vectors"


@dataclass(frozen=True, slots=True)
class FileTally:
    """The cases of one file of vectors."""

    algorithm: str
    file: str
    verdicts: tuple[Verdict, ...]

    @property
    def run(self) -> int:
        return sum(verdict is not None for verdict in self.verdicts)

    @property
    def passed(self) -> int:
        return sum(verdict is True for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A file of vectors as `MANIFEST.tsv` lists it."""

    file: str
    digest: str
    cases: int

    def is_intact(self) -> bool:
        return sha256((ROOT / self.file).read_bytes()).hexdigest() == self.digest


def manifest() -> tuple[ManifestRow, ...]:
    lines = (ROOT / "MANIFEST.tsv").read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines[1:])
    return tuple(ManifestRow(row[0], row[1], int(row[5])) for row in rows)


def tally_files() -> Iterator[FileTally]:
    for algorithm, readers in READERS.items():
        for file, reader in readers.items():
            yield FileTally(algorithm, file, tuple(reader((ROOT / file).read_text("utf-8"))))


def run_vectors(tallies: tuple[FileTally, ...] | None = None) -> list[tuple[str, int, int]]:
    """Return algorithm, cases run and cases passed, for each algorithm."""
    if tallies is None:
        tallies = tuple(tally_files())
    return [
        (
            algorithm,
            sum(tally.run for tally in tallies if tally.algorithm == algorithm),
            sum(tally.passed for tally in tallies if tally.algorithm == algorithm),
        )
        for algorithm in READERS
    ]


def xts_verdict(key: bytes, tweak: bytes, plain: bytes, cipher: bytes) -> Verdict:
    """Check one data unit in both directions, and in `XtsSectors` too where it is a sector of ours.

    Left out are AES-192 (IEEE 1619 has none), tweaks past 128 bits, and equal key halves, which
    OpenSSL refuses as we do.
    """
    half = len(key) // 2
    if len(key) not in (32, 64) or len(tweak) > 16 or key[:half] == key[half:]:
        return None
    openssl = Cipher(AES(key), XTS(tweak.ljust(16, b"\0")))
    is_right = (
        openssl.encryptor().update(plain) == cipher and openssl.decryptor().update(cipher) == plain
    )
    lba = int.from_bytes(tweak, "little")
    if len(key) != 64 or len(plain) != SECTOR_BYTES or lba >= 1 << 64:
        return is_right
    # Alone, then as the second of three: few and many sectors take different ways.
    ours, second = XtsSectors(key), slice(SECTOR_BYTES, 2 * SECTOR_BYTES)
    return (
        is_right
        and ours.encrypt(lba, plain) == cipher
        and ours.decrypt(lba, cipher) == plain
        and ours.encrypt(lba - 1, 3 * plain)[second] == cipher
        and ours.decrypt(lba - 1, 3 * cipher)[second] == plain
    )


def opens_to(
    unwrap: Callable[[bytes, bytes], bytes], kek: bytes, wrapped: bytes, key: bytes | None
) -> bool:
    """Tell whether `wrapped` gives `key`, or is refused where `key` is None."""
    try:
        return unwrap(kek, wrapped) == key
    except crypto.InvalidUnwrap:
        return key is None


def _records(text: str, first: str) -> Iterator[Fields]:
    """Yield the `name = value` records of a CAVS-like file; a field named `first` begins each.

    A line without "=", as FAIL, is a field with an empty value; [SECTION] lines are passed over.
    """
    record: Fields = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        name = name.strip()
        if not name or name[0] in "#[":
            continue
        if name == first and record:
            yield record
            record = {}
        if name == first or record:
            record[name] = value.strip()
    if record:
        yield record


def _ieee1619(text: str) -> Iterator[Verdict]:
    for case in json.loads(text)["cases"]:
        yield xts_verdict(*(bytes.fromhex(case[name]) for name in ("key", "tweak", "pt", "ct")))


def _nist_xts(text: str) -> Iterator[Verdict]:
    for case in _records(text, first="COUNT"):
        if int(case["DataUnitLen"]) % 8:
            yield None  # part of a byte: no drive has such a data unit, and OpenSSL no such mode
            continue
        tweak = (
            bytes.fromhex(case["i"])
            if "i" in case
            else int(case["DataUnitSeqNumber"]).to_bytes(16, "little")
        )
        yield xts_verdict(
            bytes.fromhex(case["Key"]), tweak, bytes.fromhex(case["PT"]), bytes.fromhex(case["CT"])
        )


def _wycheproof(text: str) -> Iterator[tuple[Any, Any]]:
    for group in json.loads(text)["testGroups"]:
        for case in group["tests"]:
            yield group, case


def _wycheproof_xts(text: str) -> Iterator[Verdict]:
    for _, case in _wycheproof(text):
        yield xts_verdict(*(bytes.fromhex(case[name]) for name in ("key", "iv", "msg", "ct")))


class _Wrapping:
    """Readers of the files of one key wrap, KW or KWP."""

    def __init__(
        self,
        wrap: Callable[[bytes, bytes], bytes],
        unwrap: Callable[[bytes, bytes], bytes],
    ) -> None:
        self._wrap = wrap
        self._unwrap = unwrap

    def both(self, kek: bytes, key: bytes, wrapped: bytes) -> bool:
        return self._wrap(kek, key) == wrapped and opens_to(self._unwrap, kek, wrapped, key)

    def nist(self, text: str) -> Iterator[Verdict]:
        """AE files are wrapped and unwrapped, AD files unwrapped; FAIL is a refusal."""
        is_encryption = "-AE " in text
        for case in _records(text, first="COUNT"):
            kek, wrapped = bytes.fromhex(case["K"]), bytes.fromhex(case["C"])
            if is_encryption:
                yield self.both(kek, bytes.fromhex(case["P"]), wrapped)
            else:
                key = None if "FAIL" in case else bytes.fromhex(case["P"])
                yield opens_to(self._unwrap, kek, wrapped, key)

    def rfc3394(self, text: str) -> Iterator[Verdict]:
        for case in _records(text, first="Key"):
            yield self.both(*(bytes.fromhex(case[name]) for name in ("KEK", "Key", "Output")))

    def rfc5649(self, text: str) -> Iterator[Verdict]:
        for case in _records(text, first="Key"):
            yield self.both(*(bytes.fromhex(case[name]) for name in ("Key", "Input", "Output")))

    def wycheproof(self, text: str) -> Iterator[Verdict]:
        for _, case in _wycheproof(text):
            kek, key, wrapped = (bytes.fromhex(case[name]) for name in ("key", "msg", "ct"))
            if case["result"] == "valid":
                yield self.both(kek, key, wrapped)
            else:  # "acceptable" is a key of 8 bytes, which RFC 3394 does not allow: refused too
                yield opens_to(self._unwrap, kek, wrapped, None)


def _rfc5869(text: str) -> Iterator[Verdict]:
    for case in _records(text, first="Hash"):
        key, salt, info = (bytes.fromhex(case[name]) for name in ("IKM", "salt", "info"))
        answer = crypto.hkdf_sha256(key, salt=salt, info=info, length=int(case["L"]))
        yield answer.hex() == case["OKM"]


def _wycheproof_hkdf(text: str) -> Iterator[Verdict]:
    for _, case in _wycheproof(text):
        key, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
        try:
            answer = crypto.hkdf_sha256(key, salt=salt, info=info, length=case["size"])
            yield case["result"] == "valid" and answer.hex() == case["okm"]
        except ValueError:
            yield case["result"] == "invalid"


def _wycheproof_pbkdf2(text: str) -> Iterator[Verdict]:
    for _, case in _wycheproof(text):
        pin, salt = bytes.fromhex(case["password"]), bytes.fromhex(case["salt"])
        answer = crypto.pbkdf2_sha256(pin, salt, case["iterationCount"], case["dkLen"])
        yield answer.hex() == case["dk"]


def _argon2id(text: str) -> Iterator[Verdict]:
    for case in _records(text, first="COUNT"):
        answer = crypto.argon2id(
            bytes.fromhex(case["pass"]),
            bytes.fromhex(case["salt"]),
            iterations=int(case["iter"]),
            memory_kib=int(case["memcost"]),
            lanes=int(case["lanes"]),
            length=int(case["length"]),
            secret=bytes.fromhex(case["secret"]) if "secret" in case else None,
            associated_data=bytes.fromhex(case["ad"]) if "ad" in case else None,
        )
        yield answer.hex() == case["output"]


def _rfc4231(text: str) -> Iterator[Verdict]:
    for case in _records(text, first="Len"):
        tag = crypto.hmac_sha256(bytes.fromhex(case["Key"]), bytes.fromhex(case["Msg"]))
        yield tag.hex() == case["MD"]


def _wycheproof_hmac(text: str) -> Iterator[Verdict]:
    for group, case in _wycheproof(text):
        tag = crypto.hmac_sha256(bytes.fromhex(case["key"]), bytes.fromhex(case["msg"]))
        is_equal = crypto.equal(tag[: group["tagSize"] // 8], bytes.fromhex(case["tag"]))
        yield is_equal == (case["result"] == "valid")


_KW = _Wrapping(crypto.wrap_key, crypto.unwrap_key)
_KWP = _Wrapping(crypto.wrap_key_padded, crypto.unwrap_key_padded)

READERS: dict[str, dict[str, Callable[[str], Iterator[Verdict]]]] = {
    "AES-XTS": {
        "xts/ieee1619.json": _ieee1619,
        "xts/nist_hexstr_XTSGenAES128.rsp": _nist_xts,
        "xts/nist_hexstr_XTSGenAES256.rsp": _nist_xts,
        "xts/nist_seqno_XTSGenAES128.rsp": _nist_xts,
        "xts/nist_seqno_XTSGenAES256.rsp": _nist_xts,
        "wycheproof/aes_xts_test.json": _wycheproof_xts,
    },
    "AES-KW": {
        "keywrap/rfc3394.txt": _KW.rfc3394,
        "keywrap/KW_AE_256.txt": _KW.nist,
        "keywrap/KW_AD_256.txt": _KW.nist,
        "wycheproof/aes_wrap_test.json": _KW.wycheproof,
    },
    "AES-KWP": {
        "keywrap/rfc5649_and_generated.txt": _KWP.rfc5649,
        "keywrap/KWP_AE_256.txt": _KWP.nist,
        "keywrap/KWP_AD_256.txt": _KWP.nist,
        "wycheproof/aes_kwp_test.json": _KWP.wycheproof,
    },
    "HKDF-SHA-256": {
        "kdf/rfc5869_hkdf_sha256.txt": _rfc5869,
        "wycheproof/hkdf_sha256_test.json": _wycheproof_hkdf,
    },
    "PBKDF2-HMAC-SHA-256": {"wycheproof/pbkdf2_hmacsha256_test.json": _wycheproof_pbkdf2},
    "Argon2id": {"kdf/argon2id.txt": _argon2id},
    "HMAC-SHA-256": {
        "mac/rfc4231_hmac_sha256.txt": _rfc4231,
        "wycheproof/hmac_sha256_test.json": _wycheproof_hmac,
    },
}


def main() -> None:
    tallies = tuple(tally_files())
    left_out = sum(len(tally.verdicts) - tally.run for tally in tallies)
    print(f"{'algorithm':<20} {'cases':>6} {'passed':>6}")
    for algorithm, run, passed in run_vectors(tallies):
        print(f"{algorithm:<20} {run:>6} {passed:>6}")
    print(f"left out: {left_out} XTS cases (parts of a byte, AES-192, long tweaks, equal halves)")


if __name__ == "__main__":
    main()
