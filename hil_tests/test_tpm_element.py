"""An element with a TPM, against whoever commands the TPM himself; and a whole drive with one.

`bench.chip` is the TPM as replaced firmware has it: every command, but no PIN and no media key.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_model.defects.attempts import CheckFirst
from firmware_model.hardware.element_state import Count, Slot
from firmware_model.hardware.secure_element import ElementError
from firmware_model.hardware.tpm.provisioning import connect, provision
from firmware_model.hardware.tpm.state import ENCODED_BYTES, Counter, Half
from hil_tests.element_model import (
    Attempt,
    Change,
    DestroyAll,
    Extend,
    Model,
    Refund,
    differences,
    do,
    is_cut,
)
from hil_tests.elements import FRESH, TpmBench
from hil_tests.swtpm import Swtpm

PIN, WRONG = b"pin", b"wrong"
STORED_BYTES = ENCODED_BYTES + 32  # a state, and the TPM's word for it
SET_USER = Change(((Slot.USER, PIN),))
SET_BOTH = Change(((Slot.USER, PIN), (Slot.DURESS, b"duress")))
ONE_RESTART_EACH = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def bench(tpm_bench: TpmBench) -> TpmBench:
    """An element with a TPM, as it leaves the factory."""
    return tpm_bench


# What is destroyed


def test_tpm_holds_the_secrets_that_count_and_no_others(bench: TpmBench) -> None:
    model = do(bench.element, Model(), SET_BOTH, SET_USER)
    assert bench.chip.slots() == {(Slot.USER, Half.B), (Slot.DURESS, Half.A)}

    do(bench.element, model, DestroyAll())
    assert bench.chip.slots() == set()
    assert not bench.chip.has_refund_key


def test_moment_of_erasure_is_one_step_after_which_the_right_pin_opens_nothing(
    bench: TpmBench,
) -> None:
    model = do(bench.element, Model(), SET_USER)
    assert is_cut(bench, model, DestroyAll(), 3)  # the state, the counter; not the destruction
    bench.supply.power_on()
    assert (Slot.USER, Half.A) in bench.chip.slots()

    with pytest.raises(ElementError, match="policy_nv"):
        bench.chip.guess(Slot.USER, Half.A, PIN, bench.chip.counters()[Counter.ERA] - 1)
    with pytest.raises(ElementError, match="policy check failed"):
        bench.guess(PIN)
    bench.restart()
    assert bench.chip.slots() == set()


def test_counter_that_is_made_anew_does_not_stand_where_it_stood(bench: TpmBench) -> None:
    do(bench.element, Model(), SET_USER)
    before = bench.chip.counters()
    for counter in Counter:
        bench.chip._tpm.undefine(0x0180_5E00 + counter)
    bench.chip.make_counters()

    assert all(new > max(before) for new in bench.chip.counters())
    with pytest.raises(ElementError, match="does not vouch"):
        bench.restart()


# What lies outside


@given(data=st.data())
@ONE_RESTART_EACH
def test_state_with_a_flipped_bit_is_refused(bench: TpmBench, data: st.DataObject) -> None:
    whole = bench.outside.value
    bit = data.draw(st.integers(0, STORED_BYTES * 8 - 1))  # of the newer of the two
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    bench.outside.value = bytes(flipped)
    with pytest.raises(ElementError, match="does not vouch"):
        bench.restart()
    bench.outside.value = whole


@given(outside=st.binary(max_size=2048))
@ONE_RESTART_EACH
def test_any_bytes_outside_are_refused_in_one_line(bench: TpmBench, outside: bytes) -> None:
    whole, bench.outside.value = bench.outside.value, outside
    with pytest.raises(ElementError, match="does not vouch"):
        bench.restart()
    bench.outside.value = whole


def test_state_whose_increment_was_cut_off_is_not_put_into_force_later(bench: TpmBench) -> None:
    guesses = [Attempt(Slot.USER, WRONG)] * 2
    model = do(bench.element, Model(), SET_USER, *guesses)
    assert is_cut(bench, model, Refund(Count.USER, "right"), 3)
    refunded = bench.outside.value
    bench.restart()
    model = do(bench.element, model, Extend())
    newest, bench.outside.value = bench.outside.value, refunded
    with pytest.raises(ElementError, match="does not vouch"):
        bench.restart()
    bench.outside.value = newest
    bench.restart()

    assert differences(bench.element, model) == []


def test_state_of_another_drive_is_refused(bench: TpmBench) -> None:
    old = bench.outside.value
    bench.close()
    other = TpmBench(bench.swtpm)
    other.outside.value = old

    with pytest.raises(ElementError, match="does not vouch"):
        other.restart()


# The TPM itself


def test_state_outlives_a_tpm_that_loses_power_without_warning(bench: TpmBench) -> None:
    model = do(bench.element, Model(), SET_BOTH, Attempt(Slot.USER, WRONG))
    for _ in range(3):
        bench.cut_all_power()
        model = do(bench.element, model, Extend())

    assert differences(bench.element, model) == []


def test_no_secret_and_no_pin_crosses_the_bus_of_the_tpm_in_the_clear(
    bench: TpmBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from firmware_model.hardware.tpm.chip import _auth_value

    heard = tmp_path / "bus.pcap"
    monkeypatch.setenv("TCTI_PCAP_FILE", str(heard))
    bench.close()
    bench.chip = connect(f"pcap:{bench.swtpm.tcti}")
    bench.element = bench._soldered()
    attempts = Attempt(Slot.USER, PIN), Refund(Count.USER, "right")
    model = do(bench.element, Model(), SET_USER, *attempts, SET_BOTH)
    traffic = heard.read_bytes()

    keys = [*model.slots.values(), *(key for _, key in model.former)]
    secrets = [model.refund_key, *(key.secret for key in keys), *(key.answer for key in keys)]
    secrets += [_auth_value(slot, key.pin) for slot, key in model.slots.items()]
    assert len(traffic) > 10_000
    assert [secret for secret in secrets if secret is None or secret in traffic] == []


def test_connection_that_was_never_closed_costs_the_next_one_nothing(bench: TpmBench) -> None:
    model = do(bench.element, Model(), SET_USER)
    for _ in range(8):  # more than a TPM has room for sessions and keys
        bench.element.challenge()
        bench.chip = connect(bench.swtpm.tcti)
        bench.element = bench._soldered()

    assert differences(bench.element, model) == []


def test_tpm_of_another_drive_is_not_taken(bench: TpmBench) -> None:
    outside = bench.outside.value
    with pytest.raises(ElementError, match="belongs to somebody, or to another drive"):
        provision(bench.chip, FRESH, bench.outside)

    assert bench.outside.value == outside
    bench.restart()


def test_tpm_whose_owner_has_a_password_is_not_taken(bench: TpmBench) -> None:
    import tpm2_pytss as tss

    bench.close()
    bench.swtpm.clear()
    with tss.ESAPI(bench.swtpm.tcti) as tpm:
        tpm.hierarchy_change_auth(tss.ESYS_TR.OWNER, b"mine")

    with pytest.raises(ElementError, match="belongs to somebody: its owner has set a password"):
        connect(bench.swtpm.tcti)


def test_tpm_that_keeps_keys_for_its_owner_is_not_taken(bench: TpmBench) -> None:
    from firmware_model.hardware.tpm.connection import VERIFYING

    bench.close()
    bench.swtpm.clear()
    bench.chip = connect(bench.swtpm.tcti)
    bench.chip._tpm.persist(0x8100_0001, b"a key of its owner's", VERIFYING)

    with pytest.raises(ElementError, match="belongs to somebody"):
        provision(bench.chip, FRESH, bench.outside)


def test_manufacture_that_was_broken_off_can_be_repeated(bench: TpmBench) -> None:
    bench.close()
    bench.swtpm.clear()
    bench.chip = connect(bench.swtpm.tcti)
    bench.chip.make_counters()
    provision(bench.chip, FRESH, bench.outside)
    bench.restart()

    assert differences(bench.element, Model()) == []


def test_tpm_that_serves_no_drive_says_so(bench: TpmBench) -> None:
    bench.close()
    bench.swtpm.clear()
    bench.chip = connect(bench.swtpm.tcti)

    with pytest.raises(ElementError, match="the TPM serves no drive"):
        bench.restart()


def test_counter_of_guesses_can_not_be_replaced(bench: TpmBench) -> None:
    with pytest.raises(ElementError, match="counter can't be replaced"):
        bench.element.power_on(CheckFirst())


def test_address_without_a_tpm_is_told_in_one_line(swtpm: Swtpm) -> None:
    with pytest.raises(ElementError, match=r"no TPM answers at swtpm:host=127\.0\.0\.1,port=1"):
        connect("swtpm:host=127.0.0.1,port=1")
