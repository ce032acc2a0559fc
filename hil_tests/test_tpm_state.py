"""What an element with a TPM keeps outside it, as bytes; and what can be told without a TPM."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_model.hardware.element_state import KINDS, Count, FirmwareSlot, Slot
from firmware_model.hardware.tpm import policy
from firmware_model.hardware.tpm.provisioning import failures_max
from firmware_model.hardware.tpm.state import (
    ENCODED_BYTES,
    Counter,
    Half,
    Lockout,
    TpmSlot,
    TpmState,
    TpmStateError,
)
from hil_tests.command_line import Run, environment

DIGEST = st.binary(min_size=32, max_size=32)
NUMBER = st.integers(0, (1 << 32) - 1)
LONG = st.integers(0, (1 << 64) - 1)
LOCKOUTS = st.builds(Lockout, DIGEST, LONG)
SLOTS = st.builds(TpmSlot, st.sampled_from(Half), st.sampled_from(Half), NUMBER)
LIMITS = st.tuples(*[st.integers(1, 255)] * len(Count))
STATES = st.builds(
    TpmState,
    counters=st.tuples(*[LONG] * len(Counter)),
    limits=LIMITS,
    reset_code_hash=DIGEST,
    update_key=DIGEST,
    lockout=LOCKOUTS,
    bases=st.tuples(*[LONG] * len(Count)),
    next_lockout=st.none() | LOCKOUTS,
    slots=st.tuples(*[SLOTS] * len(Slot)),
    has_keys=st.booleans(),
    stretch_salt=st.none() | DIGEST,
    attempt_number=LONG,
    head=DIGEST,
    log_count=LONG,
    counts=st.tuples(*[NUMBER] * KINDS),
    epoch=NUMBER,
    was_erased=st.booleans(),
    is_read_only=st.booleans(),
    firmware_floor=NUMBER,
    firmware_slot=st.sampled_from(FirmwareSlot),
)


@given(STATES)
def test_state_comes_back_from_its_bytes(state: TpmState) -> None:
    data = state.encode()

    assert len(data) == ENCODED_BYTES
    assert TpmState.decode(data) == state


@given(
    st.binary(max_size=2 * ENCODED_BYTES)
    | st.tuples(STATES, st.integers(0, ENCODED_BYTES - 1), st.integers(0, 255)).map(
        lambda drawn: (
            drawn[0].encode()[: drawn[1]] + bytes((drawn[2],)) + drawn[0].encode()[drawn[1] + 1 :]
        )
    )
)
def test_any_bytes_are_a_state_that_encodes_back_or_a_refusal(data: bytes) -> None:
    try:
        state = TpmState.decode(data)
    except TpmStateError:
        return

    assert state.encode() == data


@given(STATES)
def test_truncated_state_is_refused_at_every_length(state: TpmState) -> None:
    data = state.encode()

    for length in range(len(data)):
        with pytest.raises(TpmStateError):
            TpmState.decode(data[:length])


@given(STATES)
def test_two_states_of_an_element_fit_into_the_serial_flash(state: TpmState) -> None:
    assert 2 * (len(state.encode()) + 32) <= 2048


@given(LIMITS)
def test_lockout_bears_more_failures_than_a_drive_gives_tries(limits: tuple[int, int, int]) -> None:
    assert failures_max(limits) >= 2 * sum(limits)


def test_policy_of_an_auth_value_has_its_published_digest() -> None:
    # As tpm2_policyauthvalue prints it, and as in many a script; SHA-256 from an empty policy.
    expected = "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e"

    assert policy.with_auth_value(bytes(32)).hex() == expected


def test_tpm_of_the_computer_is_not_taken_unasked(run: Run) -> None:
    refused = run("new", "t.sed", "--set", "element=tpm:device:/dev/tpmrm9")

    assert refused.status == 2
    assert "add --takes-tpm if that is meant" in refused.err
    assert not Path("t.sed").exists()


def test_tpm_without_the_extra_is_told_in_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['tpm2_pytss'] = None\n"
        "from host_driver.__main__ import main\n"
        "main(['new', 't.sed', '--set', 'element=tpm:swtpm:host=127.0.0.1,port=2321'])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 3
    assert ran.stderr.startswith("sedlab: a TPM takes the extra sedlab[tpm]: pip install")
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "t.sed").exists()
