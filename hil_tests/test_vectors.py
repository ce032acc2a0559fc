"""The firmware's primitives against every published answer kept in `fixtures/vectors`."""

from dataclasses import replace

import pytest

from firmware_model.firmware import crypto
from firmware_model.firmware.self_test import ANSWERS, known_answer_tests, xts_answers
from firmware_model.hardware.cells import Data
from hil_tests.vectors import FileTally, manifest, opens_to, run_vectors, tally_files, xts_verdict

KEK = bytes(range(32))
KEY = bytes(range(64))


class PlainSectors:
    """A cipher that forgets to encipher."""

    def __init__(self, mek: bytes) -> None:
        self.mek = mek

    def encrypt(self, lba: int, data: bytes) -> bytes:
        return data

    def decrypt(self, lba: int, data: Data) -> Data:
        return data


@pytest.fixture(scope="module")
def tallies() -> tuple[FileTally, ...]:
    return tuple(tally_files())


def test_every_vector_that_runs_passes(tallies: tuple[FileTally, ...]) -> None:
    results = run_vectors(tallies)

    assert all(run > 0 for _, run, _ in results), results
    assert [(name, run) for name, run, _ in results] == [(name, ok) for name, _, ok in results]


def test_no_case_of_a_listed_file_is_lost_by_its_reader(tallies: tuple[FileTally, ...]) -> None:
    listed = {row.file: row.cases for row in manifest()}

    assert listed == {tally.file: len(tally.verdicts) for tally in tallies}


def test_only_xts_leaves_cases_out(tallies: tuple[FileTally, ...]) -> None:
    left_out = {tally.algorithm for tally in tallies if tally.run < len(tally.verdicts)}

    assert left_out == {"AES-XTS"}


def test_vector_files_are_the_ones_listed() -> None:
    assert all(row.is_intact() for row in manifest())


def test_wrong_answers_fail() -> None:
    assert not xts_verdict(KEY, bytes(16), bytes(512), bytes(512))
    assert not opens_to(crypto.unwrap_key, KEK, crypto.wrap_key(KEK, KEY), None)
    assert not opens_to(crypto.unwrap_key, KEK, bytes(72), KEY)


@pytest.mark.parametrize("length", range(73))
def test_truncated_wrapped_key_is_refused(length: int) -> None:
    wrapped = crypto.wrap_key(KEK, KEY)
    padded = crypto.wrap_key_padded(KEK, KEY)

    if length == len(wrapped):
        assert crypto.unwrap_key(KEK, wrapped) == crypto.unwrap_key_padded(KEK, padded) == KEY
        return
    with pytest.raises(crypto.InvalidUnwrap):
        crypto.unwrap_key(KEK, wrapped[:length])
    with pytest.raises(crypto.InvalidUnwrap):
        crypto.unwrap_key_padded(KEK, padded[:length])


def test_key_wrapped_one_way_does_not_open_the_other() -> None:
    with pytest.raises(crypto.InvalidUnwrap):
        crypto.unwrap_key(KEK, crypto.wrap_key_padded(KEK, KEY))
    with pytest.raises(crypto.InvalidUnwrap):
        crypto.unwrap_key_padded(KEK, crypto.wrap_key(KEK, KEY))


def test_deriving_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        crypto.hkdf_sha256(KEY, salt=b"", info=b"", length=0)


def test_self_test_passes() -> None:
    assert known_answer_tests() == ()


def test_self_test_names_each_answer_that_is_wrong() -> None:
    altered = tuple(replace(answer, expected=b"wrong") for answer in ANSWERS)

    assert known_answer_tests(altered) == tuple(answer.name for answer in ANSWERS)


def test_self_test_catches_a_cipher_that_does_nothing() -> None:
    assert len(known_answer_tests(xts_answers(PlainSectors))) == 4
